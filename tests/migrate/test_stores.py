"""A store as the source of a migration: all of it is found, nothing in it changes, and what is broken is told."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sessionstore.migrate import store_lines, stores
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.items import Item, SetAside, SourceArchive, SourceSession
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.stores import StoreSource
from sessionstore.openclaw.problems import Problem, Reason, Refused, SourceError
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions import (
    Lifetime,
    Page,
    SessionKey,
    SessionStorage,
    Status,
    Store,
    Unavailable,
    layout,
    open_store,
)
from sessionstore.sessions.wrapped import WrappedStore
from tests import redis_server

MANY = stores.PAGE + 20
IDLE = Lifetime(ttl_ms=0, idle_ms=8000)


@pytest.fixture
def config(url: str) -> SessionStorage:
    return dataclasses.replace(SessionStorage.from_url(url), count_uses=False)


@pytest.fixture(params=["redis", "directory"])
async def store(request: pytest.FixtureRequest, config: SessionStorage, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "directory":
        config = SessionStorage(backend="directory", state_dir=str(tmp_path / "sessions"), count_uses=False)
    async with open_store(config) as opened:
        yield opened


def source_of(store: Store, scratch: Scratch) -> StoreSource:
    return StoreSource(store, scratch, Patience(30), where="redis://source")


async def lines_of(found: Item) -> list[bytes]:
    assert not isinstance(found, SetAside)
    return [line async for batch in found.lines.batches() for line in batch.lines]


async def test_every_session_is_found_once_with_all_that_is_set_on_it(store: Store, scratch: Scratch) -> None:
    for number in range(MANY if "redis" in str(type(store)) else 20):
        await store.create(f"k{number}", {"sessionId": f"s{number}", "updatedAt": number}, [b"%d" % number])
    await store.create("bare", {"a": 1})
    await store.create("long", {"sessionId": "long"}, [b"%d" % number for number in range(2500)])
    await store.title("k1", "Title")
    await store.tag("k1", add=["a", "b"])
    await store.pin("k1")
    await store.archive("k2", reason="old")
    await store.touch("k3", lifetime=Lifetime(ttl_ms=10**9))
    await store.put_archive("work", "s.jsonl.reset.1", [b"1", b"2"])
    await store.put_archive("main", "orphan.jsonl", [])
    await store.put_document("note", b"")

    source = source_of(store, scratch)
    found = {item.key: item async for item in source.sessions()}
    assert len(found) == await store.count(status=None)
    for key, item in found.items():
        assert isinstance(item, SourceSession)
        held = await store.get(key)
        assert (item.entry, item.status, item.marks, item.lifetime) == (
            held.entry, held.status, held.marks, held.lifetime,
        )  # fmt: skip
        kept = await store.read(key)
        assert await lines_of(item) == (list(kept.lines) if kept else [])
        assert item.lines.stamp == stores.stamp_of(held)
    assert found[SessionKey("main", "k2")].status is Status.ARCHIVED
    archives = [item async for item in source.archives()]
    assert [(item.agent, item.name, item.orphan) for item in archives if isinstance(item, SourceArchive)] == [
        ("main", "orphan.jsonl", True), ("work", "s.jsonl.reset.1", False),
    ]  # fmt: skip
    assert [await lines_of(item) for item in archives if not isinstance(item, Problem)] == [[], [b"1", b"2"]]
    assert (len(archives), source.beside(), source.superseded()) == (2, 1, 0)


async def test_reading_is_no_use_and_changes_nothing(store: Store, scratch: Scratch) -> None:
    for key in ("a", "b"):
        await store.create(key, {"sessionId": key}, [b"1"], lifetime=IDLE)
    await asyncio.sleep(0.6)  # more than a sixteenth of their idle time
    before, cursor = await store.get_many(["a", "b"]), await store.position()
    async for item in source_of(store, scratch).sessions():
        assert await lines_of(item) == [b"1"]
    assert await store.get_many(["a", "b"]) == before
    assert (await store.changes(cursor)).items == ()


async def test_what_is_appended_while_a_session_is_read_is_another_state_of_it(store: Store, scratch: Scratch) -> None:
    await store.create("k", {"sessionId": "s"}, [b"1", b"2"])
    source = source_of(store, scratch)
    item = await source.session(SessionKey("main", "k"))
    await store.append("k", [b"3"])
    assert await lines_of(item) == [b"1", b"2"]
    assert (await source.session(SessionKey("main", "k"))).lines.stamp != item.lines.stamp


@pytest.mark.parametrize("change", ["rewrite", "delete", "another transcript"])
async def test_lines_that_are_replaced_while_they_are_read_end_there(
    store: Store, scratch: Scratch, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_lines, "FIRST_SLICE", 2)
    await store.create("k", {"sessionId": "s"}, [b"1", b"2", b"3"])
    item = await source_of(store, scratch).session(SessionKey("main", "k"))
    batches = item.lines.batches()
    assert (await anext(batches)).lines == [b"1", b"2"]
    if change == "rewrite":
        await store.rewrite("k", [b"4", b"5", b"6"])
    elif change == "delete":
        await store.delete("k")
    else:
        await store.set("k", {"sessionId": "t"})
    assert [batch async for batch in batches] == []


async def test_an_expired_or_deleted_session_is_none(store: Store, scratch: Scratch) -> None:
    await store.create("k", {"sessionId": "s"}, lifetime=Lifetime(ttl_ms=1))
    while await store.exists("k"):
        await asyncio.sleep(0.01)
    await store.create("gone", {})
    await store.delete("gone")
    source = source_of(store, scratch)
    assert [item async for item in source.sessions()] == []
    assert await source.session(SessionKey("main", "gone")) is None


@pytest.fixture
def names(config: SessionStorage) -> layout.KeyNames:
    return layout.KeyNames(config.keyspace)


async def test_what_is_damaged_is_set_aside_and_the_rest_is_found(
    server: redis_server.RedisServer, config: SessionStorage, names: layout.KeyNames, scratch: Scratch
) -> None:
    async with open_store(config) as store:
        for number in range(30):
            await store.create(f"k{number}", {"sessionId": "s", "updatedAt": number}, [b"1", b"2"])
        with server.admin() as admin:
            admin.hset(names.entry("main", "k3"), "j", "{")
            admin.hset(names.entry("main", "k4"), "h", "x")
            admin.delete(names.entry("main", "k29"), names.entry("main", "k0"))
            admin.rpop(names.transcript("main", "k5", "s"))
        found = [item async for item in source_of(store, scratch).sessions()]
        aside = {item.problem.key: item.problem for item in found if isinstance(item, SetAside)}
        assert sorted(aside) == ["k0", "k29", "k3", "k4"]
        assert all(
            problem.reason is Reason.UNREADABLE and ("cannot be read" in problem.detail or "is lost" in problem.detail)
            for problem in aside.values()
        )
        whole = {item.key.key: item for item in found if isinstance(item, SourceSession)}
        assert len(whole) == 26
        with pytest.raises(Refused, match="should have 2 lines and has 1"):
            await lines_of(whole.pop("k5"))
        assert [await lines_of(item) for item in whole.values()] == [[b"1", b"2"]] * 25


async def test_what_is_sealed_under_an_unknown_key_is_set_aside_as_it_lies_there(
    config: SessionStorage, scratch: Scratch, tmp_path: Path
) -> None:
    keys = [tmp_path / "lost.key", tmp_path / "known.key"]
    for number, file in enumerate(keys):
        file.write_bytes(bytes([number]) * 32)
        file.chmod(0o600)
    lost, known = (dataclasses.replace(config, encryption_key_files=(str(file),)) for file in keys)
    async with open_store(lost) as store:
        await store.create("sealed", {"sessionId": "s", "secret": "x", "label": "l"}, [b"a secret"])
    async with open_store(known) as store, open_store(config) as bare:
        await store.create("open", {"sessionId": "s"}, [b"1"])
        found = {item.key.key if isinstance(item, SourceSession) else "": item
                 async for item in source_of(store, scratch).sessions()}  # fmt: skip
        assert await lines_of(found["open"]) == [b"1"]
        aside = found[""]
        assert isinstance(aside, SetAside)
        assert aside.problem.key == "sealed"
        raw = b"\n".join([(await bare.get("sealed")).entry.raw, *(await bare.read("sealed")).lines])
        assert b"".join(aside.blob.chunks()) == raw
        assert b"a secret" not in raw


class Away(WrappedStore):
    """A store that is away for every third call."""

    calls = 0

    async def _around(self, operation: str, call: Any) -> Any:
        self.calls += 1
        if self.calls % 3 == 0:
            call.close()
            raise Unavailable("away")
        return await call


async def test_a_source_that_is_away_for_a_moment_is_waited_for(store: Store, scratch: Scratch) -> None:
    for number in range(5):
        await store.create(f"k{number}", {"sessionId": "s"}, [b"1"])
    await store.put_archive("main", "s.jsonl.bak.1", [b"1"])
    away = Away(store)
    source = StoreSource(away, scratch, Patience(30), where="")
    source._bare = away
    assert [await lines_of(item) async for item in source.sessions()] == [[b"1"]] * 5
    assert [await lines_of(item) async for item in source.archives()] == [[b"1"]]
    assert away.calls > 6


class SettingBack(WrappedStore):
    """Sets the time of the newest session back after the first page, as somebody may."""

    async def list(self, **options: Any) -> Page:
        page = await self.inner.list(**(options | {"limit": 2}))
        await self.inner.set("k3", {"sessionId": "s", "updatedAt": 0})
        return page


async def test_a_session_that_the_walk_meets_twice_is_found_once(store: Store, scratch: Scratch) -> None:
    for number in range(4):
        await store.create(f"k{number}", {"sessionId": "s", "updatedAt": number + 1})
    source = source_of(store, scratch)
    source._bare = SettingBack(store)
    assert [item.key.key async for item in source.sessions()] == ["k3", "k2", "k1", "k0"]


async def test_a_source_that_is_the_target_is_refused(url: str, config: SessionStorage) -> None:
    other_name = url.replace("127.0.0.1", "localhost")
    async with open_store(config) as source, open_store(other_name) as target, open_store("memory://") as elsewhere:
        with pytest.raises(MigrationError, match="name another --to") as caught:
            await stores.check_apart(source, target)
        assert caught.value.reason == "SameStore"
        assert [name async for name in source.list_documents()] == []
        await stores.check_apart(source, elsewhere)


async def test_a_store_with_nothing_in_it_is_taken_for_a_misspelt_one(store: Store) -> None:
    with pytest.raises(SourceError, match="check address and keyspace") as caught:
        await stores.check_holds(store, "redis://source")
    assert caught.value.reason == "NothingFound"
    await store.put_archive("main", "s.jsonl.bak.1", [])
    await stores.check_holds(store, "redis://source")
