"""Expiry: absolute and idle, what is exempt, and what is left of a session that expired.

Sessions that must still be there have minutes to live, those that must be gone have milliseconds and are waited for:
nothing here depends on how fast the machine is.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from sessionstore.sessions import (
    Conflict,
    InvalidEntry,
    Lifetime,
    NoTranscript,
    Operation,
    Session,
    Status,
    Store,
    iterate,
    open_store,
)
from tests.contract.conftest import Backend

LONG = 600_000
SHORT = Lifetime(ttl_ms=1, idle_ms=0)
DEADLINE_S = 30


async def made(store: Store, key: str = "k", lifetime: Lifetime | None = None) -> Session:
    return await store.set(key, {"sessionId": f"id-{key}", "updatedAt": 1000}, lifetime=lifetime)


async def expired(store: Store, key: str = "k") -> None:
    """Make a session with two lines, and wait until it has expired."""
    await made(store, key)
    await store.append(key, [b"1", b"2"])
    await store.touch(key, lifetime=SHORT)
    await until(lambda: gone(store, key))


async def gone(store: Store, key: str) -> bool:
    return not await store.exists(key)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not await holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


@pytest.fixture
async def forgetful(backend: Backend) -> AsyncIterator[Store]:
    """A store whose sessions live for ten minutes, and for five without a use."""
    config = dataclasses.replace(backend.config, default_ttl=600, idle_ttl=300)
    async with open_store(config) as opened:
        yield opened


async def test_nothing_expires_unless_asked_for(store: Store) -> None:
    assert (await made(store)).expires_ms is None
    assert (await store.get("k")).expires_ms is None


async def test_the_stores_lifetime_holds_for_sessions_without_their_own(forgetful: Store) -> None:
    session = await made(forgetful)
    assert session.expires_ms == session.written_ms + 300_000
    assert (await forgetful.get("k")).expires_ms == session.expires_ms
    assert (await forgetful.list()).items[0].expires_ms == session.expires_ms


async def test_a_session_may_have_its_own(forgetful: Store) -> None:
    session = await made(forgetful, lifetime=Lifetime(ttl_ms=LONG * 3, idle_ms=0))
    assert session.expires_ms == session.written_ms + LONG * 3
    assert (await made(forgetful, "for ever", Lifetime(0, 0))).expires_ms is None
    half = await made(forgetful, "half", Lifetime(ttl_ms=1000))
    assert half.expires_ms == half.written_ms + 1000
    assert half.lifetime == Lifetime(ttl_ms=1000)


async def test_a_write_keeps_the_lifetime_and_begins_it_anew(store: Store) -> None:
    await made(store, lifetime=Lifetime(ttl_ms=LONG))
    again = await made(store)
    assert again.expires_ms == again.written_ms + LONG
    await store.append("k", [b"x"])
    appended = await store.get("k")
    assert appended.expires_ms == appended.written_ms + LONG


async def test_a_lifetime_can_be_changed_without_a_write(store: Store) -> None:
    first = await made(store)
    assert await store.touch("k", lifetime=Lifetime(ttl_ms=LONG)) is True
    session = await store.get("k")
    assert (session.revision, session.entry) == (first.revision + 1, first.entry)
    assert session.expires_ms == session.written_ms + LONG
    assert await store.touch("k", lifetime=Lifetime(0, 0))
    assert (await store.get("k")).expires_ms is None


async def test_a_use_prolongs_the_idle_time_alone(store: Store) -> None:
    first = await made(store, lifetime=Lifetime(ttl_ms=LONG * 2, idle_ms=LONG))
    await until(lambda: later(store, first.written_ms))
    session = await store.get("k")
    assert session.revision == first.revision
    assert session.expires_ms == session.touched_ms + LONG > first.expires_ms
    await store.touch("k", lifetime=Lifetime(ttl_ms=LONG, idle_ms=LONG * 2))
    await store.touch("k")
    capped = await store.get("k")
    assert capped.expires_ms == capped.written_ms + LONG


async def later(store: Store, than_ms: int) -> bool:
    await store.touch("k")
    return (await store.get("k")).touched_ms > than_ms


async def test_a_read_is_a_use(store: Store) -> None:
    """Reads write a use down once a sixteenth of the idle time has passed; 3.2 s make that 200 ms."""
    first = await made(store, lifetime=Lifetime(ttl_ms=0, idle_ms=3_200_000))
    assert (await store.get("k")).touched_ms == first.touched_ms
    second = await made(store, "j", Lifetime(ttl_ms=0, idle_ms=60_000))
    await store.touch("j", lifetime=Lifetime(ttl_ms=0, idle_ms=1600))
    await asyncio.sleep(0.12)
    if await store.exists("j"):  # on a machine that stood still for 1.6 s it is rightly gone
        await store.get("j")
        await store.read("j")
        found = await store.get("j")
        assert found is None or found.touched_ms > second.written_ms


async def test_who_only_looks_does_not_use(backend: Backend) -> None:
    async with open_store(dataclasses.replace(backend.config, count_uses=False)) as store:
        first = await made(store, lifetime=Lifetime(ttl_ms=0, idle_ms=8000))
        await asyncio.sleep(0.6)  # more than a sixteenth
        await store.get_many(["k"])
        await store.read("k")
        assert await store.get("k") == first
        await store.touch("k")
        assert (await store.get("k")).touched_ms > first.touched_ms


async def test_an_expired_session_is_absent_everywhere(store: Store) -> None:
    await made(store, "other")
    await expired(store)
    assert await store.get("k") is None
    assert await store.get_many(["k", "other"]) == [None, await store.get("other")]
    assert await store.read("k") is None
    assert not await store.exists("k")
    assert [row.key.key for row in (await store.list()).items] == ["other"]
    assert [row.key.key async for row in iterate(store)] == ["other"]
    assert await store.count() == 1
    assert await store.touch("k") is False
    assert await store.archive("k") is None
    with pytest.raises(NoTranscript):
        await store.append("k", [b"3"])
    with pytest.raises(Conflict) as caught:
        await store.set("k", {}, expected=3)
    assert caught.value.current is None


async def test_expiry_leaves_a_tombstone(store: Store) -> None:
    await expired(store)
    assert await store.sweep() in (0, 1)  # a write of another session may have swept it
    again = await made(store)
    assert again.revision == 5  # set, append, lifetime, expiry, set
    assert (again.transcript.generation, again.transcript.lines) == (1, 0)
    assert again.expires_ms is None
    assert again.lifetime == Lifetime()


async def test_a_tombstone_tells_deleted_from_never_there(store: Store) -> None:
    assert await store.tombstone("never") is None
    session = await made(store, "j")
    assert await store.tombstone("j") is None
    await store.delete("j")
    assert await store.tombstone("j") == session.revision + 1
    await made(store, "j")
    assert await store.tombstone("j") is None
    await expired(store)
    assert await store.tombstone("k") == 4
    await store.sweep()
    assert await store.tombstone("k") == 4


async def test_a_write_of_an_expired_session_begins_anew(store: Store) -> None:
    await expired(store)
    again = await made(store)
    assert (again.revision, again.transcript.lines, again.transcript.generation) == (5, 0, 1)
    assert again.created_ms == again.written_ms
    await store.append("k", [b"new"])
    assert (await store.read("k")).lines == (b"new",)


async def test_a_lost_lifetime_does_not_let_an_old_position_through(store: Store) -> None:
    """Who knows the transcript from before the expiry must not append to the one that came after."""
    await expired(store)
    await made(store)
    with pytest.raises(Conflict):
        await store.append("k", [b"3"], generation=0)


async def test_sweeping_counts_and_leaves_the_rest(store: Store) -> None:
    await made(store, "stays")
    for key in ("a", "b", "c"):
        await made(store, key, Lifetime(ttl_ms=150))
    await until(lambda: all_gone(store))
    assert (await store.stats()).active == 1
    swept = await store.sweep(2)
    assert swept <= 2
    swept += await store.sweep()
    assert swept <= 3
    stats = await store.stats()
    assert (stats.active, stats.expired) == (1, 0)
    assert await store.sweep() == 0
    assert await store.exists("stays")


async def all_gone(store: Store) -> bool:
    return not any([await store.exists(key) for key in ("a", "b", "c")])


async def test_the_feed_tells_an_expiry_once(store: Store) -> None:
    start = await store.position()
    await expired(store)
    await store.sweep()
    await store.sweep()
    await store.get("k")
    told = [change for change in (await store.changes(start)).items if change.operation is Operation.EXPIRE]
    assert [(change.key.key, change.revision) for change in told] == [("k", 4)]


async def test_a_pinned_session_does_not_expire(store: Store) -> None:
    await made(store, lifetime=Lifetime(ttl_ms=LONG))
    pinned = await store.pin("k")
    assert pinned.expires_ms is None
    await store.touch("k", lifetime=SHORT)
    await made(store, "witness", SHORT)
    await until(lambda: gone(store, "witness"))
    await store.sweep()
    assert (await store.get("k")).marks.pinned
    free = await store.pin("k", False)
    assert free.expires_ms == free.written_ms + 1


async def test_an_archived_session_does_not_expire_and_a_restored_one_begins_anew(store: Store) -> None:
    first = await made(store, lifetime=Lifetime(ttl_ms=LONG))
    archived = await store.archive("k")
    assert archived.expires_ms is None
    await until(lambda: past(store, first.written_ms))
    restored = await store.restore("k")
    assert restored.status is Status.ACTIVE
    assert restored.expires_ms == restored.written_ms + LONG > first.expires_ms


async def past(store: Store, than_ms: int) -> bool:
    return (await made(store, "clock")).written_ms > than_ms


@pytest.mark.parametrize("wrong", [-1, 2**60])
def test_a_lifetime_that_makes_no_sense_is_refused(wrong: int) -> None:
    with pytest.raises(InvalidEntry, match="milliseconds"):
        Lifetime(ttl_ms=wrong)
