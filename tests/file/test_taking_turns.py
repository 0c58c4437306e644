"""Eight processes of the library, and OpenClaw in turns with them, on one directory: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from sessionstore.sessions import Change, FeedLost, Operation, iterate
from sessionstore.sessions.file.store import FileStore
from tests.conftest import ROOT

PROCESSES = 8


async def made(state: Path) -> FileStore:
    store = FileStore(state)
    await store.set("k", {"sessionId": "s", "n": 0})
    return store


async def started(*arguments: object) -> asyncio.subprocess.Process:
    words = [sys.executable, "-m", *map(str, arguments)]
    return await asyncio.create_subprocess_exec(*words, cwd=ROOT, stderr=asyncio.subprocess.PIPE)


async def ended(processes: list[asyncio.subprocess.Process]) -> None:
    for process in processes:
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()


async def told(store: FileStore, cursor: str) -> list[Change]:
    found: list[Change] = []
    while items := (part := await store.changes(cursor)).items:
        found += items
        cursor = part.cursor
    return found


async def test_sixteen_times_twenty_five_updates_of_eight_processes_make_four_hundred(tmp_path: Path) -> None:
    store = await made(tmp_path)
    await ended([await started("tests.file.writer", "count", tmp_path, n, 400 // PROCESSES) for n in range(PROCESSES)])
    session = await store.get("k")
    assert (session.entry["n"], session.revision) == (400, 401)


async def test_openclaw_takes_turns_with_eight_processes(tmp_path: Path) -> None:
    store, each = await made(tmp_path), 30
    cursor = await store.position()
    sessions = tmp_path / "agents" / "main" / "sessions"
    work = ["count", "append"] * (PROCESSES // 2)
    writers = [await started("tests.file.writer", what, tmp_path, n, each) for n, what in enumerate(work)]
    await ended([*writers, await started("tests.file.openclaw", sessions, each)])

    session = await store.get("k")
    assert session.entry["n"] == work.count("count") * each
    assert session.entry["openclaw"] == each - 1
    lines = Counter(line.decode() for line in (await store.read("k")).lines)
    names = ["openclaw", *(n for n, what in enumerate(work) if what == "append")]
    assert lines == Counter(f"{name}:{number}" for name in names for number in range(each))
    assert session.transcript.generation == 0

    rows = {info.key.key async for info in iterate(store)}
    assert rows == {"k", *(f"run-{number}" for number in range(each) if number % 2 or number == each - 1)}
    changes = await told(store, cursor)
    revisions = [change.revision for change in changes if change.key.key == "k"]
    assert revisions == list(range(2, session.revision + 1))
    assert {change.key.key for change in changes if change.operation is Operation.SET} >= rows


@pytest.mark.parametrize("longer", ["", "x", "xxxxxxx"], ids=["at the same places", "at others", "at yet others"])
async def test_a_backup_that_is_brought_back_under_a_process_is_what_it_goes_on_with(
    tmp_path: Path, longer: str
) -> None:
    place, backup = tmp_path / "state", tmp_path / "backup"
    store = await made(place)
    shutil.copytree(place, backup)
    for number in range(5):
        await store.set(f"lost-{number}", {})
    lost = await store.position()

    shutil.rmtree(place)
    shutil.copytree(backup, place)
    cursor = await FileStore(place).position()
    for number in range(10):
        await FileStore(place).set(f"made-{number}{longer}", {})
    changes = [change.key.key for change in await told(store, cursor)]
    assert changes == [f"made-{number}{longer}" for number in range(10)]
    with pytest.raises(FeedLost):
        await store.changes(lost)
    assert len((await store.list()).items) == 11
    assert await store.tombstone("lost-0") is None
    assert (await store.set("lost-0", {})).revision == 1
