"""What a follower remembers outlives it, whole, and does not grow for ever."""

from __future__ import annotations

import contextlib

import pytest

from sessionstore.migrate import followed
from sessionstore.migrate.followed import GONE, Head, Left, Memory
from sessionstore.migrate.keeper import Keeper
from sessionstore.migrate.patience import Patience
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions import SessionKey
from sessionstore.sessions.exceptions import Unavailable
from sessionstore.sessions.memory import MemoryStore

KEYS = [SessionKey("main", f"k{number}") for number in range(6)]


def memory_in(store: MemoryStore, scratch: Scratch) -> Memory:
    return Memory(Keeper(store, "default"), Patience(1), scratch)


async def test_nothing_is_remembered_of_another_source(scratch: Scratch) -> None:
    store = MemoryStore()
    await memory_in(store, scratch).begin(Head("one", "c0"))
    assert await memory_in(store, scratch).load("another") is False
    assert await memory_in(store, scratch).load("one") is True


async def test_what_was_left_is_known_again_and_the_later_counts(scratch: Scratch) -> None:
    store = MemoryStore()
    memory = memory_in(store, scratch)
    await memory.begin(Head("one", "c0", was_empty=True))
    await memory.intend(KEYS[:2])
    await memory.settle("c1", {KEYS[0]: Left(b"\1", "s1"), KEYS[1]: Left(b"\2", None)})
    await memory.settle("c2", {KEYS[0]: GONE})
    again = memory_in(store, scratch)
    assert await again.load("one") is True
    assert (again.cursor, again.head.was_empty, again.doubtful) == ("c2", True, frozenset())
    assert [again.left(key) for key in KEYS[:3]] == [GONE, Left(b"\2", None), None]
    assert sorted(again.keys()) == KEYS[:2]


async def test_what_was_about_to_be_written_is_in_doubt_until_it_is_settled(scratch: Scratch) -> None:
    store = MemoryStore()
    memory = memory_in(store, scratch)
    await memory.begin(Head("one", "c0"))
    await memory.settle("c1", {})
    await memory.intend(KEYS[:1])
    killed = memory_in(store, scratch)
    assert await killed.load("one")
    assert (killed.cursor, killed.doubtful) == ("c1", frozenset(KEYS[:1]))
    await killed.intend(KEYS[1:2])
    again = memory_in(store, scratch)
    assert await again.load("one")
    assert again.doubtful == frozenset(KEYS[:2])
    await again.settle("c2", {KEYS[0]: Left(b"\1", None), KEYS[1]: GONE})
    settled = memory_in(store, scratch)
    assert await settled.load("one")
    assert (settled.cursor, settled.doubtful) == ("c2", frozenset())


class Dying(MemoryStore):
    """A store that goes away after so many writes."""

    left = 1000

    async def put_document(self, name: str, body: bytes) -> None:
        if self.left == 0:
            raise Unavailable("gone", "permission")
        self.left -= 1
        await super().put_document(name, body)


@pytest.mark.parametrize("writes", range(6))
async def test_from_another_place_in_the_feed_what_we_left_stays_ours_wherever_it_is_killed(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    monkeypatch.setattr(followed, "PAGE", 1)
    store = Dying()
    memory = memory_in(store, scratch)
    await memory.begin(Head("one", "c0", is_copied=True))
    await memory.settle("c1", {KEYS[0]: Left(b"\1", "s1"), KEYS[1]: Left(b"\2", "s2"), KEYS[2]: GONE})
    await memory.intend(KEYS[3:4])
    killed = memory_in(store, scratch)
    assert await killed.load("one")
    store.left = writes
    with pytest.raises(Unavailable) if writes < 5 else contextlib.nullcontext():
        await killed.begin_again("d0")
    store.left = 1000
    again = memory_in(store, scratch)
    assert await again.load("one")
    assert again.doubtful == frozenset(KEYS[3:4])
    assert [again.mark(key) for key in KEYS[:3]] == [b"\1", b"\2", None]
    # With the old cursor the feed is found to be lost once more; with the new one all has to be copied again.
    assert (again.cursor, again.head.is_copied) in ([("c1", True)] if writes == 0 else [("c1", False), ("d0", False)])
    if writes >= 5:
        assert [again.left(key) for key in KEYS[:3]] == [Left(b"\1", None), Left(b"\2", None), None]
        assert (again.cursor, again.head.first) == ("d0", 1)


async def test_many_batches_are_written_anew_as_few(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "MANY", 5)
    monkeypatch.setattr(followed, "PAGE", 4)
    store = MemoryStore()
    memory = memory_in(store, scratch)
    await memory.begin(Head("one", "c0"))
    for number in range(40):
        await memory.settle(f"c{number}", {KEYS[number % 6]: Left(b"%d" % number, f"s{number}")})
        documents = [name async for name in store.list_documents("migration/default/following/")]
        assert len(documents) <= 8
        again = memory_in(store, scratch)
        assert await again.load("one")
        assert again.cursor == f"c{number}"
        assert [again.left(key) for key in KEYS] == [memory.left(key) for key in KEYS]
    await memory.forget()
    assert [name async for name in store.list_documents("migration/default/following/")] == []
