"""Finding the primary: the sentinels are asked in turn, and who they name must say itself that it is one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from sessionstore.sessions.redis import resp
from sessionstore.sessions.redis.connecting import Address, Dialer, Greeting
from sessionstore.sessions.redis.failures import Failure, failure_of
from sessionstore.sessions.redis.node import Dial, Lanes
from sessionstore.sessions.redis.resp import Refusal
from sessionstore.sessions.redis.wire import Wire

# What HELLO calls a primary. A server that does not answer HELLO is believed until it refuses a write.
_PRIMARY = ("master", "")


class Sentinels:
    """The sentinels that watch one set of servers."""

    fails_over = True

    def __init__(self, addresses: Sequence[Address], service: str, dialer: Dialer, timeout_s: float) -> None:
        """Prepare. `dialer` logs in to sentinels; `timeout_s` is for one answer of one of them."""
        self._lanes = {address: Lanes(_dial(dialer, address), 1, 1) for address in addresses}
        self._order = list(addresses)
        self._service = service
        self._timeout_s = timeout_s
        self._question = resp.pack(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service))

    async def find(self, data: Dialer) -> tuple[Address, Wire, Greeting]:
        """Connect to the primary. Raises: Failure, which says what each sentinel said."""
        said: list[str] = []
        tried: set[Address] = set()
        failure = Failure("there are no sentinels", "connection")
        for sentinel in tuple(self._order):
            data.check_open()
            try:
                address = await self._ask(sentinel)
                if address in tried:
                    continue
                tried.add(address)
                wire, greeting = await _primary_at(address, data)
            except Failure as met:
                failure = met
                said.append(f"{sentinel}: {met.text}")
                continue
            self._ask_first(sentinel)
            return address, wire, greeting
        text = f"no sentinel led to a primary of {self._service} ({'; '.join(said)})"
        raise Failure(text, failure.reason, code=failure.code)

    async def is_still(self, address: Address) -> bool:
        """Ask the first one that answers. Where none does, what works goes on."""
        for sentinel in tuple(self._order):
            with contextlib.suppress(Failure):
                return await self._ask(sentinel) == address
        return True

    def close(self) -> None:
        for lanes in self._lanes.values():
            lanes.close()

    async def _ask(self, sentinel: Address) -> Address:
        loop = asyncio.get_running_loop()
        wire = await self._lanes[sentinel].open(loop.time() + self._timeout_s)
        now = loop.time()
        answer = await wire.send(self._question, now, now + self._timeout_s)
        if type(answer) is Refusal:
            raise failure_of(answer)
        if answer is None:
            raise Failure(f"it watches no service {self._service}", "connection")
        return Address(answer[0].decode(), int(answer[1]))

    def _ask_first(self, sentinel: Address) -> None:
        """Next time begin with this one: one that is away costs its timeout."""
        self._order.remove(sentinel)
        self._order.insert(0, sentinel)


def _dial(dialer: Dialer, sentinel: Address) -> Dial:
    async def dial() -> Wire:
        wire, _ = await dialer.dial(sentinel)
        return wire

    return dial


async def _primary_at(address: Address, data: Dialer) -> tuple[Wire, Greeting]:
    wire, greeting = await data.dial(address)
    if greeting.role not in _PRIMARY:
        wire.close()
        raise Failure(f"{address} is named as the primary and says that it is a {greeting.role}", "readonly")
    return wire, greeting
