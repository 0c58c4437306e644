"""Writes a transcript's file anew: the lines of one side, and behind them those that only the other has."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing

from sessionstore.bridge import lines
from sessionstore.bridge.lines import NOTHING, Agreed
from sessionstore.bridge.stored_lines import Pieces
from sessionstore.sessions.plainfiles import Directory

Source = Callable[[], Pieces]
"""Gives the same lines each time."""

_LEFT_OVER = re.compile(r"\.sessionstore-\d+-[0-9a-f]{16}\.tmp")


async def none() -> Pieces:
    """Go through no lines."""
    nothing: tuple[Sequence[bytes], ...] = ()
    for piece in nothing:
        yield piece


async def own(pieces: Iterable[Sequence[bytes]]) -> Pieces:
    """Go through lines that are at hand, and let others work between the pieces."""
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)


async def joined(*parts: Pieces) -> Pieces:
    """Go through one part after the other."""
    for part in parts:
        async with aclosing(part):
            async for piece in part:
                yield piece


async def headed(header: bytes | None, part: Pieces) -> Pieces:
    """Put one's own header in place of the other side's."""
    async with aclosing(part):
        async for piece in part:
            if header is not None and lines.is_header(piece[0]):
                piece = [header, *piece[1:]]  # noqa: PLW2901
            header = None
            yield piece


async def missing(base: Source, additions: Source) -> set[bytes]:
    """Return the identities of those additions that are not in the base."""
    wanted = await _identities(additions)
    async with aclosing(base()) as pieces:
        async for piece in pieces:
            if not wanted:
                break
            wanted.difference_update(map(lines.identity, piece))
    return wanted


async def build(directory: Directory, name: str, base: Source, additions: Source, check: Callable[[], None]) -> Agreed:
    """Put a file in place with the base and, behind it, the additions that are not in it.

    Args:
        check: called just before the file is moved to its name; what it raises leaves everything as it was.
    Returns: what the base is of the file.
    """
    wanted = await _identities(additions)
    with directory.drafted(name) as draft:
        written, last = NOTHING, None
        async with aclosing(base()) as pieces:
            async for piece in pieces:
                draft.write(lines.with_feeds(piece))
                written, last = written.after(piece), lines.last_id(piece) or last
                if wanted:
                    wanted.difference_update(map(lines.identity, piece))
        if wanted:
            async with aclosing(additions()) as pieces:
                async for piece in pieces:
                    kept = [line for line in piece if lines.identity(line) in wanted]
                    draft.write(lines.with_feeds(lines.rebased(kept, last)))
                    last = None if lines.last_id(kept) else last
        ready = await asyncio.to_thread(draft.finished)
        check()
        ready.publish()
    return written


async def _identities(source: Source) -> set[bytes]:
    found: set[bytes] = set()
    async with aclosing(source()) as pieces:
        async for piece in pieces:
            found.update(lines.identity(line) for line in piece if not lines.is_header(line))
    return found


def remove_left_over(directory: Directory) -> None:
    """Take away what a bridge that was killed had not finished."""
    for name in directory.names():
        if _LEFT_OVER.fullmatch(name):
            directory.remove(name)
