"""Threads for what waits: for a disk, or for a lock that another process may keep for long.

Not those of `asyncio.to_thread`, which the event loop's own look-ups and the gateway's work need as well. Who reads and
who writes do not share theirs: where a stopped process keeps a lock, writers pile up behind it, and readers go on.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar
from weakref import WeakKeyDictionary

from sessionstore.sessions import plainfiles

SIZE = 32
"""Threads of a pool, at most; they are made as they are needed, and end with their event loop."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Pools:
    readers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(SIZE, "sessionstore-reader"))
    writers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(SIZE, "sessionstore-writer"))


class Threads:
    """The threads of one store. Each event loop has its own, so that a store may be made before a fork."""

    def __init__(self) -> None:
        """Start none yet."""
        self._pools: WeakKeyDictionary[AbstractEventLoop, _Pools] = WeakKeyDictionary()

    async def do(self, work: Callable[[], T], *, writes: bool) -> T:
        """Do a piece of work. Locks that it waits for count from now, and not from when a thread is free for it."""
        loop, context, asked = asyncio.get_running_loop(), contextvars.copy_context(), time.monotonic()
        pools = self._pools.get(loop)
        if pools is None:
            pools = self._pools[loop] = _Pools()
        pool = pools.writers if writes else pools.readers
        return await loop.run_in_executor(pool, lambda: context.run(_counted, work, asked))


def _counted(work: Callable[[], T], asked: float) -> T:
    plainfiles.waited_s.set(time.monotonic() - asked)
    return work()
