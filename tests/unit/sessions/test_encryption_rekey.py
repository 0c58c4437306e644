"""`rekey` brings everything under the last key, once, and says what it could not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sessionstore.sessions import ConfigurationError, Store, iterate
from sessionstore.sessions.encryption import EncryptedStore, Keyring, Progress, rekey
from sessionstore.sessions.memory import MemoryStore
from sessionstore.sessions.wrapped import WrappedStore

OLD, NEW = b"\1" * 32, b"\2" * 32
OLD_ID, NEW_ID = Keyring([OLD]).last, Keyring([NEW]).last
SESSIONS = 5
KEYS = [f"k{number}" for number in range(SESSIONS)]


def encrypted(inner: Store, *keys: bytes, **options: Any) -> EncryptedStore:
    return EncryptedStore(inner, Keyring(keys), **options)


@pytest.fixture
def inner() -> MemoryStore:
    return MemoryStore()


async def fill(store: Store) -> None:
    for number in range(SESSIONS):
        key = f"k{number}"
        await store.set(key, {"sessionId": f"s{number}", "label": f"l{number}", "updatedAt": 1000 + number})
        if number % 2:
            await store.append(key, [b"1", b"2"])
    await store.title("k1", "title")
    await store.archive("k2", reason="old")
    await store.put_archive("main", "x", [b"a", b"b"])
    await store.put_document("d", b"body")


async def seen(store: Store) -> dict[str, object]:
    """Return all that a store tells, without revisions, generations and times of writing."""
    rows = [info async for info in iterate(store)]
    return {
        "rows": [(row.key, row.title, row.updated_ms, row.status, row.lines) for row in rows],
        "entries": [(await store.get(row.key)).entry for row in rows],
        "lines": [(await store.read(row.key)).lines for row in rows],
        "archive": await store.read_archive("main", "x"),
        "document": await store.get_document("d"),
    }


async def test_everything_comes_under_the_last_key_and_stays_what_and_where_it_was(inner: MemoryStore) -> None:
    await fill(encrypted(inner, OLD))
    both = encrypted(inner, OLD, NEW)
    before = await seen(both)
    done = await rekey(both)
    assert (done.sessions, done.archives, done.documents, done.changed) == (SESSIONS, 1, 1, SESSIONS + 2)
    assert done.keys == {OLD_ID: SESSIONS + 4 + 1 + 2 + 1}
    assert done.problems == {}
    assert await seen(encrypted(inner, NEW)) == before


async def test_a_second_run_changes_nothing(inner: MemoryStore) -> None:
    await fill(encrypted(inner, OLD))
    store = encrypted(inner, OLD, NEW)
    await rekey(store)
    position, revisions = await inner.position(), [info.revision async for info in iterate(inner)]
    done = await rekey(store)
    assert (done.changed, set(done.keys)) == (0, {NEW_ID})
    assert ([info.revision async for info in iterate(inner)], (await inner.changes(position)).items) == (revisions, ())


async def test_a_dry_run_counts_and_changes_nothing(inner: MemoryStore) -> None:
    await fill(encrypted(inner, OLD))
    position = await inner.position()
    done = await rekey(encrypted(inner, OLD, NEW), dry_run=True)
    assert (done.changed, set(done.keys)) == (SESSIONS + 2, {OLD_ID})
    assert (await inner.changes(position)).items == ()
    assert (await encrypted(inner, OLD).get_document("d")) == b"body"


async def test_what_is_in_plain_is_encrypted(inner: MemoryStore) -> None:
    await fill(inner)
    before = await seen(inner)
    done = await rekey(encrypted(inner, NEW))
    assert set(done.keys) == {"plain"}
    assert await seen(encrypted(inner, NEW, require=True)) == before


async def test_whole_entries_become_fields_and_fields_whole_entries(inner: MemoryStore) -> None:
    await fill(encrypted(inner, NEW))
    by_fields = encrypted(inner, NEW, fields=["label"])
    before = {key: await by_fields.get(key) for key in KEYS}
    assert (await rekey(by_fields)).changed == SESSIONS
    assert dict((await inner.get("k0")).entry)["sessionId"] == "s0"
    assert (await rekey(by_fields)).changed == 0
    assert (await rekey(encrypted(inner, NEW))).changed == SESSIONS
    required = encrypted(inner, NEW, require=True)
    for key, session in before.items():
        found = await required.get(key)
        assert (found.entry, found.marks, found.status) == (session.entry, session.marks, session.status)


async def test_what_fields_leave_in_plain_stays_so(inner: MemoryStore) -> None:
    await fill(encrypted(inner, OLD, fields=["label"]))
    done = await rekey(encrypted(inner, OLD, NEW, fields=["label"]))
    assert done.changed == SESSIONS + 1
    assert (await inner.read("k1")).lines == (b"1", b"2")
    assert await inner.read_archive("main", "x") == (b"a", b"b")
    assert (await encrypted(inner, NEW, fields=["label"]).get("k1")).entry["label"] == "l1"


async def test_what_cannot_be_read_is_left_and_named_and_the_rest_goes_on(inner: MemoryStore) -> None:
    await fill(encrypted(inner, OLD))
    await encrypted(inner, b"\3" * 32).set("lost", {"sessionId": "lost"})
    await inner.append("k3", [b'{"type":"encrypted","v":1,"key":"?'])
    await encrypted(inner, b"\3" * 32).put_document("e", b"x")
    for dry_run in (True, False):
        done = await rekey(encrypted(inner, OLD, NEW), dry_run=dry_run)
        assert set(done.problems) == {"session main/lost", "session main/k3", "document e"}
        assert "which is not among" in done.problems["session main/lost"]
        assert "damaged" in done.problems["session main/k3"]
        assert done.keys["damaged"] == 1
    new = encrypted(inner, NEW)
    assert [(await new.get(key)).entry["label"] for key in KEYS] == [
        "l0",
        "l1",
        "l2",
        "l3",
        "l4",
    ]


async def test_progress_is_told_after_each(inner: MemoryStore) -> None:
    await fill(encrypted(inner, OLD))
    told: list[tuple[int, int, int]] = []

    def progress(now: Progress) -> None:
        told.append((now.sessions, now.archives, now.documents))

    await rekey(encrypted(inner, OLD, NEW), progress, dry_run=True)
    assert told == [*((number, 0, 0) for number in range(1, SESSIONS + 1)), (SESSIONS, 1, 0), (SESSIONS, 1, 1)]


class Busy(MemoryStore):
    """Somebody writes whenever something was read: `times` times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    async def read(self, key: Any, *arguments: Any, **options: Any) -> Any:
        found = await super().read(key, *arguments, **options)
        if self.times:
            self.times -= 1
            await encrypted(super(), OLD, NEW).append(key, [b"meanwhile"])  # type: ignore[arg-type]
        return found


