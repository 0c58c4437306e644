"""Following a store: everything once, what changes, what was deleted, and what the store has lost."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from sessionstore.bridge.follow import Follower, Seen
from sessionstore.sessions import Page, Session, SessionKey, Unavailable, Unreadable
from sessionstore.sessions.memory import MemoryStore
from sessionstore.sessions.store import Key

A, B, C = (SessionKey("main", f"agent:main:{letter}") for letter in "abc")


class Heard:
    """Keeps what it is told: the last of each session, and each call."""

    def __init__(self) -> None:
        self.view: dict[SessionKey, Seen] = {}
        self.calls: list[tuple[str, SessionKey, int]] = []

    def told(self, key: SessionKey, seen: Seen) -> None:
        self._heard("told", key, seen)

    def lost(self, key: SessionKey, seen: Seen) -> None:
        self._heard("lost", key, seen)

    def _heard(self, what: str, key: SessionKey, seen: Seen) -> None:
        self.view[key] = seen
        self.calls.append((what, key, seen.revision))


class Forgetful(MemoryStore):
    """A store that can go back to where it was: its last writes are lost, as in a failover."""

    def remember(self) -> Any:
        kept = self._kept
        return copy.deepcopy((kept.records, kept.lines, kept._told, kept._count))

    def go_back(self, state: Any) -> None:
        kept = self._kept
        kept.records, kept.lines, kept._told, kept._count = copy.deepcopy(state)

    async def touch_feed(self, times: int) -> None:
        """Write elsewhere, so that the feed is longer than it was."""
        for number in range(times):
            await self.set(SessionKey("other", f"n{number}"), {"sessionId": "n"})


async def following(store: MemoryStore) -> tuple[Follower, Heard]:
    heard = Heard()
    follower = Follower(store, heard)
    await follower.step(0)
    heard.calls.clear()
    return follower, heard


async def test_what_is_there_is_told_once() -> None:
    store, heard = MemoryStore(), Heard()
    await store.set(A, {"sessionId": "1"})
    await store.set(B, {"sessionId": "2"})
    await store.archive(B)
    follower = Follower(store, heard)
    await follower.step(0)
    await follower.step(0)
    assert sorted(heard.calls) == [("told", A, 1), ("told", B, 2)]
    assert heard.view[A].raw == b'{\n    "sessionId": "1"\n  }'
    assert heard.view[A].transcript is not None


async def test_an_entry_that_openclaw_laid_out_keeps_its_bytes() -> None:
    store, heard = MemoryStore(), Heard()
    raw = b'{\n    "sessionId": "1",\n    "n": 1.0,\n    "list": []\n  }'
    await store.set(A, raw)
    await Follower(store, heard).step(0)
    assert heard.view[A].raw == raw


async def test_changes_are_told_and_deletions() -> None:
    store = MemoryStore()
    await store.set(A, {"sessionId": "1"})
    follower, heard = await following(store)
    await store.set(A, {"sessionId": "1", "n": 1})
    await store.set(B, {"sessionId": "2"})
    await store.append(B, [b"{}"])
    await store.delete(A)
    await follower.step(0)
    assert sorted(heard.calls) == [("told", A, 3), ("told", B, 2)]
    assert heard.view[A].raw is None
    transcript = heard.view[B].transcript
    assert transcript is not None
    assert transcript.lines == 1


async def test_what_was_written_by_us_is_not_told() -> None:
    store = MemoryStore()
    follower, heard = await following(store)
    written = await store.set(A, {"sessionId": "1"})
    follower.wrote(A, Seen(written.revision, written.entry.raw))
    await follower.step(0)
    assert heard.calls == []
    await store.set(A, {"sessionId": "1", "n": 1})
    await follower.step(0)
    assert heard.calls == [("told", A, 2)]


async def test_a_look_ahead_of_the_feed_is_told_once() -> None:
    store = MemoryStore()
    follower, heard = await following(store)
    await store.set(A, {"sessionId": "1"})
    await follower.look([A, B])
    await follower.step(0)
    assert heard.calls == [("told", A, 1)]


@pytest.mark.parametrize("later", [0, 10])
async def test_a_store_that_lost_its_last_writes_says_so_for_each(later: int) -> None:
    store = Forgetful()
    await store.set(A, {"sessionId": "1"})
    state = store.remember()
    follower, heard = await following(store)
    await store.set(A, {"sessionId": "1", "n": 1})
    await store.set(B, {"sessionId": "2"})
    await follower.step(0)
    heard.calls.clear()
    store.go_back(state)
    # Nobody can tell from the end of the feed alone that a store is not the one it was.
    await store.touch_feed(later)
    await follower.step(0)
    if later:
        await follower.look([A, B])
    ours = sorted(call for call in heard.calls if call[1].agent == "main")
    assert ours == [("lost", A, 1), ("lost", B, 0)]
    assert heard.view[B].raw is None


async def test_a_deletion_that_the_store_lost_is_told() -> None:
    store = Forgetful()
    await store.set(A, {"sessionId": "1"})
    state = store.remember()
    follower, heard = await following(store)
    await store.delete(A)
    await follower.step(0)
    heard.calls.clear()
    store.go_back(state)
    await follower.step(0)
    assert heard.calls == [("lost", A, 1)]
    assert heard.view[A].raw is not None


async def test_another_write_in_the_place_of_a_lost_one_is_told_as_a_loss() -> None:
    store = Forgetful()
    await store.set(A, {"sessionId": "1"})
    state = store.remember()
    follower, heard = await following(store)
    await store.set(A, {"sessionId": "1", "ours": 1})
    await follower.step(0)
    heard.calls.clear()
    store.go_back(state)
    await store.set(A, {"sessionId": "1", "theirs": 1})
    await follower.look([A])
    assert heard.calls == [("lost", A, 2)]


async def test_a_deletion_that_was_not_seen_is_found_when_the_feed_is_lost() -> None:
    store = Forgetful()
    await store.set(A, {"sessionId": "1"})
    await store.set(B, {"sessionId": "2"})
    follower, heard = await following(store)
    await store.delete(A)
    store._kept._told.clear()
    await store.touch_feed(1)
    store._kept._told.popleft()
    await follower.step(0)
    assert [call for call in heard.calls if call[1].agent == "main"] == [("told", A, 2)]


class Away(MemoryStore):
    """Is away for its next requests."""

    away = 0

    async def get_many(self, keys: Sequence[Key]) -> list[Session | None]:
        if self.away:
            self.away -= 1
            raise Unavailable("away")
        return await super().get_many(keys)


async def test_what_could_not_be_read_is_told_when_the_store_is_back() -> None:
    store = Away()
    await store.set(A, {"sessionId": "1"})
    heard = Heard()
    follower = Follower(store, heard)
    store.away = 1
    with pytest.raises(Unavailable):
        await follower.step(0)
    await follower.step(0)
    assert heard.calls == [("told", A, 1)]
    await store.set(A, {"sessionId": "1", "n": 1})
    store.away = 1
    with pytest.raises(Unavailable):
        await follower.step(0)
    await follower.step(0)
    assert heard.calls == [("told", A, 1), ("told", A, 2)]


class Damaged(MemoryStore):
    """Holds a session that cannot be read."""

    async def list(self, **kwargs: Any) -> Page:  # type: ignore[override]
        page = await super().list(**kwargs)
        raise Unreadable("damaged", keys=[C], page=page)

    async def get_many(self, keys: Sequence[Key]) -> list[Session | None]:
        if C in keys:
            raise Unreadable("agent:main:c is damaged")
        return await super().get_many(keys)


async def test_a_damaged_session_costs_itself_alone(caplog: pytest.LogCaptureFixture) -> None:
    store = Damaged()
    await store.set(A, {"sessionId": "1"})
    heard = Heard()
    follower = Follower(store, heard)
    with caplog.at_level(logging.INFO):
        await follower.step(0)
        await follower.look([A, C, B])
    assert heard.calls == [("told", A, 1)]
    assert len(caplog.records) == 1
    assert str(C) not in caplog.text
