"""What only the Redis backend has: counted round trips, bounded upkeep, damage, a trimmed feed, an emptied server."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest
import redis

from sessionstore.sessions import (
    Change,
    FeedLost,
    Lifetime,
    Operation,
    Query,
    SessionKey,
    SessionStorage,
    Store,
    Unreadable,
    layout,
    open_store,
)
from tests import redis_server

_keyspaces = (f"store-{number}" for number in itertools.count(1))
DEADLINE_S = 30
SHORT = Lifetime(ttl_ms=1, idle_ms=0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_server.RedisServer]:
    with redis_server.running(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def config(server: redis_server.RedisServer) -> SessionStorage:
    return server.add_user(next(_keyspaces))


@pytest.fixture
def names(config: SessionStorage) -> layout.KeyNames:
    return layout.KeyNames(config.keyspace)


@pytest.fixture
async def store(config: SessionStorage) -> AsyncIterator[Store]:
    async with open_store(config) as opened:
        yield opened


@pytest.fixture
def admin(server: redis_server.RedisServer) -> Iterator[redis.Redis]:
    with server.admin() as client:
        yield client


def together(count: int) -> list[str]:
    """Return keys of one bucket."""
    names = (f"k{number}" for number in itertools.count())
    return list(itertools.islice((name for name in names if layout.bucket_of("main", name) == 7), count))


async def expire(store: Store, keys: list[str]) -> None:
    """Let sessions expire, with nothing else written in between that would sweep them."""
    for key in keys:
        await store.set(key, {"sessionId": "s"}, lifetime=Lifetime(ttl_ms=500))
    await gone(store, keys)


async def gone(store: Store, keys: list[str]) -> None:
    end = time.monotonic() + DEADLINE_S
    while any([await store.exists(key) for key in keys]):
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


# -- round trips ------------------------------------------------------------------------------------


@dataclass
class Heard:
    """What MONITOR tells of clients' commands, those inside of scripts left out."""

    monitor: redis.client.Monitor
    admin: redis.Redis

    def take(self) -> list[str]:
        """Return the commands since the last time."""
        self.admin.echo("until here")
        found = []
        while (heard := self.monitor.next_command())["command"] != "ECHO until here":
            if heard["client_type"] != "lua":
                found.append(heard["command"].split(" ")[0])
        return found


@pytest.fixture
def heard(server: redis_server.RedisServer) -> Iterator[Heard]:
    with server.admin() as admin, server.admin() as watching, watching.monitor() as monitor:
        yield Heard(monitor, admin)


ONE_ROUND_TRIP: list[Callable[[Store], Awaitable[object]]] = [
    pytest.param(lambda store: store.get("k"), "HMGET", id="get"),
    pytest.param(lambda store: store.get("absent"), "HMGET", id="get of an absent one"),
    pytest.param(lambda store: store.exists("k"), "HGET", id="exists"),
    pytest.param(lambda store: store.tombstone("k"), "HGET", id="tombstone"),
    pytest.param(lambda store: store.set("k", {"sessionId": "t"}), "EVALSHA", id="set"),
    pytest.param(lambda store: store.set("new", {}, expected=0), "EVALSHA", id="set of a new one"),
    pytest.param(lambda store: store.append("k", [b"1", b"2"]), "EVALSHA", id="append"),
    pytest.param(lambda store: store.append("k", [b"0"], position=0), "EVALSHA", id="append again"),
    pytest.param(lambda store: store.rewrite("k", [b"1"]), "EVALSHA", id="rewrite"),
    pytest.param(lambda store: store.read("k", -5), "EVALSHA", id="read"),
    pytest.param(lambda store: store.delete("k"), "EVALSHA", id="delete"),
    pytest.param(lambda store: store.touch("k"), "EVALSHA", id="touch"),
    pytest.param(lambda store: store.touch("k", lifetime=Lifetime(ttl_ms=99_000)), "EVALSHA", id="a lifetime"),
    pytest.param(lambda store: store.pin("k"), "EVALSHA", id="pin"),
    pytest.param(lambda store: store.archive("k", reason="old"), "EVALSHA", id="archive"),
    pytest.param(lambda store: store.acquire_lease("k", "me", 60), "EVALSHA", id="acquire_lease"),
]