async def test_who_comes_in_between_loses_nothing() -> None:
    inner = Busy(0)
    await encrypted(inner, OLD).set("k", {"sessionId": "s"})
    await encrypted(inner, OLD).append("k", [b"0"])
    inner.times = 3
    assert (await rekey(encrypted(inner, OLD, NEW))).problems == {}
    assert (await encrypted(inner, NEW).read("k")).lines == (b"0", *[b"meanwhile"] * 3)


class Overtaken(MemoryStore):
    """Somebody writes the entry or the title right before it is written, once it is `armed`."""

    armed = ""

    async def set(self, *arguments: Any, **options: Any) -> Any:
        await self._overtake("set", lambda store: store.set("k", {"sessionId": "s", "n": "theirs"}))
        return await super().set(*arguments, **options)

    async def title(self, *arguments: Any, **options: Any) -> Any:
        await self._overtake("title", lambda store: store.title("k", "theirs"))
        return await super().title(*arguments, **options)

    async def _overtake(self, operation: str, write: Callable[[Store], Awaitable[object]]) -> None:
        if self.armed == operation:
            self.armed = ""
            await write(encrypted(self, OLD, NEW))


@pytest.mark.parametrize(("operation", "expected"), [("set", ("theirs", "ours")), ("title", ("ours", "theirs"))])
async def test_an_entry_and_a_title_that_are_overtaken_are_not_put_back(
    operation: str, expected: tuple[str, str]
) -> None:
    inner = Overtaken()
    await encrypted(inner, OLD).set("k", {"sessionId": "s", "n": "ours"})
    await encrypted(inner, OLD).title("k", "ours")
    inner.armed = operation
    assert (await rekey(encrypted(inner, OLD, NEW))).problems == {}
    found = await encrypted(inner, NEW).get("k")
    assert (found.entry["n"], found.marks.title) == expected
    assert inner.armed == ""


async def test_a_session_that_slips_past_the_walk_is_found_by_the_feed() -> None:
    class Slippery(MemoryStore):
        """A session moves to the front as soon as the first page is read."""

        async def list(self, *arguments: Any, **options: Any) -> Any:
            page = await super().list(*arguments, **options | {"limit": 1})
            if options.get("cursor") is None:
                await encrypted(self, OLD, NEW).append("slips", [b"new"])
            return page

    inner = Slippery()
    for key, moment in (("stays", 2000), ("slips", 1000)):
        await encrypted(inner, OLD).set(key, {"sessionId": key, "updatedAt": moment})
        await encrypted(inner, OLD).append(key, [b"old"])
        await encrypted(inner, OLD).set(key, {"sessionId": key, "updatedAt": moment})
    await rekey(encrypted(inner, OLD, NEW))
    assert (await encrypted(inner, NEW).read("slips")).lines == (b"old", b"new")


async def test_it_is_found_under_what_is_put_over_it_and_refused_where_it_is_not(inner: MemoryStore) -> None:
    assert (await rekey(WrappedStore(encrypted(inner, NEW)))).sessions == 0
    with pytest.raises(ConfigurationError, match="encryption_key_files"):
        await rekey(WrappedStore(inner))
