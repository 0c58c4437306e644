"""Finding sessions, many at once, and ending those of one sender, channel or agent."""

from __future__ import annotations

import pytest

from sessionstore.sessions import InvalidKey, Query, SessionKey, Status, Store

ALICE, BOB = "agent:main:telegram:direct:alice", "agent:main:whatsapp:direct:+1555"
GROUP = "agent:main:telegram:group:-100"
WORK = "agent:work:telegram:direct:alice"


@pytest.fixture
async def filled(store: Store) -> Store:
    for number, key in enumerate([ALICE, BOB, GROUP, WORK, "plain"]):
        await store.set(key, {"sessionId": f"s{number}", "updatedAt": 1000 + number})
    return store


async def found(store: Store, query: Query, limit: int = 50) -> list[str]:
    """Return the keys of all pages, in their order."""
    keys: list[str] = []
    page = await store.search(query, limit=limit)
    while True:
        assert len(page.items) <= limit
        keys += [row.key.key for row in page.items]
        if page.cursor is None:
            return keys
        page = await store.search(query, limit=limit, cursor=page.cursor)


async def test_an_empty_query_finds_all_active_ones_newest_first(filled: Store) -> None:
    assert await found(filled, Query()) == ["plain", WORK, GROUP, BOB, ALICE]
    assert await found(filled, Query(), limit=2) == ["plain", WORK, GROUP, BOB, ALICE]


async def test_by_agent_channel_and_sender(filled: Store) -> None:
    assert await found(filled, Query(agent="work")) == [WORK]
    assert await found(filled, Query(channel="telegram")) == [WORK, GROUP, ALICE]
    assert await found(filled, Query(sender="alice")) == [WORK, ALICE]
    assert await found(filled, Query(sender="alice", agent="main")) == [ALICE]
    assert await found(filled, Query(sender="+1555", channel="telegram")) == []


async def test_the_entry_says_channel_and_sender_where_it_does(filled: Store) -> None:
    await filled.set("plain", {"channel": "slack", "senderId": "U1", "updatedAt": 5000})
    assert await found(filled, Query(channel="slack")) == ["plain"]
    assert await found(filled, Query(sender="U1")) == ["plain"]
    await filled.set("plain", {"updatedAt": 5000})
    assert await found(filled, Query(channel="slack")) == []


async def test_by_title_tags_and_pin(filled: Store) -> None:
    await filled.title(ALICE, "Straße nach Wien")
    await filled.tag(ALICE, add=["vip", "eu"])
    await filled.tag(BOB, add=["vip"])
    await filled.pin(BOB)
    assert await found(filled, Query(title="STRASSE")) == [ALICE]
    assert await found(filled, Query(tags=frozenset({"vip"}))) == [BOB, ALICE]
    assert await found(filled, Query(tags=frozenset({"vip", "eu"}))) == [ALICE]
    assert await found(filled, Query(pinned=True)) == [BOB]
    assert await found(filled, Query(pinned=False, tags=frozenset({"vip"}))) == [ALICE]


async def test_by_status(filled: Store) -> None:
    await filled.archive(BOB)
    assert BOB not in await found(filled, Query())
    assert await found(filled, Query(status=Status.ARCHIVED)) == [BOB]
    assert await found(filled, Query(status=None)) == ["plain", WORK, GROUP, BOB, ALICE]


async def test_by_time(filled: Store) -> None:
    assert await found(filled, Query(updated_from_ms=1003)) == ["plain", WORK]
    assert await found(filled, Query(updated_before_ms=1002)) == [BOB, ALICE]
    assert await found(filled, Query(updated_from_ms=1001, updated_before_ms=1003), limit=1) == [GROUP, BOB]


async def test_get_many_keeps_the_order_and_the_gaps(filled: Store) -> None:
    await filled.delete(BOB)
    got = await filled.get_many([WORK, "absent", ALICE, BOB, WORK])
    assert [session and session.key.key for session in got] == [WORK, None, ALICE, None, WORK]
    assert got[0] == await filled.get(WORK)
    assert await filled.get_many([]) == []
    many = await filled.get_many([SessionKey("main", f"m{number}") for number in range(300)])
    assert many == [None] * 300


async def test_a_sender_is_logged_out_everywhere(filled: Store) -> None:
    await filled.archive(ALICE)
    assert await filled.invalidate(sender="alice") == 2
    assert await filled.get(ALICE) is None
    assert await filled.get(WORK) is None
    assert await found(filled, Query(status=None)) == ["plain", GROUP, BOB]
    assert await filled.invalidate(sender="alice") == 0


async def test_a_channel_and_an_agent_too(filled: Store) -> None:
    assert await filled.invalidate(channel="telegram", agent="main") == 2
    assert await filled.invalidate(agent="work") == 1
    assert await found(filled, Query(status=None)) == ["plain", BOB]


async def test_many_pages_of_one_sender(store: Store) -> None:
    for number in range(620):
        await store.set(f"agent:main:telegram:direct:x:{number}", {"senderId": "x", "updatedAt": number // 100})
    await store.set("stays", {})
    assert await store.invalidate(sender="x") == 620
    assert await found(store, Query(status=None)) == ["stays"]


async def test_not_everything_by_mistake(filled: Store) -> None:
    with pytest.raises(InvalidKey, match="sender, a channel or an agent"):
        await filled.invalidate()
    assert await filled.count() == 5


async def test_an_agent_that_cannot_be_one_is_refused_and_not_empty(filled: Store) -> None:
    for call in (
        lambda: filled.list(agent="../x"),
        lambda: filled.invalidate(agent=""),
        lambda: filled.search(Query(agent="a b")),
        lambda: filled.count(agent="../x"),
    ):
        with pytest.raises(InvalidKey, match="agent"):
            await call()
