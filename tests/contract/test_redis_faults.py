"""Redis away, full, changed by hand or laid out otherwise: always an error that says so, never an empty session."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sessionstore.sessions import (
    ConfigurationError,
    Conflict,
    Entry,
    LeaseLost,
    Lifetime,
    NewSession,
    Session,
    SessionKey,
    SessionStorage,
    Store,
    Unavailable,
    Unreadable,
    iterate,
    layout,
    open_store,
)
from tests import redis_server

# Far beyond the configured second: a busy machine must not fail the test, a call that hangs must.
DEADLINE_S = 60


def _new(name: str) -> NewSession:
    return NewSession(SessionKey("main", name), Entry.of({"sessionId": "s"}), [b"1", b"2"])


CALLS = [
    pytest.param(lambda store: store.get("k"), id="get"),
    pytest.param(lambda store: store.set("k", {}), id="set"),
    pytest.param(lambda store: store.create("k", {}), id="create"),
    pytest.param(lambda store: store.create_many([_new("a"), _new("b")]), id="create_many"),
    pytest.param(lambda store: store.delete("k"), id="delete"),
    pytest.param(lambda store: store.exists("k"), id="exists"),
    pytest.param(lambda store: store.append("k", [b"x"]), id="append"),
    pytest.param(lambda store: store.rewrite("k", [b"x"]), id="rewrite"),
    pytest.param(lambda store: store.read("k"), id="read"),
    pytest.param(lambda store: store.read_many(["k", "k"]), id="read_many"),
    pytest.param(lambda store: store.list(), id="list"),
    pytest.param(lambda store: store.put_archive("main", "a.jsonl.bak.1", []), id="put_archive"),
    pytest.param(lambda store: store.get_document("d"), id="get_document"),
]


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[redis_server.RedisServer]:
    """A server that a test may stop."""
    with redis_server.running(tmp_path / "redis") as running:
        yield running


@pytest.fixture
async def store(redis_config: SessionStorage) -> AsyncIterator[Store]:
    async with open_store(redis_config) as opened:
        await opened.set("k", {"sessionId": "s"})
        await opened.append("k", [b"1", b"2"])
        yield opened


@pytest.fixture
def names(keyspace: str) -> layout.KeyNames:
    return layout.KeyNames(keyspace)


def impatient(config: SessionStorage) -> SessionStorage:
    return dataclasses.replace(config, connect_timeout=0.5, operation_timeout=1)


@pytest.mark.parametrize("call", CALLS)
async def test_a_server_that_hangs_is_unavailable_for_every_call(own_server: redis_server.RedisServer, call) -> None:
    async with open_store(impatient(own_server.add_user("chat"))) as store:
        await store.set("k", {"sessionId": "s"})
        os.kill(own_server.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(Unavailable) as caught:
                await asyncio.wait_for(call(store), DEADLINE_S)
        finally:
            os.kill(own_server.process.pid, signal.SIGCONT)
        assert caught.value.reason == "timeout"


async def test_a_server_that_hangs_and_wakes_serves_the_same_store_again(own_server: redis_server.RedisServer) -> None:
    async with open_store(impatient(own_server.add_user("chat"))) as store:
        await store.set("k", {"n": 1})
        os.kill(own_server.process.pid, signal.SIGSTOP)
        try:
            results = await asyncio.gather(*(store.get(f"other-{n}") for n in range(40)), return_exceptions=True)
        finally:
            os.kill(own_server.process.pid, signal.SIGCONT)
        assert all(isinstance(result, Unavailable) for result in results)
        # An answer to one of the calls that gave up must not be taken for the answer to another.
        found = await asyncio.gather(*(store.get("k") for _ in range(40)))
        assert {session.entry["n"] for session in found} == {1}


@pytest.mark.parametrize("call", CALLS)
async def test_a_server_that_is_gone_is_unavailable_for_every_call(own_server: redis_server.RedisServer, call) -> None:
    async with open_store(impatient(own_server.add_user("chat"))) as store:
        await store.set("k", {"sessionId": "s"})
        own_server.process.kill()
        own_server.process.wait()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(call(store), DEADLINE_S)


async def test_a_store_may_be_opened_while_its_server_is_away() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with open_store(f"redis://127.0.0.1:{port}?operation_timeout=2") as store:
            with pytest.raises(Unavailable, match=f"127.0.0.1:{port}") as caught:
                await store.get("k")
    assert caught.value.reason == "connection"


async def test_a_write_that_may_have_happened_says_so_and_one_that_cannot_have_does_not(
    own_server: redis_server.RedisServer,
) -> None:
    async with open_store(impatient(own_server.add_user("chat"))) as store:
        await store.set("k", {"n": 1})
        os.kill(own_server.process.pid, signal.SIGSTOP)
        with pytest.raises(Unavailable, match="not known"):
            await store.set("k", {"n": 2}, expected=1)
        own_server.process.kill()
        own_server.process.wait()
        with pytest.raises(Unavailable) as caught:
            await store.set("k", {"n": 2}, expected=1)
    assert "not known" not in str(caught.value)


async def test_a_restarted_server_has_forgotten_the_scripts_and_is_taught_again(
    server: redis_server.RedisServer, store: Store
) -> None:
    with server.admin() as admin:
        admin.script_flush()
    assert (await store.append("k", [b"3"])).lines == 3


async def test_a_rotated_password_needs_no_restart(server: redis_server.RedisServer, keyspace: str) -> None:
    async with open_store(server.add_user(keyspace, "first")) as store:
        await store.set("k", {"n": 1})
        server.add_user(keyspace, "second")
        with server.admin() as admin:
            admin.client_kill_filter(_type="normal", skipme=True)
        assert (await store.get("k")).entry["n"] == 1
        assert (await store.set("k", {"n": 2})).revision == 2


async def test_a_connection_that_the_server_closed_meanwhile_costs_no_write(
    server: redis_server.RedisServer, store: Store
) -> None:
    def end_all_connections() -> None:
        with server.admin() as admin:
            admin.client_kill_filter(_type="normal", skipme=True)

    # In a thread, so that the loop sees the end of the connection as it would between two turns of a conversation.
    await asyncio.to_thread(end_all_connections)
    assert (await store.append("k", [b"3"])).lines == 3


async def test_a_wrong_password_is_told_from_an_absent_session(server: redis_server.RedisServer, keyspace: str) -> None:
    config = server.add_user(keyspace)
    Path(config.redis_password_file).write_text("wrong")
    async with open_store(config) as store:
        with pytest.raises(Unavailable) as caught:
            await store.get("k")
    assert caught.value.reason == "auth"
    assert "wrong" not in str(caught.value)


async def test_a_missing_password_file_is_named(server: redis_server.RedisServer, keyspace: str) -> None:
    config = dataclasses.replace(server.add_user(keyspace), redis_password_file="/nowhere/password")
    async with open_store(config) as store:
        with pytest.raises(Unavailable, match="/nowhere/password") as caught:
            await store.get("k")
    assert caught.value.reason == "auth"


async def test_without_its_credentials_no_call_runs_as_the_default_user(own_server: redis_server.RedisServer) -> None:
    config = dataclasses.replace(own_server.add_user("chat"), redis_password_file="/nowhere/password")
    with own_server.admin() as admin:
        admin.acl_setuser("default", enabled=True, nopass=True, keys=["*"], categories=["+@all"])
    async with open_store(config) as store:
        for _ in range(3):
            with pytest.raises(Unavailable, match="/nowhere/password") as caught:
                await store.set("k", {"sessionId": "s"})
            assert caught.value.reason == "auth"
            assert "not known" not in str(caught.value)
    with own_server.admin() as admin:
        assert not admin.keys("sst:*")


async def test_a_missing_authority_is_a_configuration_error(redis_config: SessionStorage) -> None:
    with pytest.raises(ConfigurationError, match=r"/nowhere/ca\.crt"):
        await open_store(dataclasses.replace(redis_config, redis_tls=True, redis_ca_file="/nowhere/ca.crt"))


async def test_a_full_server_refuses_writes_and_still_serves(own_server: redis_server.RedisServer) -> None:
    async with open_store(own_server.add_user("chat")) as store:
        await store.set("k", {"sessionId": "s"})
        with own_server.admin() as admin:
            admin.config_set("maxmemory", 1)
        for call in (
            store.set("k", {"x": 1}),
            store.append("k", [b"x"]),
            store.create("new", {"sessionId": "s"}, [b"x"]),
            store.create_many([_new("a"), _new("b")]),
        ):
            with pytest.raises(Unavailable) as caught:
                await call
            assert caught.value.reason == "full"
            assert "not known" not in str(caught.value)
        assert (await store.get("k")).entry["sessionId"] == "s"
        assert (await store.read("k")).lines == ()


async def test_a_full_server_serves_sessions_whose_use_it_cannot_write_down(
    own_server: redis_server.RedisServer,
) -> None:
    async with open_store(dataclasses.replace(own_server.add_user("chat"), idle_ttl=60)) as store:
        await store.set("k", {"sessionId": "s"}, lifetime=Lifetime(idle_ms=600_000))
        with own_server.admin() as admin:
            # As if it had been written long ago.
            headed(lambda words: words.__setitem__(4, b"1"))(admin, layout.KeyNames("chat").entry("main", "k"))
            admin.config_set("maxmemory", 1)
        assert (await store.get("k")).entry["sessionId"] == "s"
        assert (await store.get_many(["k"]))[0].entry["sessionId"] == "s"
        assert (await store.read("k")).lines == ()


async def test_a_full_server_is_emptied_by_deleting_and_by_sweeping(own_server: redis_server.RedisServer) -> None:
    async with open_store(own_server.add_user("chat")) as store:
        await store.set("k", {"sessionId": "s"})
        await store.append("k", [b"1"])
        await store.set("due", {}, lifetime=Lifetime(ttl_ms=1))
        with own_server.admin() as admin:
            admin.config_set("maxmemory", 1)
        assert await store.delete("k") is True
        while await store.sweep() == 0:
            await asyncio.sleep(0.01)
        stats = await store.stats()
        assert (stats.active, stats.expired) == (0, 0)


async def test_a_server_that_lost_a_lease_gives_its_token_to_nobody_else(
    own_server: redis_server.RedisServer, tmp_path: Path
) -> None:
    """As after a failover before the lease was passed on: two servers that do not know of each other."""
    with redis_server.running(tmp_path / "other") as other_server:
        async with open_store(own_server.add_user("chat")) as store, open_store(other_server.add_user("chat")) as other:
            lost = await store.acquire_lease("k", "one", 60)
            await asyncio.sleep(0.01)
            theirs = await other.acquire_lease("k", "another", 60)
            assert theirs.token > lost.token
            with pytest.raises(LeaseLost):
                await other.set("k", {}, fence=lost.token)


async def test_a_block_whose_lease_cannot_be_read_any_more_is_told(
    server: redis_server.RedisServer, store: Store, names: layout.KeyNames
) -> None:
    with pytest.raises(LeaseLost):
        async with store.lease("k", ttl_s=0.6):
            with server.admin() as admin:
                admin.delete(names.lease("main", "k"))
                admin.lpush(names.lease("main", "k"), "x")
            await asyncio.sleep(DEADLINE_S)
            raise AssertionError("the block went on without its lease")


async def test_a_replica_takes_no_writes_and_says_so(own_server: redis_server.RedisServer, tmp_path: Path) -> None:
    async with open_store(own_server.add_user("chat")) as store:
        await store.set("k", {})
        with own_server.admin() as admin:
            admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(Unavailable) as caught:
            await store.set("k", {})
    assert caught.value.reason == "readonly"


async def test_a_user_without_the_rights_is_told_apart(server: redis_server.RedisServer, keyspace: str) -> None:
    config = dataclasses.replace(server.add_user(keyspace), keyspace="somebody-elses")
    async with open_store(config) as store:
        with pytest.raises(Unavailable) as caught:
            await store.get("k")
    assert caught.value.reason == "permission"


def headed(change):
    """Damage a record's head: `change` is given its words, and changes them in place."""

    def damage(redis, key: str) -> None:
        words = redis.hget(key, "h").split(b" ")
        change(words)
        redis.hset(key, "h", b" ".join(words))

    return damage