@pytest.mark.parametrize(("call", "command"), ONE_ROUND_TRIP)
async def test_a_call_about_one_session_is_one_command(store: Store, heard: Heard, call, command: str) -> None:
    async def prepared() -> None:
        await store.set("k", {"sessionId": "s"})
        await store.append("k", [b"0"])

    await prepared()
    await call(store)  # the server learns the script
    await store.delete("new")
    await store.restore("k")
    await prepared()
    heard.take()
    await call(store)
    assert heard.take() == [command]


async def test_many_sessions_and_a_page_are_one_and_two_round_trips(store: Store, heard: Heard) -> None:
    for number in range(200):
        await store.set(f"k{number}", {"updatedAt": number})
    heard.take()
    await store.get_many([f"k{number}" for number in range(200)])
    assert heard.take() == ["HMGET"] * 200
    assert len((await store.list(limit=50)).items) == 50
    commands = heard.take()
    # Indexes in a pipeline, the rows in another; a bucket with many of the newest is asked once more.
    assert commands.count("ZREVRANGEBYSCORE") < 2 * layout.BUCKETS
    assert set(commands) == {"ZREVRANGEBYSCORE", "HMGET"}


async def test_counting_looks_at_no_row(store: Store, heard: Heard) -> None:
    for number in range(100):
        await store.set(f"k{number}", {})
    heard.take()
    assert await store.count() == 100
    assert (await store.stats()).active == 100
    assert set(heard.take()) == {"ZCARD", "ZCOUNT", "HLEN"}


async def test_a_use_is_written_down_sixteen_times_per_idle_time_at_most(store: Store, heard: Heard) -> None:
    await store.set("k", {"sessionId": "s"}, lifetime=Lifetime(ttl_ms=0, idle_ms=3_600_000))
    heard.take()
    for _ in range(5):
        await store.get("k")
        await store.read("k")
    assert heard.take() == ["HMGET", "EVALSHA"] * 5


# -- upkeep -----------------------------------------------------------------------------------------


async def test_a_change_sweeps_two_others_of_its_bucket_and_no_more(
    store: Store, names: layout.KeyNames, admin
) -> None:
    writer, *others = together(8)
    await expire(store, others)
    for left in (5, 3, 1, 0, 0):
        await store.set(writer, {})
        assert admin.zcard(names.expiring(7)) == left
    assert await store.count() == 1


async def test_what_is_wrong_with_an_expired_one_is_not_the_error_of_who_writes(
    store: Store, names: layout.KeyNames, admin
) -> None:
    writer, *others = together(4)
    await expire(store, others)
    admin.set(names.entry("main", others[0]), "of another type")
    admin.hset(names.entry("main", others[1]), "h", "damaged")
    admin.delete(names.entry("main", others[2]))
    for _ in range(2):
        await store.set(writer, {})
    assert admin.zcard(names.expiring(7)) == 0
    for other in others[:2]:
        with pytest.raises(Unreadable, match=f"main/{other}"):
            await store.get(other)


async def test_sweeping_takes_no_more_than_it_is_asked_for(store: Store, names: layout.KeyNames, admin) -> None:
    keys = [f"k{number}" for number in range(300)]
    await asyncio.gather(*(store.set(key, {}, lifetime=Lifetime(ttl_ms=1500)) for key in keys))
    await gone(store, keys[-1:] + keys[:1])
    await gone(store, keys)
    assert (await store.stats()).expired == 300
    assert await store.sweep(120) == 120
    assert (await store.stats()).expired == 180
    assert await store.sweep() == 180
    assert [await store.tombstone(key) for key in keys] == [2] * 300


async def test_who_has_an_old_index_of_expiry_is_put_right(store: Store, names: layout.KeyNames, admin) -> None:
    """A session in `z` that does not expire, or later than `z` says, is not ended by a sweep."""
    first, second, writer = together(3)
    await store.set(first, {})
    await store.set(second, {}, lifetime=Lifetime(ttl_ms=600_000))
    admin.zadd(names.expiring(7), {f"main:{first}": 1, f"main:{second}": 1})
    await store.set(writer, {})
    assert await store.exists(first)
    assert await store.exists(second)
    found = (await store.get(second)).expires_ms
    assert admin.zrange(names.expiring(7), 0, -1, withscores=True) == [(f"main:{second}".encode(), float(found))]


# -- what is stored ---------------------------------------------------------------------------------


