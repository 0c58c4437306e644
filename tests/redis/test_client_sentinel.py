"""Redis with sentinels: the primary is found, believed only when it says that it is one, and its loss ridden out."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionstore.sessions import SessionStorage, Unavailable
from sessionstore.sessions.redis.client import Client
from tests import redis_topologies
from tests.redis.load import under_load, until

_keyspaces = (f"sentinel-{number}" for number in itertools.count(1))


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_topologies.SentinelTopology]:
    with redis_topologies.with_sentinels(tmp_path_factory.mktemp("sentinel")) as running:
        yield running


@pytest.fixture
def config(servers: redis_topologies.SentinelTopology) -> Iterator[SessionStorage]:
    yield dataclasses.replace(servers.add_user(next(_keyspaces)), connect_timeout=1, operation_timeout=2)
    servers.restore()


@pytest.fixture
async def client(config: SessionStorage) -> AsyncIterator[Client]:
    made = Client(config)
    yield made
    await made.close()


def prefixes(config: SessionStorage, count: int = 8) -> list[str]:
    return [f"sst:{config.keyspace}:{{b{number}}}" for number in range(count)]


async def test_the_primary_is_found_and_written_to(
    servers: redis_topologies.SentinelTopology, config: SessionStorage, client: Client
) -> None:
    name = f"sst:{config.keyspace}:k"
    await client.write("SET", name, "v")
    assert await client.read("GET", name) == b"v"
    with servers.primary().admin() as admin:
        assert admin.get(name) == b"v"


async def test_sentinels_are_asked_in_turn_until_one_leads_to_a_primary(
    servers: redis_topologies.SentinelTopology, config: SessionStorage
) -> None:
    # Nobody listens; a server that is no sentinel; one that is.
    wrong = ("127.0.0.1:1", f"127.0.0.1:{servers.servers[0].port}")
    client = Client(dataclasses.replace(config, redis_sentinels=(*wrong, config.redis_sentinels[2])))
    assert await client.read("GET", f"sst:{config.keyspace}:k") is None
    await client.close()


async def test_a_replica_that_is_named_as_the_primary_is_not_believed(
    servers: redis_topologies.SentinelTopology, config: SessionStorage
) -> None:
    replica = next(server for server in servers.servers if server is not servers.primary())
    stale = servers.add_sentinel("stale", replica.port)
    try:
        config = dataclasses.replace(
            config, redis_sentinels=(f"127.0.0.1:{stale.port}",), redis_sentinel_service="stale", failover_timeout=2
        )
        client = Client(config)
        with pytest.raises(Unavailable, match="says that it is a replica") as caught:
            await client.read("GET", f"sst:{config.keyspace}:k")
        await client.close()
    finally:
        stale.kill()
    assert caught.value.reason == "readonly"


@pytest.mark.parametrize(
    ("change", "words", "reason"),
    [
        pytest.param({"redis_sentinel_service": "nobodys"}, "no service nobodys", "connection", id="another service"),
        pytest.param({"redis_sentinels": ("127.0.0.1:1",)}, "127.0.0.1:1", "connection", id="no sentinel there"),
        pytest.param({"redis_sentinel_password_file": "/nowhere/pw"}, "/nowhere/pw", "auth", id="no sentinel password"),
        pytest.param({"redis_password_file": "/nowhere/pw"}, "/nowhere/pw", "auth", id="no password"),
    ],
)
async def test_what_is_wrong_is_said_with_the_sentinels_names(
    config: SessionStorage, change: dict[str, object], words: str, reason: str
) -> None:
    client = Client(dataclasses.replace(config, failover_timeout=1, operation_timeout=1, **change))
    with pytest.raises(Unavailable, match=words) as caught:
        await client.write("SET", f"sst:{config.keyspace}:k", "v")
    await client.close()
    assert caught.value.reason == reason
    assert "not known" not in str(caught.value)


async def test_a_primary_that_is_killed_costs_waiting_and_no_error(
    servers: redis_topologies.SentinelTopology, config: SessionStorage, client: Client
) -> None:
    async with under_load(client, prefixes(config)) as load:
        before = await asyncio.to_thread(servers.primary)
        await asyncio.to_thread(before.kill)
        await load.wait_until_all_go_on()
        epoch = client.epoch
        await load.wait_until_all_go_on()
    assert epoch > 1
    for prefix, told in load.callers.items():
        found = await load.listed(prefix)
        assert len(found) == len(set(found)), "pushed twice"
        # What the new primary took is there; the old one may have taken some with it that it had not passed on.
        assert {number for number, asked_in in told.pushed.items() if asked_in == client.epoch} <= set(found)
        assert set(found) <= told.pushed.keys() | told.unknown
        assert len(told.unknown) <= client.epoch


async def test_a_primary_that_hangs_is_left_and_is_a_replica_when_it_wakes(
    servers: redis_topologies.SentinelTopology, config: SessionStorage, client: Client
) -> None:
    async with under_load(client, prefixes(config)) as load:
        before = await asyncio.to_thread(servers.primary)
        with before.paused():
            await load.wait_until_all_go_on()
        await load.wait_until_all_go_on()
    await asyncio.to_thread(servers.settle)
    assert servers.primary() is not before
    for prefix, told in load.callers.items():
        found = await load.listed(prefix)
        assert len(found) == len(set(found))
        assert set(found) <= told.pushed.keys() | told.unknown


async def test_a_primary_that_was_replaced_is_left_before_it_knows(
    servers: redis_topologies.SentinelTopology, config: SessionStorage, client: Client
) -> None:
    """Sentinels tell it after ten seconds only; what it takes until then is lost."""
    async with under_load(client, prefixes(config)) as load:
        before = await asyncio.to_thread(servers.primary)
        await asyncio.to_thread(servers.hand_over, before)
        await until(lambda: client.epoch > 1)
        with before.admin() as admin:
            told: dict[str, Any] = admin.info("replication")
        await load.wait_until_all_go_on()
    assert told["role"] == "master"
    for prefix, said in load.callers.items():
        assert {number for number, asked_in in said.pushed.items() if asked_in > 1} <= set(await load.listed(prefix))


async def test_a_wait_for_changes_goes_on_with_the_new_primary(
    servers: redis_topologies.SentinelTopology, config: SessionStorage, client: Client
) -> None:
    stream = f"sst:{config.keyspace}:{{b1}}:f"
    waiting = asyncio.create_task(client.wait_for_any({stream: "0"}, 60))
    await client.read("GET", stream + "x")
    before = await asyncio.to_thread(servers.primary)
    await asyncio.to_thread(before.kill)
    await client.write("XADD", stream, "1-1", "f", "v", again=True)
    assert await waiting == [(stream, [[b"1-1", [b"f", b"v"]]])]


async def test_sentinels_that_are_all_away_end_nothing_that_works(
    servers: redis_topologies.SentinelTopology, config: SessionStorage, client: Client
) -> None:
    await client.write("SET", f"sst:{config.keyspace}:k", "v")
    for sentinel in servers.sentinels:
        sentinel.kill()
    try:
        assert await client.read("GET", f"sst:{config.keyspace}:k") == b"v"
        assert (await client.health()).ok
    finally:
        for sentinel in servers.sentinels:
            sentinel.start()


async def test_health_names_topology_and_primary(
    servers: redis_topologies.SentinelTopology, config: SessionStorage, client: Client
) -> None:
    health = await client.health()
    facts = dict(health.facts)
    assert health.ok
    assert (facts["topology"], facts["primary"]) == ("sentinel", f"127.0.0.1:{servers.primary().port}")


async def test_health_says_which_sentinels_lead_nowhere(config: SessionStorage) -> None:
    client = Client(dataclasses.replace(config, redis_sentinels=("127.0.0.1:1", "127.0.0.1:2")))
    health = await client.health()
    await client.close()
    assert (health.ok, health.reason) == (False, "connection")
    assert "127.0.0.1:1" in health.message
    assert "127.0.0.1:2" in health.message


def test_the_url_names_the_same_servers(servers: redis_topologies.SentinelTopology, tmp_path: Path) -> None:
    config = servers.add_user("by-url")
    assert dataclasses.replace(SessionStorage.from_url(servers.url(config)), failover_timeout=90) == config
