"""Speaking to Redis: routes, deadlines, retries, scripts, and errors in our words.

The one place that retries. Only the store above calls this; no driver type or error leaves it. Answers are RESP2's:
`bytes`, `int`, `None` and lists of them, and a dict of `bytes` for HGETALL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from sessionstore.sessions.config import SessionStorage
from sessionstore.sessions.exceptions import Unavailable, Unreadable
from sessionstore.sessions.record import Health
from sessionstore.sessions.redis import connecting, topologies, waits
from sessionstore.sessions.redis.attempts import Attempts
from sessionstore.sessions.redis.failures import Failure, Manner, failure_of, manner_of, translate
from sessionstore.sessions.redis.resp import Argument, Refusal, pack, pack_all
from sessionstore.sessions.redis.script import Script
from sessionstore.sessions.redis.server_clock import ServerClock
from sessionstore.sessions.redis.topology import Route
from sessionstore.sessions.redis.wire import Wire

__all__ = ["Argument", "Client", "Script"]

CHORES_EVERY_S = 1.0
"""A primary that was replaced without its knowledge is used for this long at most, while somebody uses it."""
_ASKING = pack(("ASKING",))
_TIME = pack(("TIME",))

Command = tuple[Argument, ...]
Call = tuple[Sequence[str], Sequence[Argument]]
"""Keys and arguments of a script."""
Alone = Callable[[int], Awaitable[Any]]


class _Request:
    """What is sent, and what may be done when no answer comes.

    A plain class: a frozen dataclass takes three times as long to make, and one is made for each command.

    Attributes:
        count: the number of answers of a batch; None for a single command.
        again: sending it twice does what sending it once does.
    """

    __slots__ = ("again", "count", "key", "packed")

    def __init__(self, packed: bytes, key: Argument | None, count: int | None, again: bool) -> None:
        self.packed = packed
        self.key = key
        self.count = count
        self.again = again


class Client:
    """The servers of one configuration. For one event loop at a time."""

    def __init__(self, config: SessionStorage) -> None:
        """Prepare to connect; the first call does. Raises: ConfigurationError."""
        self._config = config
        self._timeout = config.operation_timeout
        self._clock = ServerClock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._chores_at = 0.0
        self._brought: dict[str, int] = {}  # the name of a script -> the epoch in which `run_many` brought it last
        self._dialer = connecting.Dialer(config, connecting.data_login(config), self._clock, config.redis_db)
        self._topology = topologies.make(config, self._dialer)
        fails_over = self._topology.fails_over
        self._patience = max(config.failover_timeout, self._timeout) if fails_over else self._timeout

    @property
    def epoch(self) -> int:
        """Grows whenever a server may be another one, or an emptied one: look again at what you looked at once."""
        return self._topology.epoch

    def now_ms(self) -> int:
        """Return the server's clock, without a round trip; the local one until a first connection is made."""
        return self._clock.now_ms()

    async def close(self) -> None:
        """Let go of all connections, and make no others. Calls that are under way end with Unavailable."""
        self._dialer.close()
        self._topology.close()
        # Transports finish in the next turn of the loop.
        await asyncio.sleep(0)

    async def read(self, *command: Argument) -> Any:
        """Run one command that changes nothing; it may be sent again. Raises: Unavailable, Unreadable."""
        answer = await self._answer(_Request(pack(command), _key_of(command), None, True), writes=False)
        return _pairs(answer) if command[0] == "HGETALL" else answer

    async def write(self, *command: Argument, again: bool = False) -> Any:
        """Run one command that changes something. Raises: Unavailable, Unreadable.

        Args:
            again: doing it twice is doing it once, so it may be repeated when no answer comes. Otherwise it is sent
                again only where it certainly was not carried out.
        """
        return await self._answer(_Request(pack(command), _key_of(command), None, again), writes=True)

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument], *, writes: bool, again: bool = False
    ) -> list[Any]:
        """Run a script. `again` as for `write`. Raises: Unavailable; Unreadable when a key is of another type."""
        operands = (len(keys), *keys, *args)
        again = again or not writes
        try:
            found = await self._ask(_Request(pack(("EVALSHA", script.sha, *operands)), keys[0], None, again))
        except Failure as failure:
            if failure.code != "NOSCRIPT":
                raise self._translate(failure, writes) from failure
            # A server that was restarted, or failed over, knows no scripts. Nothing was run, so writes may come again.
            found = await self._answer(_Request(pack(("EVAL", script.text, *operands)), keys[0], None, again), writes)
        assert isinstance(found, list)
        return found

    async def run_many(self, script: Script, calls: Sequence[Call], *, writes: bool) -> list[Any]:
        """Run a script several times, each for itself; otherwise as `read_many`.

        Where it is not known what became of some of them, Unavailable says so of all.
        """
        commands = [("EVALSHA", script.sha, len(keys), *keys, *args) for keys, args in calls]
        epoch = self.epoch
        if calls and self._brought.get(script.sha) != epoch:
            # The first brings the script along, and those behind it on the same way find it.
            commands[0] = ("EVAL", script.text, *commands[0][2:])

        async def alone(index: int) -> Any:
            return await self.run(script, *calls[index], writes=writes)

        found = await self._many(commands, [keys[0] for keys, _ in calls], alone, writes=writes)
        self._brought[script.sha] = epoch
        return found

    async def read_many(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands that change nothing; an error of one stands in its place as Unreadable. Raises: Unavailable.

        One round trip for each server that has to do with it, to all of them at once.
        """

        async def alone(index: int) -> Any:
            command = commands[index]
            return await self._answer(_Request(pack(command), _key_of(command), None, True), writes=False)

        found = await self._many(commands, [_key_of(command) for command in commands], alone, writes=False)
        return [
            _pairs(answer) if command[0] == "HGETALL" and isinstance(answer, list) else answer
            for command, answer in zip(commands, found, strict=True)
        ]

    async def wait_for_any(
        self, streams: Mapping[str, Argument], seconds: float, *, count: int = 1000
    ) -> list[tuple[str, list[Any]]]:
        """Wait until one of `streams` has entries behind its id, for `seconds` at most.

        One server holds one question open for all streams, on a connection apart. Several servers are asked again and
        again, all streams of one in a round trip: a question over several slots is refused, and one connection for
        each slot would be many.

        Args:
            streams: key -> id behind which to read.
            count: entries of one stream at most.
        Returns: (key, [[id, [field, value, …]], …]) of each stream that has some; nothing when the time is over.
        Raises: Unavailable, Unreadable.
        """
        question = waits.Question(streams, seconds, count)
        if self._topology.shards:
            return await question.poll(self.read_many)
        try:
            return await question.block(self._topology, self._timeout, self._patience)
        except Failure as failure:
            raise self._translate(failure, False) from failure

    async def health(self) -> Health:
        """Say in words whether the servers can be used. Raises nothing of what it looks for."""
        from sessionstore.sessions.redis import health  # noqa: PLC0415

        return await health.look(self._topology, self._config, topologies.spelled(self._config))

    # -- the inner workings ---------------------------------------------------------------------

    async def _answer(self, request: _Request, writes: bool) -> Any:
        try:
            return await self._ask(request)
        except Failure as failure:
            raise self._translate(failure, writes) from failure

    async def _ask(self, request: _Request) -> Any:
        """Return the answer. The way that nearly every command takes has no branch for failures in it.

        Raises: Failure.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._settle(loop)
        began = loop.time()
        node = self._topology.node(request.key)
        wire = None if node is None else node.lanes(len(request.packed)).pick()
        failure = None
        if wire is not None and node is not None:
            if began > self._chores_at:
                self._do_chores(wire, began)
            try:
                answer = await wire.send(request.packed, began, began + self._timeout, request.count)
                if type(answer) is not Refusal:
                    return answer
                failure = failure_of(answer)
            except Failure as lost:
                failure = lost
            self._topology.blame(node, failure)
        return await self._persist(request, failure, began + self._patience)

    async def _persist(self, request: _Request, failure: Failure | None, deadline: float) -> Any:
        """Go again for as long as that can do no harm and there is time. Raises: Failure."""
        assert self._loop is not None
        attempts = Attempts(deadline, self._loop, fails_over=self._topology.fails_over)
        while True:
            if failure is not None:
                await attempts.before_another(failure, again=request.again)
            try:
                route = await self._topology.route(request.key, failure, deadline)
                answer = await self._send(route, request, deadline)
            except Failure as met:
                failure = met
                continue
            if type(answer) is not Refusal:
                return answer
            failure = failure_of(answer)
            self._topology.blame(route.node, failure)

    async def _send(self, route: Route, request: _Request, deadline: float) -> Any:
        assert self._loop is not None
        wire = await route.node.lanes(len(request.packed)).open(deadline)
        now = self._loop.time()
        end = min(now + self._timeout, deadline)
        try:
            if route.asking:
                answers = await wire.send(_ASKING + request.packed, now, end, 2)
                return answers[1]
            return await wire.send(request.packed, now, end, request.count)
        except Failure as failure:
            self._topology.blame(route.node, failure)
            raise

    def _settle(self, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to `loop` from now on; connections are of the one they were made in."""
        if self._loop is not None:
            if self._loop.is_running():
                raise RuntimeError("a store is used from one event loop; open another one for this loop")
            self._topology.close()
        self._loop = loop
        self._chores_at = loop.time() + CHORES_EVERY_S

    def _do_chores(self, wire: Wire, now: float) -> None:
        """See to what should be looked at from time to time, while there is traffic; nobody waits for it."""
        self._chores_at = now + CHORES_EVERY_S
        self._topology.look()
        if now > self._clock.due_at:
            self._measure(wire, now)

    def _measure(self, wire: Wire, now: float) -> None:
        """Ask for the time in passing."""
        self._clock.due_at = now + self._timeout

        def told(time: asyncio.Future[Any]) -> None:
            if not time.cancelled() and time.exception() is None and isinstance(time.result(), list):
                self._clock.set(time.result(), wire.loop.time())

        wire.send(_TIME, now, now + self._timeout).add_done_callback(told)

    async def _many(
        self, commands: Sequence[Command], keys: Sequence[Argument | None], alone: Alone, *, writes: bool
    ) -> list[Any]:
        """Run commands, a round trip for each server; `alone` runs one of them by itself. Raises: Unavailable."""
        groups = await self._by_node(keys)
        batches = [
            self._answer(
                _Request(pack_all([commands[index] for index in group]), keys[group[0]], len(group), not writes), writes
            )
            for group in groups
        ]
        found: list[Any] = [None] * len(commands)
        # All of them come to their end before the first error is told: no write goes on behind its caller's back.
        for group, answers in zip(groups, await asyncio.gather(*batches, return_exceptions=True), strict=True):
            if isinstance(answers, BaseException):
                raise answers
            for index, answer in zip(group, answers, strict=True):
                found[index] = await self._in_place(index, answer, alone, writes) if type(answer) is Refusal else answer
        return found

    async def _by_node(self, keys: Sequence[Argument | None]) -> list[list[int]]:
        """Return the positions of keys that one server keeps, server by server."""
        if not self._topology.shards or not keys:
            return [list(range(len(keys)))] if keys else []
        if self._topology.node(keys[0]) is None:
            # Any command makes the map known.
            await self._answer(_Request(_TIME, keys[0], None, True), writes=False)
        groups: dict[int, list[int]] = {}
        for index, key in enumerate(keys):
            groups.setdefault(id(self._topology.node(key)), []).append(index)
        return list(groups.values())

    async def _in_place(self, index: int, answer: Refusal, alone: Alone, writes: bool) -> Any:
        """Return what stands in the place of an answer that was refused. Raises: Unavailable."""
        failure = failure_of(answer)
        try:
            if (
                failure.code == "NOSCRIPT"
                or manner_of(failure, fails_over=self._topology.fails_over) is not Manner.RAISE
            ):
                # The batch reached a server that does not keep this key any more, or not yet, or that does not know
                # the script: alone it finds its way. None of these was carried out.
                return await alone(index)
        except Unreadable as error:
            return error
        translated = self._translate(failure, writes)
        if isinstance(translated, Unreadable):
            return translated
        raise translated

    def _translate(self, failure: Failure, writes: bool) -> Unavailable | Unreadable:
        return translate(failure, topologies.spelled(self._config), writes=writes)


def _key_of(command: Command) -> Argument | None:
    if command[0] == "XREAD":
        return command[command.index("STREAMS") + 1]
    return command[1] if len(command) > 1 else None


def _pairs(answer: Any) -> dict[bytes, bytes]:
    return dict(zip(answer[::2], answer[1::2], strict=True))
