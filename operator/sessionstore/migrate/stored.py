"""Lines as the store has them, and both sides of a transcript walked in step, a batch at a time.

Batches are compared whole: of two equal lists of bytes Python looks at nothing twice, and of most sessions all
lines are equal.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from sessionstore.migrate.bounded import Room
from sessionstore.migrate.items import Lines, SourceSession
from sessionstore.openclaw.problems import Refused
from sessionstore.openclaw.transcript import Line
from sessionstore.sessions.record import SessionKey
from sessionstore.sessions.store import Store

SLICE_BYTES = 4 * 1024 * 1024
SLICE_LINES = 1000
_FIRST_SLICE = 32
ROUND_TRIP_BYTES = 128 * 1024
"""Of entries and lines that go to and fro at once: enough that the way costs little, and a fraction of the room."""

ReadSlice = Callable[[int, int], Awaitable[Sequence[bytes]]]
Slices = AsyncGenerator[Sequence[bytes], None]
Short = AsyncGenerator[Sequence[tuple[SourceSession, list[bytes] | None]], None]


def reader(store: Store, key: SessionKey) -> ReadSlice:
    """Return how to read lines of a session's current transcript; there are none where there is none."""

    async def read(start: int, stop: int) -> Sequence[bytes]:
        found = await store.read(key, start, stop)
        return found.lines if found else ()

    return read


def archive_reader(store: Store, agent: str, name: str) -> ReadSlice:
    """Return how to read lines of an archive."""

    async def read(start: int, stop: int) -> Sequence[bytes]:
        return await store.read_archive(agent, name, start, stop) or ()

    return read


async def nothing(start: int, stop: int) -> Sequence[bytes]:
    """Read no lines: the store has none that could be compared."""
    return ()


async def slices(read: ReadSlice, start: int = 0) -> Slices:
    """Go through the lines from `start` on, in slices of a bounded size: a line may have megabytes, or ten bytes."""
    count = _FIRST_SLICE
    while lines := await read(start, start + count):
        yield lines
        if len(lines) < count:
            return
        start += count
        mean = sum(map(len, lines)) // count + 1
        count = max(1, min(SLICE_LINES, SLICE_BYTES // mean))


@dataclass(slots=True)
class Taken:
    """What came out of a source's lines while they were gone through: how many, and how they ended."""

    lines: int = 0
    torn: Line | None = None


async def whole(lines: Lines | None, room: Room, taken: Taken | None = None) -> Slices:
    """Go through the lines that are carried: all but a torn last one. Waits for room in memory before each batch.

    A file that cannot be read to its end ends where it cannot. The survey, which reads the same lines, has
    reported that; where it has not, its counts differ and the migration fails.
    """
    if lines is None:
        return
    held = 0
    # One generator and not one for each concern: it is gone through for every transcript, three times in a run.
    try:
        await room.wait()
        async for batch in lines.batches():
            held = room.take(weight(batch.lines))
            if taken:
                taken.lines += len(batch.lines)
                taken.torn = batch.torn
            if batch.lines:
                yield batch.lines
            held = room.give_back(held)
            await room.wait()
    except Refused:
        pass
    finally:
        room.give_back(held)


async def short(sessions: Sequence[SourceSession], room: Room) -> Short:
    """Go through sessions with their lines, as `whole` gives them, in batches for one round trip each.

    What has many lines comes with None: `whole` is to go through those. Waits for room in memory before each batch,
    which has it until the next one is asked for.
    """
    at = 0
    while at < len(sessions):
        await room.wait()
        batch: list[tuple[SourceSession, list[bytes] | None]] = []
        entries = held = 0
        try:
            while at < len(sessions) and entries + held < ROUND_TRIP_BYTES:
                session, few = sessions[at], _few(sessions[at].lines)
                batch.append((session, few))
                held += room.take(weight(few or ()))
                entries += len(session.entry.raw)
                at += 1
            yield batch
        finally:
            room.give_back(held)


def _few(lines: Lines | None) -> list[bytes] | None:
    try:
        return lines.few() if lines else []
    except Refused:
        return []


def weight(lines: Sequence[bytes]) -> int:
    """Return how many bytes lines are in memory."""
    return sum(map(len, lines))


@dataclass(frozen=True, slots=True)
class Walk:
    """Both sides' lines, compared.

    Attributes:
        common: how many lines both begin with.
        here: how many the source has.
    """

    common: int
    here: int


async def walk(here: AsyncIterator[Sequence[bytes]], read: ReadSlice) -> Walk:
    """Compare up to the first line that differs, and go through the rest of the source's."""
    common = count = 0
    async for lines in here:
        if common == count:
            there = await read(count, count + len(lines))
            common += count_common(lines, there)
        count += len(lines)
    return Walk(common, count)


def count_common(here: Sequence[bytes], there: Sequence[bytes]) -> int:
    """Return how many lines both begin with."""
    if len(here) == len(there) and all(map(bytes.__eq__, here, there)):
        return len(here)
    pairs = enumerate(zip(here, there, strict=False))
    return next((index for index, (left, right) in pairs if left != right), min(len(here), len(there)))
