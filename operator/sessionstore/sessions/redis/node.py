"""One server and the connections to it: a few that all share, a few for what is large, and one for each long wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from sessionstore.sessions.redis.failures import OUT_OF_TIME, Failure, closed
from sessionstore.sessions.redis.wire import Wire

SHARED_WIRES = 4
BUSY = 64
"""Commands under way on a connection before another one is opened, or used. One write and one read carry as many."""
LARGE_WIRES = 2
LARGE_BYTES = 256 * 1024
"""A command above this has connections apart: it would hold up all that are behind it."""

Dial = Callable[[], Awaitable[Wire]]


class Lanes:
    """Up to `most` connections to one server that share what they carry. Nobody is refused: a full one takes more."""

    def __init__(self, dial: Dial, most: int, busy: int) -> None:
        """Prepare. `dial` makes a connection and raises Failure; beyond `busy` commands on one, another is made."""
        self._dial = dial
        self._most = most
        self._busy = busy
        self._wires: list[Wire] = []
        self._opening: asyncio.Task[Wire] | None = None

    @property
    def is_open(self) -> bool:
        return bool(self._wires)

    def pick(self) -> Wire | None:
        """Return the connection for the next command; None when there is none."""
        for wire in self._wires:
            if wire.load < self._busy and not wire.is_receiving_much:
                return wire
        if self._wires and len(self._wires) < self._most:
            self._open_another()
        return min(self._wires, key=_load, default=None)

    async def open(self, deadline: float) -> Wire:
        """Return a connection, made now if there is none; all who wait for one wait for the same. Raises: Failure."""
        if (wire := self.pick()) is not None:
            return wire
        opening = self._open_another()
        try:
            async with asyncio.timeout_at(deadline):
                # Whoever gives up must not take the connection from the others.
                await asyncio.wait([opening])
        except TimeoutError as error:
            raise Failure(OUT_OF_TIME, "timeout") from error
        if opening.cancelled():
            raise closed()
        return opening.result()

    def drop(self) -> None:
        """Use no connection any more that there is now; what is under way on them is still answered."""
        for wire in self._wires:
            wire.finish()
        self._wires.clear()

    def close(self) -> None:
        """Close all connections, also one that is being made."""
        for wire in self._wires:
            # The loop that they belong to may be closed; then they are as well, and cannot say so any more.
            with contextlib.suppress(RuntimeError):
                wire.close(closed())
        self._wires.clear()
        if self._opening is not None:
            with contextlib.suppress(RuntimeError):
                self._opening.cancel()
            self._opening = None

    def _open_another(self) -> asyncio.Task[Wire]:
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(_look_at)
        return self._opening

    async def _open(self) -> Wire:
        wire = await self._dial()
        if wire.is_closed:
            raise Failure("the connection was lost as soon as it was made", "connection")
        wire.on_lost = self._forget
        self._wires.append(wire)
        return wire

    def _forget(self, wire: Wire) -> None:
        if wire in self._wires:
            self._wires.remove(wire)


class Node:
    """One server."""

    def __init__(self, dial: Dial, host: str = "") -> None:
        """Prepare; `dial` makes a connection and raises Failure."""
        self.host = host
        self.shared = Lanes(dial, SHARED_WIRES, BUSY)
        self._large = Lanes(dial, LARGE_WIRES, 1)
        self._dial = dial
        self._resting: list[Wire] = []  # connections for long waits that nobody waits on
        self._lent: set[Wire] = set()  # those that somebody waits on

    def lanes(self, size: int) -> Lanes:
        """Return the connections for a command of `size` bytes."""
        return self._large if size > LARGE_BYTES else self.shared

    def drop(self) -> None:
        """Use no connection any more that there is now; what is under way on them is still answered."""
        self.shared.drop()
        self._large.drop()
        for wire in self._resting:
            wire.finish()
        self._resting.clear()

    def close(self) -> None:
        """Close all connections, also those that are being made."""
        self.shared.close()
        self._large.close()
        for wire in (*self._resting, *self._lent):
            with contextlib.suppress(RuntimeError):
                wire.close(closed())
        self._resting.clear()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[Wire]:
        """Lend a connection that nobody else uses. Raises: Failure."""
        wire = self._resting.pop() if self._resting else await self._dial()
        self._lent.add(wire)
        try:
            yield wire
        except BaseException:
            # An answer may still come on it: it is not one for the next who waits.
            wire.close()
            raise
        finally:
            self._lent.discard(wire)
        if not wire.is_closed:
            wire.on_lost = self._forget
            self._resting.append(wire)

    def _forget(self, wire: Wire) -> None:
        if wire in self._resting:
            self._resting.remove(wire)


def _load(wire: Wire) -> int:
    return wire.load


def _look_at(task: asyncio.Task[Wire]) -> None:
    """Take the error of a connection that nobody waits for any more; the next command meets it again."""
    if not task.cancelled():
        task.exception()
