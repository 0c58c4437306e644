"""Lines as the store has them, a slice at a time, and both sides of a session walked in step.

Slices are chosen by size: a transcript may have lines of megabytes (images) or a million short ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

from sessionstore.sessions.record import SessionKey
from sessionstore.sessions.store import Store

SLICE_BYTES = 4 * 1024 * 1024
SLICE_LINES = 1000
_FIRST_SLICE = 32

ReadSlice = Callable[[int, int], Awaitable[Sequence[bytes]]]
Lines = AsyncIterator[bytes]


def of_session(store: Store, key: SessionKey) -> Lines:
    """Go through the lines of a session's current transcript; none where there is none."""

    async def read(start: int, stop: int) -> Sequence[bytes]:
        found = await store.read(key, start, stop)
        return found.lines if found else ()

    return _go_through(read)


def of_archive(store: Store, agent: str, name: str) -> Lines:
    """Go through the lines of an archive; none where there is none."""

    async def read(start: int, stop: int) -> Sequence[bytes]:
        return await store.read_archive(agent, name, start, stop) or ()

    return _go_through(read)


async def nothing() -> Lines:
    """Go through no lines: the store has none that could be compared."""
    lines: tuple[bytes, ...] = ()
    for line in lines:
        yield line


async def in_step(here: Iterator[bytes], there: Lines) -> AsyncIterator[tuple[bytes | None, bytes | None]]:
    """Go through both at once; the shorter one gives None where it has ended."""
    while True:
        pair = next(here, None), await anext(there, None)
        if pair == (None, None):
            return
        yield pair


async def count_common(here: Iterator[bytes], there: Lines) -> tuple[int, int]:
    """Return how many lines both begin with, and how many `here` has."""
    common = count = 0
    async for left, right in in_step(here, there):
        if left is None:
            break
        common += left == right and common == count
        count += 1
        if common < count:
            return common, count + sum(1 for _ in here)
    return common, count


def batches(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Group lines so that one group is written in one call."""
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and (size + len(line) > SLICE_BYTES or len(batch) == SLICE_LINES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield batch


async def _go_through(read: ReadSlice) -> Lines:
    start, count = 0, _FIRST_SLICE
    while lines := await read(start, start + count):
        for line in lines:
            yield line
        if len(lines) < count:
            return
        start += count
        mean = sum(map(len, lines)) // count + 1
        count = max(1, min(SLICE_LINES, SLICE_BYTES // mean))