async def test_transcripts_of_a_session_are_kept_apart_and_go_with_it(
    store: Store, config: SessionStorage, names: layout.KeyNames, admin
) -> None:
    await store.set("k", {"sessionId": "one"})
    await store.append("k", [b"1", b"2"])
    await store.set("k", {"sessionId": "two \n"})
    await store.append("k", [b"3"])
    await store.rewrite("k", [b"4"])
    await store.set("k", {})
    assert (await store.get("k")).transcript is None
    assert (await store.set("k", {"sessionId": "one"})).transcript.lines == 2
    assert (await store.read("k")).lines == (b"1", b"2")
    assert (await store.set("k", {"sessionId": "two \n"})).transcript.generation == 1
    await store.delete("k")
    assert not admin.keys(f"sst:{config.keyspace}:*:t:*")
    assert (await store.set("k", {"sessionId": "one"})).transcript.generation == 1
    assert (await store.set("k", {"sessionId": "two \n"})).transcript.generation == 2


DAMAGE = [
    pytest.param("m", b"\xff\nx", id="marks that are not text"),
    pytest.param("a", b"\xff\n\n\n", id="attributes that are not text"),
    pytest.param("a", b"a\nb", id="attributes that lack some"),
]


@pytest.mark.parametrize(("field", "value"), DAMAGE)
async def test_a_damaged_row_is_unreadable_and_named(
    store: Store, names: layout.KeyNames, admin, field: str, value: bytes
) -> None:
    await store.set("k", {"sessionId": "s"})
    admin.hset(names.entry("main", "k"), field, value)
    with pytest.raises(Unreadable, match="main/k"):
        await store.list()


async def test_a_damaged_length_of_another_transcript_is_told_before_anything_is_done(
    store: Store, names: layout.KeyNames, admin
) -> None:
    await store.set("k", {"sessionId": "one"})
    before = await store.set("k", {"sessionId": "two"})
    admin.hset(names.entry("main", "k"), "t:one", "many")
    with pytest.raises(Unreadable, match="main/k"):
        await store.set("k", {"sessionId": "one"})
    with pytest.raises(Unreadable, match="main/k"):
        await store.delete("k")
    assert await store.get("k") == before


async def test_a_damaged_lease_is_unreadable_and_fences(store: Store, names: layout.KeyNames, admin) -> None:
    await store.set("k", {})
    admin.set(names.lease("main", "k"), "mine")
    with pytest.raises(Unreadable, match=r"main/k.*lease"):
        await store.acquire_lease("k", "me", 60)
    admin.delete(names.lease("main", "k"))
    admin.rpush(names.lease("main", "k"), "mine")
    with pytest.raises(Unreadable, match="main/k"):
        await store.acquire_lease("k", "me", 60)
    with pytest.raises(Unreadable, match="main/k"):
        await store.set("k", {"n": 1}, fence=1)
    assert (await store.get("k")).revision == 1


async def test_an_entry_without_a_checksum_is_looked_through(store: Store, names: layout.KeyNames, admin) -> None:
    """As a restore by hand may leave one."""
    session = await store.set("k", {"n": 1})
    words = admin.hget(names.entry("main", "k"), "h").split(b" ")
    words[10] = b"-"
    admin.hset(names.entry("main", "k"), "h", b" ".join(words))
    assert await store.get("k") == session
    admin.hset(names.entry("main", "k"), "j", '{"n":1,"n":2}')
    with pytest.raises(Unreadable, match=r"main/k.*twice"):
        await store.get("k")


async def test_reading_leaves_no_trace(store: Store, config: SessionStorage, admin) -> None:
    assert await store.get("k") is None
    assert not await store.exists("k")
    assert await store.get_many(["a", "b"]) == [None, None]
    assert await store.read("k") is None
    assert (await store.list()).items == ()
    assert (await store.search(Query())).items == ()
    assert (await store.count(), await store.sweep()) == (0, 0)
    start = await store.position()
    assert (await store.changes(start, wait_s=0.05)).items == ()
    assert (await store.health()).ok
    assert await store.read_archive("main", "a.jsonl.bak.1") is None
    assert await store.get_document("d") is None
    assert admin.keys(f"sst:{config.keyspace}:*") == []
    await store.set("k", {})
    assert [change.key.key for change in (await store.changes(start)).items] == ["k"]


# -- the feed ---------------------------------------------------------------------------------------


