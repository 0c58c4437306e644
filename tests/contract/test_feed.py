"""The change feed: resumable, in order for each session, and loud about what it does not know any more."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from sessionstore.sessions import (
    Capability,
    Change,
    FeedLost,
    InvalidKey,
    Operation,
    SessionKey,
    Store,
    feed,
    follow,
    iterate,
)


@pytest.fixture(autouse=True)
def _declared(store: Store) -> None:
    assert Capability.FEED in store.capabilities


async def told(store: Store, cursor: str) -> list[Change]:
    """Return all events behind the cursor."""
    found: list[Change] = []
    while items := (part := await store.changes(cursor)).items:
        found += items
        cursor = part.cursor
    return found


async def test_an_empty_store_has_a_position_and_no_changes(store: Store) -> None:
    start = await store.position()
    found = await store.changes(start)
    assert found.items == ()
    assert (await store.changes(found.cursor)).items == ()


async def test_each_operation_is_told_with_its_revision(store: Store) -> None:
    start = await store.position()
    await store.set("k", {"sessionId": "s"})
    await store.append("k", [b"1"])
    await store.rewrite("k", [b"2"])
    await store.tag("k", add=["a"])
    await store.archive("k")
    await store.restore("k")
    await store.delete("k")
    key = SessionKey.of("k")
    assert await told(store, start) == [
        Change(key, number, operation)
        for number, operation in enumerate(
            [
                Operation.SET,
                Operation.APPEND,
                Operation.REWRITE,
                Operation.MARK,
                Operation.ARCHIVE,
                Operation.RESTORE,
                Operation.DELETE,
            ],
            start=1,
        )
    ]


async def test_what_changes_nothing_is_not_told(store: Store) -> None:
    await store.set("k", {"sessionId": "s"})
    await store.append("k", [b"1"])
    start = await store.position()
    await store.get("k")
    await store.read("k")
    await store.touch("k")
    await store.append("k", [])
    await store.append("k", [b"1"], position=0)
    await store.pin("k", False)
    await store.delete("absent")
    await store.list()
    async with store.lease("k"):
        pass
    assert await told(store, start) == []


async def test_a_cursor_goes_on_where_it_stopped(store: Store) -> None:
    cursor = await store.position()
    seen: list[Change] = []
    for number in range(30):
        await store.set(f"k{number % 7}", {"n": number})
        if number % 4 == 0:
            part = await store.changes(cursor)
            seen += part.items
            cursor = part.cursor
    seen += await told(store, cursor)
    assert len(seen) == 30
    for number in range(7):
        revisions = [change.revision for change in seen if change.key.key == f"k{number}"]
        assert revisions == list(range(1, len(revisions) + 1))


async def test_small_parts_lose_nothing(store: Store) -> None:
    start = await store.position()
    for number in range(40):
        await store.set(f"k{number}", {})
    cursor, seen = start, []
    while (part := await store.changes(cursor, limit=3)).items:
        seen += part.items
        cursor = part.cursor
    assert sorted(change.key.key for change in seen) == sorted(f"k{number}" for number in range(40))


async def test_a_walk_and_the_feed_from_before_it_miss_nothing(store: Store) -> None:
    await store.set("before", {})
    start = await store.position()

    async def writer() -> None:
        for number in range(50):
            await store.set(f"k{number}", {"n": number})

    writing = asyncio.create_task(writer())
    known = {row.key.key async for row in iterate(store, page=5)}
    await writing
    known |= {change.key.key for change in await told(store, start)}
    assert known == {"before"} | {f"k{number}" for number in range(50)}


async def test_waiting_ends_with_the_first_change(store: Store) -> None:
    start = await store.position()
    waiting = asyncio.create_task(store.changes(start, wait_s=60))
    await asyncio.sleep(0.05)
    await store.set("k", {})
    found = await asyncio.wait_for(waiting, 30)
    assert [change.key.key for change in found.items] == ["k"]


async def test_waiting_for_nothing_ends_too(store: Store) -> None:
    start = await store.position()
    assert (await store.changes(start, wait_s=0.1)).items == ()


async def test_following_gives_batch_after_batch(store: Store) -> None:
    batches = follow(store, await store.position(), wait_s=0.2)
    await store.set("a", {})
    assert [change.key.key for change in (await anext(batches)).items] == ["a"]
    later = asyncio.create_task(anext(batches))
    await asyncio.sleep(0.5)
    await store.set("b", {})
    assert [change.key.key for change in (await asyncio.wait_for(later, 30)).items] == ["b"]
    await batches.aclose()


@pytest.mark.parametrize("cursor", ["", "x", "////", "W10=", "eyJhIjoxfQ==", "bnVsbA==", "W" * 5000])
async def test_what_is_no_cursor_is_refused(store: Store, cursor: str) -> None:
    await store.set("k", {})
    with pytest.raises(InvalidKey, match="cursor"):
        await store.changes(cursor)


async def test_another_stores_cursor_is_not_silence(store: Store) -> None:
    await store.set("k", {})
    places = len(_places(await store.position()))
    with pytest.raises((FeedLost, InvalidKey)):
        await store.changes(feed.encode("0123456789abcdef", [0] * places))


def _places(cursor: str) -> list[object]:

    return list(json.loads(base64.urlsafe_b64decode(cursor)))[1:]
