"""Callers that go on while servers come and go, and remember what they were told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from sessionstore.sessions import Unavailable
from sessionstore.sessions.redis.client import Client


@dataclass
class Told:
    """What one caller was told."""

    done: int = 0
    pushed: dict[int, int] = field(default_factory=dict)
    """Number that was pushed and acknowledged -> the client's epoch when it was asked for."""
    unknown: set[int] = field(default_factory=set)
    """Numbers of which it was said that nobody knows."""


class Load:
    """Some callers, each with keys of its own: what may be repeated, and a list that may not."""

    def __init__(self, client: Client, prefixes: Sequence[str]) -> None:
        self.client = client
        self.callers = {prefix: Told() for prefix in prefixes}
        self.ending = False

    async def repeatable(self, prefix: str) -> None:
        """Write and read what may be repeated: whoever waits long enough meets no error."""
        told = self.callers[prefix]
        while not self.ending:
            await self.client.write("SET", f"{prefix}:value", told.done, again=True)
            found = await self.client.read("GET", f"{prefix}:value")
            # A primary that was lost may take its last writes with it: what comes back is an older value, never a
            # newer one and never somebody else's.
            assert found is None or int(found) <= told.done
            told.done += 1

    async def once(self, prefix: str) -> None:
        """Push numbers that must not be pushed twice."""
        told = self.callers[prefix]
        number = 0
        while not self.ending:
            number += 1
            epoch = self.client.epoch
            try:
                await self.client.write("RPUSH", f"{prefix}:list", number)
            except Unavailable as error:
                assert "not known" in str(error), error
                told.unknown.add(number)
            else:
                told.pushed[number] = epoch
            told.done += 1
            await asyncio.sleep(0.002)

    async def listed(self, prefix: str) -> list[int]:
        return [int(number) for number in await self.client.read("LRANGE", f"{prefix}:list", 0, -1)]

    async def wait_until_all_go_on(self, more: int = 20) -> None:
        """Return when each caller has done `more` than now."""
        goals = {prefix: told.done + more for prefix, told in self.callers.items()}
        await until(lambda: all(self.callers[prefix].done >= goal for prefix, goal in goals.items()))


@contextlib.asynccontextmanager
async def under_load(client: Client, prefixes: Sequence[str]) -> AsyncIterator[Load]:
    """Let callers work until the end of the block; an error of one is raised there."""
    load = Load(client, prefixes)
    async with asyncio.TaskGroup() as group:
        for prefix in prefixes:
            group.create_task(load.repeatable(prefix))
            group.create_task(load.once(prefix))
        await load.wait_until_all_go_on()
        yield load
        load.ending = True


async def until(look: Callable[[], bool], seconds: float = 90) -> None:
    """Wait for something to be so."""
    async with asyncio.timeout(seconds):
        while not look():
            await asyncio.sleep(0.01)