ENTRY_DAMAGE = [
    pytest.param(lambda redis, key: redis.hset(key, "j", "{"), id="a torn entry"),
    pytest.param(lambda redis, key: redis.hset(key, "j", '{"sessionId":"t"}'), id="another entry"),
    pytest.param(lambda redis, key: redis.hdel(key, "j"), id="no entry"),
]
HEAD_DAMAGE = [
    pytest.param(lambda redis, key: redis.set(key, "x"), id="another type"),
    pytest.param(lambda redis, key: redis.hdel(key, "h"), id="no head"),
    pytest.param(lambda redis, key: redis.hset(key, "h", ""), id="an empty head"),
    pytest.param(headed(lambda words: words.__setitem__(0, b"many")), id="a revision that is no number"),
    pytest.param(headed(lambda words: words.__setitem__(1, b"frozen")), id="a status of a later version"),
    pytest.param(headed(lambda words: words.__setitem__(12, b"-1")), id="a transcript of less than no lines"),
    pytest.param(headed(lambda words: words.pop(11)), id="a transcript without generation"),
]


@pytest.mark.parametrize("damage", HEAD_DAMAGE + ENTRY_DAMAGE)
async def test_a_damaged_record_is_unreadable_and_named(
    server: redis_server.RedisServer, store: Store, names: layout.KeyNames, damage
) -> None:
    with server.admin() as admin:
        damage(admin, names.entry("main", "k"))
    with pytest.raises(Unreadable, match="main/k"):
        await store.get("k")