async def test_a_cursor_from_before_what_was_trimmed_is_lost_and_says_so(
    store: Store, names: layout.KeyNames, admin
) -> None:
    (key,) = together(1)
    from_empty = await store.position()
    await store.set(key, {})
    early = await store.position()
    await store.set(key, {})
    tell(admin, names.feed(7), layout.FEED_LENGTH // 4)
    late = await store.position()
    tell(admin, names.feed(7), layout.FEED_LENGTH + 500)
    await store.set(key, {})
    assert layout.FEED_LENGTH <= admin.xlen(names.feed(7)) < layout.FEED_LENGTH + 500
    for cursor in (from_empty, early, late):
        with pytest.raises(FeedLost, match="not kept"):
            await store.changes(cursor)
    now = await store.position()
    revision = (await store.set(key, {})).revision
    assert (await store.changes(now)).items == (Change(SessionKey.of(key), revision, Operation.SET),)


async def test_all_that_is_kept_is_told_in_few_round_trips(
    store: Store, names: layout.KeyNames, admin, heard: Heard
) -> None:
    """A bucket with very much to tell gets what the others do not need."""
    (key,) = together(1)
    await store.set(key, {})
    cursor = await store.position()
    tell(admin, names.feed(7), 5000)
    seen, calls = 0, 0
    heard.take()
    while items := (part := await store.changes(cursor, limit=500)).items:
        seen, cursor, calls = seen + len(items), part.cursor, calls + 1
    assert (seen, calls) == (5000, 10)
    assert heard.take().count("XRANGE") == 11 * layout.BUCKETS + 10


def tell(admin: redis.Redis, feed: str, count: int) -> None:
    """Write events as the scripts do."""
    with admin.pipeline(transaction=False) as pipeline:
        for number in range(count):
            pipeline.xadd(feed, {"e": f"{number + 2} set main:k"})
        pipeline.execute()


async def test_events_that_a_failover_lost_are_not_silence(store: Store, names: layout.KeyNames, admin) -> None:
    """A replica that took over without the last events, and then with other ones in their place."""
    (key,) = together(1)
    await store.set(key, {})
    feed = names.feed(7)
    kept = admin.dump(feed)
    await store.set(key, {})
    cursor = await store.position()
    admin.restore(feed, 0, kept, replace=True)
    with pytest.raises(FeedLost):
        await store.changes(cursor)
    await store.set(key, {})
    with pytest.raises(FeedLost):
        await store.changes(cursor)


async def test_what_is_no_event_is_unreadable_and_says_where(store: Store, names: layout.KeyNames, admin) -> None:
    start = await store.position()
    place = admin.xadd(names.feed(7), {"x": "y"}).decode()
    with pytest.raises(Unreadable, match=rf"{{b7}}:f.*{place}"):
        await store.changes(start)
    admin.delete(names.feed(7))
    admin.set(names.feed(7), "x")
    with pytest.raises(Unreadable, match=r"{b7}:f"):
        await store.changes(start)
    with pytest.raises(Unreadable, match=r"{b7}:f"):
        await store.position()


async def test_a_store_that_came_back_empty_is_noticed(
    store: Store, names: layout.KeyNames, config: SessionStorage, admin, caplog: pytest.LogCaptureFixture
) -> None:
    await store.set("k", {"sessionId": "s"})
    cursor = await store.position()
    assert dict((await store.health()).facts).get("lost") is None
    empty(admin, config)
    with caplog.at_level(logging.WARNING, "sessionstore"):
        assert await store.get("k") is None  # on a new connection; the next call looks what it leads to
        assert not await store.exists("k")
    assert "came back without its data" in caplog.text
    with pytest.raises(FeedLost):
        await store.changes(cursor)
    health = await store.health()
    assert health.ok
    assert "gone" in dict(health.facts)["lost"]
    assert (await store.set("k", {})).revision == 1
    assert admin.hget(names.meta, "layout") == b"2"
    with pytest.raises(FeedLost):
        await store.changes(cursor)
    assert caplog.text.count("came back without its data") == 1


def empty(admin: redis.Redis, config: SessionStorage) -> None:
    """Leave the keyspace as a restart without its disk would: nothing kept, and every connection gone."""
    for key in admin.scan_iter(f"sst:{config.keyspace}:*", count=1000):
        admin.delete(key)
    admin.client_kill_filter(_type="normal", skipme=True)


# -- leases -----------------------------------------------------------------------------------------


async def test_a_lease_outlives_the_session_and_its_expiry(store: Store) -> None:
    lease = await store.acquire_lease("k", "me", 60)
    await store.set("k", {"sessionId": "s"}, lifetime=SHORT, fence=lease.token)
    await gone(store, ["k"])
    assert (await store.set("k", {}, fence=lease.token)).revision == 3
