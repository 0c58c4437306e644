"""Sessions whose bucket moves from one server of a Cluster to another while they are written."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest
from redis.crc import key_slot

from sessionstore.sessions import Lifetime, SessionStorage, Store, layout, open_store
from tests import redis_topologies

BUCKET = 7


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_topologies.ClusterTopology]:
    with redis_topologies.cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def config(servers: redis_topologies.ClusterTopology) -> SessionStorage:
    return servers.add_user("moving")


def together(count: int) -> list[str]:
    """Return keys of one bucket."""
    names = (f"k{number}" for number in itertools.count())
    return list(itertools.islice((name for name in names if layout.bucket_of("main", name) == BUCKET), count))


async def talk(store: Store, key: str, stop: asyncio.Event) -> int:
    """Append to a transcript, and read what was appended, until `stop`; return how many lines there must be."""
    count = 0
    while not stop.is_set():
        head = await store.append(key, [b"%d" % count], position=count)
        count += 1
        assert head.lines == count
        assert (await store.get(key)).transcript.lines == count
    return count


@pytest.mark.parametrize("all_indexes", [True, False], ids=["all indexes there", "indexes missing"])
async def test_a_bucket_moves_and_no_line_is_lost_or_told_twice(
    servers: redis_topologies.ClusterTopology, config: SessionStorage, all_indexes: bool
) -> None:
    slot = key_slot(f"b{BUCKET}".encode())
    source = servers.primary_of(slot)
    target = next(server for server in servers.primaries() if server is not source)
    *talking, archived, expiring, silent = together(7)
    async with open_store(config) as store:
        for key in (*talking, archived, expiring, silent):
            await store.delete(key)
            await store.set(key, {"sessionId": "s"})
        if all_indexes:
            await store.archive(archived)
            await store.touch(expiring, lifetime=Lifetime(ttl_ms=600_000))
        start, stop = await store.position(), asyncio.Event()
        load = [asyncio.create_task(talk(store, key, stop)) for key in talking]
        await asyncio.sleep(0.2)
        await asyncio.to_thread(servers.begin_move, slot, source, target)
        # What touches a key that is not there yet, or not any more, waits until the move is over.
        waiting = asyncio.create_task(store.append(silent, [b"0"]))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(servers.move_keys, slot, source, target)
        await asyncio.sleep(0.2)
        await asyncio.to_thread(servers.end_move, slot, target)
        await asyncio.sleep(0.2)
        stop.set()
        counts = await asyncio.gather(*load)
        assert (await waiting).lines == 1
        for key, count in zip(talking, counts, strict=True):
            assert (await store.read(key)).lines == tuple(b"%d" % number for number in range(count))
        told = {change.key.key for change in (await store.changes(start, limit=10_000)).items}
        assert told == {*talking, silent}
        assert await store.count(status=None) == 7


async def test_a_delete_during_a_move_takes_no_line_before_it_takes_all(
    servers: redis_topologies.ClusterTopology, config: SessionStorage
) -> None:
    """A transcript without lines has no list: while its slot moves, the server does not know whether it went ahead."""
    slot = key_slot(f"b{BUCKET}".encode())
    source = servers.primary_of(slot)
    target = next(server for server in servers.primaries() if server is not source)
    key, archived, expiring = together(10)[7:]
    async with open_store(config) as store:
        for name in (key, archived, expiring):
            await store.set(name, {"sessionId": "a"})
        await store.append(key, [b"1", b"2"])
        for transcript in "bcdefg":
            await store.set(key, {"sessionId": transcript})
        await store.archive(archived)
        await store.touch(expiring, lifetime=Lifetime(ttl_ms=600_000))
        start = await store.position()
        await asyncio.to_thread(servers.begin_move, slot, source, target)
        deleting = asyncio.create_task(store.delete(key))
        await asyncio.sleep(0.3)
        with source.admin() as admin:
            assert admin.lrange(layout.KeyNames(config.keyspace).transcript("main", key, "a"), 0, -1) == [b"1", b"2"]
        await asyncio.to_thread(servers.move_keys, slot, source, target)
        await asyncio.to_thread(servers.end_move, slot, target)
        assert await deleting is True
        told = [change.operation for change in (await store.changes(start)).items if change.key.key == key]
        assert told == ["delete"]