@pytest.mark.parametrize("damage", HEAD_DAMAGE)
async def test_a_damaged_record_is_not_written_over(
    server: redis_server.RedisServer, store: Store, names: layout.KeyNames, damage
) -> None:
    with server.admin() as admin:
        damage(admin, names.entry("main", "k"))
    with pytest.raises(Unreadable, match="main/k"):
        await store.append("k", [b"3"])
    with server.admin() as admin:
        assert admin.lrange(names.transcript("main", "k", "s"), 0, -1) == [b"1", b"2"]


CHANGES = [
    pytest.param(lambda store: store.set("k", {"sessionId": "s", "n": 2}), id="set"),
    pytest.param(lambda store: store.append("k", [b"3"]), id="append"),
    pytest.param(lambda store: store.rewrite("k", [b"3"]), id="rewrite"),
    pytest.param(lambda store: store.delete("k"), id="delete"),
    pytest.param(lambda store: store.archive("k"), id="archive"),
    pytest.param(lambda store: store.touch("k", lifetime=Lifetime(ttl_ms=600_000)), id="a lifetime"),
]
NEEDS = {
    "set": ["xadd", "zadd", "hset"],
    "append": ["xadd", "zadd", "hset", "rpush"],
    "rewrite": ["xadd", "zadd", "hset", "rpush", "ltrim"],
    "delete": ["xadd", "zrem", "hset", "hdel", "unlink"],
    "archive": ["xadd", "zadd", "zrem", "hset"],
    "a lifetime": ["xadd", "zadd", "hset"],
}


