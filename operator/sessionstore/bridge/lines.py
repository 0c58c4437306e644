"""What a transcript's file and the store have in common, who of the two went on, and how both are put in one row. Pure.

Where a transcript of `lines` lines was the same on both sides, each side may since have been left alone, gone on, or
been replaced (by a compaction, say): nine cases, and in none is a line lost that only one side has.

                      store as it was            store went on              store replaced
    file as it was    Same                       Behind                     Superseded
    file went on      Ahead                      Forked                     Superseded
    file replaced     Rewritten                  Rewritten                  Forked, and what follows from it

`transcripts.py` walks along both sides, asks `compare`, and does what it says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sessionstore.openclaw import rawjson

TAIL_BYTES = 256
"""Of a file's end as it was: where they still stand at their place, what is before them is what it was."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """What file and store have had in common."""

    generation: int
    """Of the store's transcript."""
    lines: int
    size: int
    """How many bytes of the file those lines take, each with its line feed."""
    tail: bytes
    """The last TAIL_BYTES of these bytes."""

    def after(self, lines: Sequence[bytes]) -> Agreed:
        """Return what is common once both sides have these lines, too."""
        data = with_feeds(lines)
        tail = (self.tail + data)[-TAIL_BYTES:]
        return Agreed(self.generation, self.lines + len(lines), self.size + len(data), tail)


NOTHING = Agreed(0, 0, 0, b"")


@dataclass(frozen=True, slots=True)
class Walk:
    """How far both sides are the same, and whether either has more than that."""

    lines: int
    size: int
    """Bytes of the file up to there."""
    own: bool
    """The file goes on."""
    theirs: bool
    """The store goes on."""


@dataclass(frozen=True, slots=True)
class Same:
    """Both have the same lines."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """The file has all that the store has, and lines from `lines` on that it lacks."""

    lines: int


@dataclass(frozen=True, slots=True)
class Behind:
    """The store has all that the file has, and lines from `lines` on that it lacks."""

    lines: int


@dataclass(frozen=True, slots=True)
class Forked:
    """Both went on from line `lines`, which begins at byte `size` of the file."""

    lines: int
    size: int


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The file's lines were replaced; the store's from `lines` on came meanwhile."""

    lines: int


@dataclass(frozen=True, slots=True)
class Superseded:
    """The store's lines were replaced; what the file has from byte `size` on came meanwhile."""

    size: int


Outcome = Same | Ahead | Behind | Forked | Rewritten | Superseded


def compare(walk: Walk, agreed: Agreed | None, generation: int, *, is_kept: bool) -> Outcome:
    """Say who is ahead.

    Args:
        walk: along both sides, from the beginning or from where both are as agreed.
        agreed: None where nothing is known. Then both are taken to have gone on from a common beginning.
        generation: the store's. One that is older than agreed tells of a store that lost writes: nothing follows.
        is_kept: whether the file still begins as agreed.
    """
    if agreed is not None and generation >= agreed.generation and walk.lines < agreed.lines:
        is_new_there = generation > agreed.generation
        if walk.own and is_new_there and is_kept:
            return Superseded(agreed.size)
        # A file that is empty, or has but a header, is just being written, or a crash left it so: no gateway takes all
        # lines away.
        if walk.theirs and not is_new_there and not is_kept and (walk.lines > 1 or walk.own):
            return Rewritten(agreed.lines)
    return _by_walk(walk)


def _by_walk(walk: Walk) -> Outcome:
    if walk.own and walk.theirs:
        return Forked(walk.lines, walk.size)
    if walk.own:
        return Ahead(walk.lines)
    return Behind(walk.lines) if walk.theirs else Same()


def count_common(own: Sequence[bytes], theirs: Sequence[bytes], at: int) -> int:
    """Count how many lines both begin with; the first of them is line `at` of the transcript.

    Headers are not compared: each names the working directory of the gateway that wrote it.
    """
    count = min(len(own), len(theirs))
    if at and own[:count] == theirs[:count]:
        return count
    for index in range(count):
        if own[index] != theirs[index] and not _are_headers(own[index], theirs[index], at + index):
            return index
    return count


def _are_headers(own: bytes, theirs: bytes, at: int) -> bool:
    return at == 0 and is_header(own) and is_header(theirs)


def is_header(line: bytes) -> bool:
    """Return whether a line begins a transcript and is no part of what was said."""
    return b'"session"' in line and (_parsed(line) or {}).get("type") == "session"


def identity(line: bytes) -> bytes:
    """Digest what makes a line the one that it is, wherever it hangs: two that differ in `parentId` alone are one."""
    parsed = _parsed(line) if b'"parentId"' in line else None
    if parsed is not None and "parentId" in parsed:
        line = rawjson.replace_members(line, {"parentId": None})
    return hashlib.blake2b(line, digest_size=12).digest()


def last_id(lines: Iterable[bytes]) -> str | None:
    """Return the id of the last of these lines that has one."""
    return next((found for line in reversed(tuple(lines)) if (found := id_of(line)) is not None), None)


def id_of(line: bytes) -> str | None:
    """Return a line's id. A header's is the session's, and nothing hangs on it."""
    parsed = _parsed(line) or {}
    found = parsed.get("id")
    return found if isinstance(found, str) and parsed.get("type") != "session" else None


def rebased(own: Sequence[bytes], onto: str | None) -> list[bytes]:
    """Hang the first of one's own lines on the last of the other side's; those behind it hang on it already.

    What is a line of no tree (a header, an unreadable one) stays as it is. Where nothing is known to hang on,
    everything does.
    """
    made = list(own)
    at = next((index for index, line in enumerate(made) if id_of(line) is not None), None)
    if at is not None and onto is not None:
        made[at] = _hung(made[at], onto)
    return made


def _hung(line: bytes, onto: str) -> bytes:
    if (_parsed(line) or {}).get("parentId") == onto:
        return line
    return rawjson.replace_members(line, {"parentId": onto})


def with_feeds(lines: Sequence[bytes]) -> bytes:
    """Return lines as they stand in a file."""
    return b"\n".join((*lines, b"")) if lines else b""


def _parsed(line: bytes) -> dict[str, object] | None:
    try:
        value = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
