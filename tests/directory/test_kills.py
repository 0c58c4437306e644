"""A writer that is killed at any system call, or that the disk fails: the old or the new, and the next write works."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sessionstore.sessions import Change, SessionKey, Store, feed
from sessionstore.sessions.directory import DirectoryStore
from tests.directory import strace, victim
from tests.directory.strace import Point

LATER_MS = victim.NOW_MS + 10 * 365 * 24 * 3600 * 1000
CHANGING = {"openat", "mkdirat", "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "renameat"}
NAMES = pytest.mark.parametrize("name", victim.OPERATIONS)

Count = Callable[[int, int], int]


@dataclass(frozen=True)
class Case:
    """An operation, what there is before and after it, and where it can be disturbed."""

    name: str
    template: Path
    old: dict[str, Any]
    new: dict[str, Any]
    points: list[Point]

    def begin(self, number: int) -> Path:
        """Return a directory as it is before the operation."""
        path = self.template.parent / f"try-{number}"
        if self.template.exists():
            shutil.copytree(self.template, path)
        return path


@pytest.fixture
async def case(tmp_path: Path, name: str) -> Case:
    template = tmp_path / "template"
    await victim.prepared(template, name)
    old = await snapshot(victim.opened(template))
    case = Case(name, template, old, {}, [])
    path = case.begin(0)
    run = strace.run(path, name)
    assert run.outcome == "done"
    new = await snapshot(victim.opened(path))
    assert old != new
    return Case(name, template, old, new, run.points)


async def snapshot(store: Store) -> dict[str, Any]:
    """Return all that callers see."""
    return {
        "session": await store.get(victim.KEY),
        "transcript": await store.read(victim.KEY),
        "tombstone": await store.tombstone(victim.KEY),
        "rows": (await store.list(status=None)).items,
        "archive": await store.read_archive("main", victim.ARCHIVE),
        "archives": [info async for info in store.list_archives()],
        "document": await store.get_document("d"),
        "documents": [name async for name in store.list_documents()],
    }


def spread(points: list[Point], count: int) -> list[Point]:
    """Return so many of the points, the first and the last among them."""
    count = min(count, len(points))
    return [points[round(at * (len(points) - 1) / max(count - 1, 1))] for at in range(count)]


@NAMES
async def test_a_kill_at_any_system_call_leaves_the_old_or_the_new(case: Case, count: Count) -> None:
    seen = set()
    for number, point in enumerate(spread(case.points, count(4, 200)), start=1):
        path = case.begin(number)
        watching = victim.opened(path)
        before = await watching.list(status=None)
        assert before.items == case.old["rows"]
        killed = strace.run(path, case.name, strace.kill_before(point))
        assert killed.outcome is None, point
        seen.add(await check(case, path, watching, str(point)))
        shutil.rmtree(path)
    assert seen == {"old", "new"} or len(seen) == 1


@NAMES
@pytest.mark.parametrize(("error", "reason"), [("ENOSPC", "full"), ("EIO", "connection")])
async def test_a_disk_that_fails_is_said_and_tears_nothing(case: Case, count: Count, error: str, reason: str) -> None:
    points = [point for point in case.points if point.call in CHANGING]
    for number, point in enumerate(spread(points, count(3, 200)), start=1):
        path = case.begin(number)
        watching = victim.opened(path)
        await watching.list()
        failed = strace.run(path, case.name, strace.fail(point, error))
        assert failed.outcome == reason, point
        await check(case, path, watching, str(point))
        shutil.rmtree(path)


async def check(case: Case, path: Path, watching: DirectoryStore, where: str) -> str:
    """Hold a disturbed directory to the contract; return whether it is as before or as after."""
    store = victim.opened(path)
    found = await snapshot(store)
    assert found in (case.old, case.new), where
    outcome = "new" if found == case.new else "old"
    assert (await watching.list(status=None)).items == found["rows"], where
    await check_feed(case, store, outcome, where)
    await check_next_writes(case, store, found, where)
    await check_leftovers(path, where)
    return outcome


async def check_feed(case: Case, store: DirectoryStore, outcome: str, where: str) -> None:
    cursor = feed.encode(feed_id(await store.position()), [0])
    told = [change.revision for change in (await store.changes(cursor)).items]
    old, new = revision(case.old), revision(case.new)
    assert told == sorted(set(told)), where
    assert set(range(1, (new if outcome == "new" else old) + 1)) <= set(told) <= set(range(1, new + 1)), where


async def check_next_writes(case: Case, store: DirectoryStore, found: dict[str, Any], where: str) -> None:
    cursor = await store.position()
    session = await store.set(victim.KEY, {"sessionId": "s", "n": "after"})
    assert session.revision == revision(found) + 1, where
    head = await store.append(victim.KEY, [b"after"])
    transcript = await store.read(victim.KEY)
    assert transcript is not None
    kept = found["transcript"]
    if found["session"] is not None and kept.head.id != head.id:
        kept = case.old["transcript"]
    assert transcript.lines == (*(kept.lines if kept else ()), b"after"), where
    assert (await store.changes(cursor)).items == tuple(
        Change(SessionKey.of(victim.KEY), session.revision + more, operation)
        for more, operation in ((0, "set"), (1, "append"))
    ), where


async def check_leftovers(path: Path, where: str) -> None:
    """After a sweep there is nothing but what is on record."""
    store = victim.opened(path, LATER_MS)
    await store.sweep()
    for file in path.rglob("*"):
        assert not file.name.endswith(".tmp"), where
    transcripts = {file.name for file in (path / "agents").rglob("*.jsonl")}
    ids = {"s", "t"} if await switched(store) else {"s"}
    assert len(transcripts) <= len(ids), where
    await store.delete(victim.KEY)
    assert not list((path / "agents").rglob("*.jsonl")), where


async def switched(store: DirectoryStore) -> bool:
    session = await store.get(victim.KEY)
    return session is not None and session.entry.session_id == "t"


def revision(seen: dict[str, Any]) -> int:
    return seen["session"].revision if seen["session"] else seen["tombstone"] or 0


def feed_id(cursor: str) -> str:
    return str(json.loads(base64.urlsafe_b64decode(cursor))[0])