@pytest.mark.parametrize(
    ("change", "right"),
    [pytest.param(*case.values, right, id=f"{case.id}, {right}") for case in CHANGES for right in NEEDS[case.id]],
)
async def test_a_change_that_lacks_a_right_half_way_is_not_begun(
    server: redis_server.RedisServer, keyspace: str, store: Store, change, right: str
) -> None:
    before = await store.get("k"), await store.read("k"), await store.list(), await store.stats()
    with server.admin() as admin:
        admin.execute_command("ACL", "SETUSER", f"gateway-{keyspace}", f"-{right}")
    with pytest.raises(Unavailable) as caught:
        await change(store)
    assert caught.value.reason == "permission"
    assert (await store.get("k"), await store.read("k"), await store.list(), await store.stats()) == before


@pytest.mark.parametrize("of", [layout.KeyNames.index, layout.KeyNames.feed], ids=["the index", "the feed"])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_is_not_begun_when_the_index_or_the_feed_is_of_another_type(
    server: redis_server.RedisServer, store: Store, names: layout.KeyNames, change, of
) -> None:
    before = await store.get("k"), await store.read("k")
    with server.admin() as admin:
        admin.set(of(names, layout.bucket_of("main", "k")), "x")
    with pytest.raises(Unreadable, match=r"another type.*nothing was changed"):
        await change(store)
    assert (await store.get("k"), await store.read("k")) == before


