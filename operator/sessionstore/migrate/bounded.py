"""Works on many things, some at a time, without holding them all: neither their number nor their bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

WIDTH = 16
"""Groups at a time. More does not copy faster over one connection, and each may hold a batch of lines in memory."""
GROUP = 100
"""Things of a group: they are asked for in one round trip, and a task is made for all of them."""
GROUP_BYTES = 1024 * 1024
ROOM_BYTES = 12 * 1024 * 1024
"""Of lines in memory at a time, and a batch more. Each is there several times: read, packed, on its way."""

T = TypeVar("T")


async def for_each(items: AsyncIterable[T], work: Callable[[T], Awaitable[None]], width: int = WIDTH) -> None:
    """Carry out `work` for each of `items`, at most `width` at once; the first error ends the rest.

    `items` is advanced only when there is room, so a generator over a large source stays lazy.
    """
    free = asyncio.Semaphore(width)

    async def one(item: T) -> None:
        try:
            await work(item)
        finally:
            free.release()

    try:
        async with asyncio.TaskGroup() as group:
            async for item in items:
                await free.acquire()
                group.create_task(one(item))
    except BaseExceptionGroup as errors:
        # Which of several workers failed first is all that a caller can act on.
        raise errors.exceptions[0] from None


async def groups(items: AsyncIterable[T], size_of: Callable[[T], int]) -> AsyncIterator[list[T]]:
    """Gather things into groups of a bounded number and size."""
    group: list[T] = []
    size = 0
    async for item in items:
        group.append(item)
        size += size_of(item)
        if len(group) == GROUP or size > GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


async def of(items: Iterable[T]) -> AsyncIterator[T]:
    """Go through what is at hand, as through what has to be waited for."""
    for item in items:
        yield item


class Room:
    """How many bytes may be in memory at once. Who comes when it is full waits; nobody waits while holding any."""

    def __init__(self, limit: int = ROOM_BYTES) -> None:
        self._limit, self._held = limit, 0
        self._freed = asyncio.Event()

    async def wait(self) -> None:
        """Wait until there is room."""
        while self._held >= self._limit:
            self._freed.clear()
            await self._freed.wait()

    def take(self, size: int) -> int:
        """Say that `size` bytes were read; return them."""
        self._held += size
        return size

    def give_back(self, size: int) -> int:
        """Say that they are gone; return 0."""
        self._held -= size
        if size and self._held < self._limit:
            self._freed.set()
        return 0
