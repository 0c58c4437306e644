"""Waiting for streams to have something new, without taking a connection from those who do not wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sessionstore.sessions.exceptions import Unreadable
from sessionstore.sessions.redis.attempts import Attempts
from sessionstore.sessions.redis.failures import Failure, failure_of
from sessionstore.sessions.redis.resp import Argument, Refusal, pack
from sessionstore.sessions.redis.topology import Topology

FIRST_POLL_S = 0.02
LONGEST_POLL_S = 0.25
"""A change in a Cluster waits this long at most for who follows; 64 streams cost 256 reads a second then."""

Answer = list[tuple[str, list[Any]]]
ReadMany = Callable[[Sequence[tuple[Argument, ...]]], Awaitable[list[Any]]]


@dataclass(frozen=True, slots=True)
class Question:
    """Is there anything in `streams` (key -> id) behind those ids, within so many seconds?"""

    streams: Mapping[str, Argument]
    seconds: float
    count: int

    async def block(self, topology: Topology, timeout_s: float, patience_s: float) -> Answer:
        """Ask one server, which answers when there is something. Raises: Failure."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.seconds
        attempts = Attempts(end + patience_s, loop, fails_over=topology.fails_over)
        failure: Failure | None = None
        while True:
            try:
                route = await topology.route(next(iter(self.streams)), failure, end + patience_s)
                async with route.node.alone() as wire:
                    now = loop.time()
                    left = max(end - now, 0.001)
                    answer = await wire.send(self._packed(left), now, now + left + timeout_s)
                if type(answer) is not Refusal:
                    return [(name.decode(), entries) for name, entries in answer or ()]
                failure = failure_of(answer)
                topology.blame(route.node, failure)
            except Failure as met:
                failure = met
            await attempts.before_another(failure, again=True)

    def _packed(self, left_s: float) -> bytes:
        options = ("XREAD", "COUNT", self.count, "BLOCK", max(1, round(left_s * 1000)), "STREAMS")
        return pack((*options, *self.streams, *self.streams.values()))

    async def poll(self, read_many: ReadMany) -> Answer:
        """Ask all servers from time to time. Raises: Unavailable, Unreadable."""
        loop = asyncio.get_running_loop()
        end, pause = loop.time() + self.seconds, FIRST_POLL_S
        commands = [("XREAD", "COUNT", self.count, "STREAMS", name, last) for name, last in self.streams.items()]
        while True:
            found = [_stream_of(answer) for answer in await read_many(commands) if answer]
            left = end - loop.time()
            if found or left <= 0:
                return found
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, LONGEST_POLL_S)


def _stream_of(answer: Any) -> tuple[str, list[Any]]:
    if isinstance(answer, Unreadable):
        raise answer
    name, entries = answer[0]
    return name.decode(), entries