@pytest.mark.parametrize("before", ["nothing", "a tombstone"])
@pytest.mark.parametrize("right", ["xadd", "zadd", "rpush", "hset"])
async def test_a_session_that_cannot_be_made_whole_is_not_begun(
    server: redis_server.RedisServer, keyspace: str, store: Store, names: layout.KeyNames, before: str, right: str
) -> None:
    if before == "a tombstone":
        await store.delete("k")
    key = "k" if before == "a tombstone" else "new"
    state = await store.get(key), await store.tombstone(key), await store.list(), await store.stats()
    with server.admin() as admin:
        admin.execute_command("ACL", "SETUSER", f"gateway-{keyspace}", f"-{right}")
        with pytest.raises(Unavailable) as caught:
            await store.create(key, {"sessionId": "s"}, [b"x"])
        assert caught.value.reason == "permission"
        assert admin.exists(names.transcript("main", key, "s")) == 0
        assert (await store.get(key), await store.tombstone(key), await store.list(), await store.stats()) == state
        admin.execute_command("ACL", "SETUSER", f"gateway-{keyspace}", f"+{right}")
    assert (await store.create(key, {"sessionId": "s"}, [b"x"])).transcript.lines == 1


async def test_lines_that_belong_to_no_session_are_not_taken_for_a_new_one_s(
    server: redis_server.RedisServer, store: Store, names: layout.KeyNames
) -> None:
    with server.admin() as admin:
        admin.rpush(names.transcript("main", "new", "s"), "left")
    with pytest.raises(Unreadable, match=r"new.*its transcript has lines.*nothing was changed"):
        await store.create("new", {"sessionId": "s"}, [b"x"])
    assert await store.get("new") is None


async def test_many_are_made_and_read_by_a_server_that_knows_no_script(
    server: redis_server.RedisServer, store: Store
) -> None:
    with server.admin() as admin:
        admin.script_flush()
        made = await store.create_many([_new("a"), _new("b"), _new("k")])
        assert [type(one) for one in made] == [Session, Session, Conflict]
        admin.script_flush()
        assert [found.lines for found in await store.read_many(["a", "b", "k"])] == [(b"1", b"2")] * 3


async def test_of_many_one_that_is_of_another_type_stands_for_itself(
    server: redis_server.RedisServer, store: Store, names: layout.KeyNames
) -> None:
    with server.admin() as admin:
        admin.set(names.entry("main", "b"), "no hash")
    made = await store.create_many([_new("a"), _new("b"), _new("c")])
    assert [type(one) for one in made] == [Session, Unreadable, Session]
    assert "session main/b cannot be read" in str(made[1])
    with pytest.raises(Unreadable, match="session main/b cannot be read"):
        await store.read_many(["a", "b", "c"])


async def test_a_line_that_would_come_back_as_two_is_unreadable(
    server: redis_server.RedisServer, store: Store, names: layout.KeyNames
) -> None:
    with server.admin() as admin:
        admin.lset(names.transcript("main", "k", "s"), 1, "2\n3")
    with pytest.raises(Unreadable, match="a line of its transcript holds a line feed"):
        await store.read("k")
    assert (await store.read("k", 0, 1)).lines == (b"1",)


async def test_a_transcript_that_lost_lines_is_unreadable(
    server: redis_server.RedisServer, store: Store, names: layout.KeyNames
) -> None:
    with server.admin() as admin:
        admin.lpop(names.transcript("main", "k", "s"))
    for call in (store.read("k"), store.append("k", [b"3"]), store.rewrite("k", [])):
        with pytest.raises(Unreadable, match="should have 2 lines and has 1"):
            await call


async def test_a_lost_record_is_told_by_list_and_cleared_by_delete(
    server: redis_server.RedisServer, store: Store, names: layout.KeyNames
) -> None:
    with server.admin() as admin:
        admin.delete(names.entry("main", "k"))
    with pytest.raises(Unreadable, match="main/k"):
        await store.list()
    assert await store.delete("k") is False
    assert (await store.list()).items == ()


@pytest.mark.parametrize(("field", "value"), [("layout", 1), ("layout", 3), ("buckets", 128)])
async def test_a_keyspace_that_is_laid_out_otherwise_is_refused(
    server: redis_server.RedisServer, redis_config: SessionStorage, names: layout.KeyNames, field: str, value: int
) -> None:
    with server.admin() as admin:
        admin.hset(names.meta, field, value)
    async with open_store(redis_config) as store:
        with pytest.raises(Unreadable, match=f"{field} {value}"):
            await store.set("k", {})
    with server.admin() as admin:
        assert not admin.exists(names.entry("main", "k"))


