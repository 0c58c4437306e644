"""Which stores are due: a set of keys with a time each, and workers that take one at a time.

One key is never worked on twice at once. A trigger that comes while its key is being worked on is
kept, and the key is due again as soon as the work ends. Errors back off with jitter, per key.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

BACKOFF_FIRST_S = 1.0
BACKOFF_LAST_S = 120.0


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """Names one object of the kind that a queue is for."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Requeue:
    """When to look at an object again: `after_s` None waits for a trigger."""

    after_s: float | None

    @classmethod
    def never(cls) -> Requeue:
        return cls(None)


def backoff_s(failures: int, jitter: float) -> float:
    """Return seconds to wait after `failures` errors in a row; `jitter` is 0..1 and spreads by half."""
    return float(min(BACKOFF_LAST_S, BACKOFF_FIRST_S * 2 ** min(failures - 1, 20))) * (0.75 + jitter / 2)


class WorkQueue:
    """Keys that are due. Used from one event loop; `add` may be called at any time."""

    def __init__(self) -> None:
        self._due: dict[ObjectKey, float] = {}
        self._busy: set[ObjectKey] = set()
        self._failures: dict[ObjectKey, int] = {}
        self._changed = asyncio.Event()

    def add(self, key: ObjectKey, after_s: float = 0.0) -> None:
        """Make `key` due in `after_s` seconds, or earlier where it is due earlier already."""
        at = asyncio.get_running_loop().time() + after_s
        self._due[key] = min(at, self._due.get(key, at))
        self._changed.set()

    async def work(self, reconcile: Callable[[ObjectKey], Awaitable[Requeue]], workers: int) -> None:
        """Run `workers` workers until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._worker(reconcile))

    async def _worker(self, reconcile: Callable[[ObjectKey], Awaitable[Requeue]]) -> None:
        while True:
            key = await self._take()
            try:
                requeue = await reconcile(key)
            except BaseException:
                # Cancelled with the leadership: the next leader starts from a fresh list.
                self._busy.discard(key)
                raise
            self._busy.discard(key)
            self._changed.set()
            if requeue.after_s is not None:
                self.add(key, requeue.after_s)

    def failed(self, key: ObjectKey) -> Requeue:
        """Count a failure of `key`; return when to try again."""
        self._failures[key] = self._failures.get(key, 0) + 1
        return Requeue(backoff_s(self._failures[key], random.random()))  # noqa: S311 -- spreads load, guards nothing

    def succeeded(self, key: ObjectKey) -> None:
        """Forget the failures of `key`."""
        self._failures.pop(key, None)

    async def _take(self) -> ObjectKey:
        """Wait for a key that is due and that nobody works on; mark it busy."""
        loop = asyncio.get_running_loop()
        while True:
            ready = [(at, key) for key, at in self._due.items() if key not in self._busy]
            at, key = min(ready, default=(None, None))
            if at is not None and key is not None and at <= loop.time():
                del self._due[key]
                self._busy.add(key)
                return key
            self._changed.clear()
            delay = None if at is None else at - loop.time()
            try:
                async with asyncio.timeout(delay):
                    await self._changed.wait()
            except TimeoutError:
                continue
