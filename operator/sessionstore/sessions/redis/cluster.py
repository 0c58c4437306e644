"""Redis Cluster: which server keeps a key's slot, learnt from any of them and corrected by those who know better."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from sessionstore.sessions.redis import resp
from sessionstore.sessions.redis.connecting import Address, Dialer
from sessionstore.sessions.redis.failures import Failure, closed, failure_of
from sessionstore.sessions.redis.node import Node
from sessionstore.sessions.redis.resp import Argument, Refusal
from sessionstore.sessions.redis.topology import Route
from sessionstore.sessions.redis.wire import Wire

_QUESTION = resp.pack(("CLUSTER", "SLOTS"))
_REFUSED_LOGIN = frozenset({"NOAUTH", "WRONGPASS"})


class Cluster:
    """The servers of one Redis Cluster."""

    fails_over = True
    shards = True

    def __init__(self, seeds: Sequence[Address], dialer: Dialer, timeout_s: float) -> None:
        """Prepare. `timeout_s` is for one server's answer to the question who keeps what."""
        self.epoch = 0
        self._seeds = list(seeds)
        self._dialer = dialer
        self._timeout_s = timeout_s
        self._known: dict[Address, Node] = {}
        self._slots: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._learning: asyncio.Task[None] | None = None
        self._asked = -1

    def node(self, key: Argument | None) -> Node | None:
        if key is None:
            return next(iter(self._known.values()), None)
        return self._slots[_slot_of(key)]

    async def route(self, key: Argument | None, failure: Failure | None, deadline: float) -> Route:
        if failure is not None and failure.code == "ASK":
            return Route(self._at(_pointed_to(failure)), asking=True)
        if failure is not None and failure.code == "MOVED":
            # The whole map is learnt again beside: where one slot went, others go.
            self._slots[int(failure.text.split(" ")[1])] = self._at(_pointed_to(failure))
            self._learn_soon()
        elif failure is not None and failure.code not in _STEADY:
            await self._learn(deadline)
        if self.node(key) is None:
            await self._learn(deadline)
        node = self.node(key)
        if node is None:
            raise Failure("no server of the cluster keeps this key's slot", "loading", code="CLUSTERDOWN")
        return Route(node)

    def blame(self, node: Node, failure: Failure) -> None:
        failure.host = node.host
        if failure.code in _REFUSED_LOGIN:
            node.drop()

    def look(self) -> None:
        """Do nothing: a server that keeps a slot no more says so to whoever asks for one of its keys."""

    def nodes(self) -> list[tuple[Address | None, Node]]:
        """Return the primaries."""
        keeping = {id(node) for node in self._slots if node is not None}
        return [(address, node) for address, node in self._known.items() if id(node) in keeping]

    def close(self) -> None:
        for node in self._known.values():
            node.close()
        if self._learning is not None:
            with contextlib.suppress(RuntimeError):
                self._learning.cancel()
            self._learning = None

    # -- the map --------------------------------------------------------------------------------

    def _at(self, address: Address) -> Node:
        if address not in self._known:
            self._known[address] = self._make(address)
        return self._known[address]

    def _make(self, address: Address) -> Node:
        async def dial() -> Wire:
            wire, _ = await self._dialer.dial(address)
            if not node.shared.is_open:
                self.epoch += 1
            return wire

        node = Node(dial, address.host)
        return node

    def _learn_soon(self) -> asyncio.Task[None]:
        if self._learning is None or self._learning.done():
            self._learning = asyncio.create_task(self._learn_from_any())
            self._learning.add_done_callback(_look_at)
        return self._learning

    async def _learn(self, deadline: float) -> None:
        """Learn the map; all who need it wait for the same. Raises: Failure."""
        learning = self._learn_soon()
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.wait([learning])
        except TimeoutError as error:
            raise Failure("the cluster's map could not be learnt in time", "timeout") from error
        if learning.cancelled():
            raise closed()
        learning.result()

    async def _learn_from_any(self) -> None:
        said: list[str] = []
        failure = Failure("there are no servers", "connection")
        for address in self._to_ask():
            try:
                self._take_in(await self._ask(address), address)
            except Failure as met:
                failure = met
                said.append(f"{address}: {met.text}")
            else:
                return
        text = f"no server told who keeps what ({'; '.join(said)})"
        raise Failure(text, failure.reason, code=failure.code)

    def _to_ask(self) -> list[Address]:
        """Return each server once, and begin with another one each time: one that is cut off tells an old map."""
        addresses = list(dict.fromkeys([*self._known, *self._seeds]))
        self._asked += 1
        first = self._asked % len(addresses)
        return addresses[first:] + addresses[:first]

    async def _ask(self, address: Address) -> list[Any]:
        loop = asyncio.get_running_loop()
        wire = await self._at(address).shared.open(loop.time() + self._timeout_s)
        now = loop.time()
        answer = await wire.send(_QUESTION, now, now + self._timeout_s)
        if type(answer) is Refusal:
            raise failure_of(answer)
        assert isinstance(answer, list)
        return answer

    def _take_in(self, ranges: Iterable[Any], asked: Address) -> None:
        slots: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, primary, *_ in ranges:
            # A server that does not know its own name sends none: it is the one that was asked.
            host = primary[0].decode() if primary[0] not in (None, b"", b"?") else asked.host
            slots[first : last + 1] = [self._at(Address(host, primary[1]))] * (last + 1 - first)
        self._slots = slots
        keeping = {id(node) for node in slots}
        for address, node in list(self._known.items()):
            if id(node) not in keeping and not node.shared.is_open:
                del self._known[address]


# Refusals that say nothing about who keeps what.
_STEADY = frozenset({"NOAUTH", "WRONGPASS", "TRYAGAIN", "LOADING", "BUSY"})


def _slot_of(key: Argument) -> int:
    if isinstance(key, str):
        return key_slot(key.encode())
    return key_slot(key if isinstance(key, bytes) else b"%d" % key)


def _pointed_to(failure: Failure) -> Address:
    """Read `MOVED 3999 127.0.0.1:6381`; without a host it is the one of the server that says so."""
    host, _, port = failure.text.split(" ")[2].rpartition(":")
    return Address(host or failure.host, int(port))


def _look_at(task: asyncio.Task[None]) -> None:
    """Take the error where nobody waits for the map; the next command that needs it meets it again."""
    if not task.cancelled():
        task.exception()