async def test_a_call_that_gives_up_leaves_no_answer_behind(store: Store) -> None:
    for _ in range(20):
        task = asyncio.ensure_future(store.get("k"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert (await store.get("k")).entry["sessionId"] == "s"
    assert await store.exists("nobody") is False


async def documents_of(store: Store) -> list[str]:
    return [name async for name in store.list_documents()]


BESIDE = [
    pytest.param(lambda store: store.put_archive("main", "a.jsonl.bak.1", []), "main/a.jsonl.bak.1", id="put_archive"),
    pytest.param(lambda store: store.read_archive("main", "a.jsonl.bak.1"), "main/a.jsonl.bak.1", id="read_archive"),
    pytest.param(lambda store: store.get_document("d"), "document d", id="get_document"),
    pytest.param(lambda store: store.put_document("other", b""), "documents sst:.*:d", id="put_document"),
    pytest.param(documents_of, "documents sst:.*:d", id="list_documents"),
    pytest.param(lambda store: store.get("k"), "keyspace .* at sst:.*:meta", id="the layout"),
]


@pytest.mark.parametrize(("call", "named"), BESIDE)
async def test_what_is_of_another_type_is_named(
    server: redis_server.RedisServer, redis_config: SessionStorage, names: layout.KeyNames, call, named: str
) -> None:
    with server.admin() as admin:
        admin.hset(names.archives(layout.bucket_of("main", "a.jsonl.bak.1")), "main:a.jsonl.bak.1", 1)
        admin.hset(names.archive("main", "a.jsonl.bak.1"), "x", "x")
        admin.hset(names.document("d"), "x", "x")
        admin.set(names.documents, "x")
        if "meta" in named:
            admin.set(names.meta, "x")
    async with open_store(redis_config) as store:
        with pytest.raises(Unreadable, match=rf"{named}.* cannot be read: it is of another type"):
            await call(store)


async def test_keyspaces_of_one_server_do_not_see_each_other(server: redis_server.RedisServer, store: Store) -> None:
    async with open_store(server.add_user("another-keyspace")) as other:
        assert await other.get("k") is None
        assert [info async for info in iterate(other)] == []
        await other.set("k", {"mine": True})
    assert (await store.get("k")).entry["sessionId"] == "s"


async def test_the_layout_is_the_documented_one(
    server: redis_server.RedisServer, store: Store, keyspace: str, names: layout.KeyNames
) -> None:
    await store.put_archive("main", "s.jsonl.bak.1", [b"1"])
    await store.put_document("d", b"1")
    b, x = (layout.bucket_of("main", name) for name in ("k", "s.jsonl.bak.1"))
    with server.admin() as admin:
        found = {key.decode() for key in admin.keys(f"sst:{keyspace}:*")}
        meta = admin.hgetall(names.meta)
        record = admin.hgetall(names.entry("main", "k"))
        event = admin.xrevrange(names.feed(b), count=1)[0][1]
    p = f"sst:{keyspace}"
    assert found == {
        f"{p}:meta", f"{p}:{{b{b}}}:e:main:k", f"{p}:{{b{b}}}:t:s:main:k", f"{p}:{{b{b}}}:i", f"{p}:{{b{b}}}:f",
        f"{p}:{{b{x}}}:a", f"{p}:{{b{x}}}:x:main:s.jsonl.bak.1", f"{p}:d", f"{p}:d:d",
    }  # fmt: skip
    assert (meta.pop(b"layout"), meta.pop(b"buckets"), meta.keys()) == (b"2", b"64", {b"id"})
    session = await store.get("k")
    assert record == {
        b"h": b"2 active %d %d %d 0 0 0 - - 617b8554 0 2 s"
        % (session.created_ms, session.updated_ms, session.written_ms),
        b"j": b'{"sessionId":"s"}',
        b"a": b"\n\n\ns",
    }
    assert event == {b"e": b"2 append main:k"}
    assert SessionKey("main", "k") == (await store.list()).items[0].key
