"""What is wrong with a server is said in words, to a gateway with no more rights than it has."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionstore.sessions import SessionStorage, layout
from sessionstore.sessions.record import Health
from sessionstore.sessions.redis.client import Client
from tests import redis_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[redis_server.RedisServer]:
    with redis_server.running(tmp_path / "redis") as running:
        yield running


async def health_of(config: SessionStorage) -> Health:
    client = Client(config)
    try:
        return await client.health()
    finally:
        await client.close()


async def test_a_server_that_is_well_is_named_with_what_it_says_of_itself(server: redis_server.RedisServer) -> None:
    config = server.add_user("chat")
    health = await health_of(config)
    with server.admin() as admin:
        version = admin.info("server")["redis_version"]
        keys = admin.keys("*")
    assert (health.ok, health.reason) == (True, None)
    assert health.latency_ms is not None
    assert health.latency_ms > 0
    assert dict(health.facts) == {
        "topology": "standalone", "primary": f"127.0.0.1:{server.port}", "version": version,
    }  # fmt: skip
    assert keys == [], "looking has left something behind"


def full(server: redis_server.RedisServer) -> None:
    with server.admin() as admin:
        admin.config_set("maxmemory", 1)


def replica(server: redis_server.RedisServer) -> None:
    with server.admin() as admin:
        admin.execute_command("REPLICAOF", "127.0.0.1", "1")


def without_rights(server: redis_server.RedisServer) -> None:
    with server.admin() as admin:
        admin.execute_command("ACL", "SETUSER", "gateway-chat", "-zadd")


def without_its_password(server: redis_server.RedisServer) -> None:
    with server.admin() as admin:
        admin.execute_command("ACL", "SETUSER", "gateway-chat", "resetpass", ">another")


def gone(server: redis_server.RedisServer) -> None:
    server.process.kill()
    server.process.wait()


def hanging(server: redis_server.RedisServer) -> None:
    os.kill(server.process.pid, signal.SIGSTOP)


def without_replicas(server: redis_server.RedisServer) -> None:
    with server.admin() as admin:
        admin.config_set("min-replicas-to-write", 1)


@pytest.mark.parametrize(
    ("harm", "reason", "hint"),
    [
        pytest.param(full, "full", "maxmemory", id="full"),
        pytest.param(replica, "readonly", "which server is the primary", id="a replica"),
        pytest.param(without_replicas, "readonly", "NOREPLICAS", id="without its replicas"),
        pytest.param(without_rights, "permission", "GATEWAY_COMMANDS", id="a right is missing"),
        pytest.param(without_its_password, "auth", "password file", id="another password"),
        pytest.param(gone, "connection", "whether the server runs", id="gone"),
        pytest.param(hanging, "timeout", "overloaded or hangs", id="hanging"),
    ],
)
async def test_what_is_wrong_is_said_with_what_to_do(
    server: redis_server.RedisServer, harm: Callable[[redis_server.RedisServer], None], reason: str, hint: str
) -> None:
    config = dataclasses.replace(server.add_user("chat"), connect_timeout=1, operation_timeout=1)
    harm(server)
    health = await health_of(config)
    assert (health.ok, health.reason) == (False, reason)
    assert hint in health.message
    assert f"127.0.0.1:{server.port}" in health.message


async def test_a_client_that_was_well_says_when_it_is_not_any_more(server: redis_server.RedisServer) -> None:
    client = Client(dataclasses.replace(server.add_user("chat"), operation_timeout=1))
    assert (await client.health()).ok
    gone(server)
    health = await client.health()
    await client.close()
    assert (health.ok, health.reason) == (False, "connection")


async def test_an_index_of_another_type_does_not_make_a_server_unwell(server: redis_server.RedisServer) -> None:
    with server.admin() as admin:
        admin.set(layout.KeyNames("chat").index(0), "x")
    health: Any = await health_of(server.add_user("chat"))
    assert health.ok
