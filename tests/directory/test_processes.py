"""Eight processes on one directory store, and what one of them sees of the others."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from sessionstore.sessions import FeedLost, Lifetime, Operation, SessionKey, Status, feed, iterate
from sessionstore.sessions.directory import DirectoryStore, locks, names
from sessionstore.sessions.directory.index import Index
from sessionstore.sessions.plainfiles import Directory
from tests.conftest import ROOT

PROCESSES = 8


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


async def run(tmp_path: Path, work: str, times: int, processes: int = PROCESSES) -> None:
    """Run workers to their end; each must succeed."""
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.directory.worker", str(tmp_path / "store"), work, f"p{number}", str(times),
            cwd=ROOT, stderr=asyncio.subprocess.PIPE,
        )
        for number in range(processes)
    ]  # fmt: skip
    for process in started:
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()


async def test_four_hundred_compare_and_sets_count_to_four_hundred(store: DirectoryStore, tmp_path: Path) -> None:
    await store.set("counter", {"n": 0})
    await run(tmp_path, "count", 25, processes=16)
    session = await store.get("counter")
    assert (session.entry["n"], session.revision) == (400, 401)


async def test_appends_of_eight_processes_are_lost_and_doubled_never(store: DirectoryStore, tmp_path: Path) -> None:
    times = 40
    await store.set("log", {"sessionId": "s"})
    start = await store.position()
    await run(tmp_path, "append", times)
    lines = [line.decode() for line in (await store.read("log")).lines]
    assert sorted(lines) == sorted(
        f"p{number}:{time}:{part}" for number in range(PROCESSES) for time in range(times) for part in range(3)
    )
    # What one call appended stands together, and those of one process in their order.
    assert [line.rpartition(":")[0] for line in lines[::3]] == [line.rpartition(":")[0] for line in lines[2::3]]
    for number in range(PROCESSES):
        own = [int(line.split(":")[1]) for line in lines[::3] if line.startswith(f"p{number}:")]
        assert own == list(range(times))
    revisions, cursor = [], start
    while items := (part := await store.changes(cursor)).items:
        revisions += [change.revision for change in items]
        cursor = part.cursor
    assert revisions == list(range(2, 2 + PROCESSES * times))


async def test_an_append_that_is_sent_twice_by_eight_processes_is_stored_once(
    store: DirectoryStore, tmp_path: Path
) -> None:
    times = 10
    await store.set("log", {"sessionId": "s"})
    await run(tmp_path, "append_twice", times)
    found = Counter(line.decode() for line in (await store.read("log")).lines)
    assert found == {f"p{number}:{time}": 1 for number in range(PROCESSES) for time in range(times)}


async def test_every_process_lists_what_it_made_and_what_others_did(store: DirectoryStore, tmp_path: Path) -> None:
    times = 8
    assert (await store.list()).items == ()
    start = await store.position()
    watching = asyncio.create_task(run(tmp_path, "mix", times))
    while not watching.done():
        await store.list()
        await asyncio.sleep(0.01)
    await watching
    expected = {
        f"p{number}:{time}:{keep}"
        for number in range(PROCESSES)
        for time in range(times)
        for keep in ("stays", "archived")
    }
    for seen in (store, DirectoryStore(tmp_path / "store")):
        rows = {row.key.key: row async for row in iterate(seen)}
        assert rows.keys() == expected
        assert {row.status for key, row in rows.items() if key.endswith("archived")} == {Status.ARCHIVED}
        assert await seen.count() == PROCESSES * times
    told, cursor = Counter[str](), start
    while items := (part := await store.changes(cursor)).items:
        told.update(change.operation for change in items)
        cursor = part.cursor
    of_each = PROCESSES * times
    assert told == {
        "set": 3 * of_each,
        "append": 3 * of_each,
        "rewrite": of_each,
        "delete": of_each,
        "archive": of_each,
    }
    assert not list((tmp_path / "store").rglob("*.tmp"))


async def test_a_store_that_many_begin_at_once_is_one(tmp_path: Path) -> None:
    times = 15
    (tmp_path / "store").mkdir()
    await run(tmp_path, "begin", times)
    for number in range(times):
        store = DirectoryStore(tmp_path / "store" / str(number))
        assert await store.count() == PROCESSES * 4
        cursor = feed.encode(await store_id(store), [0])
        assert len((await store.changes(cursor)).items) == PROCESSES * 4


async def store_id(store: DirectoryStore) -> str:
    return str(json.loads(base64.urlsafe_b64decode(await store.position()))[0])


async def test_a_change_by_another_is_in_the_next_list(store: DirectoryStore, tmp_path: Path) -> None:
    other = DirectoryStore(tmp_path / "store")
    for number in range(3):
        await other.set(f"k{number}", {"updatedAt": number})
    assert [row.key.key for row in (await store.list()).items] == ["k2", "k1", "k0"]
    await other.set("k0", {"updatedAt": 9})
    await other.delete("k1")
    await other.title("k2", "t")
    assert [(row.key.key, row.title) for row in (await store.list()).items] == [("k0", None), ("k2", "t")]
    await other.set("k1", {"updatedAt": 10})
    assert [row.key.key for row in (await store.list()).items] == ["k1", "k0", "k2"]


async def test_a_use_by_another_keeps_a_session_in_the_list(tmp_path: Path) -> None:
    now = [1_000_000]
    store, other = (DirectoryStore(tmp_path / "store", lambda: now[0]) for _ in range(2))
    await store.set("k", {}, lifetime=Lifetime(idle_ms=1000))
    assert len((await store.list()).items) == 1
    now[0] += 900
    assert await other.get("k") is not None
    now[0] += 900
    assert [row.expires_ms for row in (await store.list()).items] == [now[0] + 100]
    now[0] += 900
    assert (await store.list()).items == ()
    assert (await store.stats()).expired == 1


async def test_a_list_reads_what_changed_and_no_more(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        await store.set(f"k{number}", {})
    read = []
    original = Index._read

    def counting(self: Index, root: object, name: SessionKey) -> int:
        read.append(name.key)
        return original(self, root, name)  # type: ignore[arg-type]

    monkeypatch.setattr(Index, "_read", counting)
    fresh = DirectoryStore(tmp_path / "store")
    await fresh.list()
    assert read == []
    await store.set("k3", {})
    await store.set("k3", {})
    await store.delete("k4")
    await fresh.list()
    await fresh.list()
    assert read == ["k3", "k4"]


async def test_what_is_being_written_is_looked_at_again(store: DirectoryStore, tmp_path: Path) -> None:
    """The journal tells of a change before it is made; who reads in between must not take the old for the new."""
    name = SessionKey("main", "k")
    await store.set(name, {"n": 1, "updatedAt": 1})
    fresh = DirectoryStore(tmp_path / "store")
    start = await fresh.position()
    with fresh._kept.opened(create=True) as root:
        assert root is not None
        with locks.held(root.directory, names.place_of(name).slot, "test"):
            root.tell(name, 2, Operation.SET)
            during = await fresh.position()
            assert [row.revision for row in (await fresh.list()).items] == [1]
            assert (await fresh.changes(start)).items == ()
    await store.set(name, {"n": 2, "updatedAt": 2})
    assert [row.revision for row in (await fresh.list()).items] == [2]
    for cursor in (start, during):
        # The first line's change was not made in the end: an event too many, and none too few.
        assert [change.revision for change in (await fresh.changes(cursor)).items] == [2, 2]


async def test_locks_of_two_sessions_do_not_meet_and_of_one_do(tmp_path: Path) -> None:
    with Directory.opened(tmp_path, create=True) as root:
        assert root is not None
        assert not locks.is_held(root)
        with locks.held(root, 5, "five"), locks.held(root, 6, "six"):
            assert [locks.is_held(root, slot) for slot in (4, 5, 6, 7)] == [False, True, True, False]
            assert locks.is_held(root)
        assert not locks.is_held(root, 5)
    assert (tmp_path / "locks").stat().st_size == 0


@pytest.mark.parametrize("longer", ["", "x", "xxxxxxx"], ids=["at the same places", "at others", "at yet others"])
async def test_a_backup_that_is_brought_back_under_a_process_is_what_it_lists(tmp_path: Path, longer: str) -> None:
    place, backup = tmp_path / "store", tmp_path / "backup"
    store = DirectoryStore(place)
    await store.set("kept", {})
    shutil.copytree(place, backup)
    for number in range(5):
        await store.set(f"lost-{number}", {})
    assert len((await store.list()).items) == 6
    cursor = await store.position()

    shutil.rmtree(place)
    shutil.copytree(backup, place)
    for number in range(10):
        await DirectoryStore(place).set(f"made-{number}{longer}", {})
    listed = sorted([info.key.key async for info in iterate(store)])
    assert listed == ["kept", *(f"made-{number}{longer}" for number in range(10))]
    with pytest.raises(FeedLost):
        await store.changes(cursor)
