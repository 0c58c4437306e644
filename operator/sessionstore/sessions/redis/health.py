"""What is wrong with the servers, in words, with no more rights than a gateway has.

HELLO tells role, mode and version to anybody who may log in. Whether writes are taken is tried by one that changes
nothing: no index has a member named "", so ZADD XX neither adds nor creates anything.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sessionstore.sessions import layout
from sessionstore.sessions.config import SessionStorage
from sessionstore.sessions.record import Health
from sessionstore.sessions.redis import resp
from sessionstore.sessions.redis.connecting import Address, Greeting, greeting_of
from sessionstore.sessions.redis.failures import Failure, failure_of
from sessionstore.sessions.redis.node import Node
from sessionstore.sessions.redis.resp import Refusal
from sessionstore.sessions.redis.topology import Topology

_WHAT_TO_DO = {
    "auth": "check the user name, and that the password file is the one of this server",
    "permission": "give its user the rights of sessionstore.sessions.layout.GATEWAY_COMMANDS on its keyspace",
    "readonly": "see which server is the primary, and whether its disk is full",
    "full": "raise the server's maxmemory, or delete sessions",
    "loading": "wait until it is ready, and see its log if it is not soon",
    "timeout": "see whether the server is overloaded or hangs, and the network between",
    "connection": "see whether the server runs, and that host, port and TLS are right",
}


@dataclass(frozen=True, slots=True)
class _Seen:
    """One server that is well."""

    address: Address | None
    greeting: Greeting
    latency_ms: float


async def look(topology: Topology, config: SessionStorage, where: str) -> Health:
    """Look at each server that would be written to, once and without patience. `where` names them in the message."""
    facts = [("topology", _name_of(config))]
    loop = asyncio.get_running_loop()
    probes = [layout.KeyNames(config.keyspace).index(bucket) for bucket in range(layout.BUCKETS)]
    seen: list[_Seen] = []
    try:
        deadline = loop.time() + config.operation_timeout
        await topology.route(probes[0], None, deadline)
        for address, node in topology.nodes():
            key = next((key for key in probes if topology.node(key) is node), None)
            seen.append(await _look_at(node, address, key, deadline))
    except Failure as failure:
        hint = _WHAT_TO_DO[failure.reason]
        return Health(False, f"{where}: {failure.text.rstrip('.')}; {hint}", failure.reason, None, (*facts,))
    # A server that was not connected to yet has an address only now.
    addresses = {id(node): str(address) for address, node in topology.nodes()}
    facts.append(("primary", ", ".join(addresses.values())))
    facts += [("version", version) for version in sorted({one.greeting.version for one in seen} - {""})]
    slowest = max(one.latency_ms for one in seen)
    return Health(True, f"{where}: answers in {slowest:.1f} ms and takes writes", None, slowest, (*facts,))


async def _look_at(node: Node, address: Address | None, key: str | None, deadline: float) -> _Seen:
    """Raises: Failure."""
    wire = await node.shared.open(deadline)
    began = wire.loop.time()
    commands: list[tuple[resp.Argument, ...]] = [("HELLO", 2)]
    if key is not None:
        commands += [("HGETALL", _beside(key)), ("ZADD", _beside(key), "XX", 0, "")]
    answers = await wire.send(resp.pack_all(commands), began, deadline, len(commands))
    latency_ms = (wire.loop.time() - began) * 1000
    for answer in answers[1:]:
        if type(answer) is Refusal:
            failure = failure_of(answer)
            raise Failure(f"{address}: {failure.text}" if address else failure.text, failure.reason, code=failure.code)
    return _Seen(address, greeting_of(answers[0]), latency_ms)


def _beside(key: str) -> str:
    """Return the name of a key that never is, in the same slot."""
    return f"{key}:none"


def _name_of(config: SessionStorage) -> str:
    if config.redis_sentinels:
        return "sentinel"
    return "cluster" if config.redis_cluster else "standalone"
