"""A writer that is killed at any system call, or meets a full disk there, leaves the old session or the new one."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sessionstore.sessions import Lifetime, Session, SessionKey, Store, Unavailable
from sessionstore.sessions.file.store import FileStore
from tests.file.children import Fault, Outcome, struck

Act = Callable[[Store], Awaitable[object]]
State = tuple[Any, ...]

MOST_CALLS = 16
LONG_LINE = b"x" * 9000
OPERATIONS: dict[str, Act] = {
    "set": lambda store: store.set("k", {"sessionId": "s", "n": 2}, lifetime=Lifetime(ttl_ms=10**9)),
    "set another transcript": lambda store: store.set("k", {"sessionId": "t"}),
    "make": lambda store: store.set("new", {"sessionId": "new"}),
    "create": lambda store: store.create("new", {"sessionId": "new"}, [b"a", LONG_LINE, b"d"]),
    "append": lambda store: store.append("k", [b"c", LONG_LINE, b"d"]),
    "append the first lines": lambda store: store.append("empty", [LONG_LINE, b"d"]),
    "append behind a torn line": lambda store: store.append("torn", [LONG_LINE, b"d"]),
    "rewrite": lambda store: store.rewrite("k", [b"other", LONG_LINE, b"longer than before"]),
    "delete": lambda store: store.delete("k"),
    "expire": lambda store: store.sweep(),
    "archive": lambda store: store.archive("k", reason="old"),
}
KEYS = ("k", "new", "empty", "torn", "old", "bystander")


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A directory with sessions of all sorts, one of which has expired."""

    async def make() -> None:
        store = FileStore(tmp_path / "start")
        for key in ("k", "empty", "torn", "old", "bystander"):
            await store.set(key, {"sessionId": key if key != "k" else "s", "updatedAt": 1})
        for key in ("k", "torn", "old", "bystander"):
            await store.append(key, [b"a", b"b"])
        with (tmp_path / "start" / "agents" / "main" / "sessions" / "torn.jsonl").open("ab") as file:
            file.write(b"half a li")
        assert await store.get("torn")
        await store.tag("k", add=["t"])
        await store.touch("old", lifetime=Lifetime(ttl_ms=1))
        while await store.exists("old"):
            await asyncio.sleep(0.001)

    asyncio.run(make())
    return tmp_path / "start"


async def states(store: Store) -> dict[str, tuple[int, State]]:
    """Return what is there of each session: key -> revision, and all else but times."""
    found = {}
    for key in KEYS:
        session, transcript = await store.get(key), await store.read(key)
        revision = session.revision if session else await store.tombstone(key) or 0
        found[key] = revision, (told(session), transcript.lines if transcript else None)
    return found


def told(session: Session | None) -> object:
    if session is None:
        return None
    created_ms = session.created_ms if session.key.key != "new" else "some time"
    return session.entry.raw, session.status, session.marks, session.lifetime, created_ms


def copied(start: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(start, to, symlinks=True)
    return to


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_old_or_new_after_a_fault_at_any_system_call(start: Path, tmp_path: Path, operation: str, fault: Fault) -> None:
    act = OPERATIONS[operation]
    old = asyncio.run(states(FileStore(start)))
    reference = FileStore(copied(start, tmp_path / "reference"))
    asyncio.run(_awaited(act, reference))
    new = asyncio.run(states(reference))

    for number in itertools.count():
        place = copied(start, tmp_path / "struck")
        cursor = asyncio.run(FileStore(place).position())
        outcome = struck(lambda: act(FileStore(tmp_path / "struck")), number, fault)
        asyncio.run(checked(FileStore(place), old, new, cursor, number))
        # A line that says no more than the files do may be refused without harm.
        if outcome is Outcome.DONE and (fault is not Fault.FULL or number > MOST_CALLS):
            break
    assert number > (3 if operation == "archive" else 8)


async def checked(store: FileStore, old: dict[str, Any], new: dict[str, Any], cursor: str, number: int) -> None:
    """Hold what a fault left against what may be, and go on from there."""
    await store.sweep()
    now = await states(store)
    for key, (revision, state) in now.items():
        assert state in (old[key][1], new[key][1]), (number, key)
        assert revision >= old[key][0], (number, key)
        if state == old[key][1]:
            continue
        # A compare-and-set that knows the old revision must meet a conflict.
        assert revision > old[key][0], (number, key)
    events: dict[SessionKey, int] = {}
    for change in (await store.changes(cursor)).items:
        assert change.revision > events.get(change.key, 0), (number, change)
        events[change.key] = change.revision
    for key, (revision, _) in now.items():
        told_of = events.get(SessionKey.of(key))
        assert (told_of is None and revision == old[key][0]) or told_of == revision, (number, key, told_of)
    await goes_on(store, now)


async def goes_on(store: FileStore, now: dict[str, tuple[int, State]]) -> None:
    await store.title("bystander", "any write settles what was left")
    transcript = store._files.path / "agents" / "main" / "sessions" / "s.jsonl"
    assert transcript.exists() == (now["k"][1] != (None, None))
    made = await store.set("k", {"sessionId": "s", "again": True})
    assert made.revision == now["k"][0] + 1
    head = await store.append("k", [b"on"], position=made.transcript.lines, generation=made.transcript.generation)
    assert (await store.read("k", -1)).lines == (b"on",)
    assert (await store.get("k")).transcript == head
    assert (await FileStore(store._files.path).get("k")) == await store.get("k")
    assert not list(store._files.path.rglob("*.tmp"))


async def _awaited(act: Act, store: Store) -> None:
    await act(store)


def test_a_full_disk_is_told_as_such(start: Path) -> None:
    async def refused() -> None:
        with pytest.raises(Unavailable) as caught:
            await FileStore(start).append("k", [b"c"])
        assert caught.value.reason == "full"

    for number in range(3):
        assert struck(refused, number, Fault.FULL) is Outcome.DONE
