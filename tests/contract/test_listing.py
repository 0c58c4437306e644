"""`list`: newest first, complete, a page at a time."""

from __future__ import annotations

import base64

import pytest

from sessionstore.sessions import InvalidKey, SessionInfo, SessionKey, Status, Store, iterate


async def fill(store: Store, count: int, updated: int | None = None) -> list[SessionKey]:
    """Write sessions and return their keys, newest first; with `updated`, all of one moment."""
    for number in range(count):
        moment = 1000 + number if updated is None else updated
        await store.set(f"k{number:04}", {"sessionId": f"s{number}", "updatedAt": moment})
    return [SessionKey("main", f"k{number:04}") for number in reversed(range(count))]


@pytest.mark.parametrize("count", [0, 1, 2, 50, 51, 150])
async def test_all_sessions_come_newest_first(store: Store, count: int) -> None:
    keys = await fill(store, count)
    page = await store.list()
    assert [info.key for info in page.items] == keys[:50]
    assert (page.cursor is None) == (count <= 50)
    assert [info.key async for info in iterate(store, page=7)] == keys


@pytest.mark.parametrize("limit", [1, 2, 3, 64, 200])
async def test_sessions_of_one_millisecond_are_all_listed_once(store: Store, limit: int) -> None:
    keys = await fill(store, 130, updated=1000)
    assert [info.key async for info in iterate(store, page=limit)] == keys


async def test_a_row_tells_what_the_contract_names(store: Store) -> None:
    await store.set("agent:work:k", {"sessionId": "s", "updatedAt": 1000})
    await store.append("agent:work:k", [b"1", b"2"])
    session = await store.get("agent:work:k")
    assert (await store.list()).items == (
        SessionInfo(SessionKey("work", "agent:work:k"), "s", Status.ACTIVE, 2, 2, session.updated_ms),
    )


async def test_a_session_that_moves_goes_to_the_front(store: Store) -> None:
    await fill(store, 3)
    await store.append("k0000", [b"1"])
    assert [info.key.key for info in (await store.list()).items] == ["k0000", "k0002", "k0001"]


async def test_rows_are_chosen_by_agent(store: Store) -> None:
    await fill(store, 60)
    for number in (1, 2):
        await store.set(f"agent:work:{number}", {"updatedAt": number})
    assert [info.key.key for info in (await store.list(agent="work")).items] == ["agent:work:2", "agent:work:1"]
    first = await store.list(agent="work", limit=1)
    assert [info.key.key for info in first.items] == ["agent:work:2"]
    rest = await store.list(agent="work", limit=1, cursor=first.cursor)
    assert ([info.key.key for info in rest.items], rest.cursor) == (["agent:work:1"], None)
    assert (await store.list(agent="nobody")).items == ()


async def test_rows_are_chosen_by_status_and_tombstones_are_never_among_them(store: Store) -> None:
    keys = await fill(store, 3)
    await store.delete(keys[0])
    assert [info.key for info in (await store.list(status=Status.ACTIVE)).items] == keys[1:]
    assert (await store.list(status=Status.ARCHIVED)).items == ()
    assert (await store.list(status=Status.DELETED)).items == ()


async def test_a_page_goes_on_where_it_stopped_whatever_changed_meanwhile(store: Store) -> None:
    keys = await fill(store, 6)
    first = await store.list(limit=2)
    await store.delete(keys[1])
    await store.append(keys[5], [b"1"])
    rest = await store.list(cursor=first.cursor)
    assert [info.key for info in rest.items] == keys[2:5]


@pytest.mark.parametrize("limit", [0, -1, 10_001])
async def test_an_impossible_limit_is_refused(store: Store, limit: int) -> None:
    with pytest.raises(InvalidKey, match="limit"):
        await store.list(limit=limit)


DEEP = base64.urlsafe_b64encode(b"[" * 100_000).decode()


@pytest.mark.parametrize("cursor", ["", "x", "bm9wZQ==", "WzEsMl0=", "é", pytest.param(DEEP, id="nested deeply")])
async def test_a_cursor_of_one_s_own_making_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(InvalidKey, match="cursor"):
        await store.list(cursor=cursor)
