"""Redis Cluster: keys are found wherever they are, also while they move, and the loss of a server is ridden out."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from sessionstore.sessions import SessionStorage, Unavailable, Unreadable
from sessionstore.sessions.redis.client import Client, Script
from tests import redis_topologies
from tests.redis.load import under_load

_keyspaces = (f"cluster-{number}" for number in itertools.count(1))
BUCKETS = range(64)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_topologies.ClusterTopology]:
    with redis_topologies.cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def config(servers: redis_topologies.ClusterTopology) -> Iterator[SessionStorage]:
    yield dataclasses.replace(servers.add_user(next(_keyspaces)), connect_timeout=1, operation_timeout=2)
    servers.restore()


@pytest.fixture
async def client(config: SessionStorage) -> AsyncIterator[Client]:
    made = Client(config)
    yield made
    await made.close()


def prefix(config: SessionStorage, bucket: int) -> str:
    return f"sst:{config.keyspace}:{{b{bucket}}}"


def errors_of(server: redis_topologies.Process) -> dict[str, int]:
    """Return how often a server has refused with which code."""
    with server.admin() as admin:
        stats: dict[str, Any] = admin.info("errorstats")
    return {name.removeprefix("errorstat_"): counted["count"] for name, counted in stats.items()}


async def test_all_buckets_are_written_and_read_in_order(config: SessionStorage, client: Client) -> None:
    await asyncio.gather(*(client.write("SET", prefix(config, bucket), bucket) for bucket in BUCKETS))
    found = await client.read_many([("GET", prefix(config, bucket)) for bucket in BUCKETS])
    assert found == [b"%d" % bucket for bucket in BUCKETS]
    assert client.epoch == 3


async def test_a_batch_of_a_fresh_client_finds_its_way(config: SessionStorage, client: Client) -> None:
    await client.write("SET", prefix(config, 5), "text")
    await client.write("HSET", prefix(config, 6), "f", "v")
    fresh = Client(config)
    text, wrong, none = await fresh.read_many(
        [("GET", prefix(config, 5)), ("GET", prefix(config, 6)), ("HGETALL", prefix(config, 7))]
    )
    await fresh.close()
    assert (text, none) == (b"text", {})
    assert isinstance(wrong, Unreadable)


async def test_one_server_is_enough_to_find_the_others(
    servers: redis_topologies.ClusterTopology, config: SessionStorage
) -> None:
    nodes = ("127.0.0.1:1", f"127.0.0.1:{servers.servers[-1].port}")
    single = dataclasses.replace(
        config, redis_cluster_nodes=(), redis_host="127.0.0.1", redis_port=servers.servers[0].port
    )
    for one in (dataclasses.replace(config, redis_cluster_nodes=nodes), single):
        client = Client(one)
        found = await client.read_many([("GET", prefix(config, bucket)) for bucket in BUCKETS])
        await client.close()
        assert found == [None] * len(BUCKETS)


async def test_a_slot_moves_under_load_and_nobody_notices(
    servers: redis_topologies.ClusterTopology, config: SessionStorage, client: Client
) -> None:
    moved, others = prefix(config, 1), [prefix(config, bucket) for bucket in range(2, 6)]
    slot = key_slot(moved.encode())
    source = servers.primary_of(slot)
    target = next(server for server in servers.primaries() if server is not source)
    keys = [f"{moved}:{number}" for number in range(200)]
    await asyncio.gather(*(client.write("SET", key, "v") for key in keys))
    before = {name: errors_of(source).get(name, 0) for name in ("ASK", "MOVED")}
    async with under_load(client, [moved, *others]) as load:
        await asyncio.to_thread(servers.begin_move, slot, source, target)
        await load.wait_until_all_go_on()
        await asyncio.to_thread(servers.move_keys, slot, source, target)
        # All keys are there, and the map still says here: each command is sent on.
        await load.wait_until_all_go_on()
        assert await client.read_many([("GET", key) for key in keys]) == [b"v"] * len(keys)
        await asyncio.to_thread(servers.end_move, slot, target)
        await load.wait_until_all_go_on()
    after = errors_of(source)
    assert after.get("ASK", 0) > before["ASK"]
    assert after.get("MOVED", 0) > before["MOVED"]
    for name, told in load.callers.items():
        assert await load.listed(name) == sorted(told.pushed)
        assert not told.unknown


async def test_a_script_waits_until_all_of_its_keys_are_on_one_side(
    servers: redis_topologies.ClusterTopology, config: SessionStorage, client: Client
) -> None:
    text = "return {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])}"
    script = Script(text, hashlib.sha1(text.encode()).hexdigest())
    keys = [f"{prefix(config, 9)}:a", f"{prefix(config, 9)}:b"]
    for key in keys:
        await client.write("SET", key, key[-1])
    slot = key_slot(keys[0].encode())
    source = servers.primary_of(slot)
    target = next(server for server in servers.primaries() if server is not source)
    await asyncio.to_thread(servers.begin_move, slot, source, target)
    await asyncio.to_thread(servers.move_keys, slot, source, target, keys[:1])
    refused = errors_of(source).get("TRYAGAIN", 0)
    running = asyncio.create_task(client.run(script, keys, [], writes=True))
    async with asyncio.timeout(60):
        while errors_of(source).get("TRYAGAIN", 0) <= refused:
            await asyncio.sleep(0.01)
    await asyncio.to_thread(servers.move_keys, slot, source, target)
    assert await running == [b"a", b"b"]
    await asyncio.to_thread(servers.end_move, slot, target)
    assert await client.run(script, keys, [], writes=True) == [b"a", b"b"]


async def test_a_primary_that_is_killed_costs_waiting_and_no_error(
    servers: redis_topologies.ClusterTopology, config: SessionStorage, client: Client
) -> None:
    names = [prefix(config, bucket) for bucket in range(12)]
    lost = servers.primary_of(key_slot(names[0].encode()))
    async with under_load(client, names) as load:
        await asyncio.to_thread(lost.kill)
        await load.wait_until_all_go_on()
    for name, told in load.callers.items():
        found = await load.listed(name)
        assert len(found) == len(set(found)), "pushed twice"
        assert set(found) <= told.pushed.keys() | told.unknown


async def test_a_primary_that_hangs_is_left(
    servers: redis_topologies.ClusterTopology, config: SessionStorage, client: Client
) -> None:
    names = [prefix(config, bucket) for bucket in range(12)]
    lost = servers.primary_of(key_slot(names[0].encode()))
    async with under_load(client, names) as load:
        with lost.paused():
            await load.wait_until_all_go_on()
        await load.wait_until_all_go_on()
    for name in names:
        found = await load.listed(name)
        assert len(found) == len(set(found))


async def test_streams_on_all_servers_are_waited_for_together(config: SessionStorage, client: Client) -> None:
    streams = {f"{prefix(config, bucket)}:f": "0" for bucket in BUCKETS}
    waiting = asyncio.create_task(client.wait_for_any(streams, 60))
    await asyncio.sleep(0.1)
    await client.write("XADD", f"{prefix(config, 40)}:f", "1-1", "f", "v")
    assert await waiting == [(f"{prefix(config, 40)}:f", [[b"1-1", [b"f", b"v"]]])]
    assert await client.wait_for_any({f"{prefix(config, 41)}:f": "0"}, 0.05) == []


async def test_a_stream_of_another_type_is_unreadable(config: SessionStorage, client: Client) -> None:
    await client.write("SET", prefix(config, 3), "x")
    with pytest.raises(Unreadable):
        await client.wait_for_any({prefix(config, 3): "0", prefix(config, 4): "0"}, 1)


async def test_a_password_that_changes_on_all_servers_needs_no_restart(
    servers: redis_topologies.ClusterTopology, config: SessionStorage, client: Client
) -> None:
    await asyncio.gather(*(client.write("SET", prefix(config, bucket), "v") for bucket in BUCKETS))
    servers.add_user(config.keyspace, "second")
    for server in servers.servers:
        with server.admin() as admin:
            admin.client_kill_filter(_type="normal", skipme=True)
    found = await client.read_many([("GET", prefix(config, bucket)) for bucket in BUCKETS])
    assert found == [b"v"] * len(BUCKETS)


async def test_a_cluster_that_is_away_is_unavailable_and_nothing_is_in_doubt(config: SessionStorage) -> None:
    away = dataclasses.replace(config, redis_cluster_nodes=("127.0.0.1:1",), failover_timeout=1, operation_timeout=1)
    client = Client(away)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1") as caught:
        await client.write("SET", prefix(config, 1), "v")
    assert "not known" not in str(caught.value)
    health = await client.health()
    await client.close()
    assert (health.ok, health.reason) == (False, "connection")


async def test_a_node_spoken_to_as_a_single_server_says_what_it_is(
    servers: redis_topologies.ClusterTopology, config: SessionStorage
) -> None:
    port = servers.primaries()[0].port
    client = Client(
        dataclasses.replace(
            config, redis_cluster=False, redis_cluster_nodes=(), redis_host="127.0.0.1", redis_port=port
        )
    )
    with pytest.raises(Unavailable, match="redis_cluster: true"):
        await client.read_many([("GET", prefix(config, bucket)) for bucket in BUCKETS])
    await client.close()


async def test_health_names_all_primaries(
    servers: redis_topologies.ClusterTopology, config: SessionStorage, client: Client
) -> None:
    health = await client.health()
    facts = dict(health.facts)
    assert health.ok
    assert facts["topology"] == "cluster"
    assert set(facts["primary"].split(", ")) == {f"127.0.0.1:{server.port}" for server in servers.primaries()}


def test_the_url_names_the_same_servers(servers: redis_topologies.ClusterTopology, tmp_path: Path) -> None:
    config = servers.add_user("by-url")
    assert dataclasses.replace(
        SessionStorage.from_url(servers.url(config)), failover_timeout=25
    ) == dataclasses.replace(config, failover_timeout=25)
