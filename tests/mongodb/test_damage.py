"""What is in the database and was not written by us, or is only half of what we wrote."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sessionstore.sessions import (
    Change,
    ConfigurationError,
    FeedLost,
    Operation,
    SessionKey,
    SessionStorage,
    Store,
    Unavailable,
    Unreadable,
    open_store,
)
from sessionstore.sessions.mongodb import changes, documents
from sessionstore.sessions.mongodb import store as mongo_store
from tests.mongo_server import MongoServer


@pytest.fixture
async def store(config: SessionStorage) -> AsyncIterator[Store]:
    async with open_store(config) as opened:
        yield opened


@pytest.fixture
def database(shared_server: MongoServer, config: SessionStorage):
    with shared_server.admin() as admin:
        yield admin[config.mongodb_database]


def id_of(config: SessionStorage, key: str = "k") -> str:
    return f"{config.keyspace}/main:{key}"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        pytest.param({"j": b"{torn"}, "", id="an entry that is no JSON"),
        pytest.param({"j": 7}, "", id="an entry that is a number"),
        pytest.param({"r": "1"}, "str", id="a revision that is text"),
        pytest.param({"s": "asleep"}, "", id="a status that there is not"),
        pytest.param({"cur": {"i": "s"}}, "'g'|'n'", id="a transcript without its head"),
        pytest.param({"cur": "s"}, "", id="a transcript that is text"),
    ],
)
async def test_a_document_that_is_not_ours_is_unreadable_and_named(
    store: Store, config: SessionStorage, database: Any, fields: dict[str, Any], why: str
) -> None:
    await store.set("k", {"sessionId": "geheim"})
    database.sessions.update_one({"_id": id_of(config)}, {"$set": fields})
    for call in (store.get("k"), store.set("k", {"sessionId": "s"}), store.get_many(["k"])):
        with pytest.raises(Unreadable, match="main/k") as caught:
            await call
        assert "geheim" not in str(caught.value)
    assert why == "" or any(word in str(caught.value) for word in why.split("|"))


@pytest.mark.parametrize("field", ["j", "s", "c"])
async def test_a_document_without_a_field_is_unreadable_and_not_empty(
    store: Store, config: SessionStorage, database: Any, field: str
) -> None:
    await store.set("k", {})
    database.sessions.update_one({"_id": id_of(config)}, {"$unset": {field: ""}})
    with pytest.raises(Unreadable, match="main/k"):
        await store.get("k")


@pytest.mark.parametrize("damage", [{"n": 9}, {"b": b"torn"}, {"b": 7}, None])
async def test_lines_that_are_damaged_or_gone_are_unreadable_and_not_skipped(
    store: Store, config: SessionStorage, database: Any, damage: dict[str, Any] | None
) -> None:
    await store.set("k", {"sessionId": "s"})
    await store.append("k", [b"x" * 50_000, b"y" * 50_000])
    segment = database.sessions.find_one({"_id": id_of(config)})["cur"]["q"][0][1]
    chunk = next(one for one in database.lines.find() if segment in one["_id"])
    if damage is None:
        database.lines.delete_one({"_id": chunk["_id"]})
    else:
        database.lines.update_one({"_id": chunk["_id"]}, {"$set": damage})
    with pytest.raises(Unreadable):
        await store.read("k")
    with pytest.raises(Unreadable):
        await store.append("k", [b"x" * 50_000], position=0)


async def test_a_layout_of_a_later_version_is_refused(config: SessionStorage, database: Any) -> None:
    async with open_store(config) as store:
        await store.set("k", {})
    database.meta.update_one({"_id": config.keyspace}, {"$set": {"layout": 99}})
    async with open_store(config) as store:
        with pytest.raises(ConfigurationError, match="layout 99"):
            await store.set("k", {})


async def test_changes_that_a_crash_left_untold_are_told_once_by_whoever_follows(
    store: Store, config: SessionStorage, database: Any
) -> None:
    start = await store.position()
    await store.set("k", {})
    crashed = {"$set": {"r": 3, "v": secrets.randbits(60), "pend": ["append:1", "mark:2"], "z": 1}}
    database.sessions.update_one({"_id": id_of(config)}, crashed)
    key = SessionKey.of("k")
    expected = [Change(key, 1, Operation.SET), Change(key, 2, Operation.APPEND), Change(key, 3, Operation.MARK)]
    async with open_store(config) as one, open_store(config) as two:
        for follower in (one, two):
            assert await told(follower, start, 3) == expected
    assert await told(store, start, 3) == expected
    assert "pend" not in database.sessions.find_one({"_id": id_of(config)})


async def test_changes_that_a_crash_left_untold_come_before_those_of_the_next_writer(
    config: SessionStorage, database: Any
) -> None:
    async with open_store(config) as store:
        start = await store.position()
        await store.set("k", {})
    crashed = {"$set": {"r": 2, "v": secrets.randbits(60), "pend": ["mark:1"], "z": time.time() * 1000}}
    database.sessions.update_one({"_id": id_of(config)}, crashed)
    async with open_store(config) as store:
        assert (await store.set("k", {})).revision == 3
        found = await told(store, start, 3)
    assert [(change.revision, change.operation) for change in found] == [(1, "set"), (2, "mark"), (3, "set")]


async def told(store: Store, cursor: str, count: int) -> list[Change]:
    """Return what is told, waiting until there are so many."""
    found: list[Change] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            part = await store.changes(cursor, wait_s=1)
            found += part.items
            cursor = part.cursor
    return found


async def test_a_cursor_older_than_the_log_is_lost_and_said(
    config: SessionStorage, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "LENGTH", 20)
    monkeypatch.setattr(changes, "_TRIM_EACH", 10)
    async with open_store(config) as store:
        start = await store.position()
        await store.set("k", {})
        seen = (await store.changes(start)).cursor
        for _ in range(40):
            await store.set("k", {})
        for cursor in (start, seen):
            with pytest.raises(FeedLost, match="not kept"):
                await store.changes(cursor)
        assert (await store.changes(await store.position())).items == ()
    assert database.feed.count_documents({"_id": {"$gte": f"{config.keyspace}/", "$lt": f"{config.keyspace}0"}}) < 40


async def test_a_log_that_lost_what_was_read_is_said(store: Store, config: SessionStorage, database: Any) -> None:
    await store.set("k", {})
    cursor = await store.position()
    database.feed.delete_many({"_id": {"$gte": f"{config.keyspace}/", "$lt": f"{config.keyspace}0"}})
    with pytest.raises(FeedLost, match="gone"):
        await store.changes(cursor)


async def test_sessions_that_expired_are_swept_by_whoever_writes(
    config: SessionStorage, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_store, "UPKEEP_S", 0.01)
    async with open_store(config) as store:
        for number in range(5):
            await store.set(f"k{number}", {})
        database.sessions.update_many({"k": config.keyspace}, {"$set": {"x": 1, "z": 1}})
        async with asyncio.timeout(30):
            while (await store.stats()).expired:
                await store.set("other", {})
                await asyncio.sleep(0.02)
        assert [await store.tombstone(f"k{number}") for number in range(5)] == [2] * 5


async def test_a_document_that_lost_a_part_is_unreadable_and_not_waited_for(
    store: Store, config: SessionStorage, database: Any
) -> None:
    await store.put_document("report", b"x" * 9 * 1024 * 1024)
    nonce = database.documents.find_one({"_id": f"{config.keyspace}/report"})["q"]
    part = next(one for one in database.lines.find({}, {"_id": 1}) if nonce in one["_id"])
    database.lines.delete_one({"_id": part["_id"]})
    async with asyncio.timeout(30):
        with pytest.raises(Unreadable, match="document report"):
            await store.get_document("report")


async def test_a_damaged_session_does_not_keep_others_from_being_looked_after(
    config: SessionStorage, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(config) as store:
        start = await store.position()
        for key in ("damaged", "expired", "untold"):
            await store.set(key, {})
        database.sessions.update_one({"_id": id_of(config, "damaged")}, {"$set": {"c": "text", "x": 1, "z": 1}})
        database.sessions.update_one({"_id": id_of(config, "expired")}, {"$set": {"x": 1, "z": 2}})
        assert await store.sweep() == 1
        assert await store.tombstone("expired") == 2

        monkeypatch.setattr(mongo_store, "UPKEEP_S", 0.01)
        crashed = {"r": 2, "v": secrets.randbits(60), "pend": ["append:1"], "z": 3}
        database.sessions.update_one({"_id": id_of(config, "damaged")}, {"$set": {"pend": ["append:1"]}})
        database.sessions.update_one({"_id": id_of(config, "untold")}, {"$set": crashed})
        found = await told(store, start, 5)
    assert Change(SessionKey.of("untold"), 2, Operation.APPEND) in found


async def test_a_session_that_has_grown_too_large_for_a_document_is_told_as_full_and_stays(
    store: Store, config: SessionStorage, database: Any
) -> None:
    await store.set("k", {"sessionId": "s", "n": 1})
    others = [{"i": f"{number:0200}", "g": 0, "n": 0, "q": []} for number in range(36_000)]
    database.sessions.update_one({"_id": id_of(config)}, {"$set": {"old": others}})
    with pytest.raises(Unavailable, match="larger") as caught:
        await store.set("k", {"sessionId": "s", "pad": "x" * (8 * 1024 * 1024 - 100)})
    assert (caught.value.reason, "not known" in str(caught.value)) == ("full", False)
    assert (await store.get("k")).revision == 1
    assert (await store.set("k", {"sessionId": "s", "n": 2})).revision == 2


async def test_reading_an_entry_does_not_fetch_where_the_lines_lie(
    store: Store, config: SessionStorage, database: Any
) -> None:
    await store.set("k", {"sessionId": "s"})
    await store.append("k", [b"x" * 50_000])
    (whole,) = database.sessions.find({"_id": id_of(config)})
    (part,) = database.sessions.find({"_id": id_of(config)}, documents.WITHOUT_LINES)
    assert whole["cur"].keys() - part["cur"].keys() == {"l", "q"}
    assert (await store.get("k")).transcript.lines == 1
