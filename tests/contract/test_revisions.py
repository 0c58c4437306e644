"""Compare-and-set: who writes against an old revision loses, and is told what is there."""

from __future__ import annotations

import asyncio

import pytest

from sessionstore.sessions import Conflict, Store

WRITERS, ROUNDS = 16, 25


async def test_each_change_is_one_revision(store: Store) -> None:
    assert (await store.set("k", {"sessionId": "s"})).revision == 1
    await store.append("k", [b"1"])
    await store.rewrite("k", [b"2"])
    assert (await store.get("k")).revision == 3
    assert (await store.set("k", {"sessionId": "s"})).revision == 4


async def test_reading_is_no_change(store: Store) -> None:
    before = await store.set("k", {"sessionId": "s"})
    await store.read("k")
    await store.list()
    await store.append("k", [])
    assert await store.get("k") == before


async def test_a_write_against_the_current_revision_wins(store: Store) -> None:
    first = await store.set("k", {"n": 1}, expected=0)
    second = await store.set("k", {"n": 2}, expected=first.revision)
    assert (second.revision, second.entry["n"]) == (2, 2)


@pytest.mark.parametrize("expected", [0, 1, 3, 2**40])
async def test_a_write_against_another_revision_gets_the_current_record(store: Store, expected: int) -> None:
    await store.set("k", {"n": 1})
    current = await store.set("k", {"n": 2})
    with pytest.raises(Conflict) as caught:
        await store.set("k", {"n": 3}, expected=expected)
    assert caught.value.current == current
    assert await store.get("k") == current


async def test_a_session_that_must_be_there_and_is_not_is_a_conflict_with_nothing(store: Store) -> None:
    with pytest.raises(Conflict) as caught:
        await store.set("k", {}, expected=1)
    assert caught.value.current is None
    assert await store.get("k") is None


async def test_a_delete_compares_too(store: Store) -> None:
    current = await store.set("k", {"n": 1})
    with pytest.raises(Conflict) as caught:
        await store.delete("k", expected=7)
    assert caught.value.current == current
    assert await store.delete("k", expected=current.revision) is True
    with pytest.raises(Conflict):
        await store.delete("k", expected=current.revision)


async def test_a_tombstone_keeps_counting(store: Store) -> None:
    await store.set("k", {"sessionId": "s"})
    await store.append("k", [b"old"])
    assert await store.delete("k") is True
    assert await store.delete("k") is False
    assert (await store.get("k"), await store.exists("k"), (await store.list()).items) == (None, False, ())
    with pytest.raises(Conflict):
        await store.set("k", {}, expected=3)
    again = await store.set("k", {"sessionId": "s"}, expected=0)
    assert again.revision == 4
    assert (await store.read("k")).lines == ()


async def test_who_knew_the_deleted_transcript_cannot_append_to_its_successor(store: Store) -> None:
    await store.set("k", {"sessionId": "s"})
    before = await store.append("k", [b"old"])
    await store.delete("k")
    await store.set("k", {"sessionId": "s"})
    await store.append("k", [b"new"])
    with pytest.raises(Conflict):
        await store.append("k", [b"late"], position=before.lines, generation=before.generation)
    assert (await store.read("k")).lines == (b"new",)


async def test_a_race_of_writers_has_exactly_as_many_winners_as_revisions(store: Store) -> None:
    """Every writer raises a counter until it has won `ROUNDS` times; a lost update would leave the counter short."""
    await store.set("k", {"count": 0})
    successes = 0

    async def raise_counter() -> None:
        nonlocal successes
        current = await store.get("k")
        for _ in range(ROUNDS):
            while True:
                fields = {"count": current.entry["count"] + 1}
                try:
                    current = await store.set("k", current.entry.with_fields(fields), expected=current.revision)
                    successes += 1
                    break
                except Conflict as lost:
                    current = lost.current

    await asyncio.gather(*(raise_counter() for _ in range(WRITERS)))
    final = await store.get("k")
    assert (successes, final.entry["count"], final.revision) == (400, 400, 401)
