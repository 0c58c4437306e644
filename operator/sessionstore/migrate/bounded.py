"""Works on many things, some at a time, without holding them all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

WIDTH = 16
"""Sessions at a time. More does not copy faster from one Redis, and each may hold a slice of lines in memory."""

T = TypeVar("T")


async def for_each(items: Iterable[T], work: Callable[[T], Awaitable[None]], width: int = WIDTH) -> None:
    """Carry out `work` for each of `items`, at most `width` at once; the first error ends the rest.

    `items` is advanced only when there is room, so a generator over a large source stays lazy.
    """
    room = asyncio.Semaphore(width)

    async def one(item: T) -> None:
        try:
            await work(item)
        finally:
            room.release()

    try:
        async with asyncio.TaskGroup() as group:
            for item in items:
                await room.acquire()
                group.create_task(one(item))
    except BaseExceptionGroup as errors:
        # Which of several workers failed first is all that a caller can act on.
        raise errors.exceptions[0] from None
