"""Where a key's server is. One server, named or found by sentinels; Cluster is in cluster.py."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Protocol

from sessionstore.sessions.redis.connecting import Address, Dialer, Greeting
from sessionstore.sessions.redis.failures import Failure
from sessionstore.sessions.redis.node import Node
from sessionstore.sessions.redis.resp import Argument
from sessionstore.sessions.redis.wire import Wire


class Finder(Protocol):
    """Knows how to come to the one server that is to be used."""

    fails_over: bool

    async def find(self, dialer: Dialer) -> tuple[Address, Wire, Greeting]:
        """Connect to it. Raises: Failure."""

    async def is_still(self, address: Address) -> bool:
        """Whether it is the one at `address`, for all that can be learnt."""

    def close(self) -> None:
        """Let go of the connections that finding takes."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a command goes next."""

    node: Node
    asking: bool = False
    """The server takes the command only behind ASKING: it is still being given the key's slot."""


class Topology(Protocol):
    """Knows the servers.

    Attributes:
        fails_over: others may take over from a server that is lost, and this finds them.
        shards: keys are on several servers.
        epoch: grows with each connection to a server that there was none to: it may have been restarted, or replaced.
    """

    fails_over: bool
    shards: bool
    epoch: int

    def node(self, key: Argument | None) -> Node | None:
        """Return the server of `key`, as far as is known without asking. `None` is a key for any server."""

    async def route(self, key: Argument | None, failure: Failure | None, deadline: float) -> Route:
        """Find the server of `key` after `failure`. Raises: Failure."""

    def blame(self, node: Node, failure: Failure) -> None:
        """Note what a server did, so that the next `route` does not lead there again without a look."""

    def look(self) -> None:
        """See in passing whether the servers are still the ones; called about once a second while there is traffic."""

    def nodes(self) -> list[tuple[Address | None, Node]]:
        """Return the servers that are known, and where they are where that is known."""

    def close(self) -> None:
        """Close all connections."""


class Single:
    """One server at a time."""

    shards = False

    def __init__(self, finder: Finder, dialer: Dialer) -> None:
        """Prepare; nothing is connected yet."""
        self.fails_over = finder.fails_over
        self.epoch = 0
        self.address: Address | None = None
        self.greeting = Greeting()
        self._finder = finder
        self._looking: asyncio.Task[None] | None = None
        self._dialer = dialer
        self._node = Node(self._dial)

    def node(self, key: Argument | None) -> Node:
        return self._node

    async def route(self, key: Argument | None, failure: Failure | None, deadline: float) -> Route:
        return Route(self._node)

    def blame(self, node: Node, failure: Failure) -> None:
        if failure.code in _NOT_THE_ONE:
            self._node.drop()

    def look(self) -> None:
        if self.fails_over and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look())

    def nodes(self) -> list[tuple[Address | None, Node]]:
        return [(self.address, self._node)]

    def close(self) -> None:
        self._node.close()
        self._finder.close()
        if self._looking is not None:
            with contextlib.suppress(RuntimeError):
                self._looking.cancel()
            self._looking = None

    async def _look(self) -> None:
        """Leave a primary that is none any more: it may go on taking writes for seconds, which are then lost."""
        address = self.address
        if address is not None and not await self._finder.is_still(address) and self.address == address:
            self._node.drop()

    async def _dial(self) -> Wire:
        if self._node.shared.is_open and self.address is not None:
            wire, self.greeting = await self._dialer.dial(self.address)
            return wire
        self._dialer.check_open()
        self.address, wire, self.greeting = await self._finder.find(self._dialer)
        self.epoch += 1
        return wire


# Said by a server that is not, or no longer, the one for us, or does not know us any more.
_NOT_THE_ONE = frozenset({"READONLY", "NOREPLICAS", "MASTERDOWN", "UNBLOCKED", "NOAUTH", "WRONGPASS"})


@dataclass(frozen=True, slots=True)
class Named:
    """The server that the configuration names."""

    address: Address
    fails_over = False

    async def find(self, dialer: Dialer) -> tuple[Address, Wire, Greeting]:
        wire, greeting = await dialer.dial(self.address)
        return self.address, wire, greeting

    async def is_still(self, address: Address) -> bool:
        return True

    def close(self) -> None:
        pass
