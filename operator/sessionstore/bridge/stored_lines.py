"""Lines as the store has them, in pieces of a bounded size; and both sides walked in step."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing

from sessionstore.bridge import lines
from sessionstore.bridge.lines import Walk
from sessionstore.bridge.transcript_file import PIECE_BYTES, Moved
from sessionstore.sessions.record import SessionKey, TranscriptHead
from sessionstore.sessions.store import Store

FIRST_LINES = 16
"""A first request asks for so few, since nothing is known of how long they are."""
MOST_LINES = 2000

ReadSlice = Callable[[int, int], Awaitable[Sequence[bytes]]]
Pieces = AsyncGenerator[Sequence[bytes], None]


def transcript_reader(store: Store, key: SessionKey, head: TranscriptHead) -> ReadSlice:
    """Return how to read lines of a session's current transcript. It raises Moved where that is not `head`'s any more.

    What was appended meanwhile is no matter: `pieces` asks for no more than there was.
    """

    async def read(start: int, stop: int) -> Sequence[bytes]:
        found = await store.read(key, start, stop)
        if found is None or (found.head.id, found.head.generation) != (head.id, head.generation):
            raise Moved
        return found.lines

    return read


def archive_reader(store: Store, agent: str, name: str) -> ReadSlice:
    """Return how to read lines of an archive."""

    async def read(start: int, stop: int) -> Sequence[bytes]:
        return await store.read_archive(agent, name, start, stop) or ()

    return read


async def pieces(read: ReadSlice, start: int, stop: int) -> Pieces:
    """Go through lines `start:stop`, each piece about PIECE_BYTES. Raises: Moved where the store has fewer by now."""
    async with aclosing(to_the_end(read, start, stop)) as found:
        async for piece in found:
            start += len(piece)
            yield piece
    if start < stop:
        raise Moved


async def to_the_end(read: ReadSlice, start: int = 0, stop: int = sys.maxsize) -> Pieces:
    """Go through lines from `start` on for as long as there are any, and not beyond `stop`."""
    count = FIRST_LINES
    while start < stop and (found := await read(start, min(stop, start + count))):
        yield found
        start += len(found)
        mean = sum(map(len, found)) // len(found) + 1
        # Not all at once: the next lines may be a thousand times as long as these.
        count = max(1, min(MOST_LINES, PIECE_BYTES // mean, count * 8))


async def walk(own: Iterable[Sequence[bytes]], theirs: AsyncIterator[Sequence[bytes]], at: Walk) -> Walk:
    """Go along both sides from `at` for as long as they are the same."""
    mine, its = _Buffer(iter(own)), _AsyncBuffer(theirs)
    line, size = at.lines, at.size
    while await its.fill() & mine.fill():
        common = lines.count_common(mine.lines, its.lines, line)
        differ = common < min(len(mine.lines), len(its.lines))
        size += sum(map(len, mine.lines[:common])) + common
        line += common
        mine.drop(common)
        its.drop(common)
        if differ:
            break
    return Walk(line, size, own=bool(mine.lines), theirs=bool(its.lines))


class _Buffer:
    """What was read of one's own side and not walked along yet."""

    def __init__(self, source: Iterable[Sequence[bytes]]) -> None:
        self._source = iter(source)
        self.lines: list[bytes] = []

    def fill(self) -> bool:
        """Read on where nothing is left; return whether there is anything."""
        while not self.lines and (more := next(self._source, None)) is not None:
            self.lines = list(more)
        return bool(self.lines)

    def drop(self, count: int) -> None:
        """Leave lines behind."""
        del self.lines[:count]


class _AsyncBuffer:
    """The same of the store's."""

    def __init__(self, source: AsyncIterator[Sequence[bytes]]) -> None:
        self._source = source
        self.lines: list[bytes] = []

    async def fill(self) -> bool:
        """Read on where nothing is left; return whether there is anything."""
        while not self.lines and (more := await anext(self._source, None)) is not None:
            self.lines = list(more)
        return bool(self.lines)

    def drop(self, count: int) -> None:
        """Leave lines behind."""
        del self.lines[:count]


async def walked(own: Iterable[Sequence[bytes]], theirs: Pieces, at: Walk) -> Walk:
    """Walk, and let go of what is still being read. Raises: Moved."""
    async with aclosing(theirs) as stored:
        return await walk(own, stored, at)
