"""Directories that take no writes, disks without room, locks that are held."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionstore.sessions import Lifetime, SessionKey, Unavailable, clock, iterate, plainfiles, threads
from sessionstore.sessions.directory import DirectoryStore
from sessionstore.sessions.file.store import FileStore
from tests.file import openclaw
from tests.file.children import without_rights

WORK = "agent:work:main"
WORK_ID = "5b5e1979-61f4-46b6-88a5-97938d77d5ae"


@pytest.fixture
def read_only(state: Path) -> Iterator[Callable[[], Path]]:
    """Give a function that copies the state to where anybody may read it, and no one write it."""
    with tempfile.TemporaryDirectory() as root:
        Path(root).chmod(0o755)

        def copy() -> Path:
            place = Path(shutil.copytree(state, Path(root) / "state"))
            for path in (place, *place.rglob("*")):
                path.chmod(0o555 if path.is_dir() else 0o444)
            return place

        yield copy
        for path in Path(root).rglob("*"):
            path.chmod(0o755)


async def test_a_read_only_directory_is_read(read_only: Callable[[], Path]) -> None:
    place = read_only()

    async def reads() -> list[Any]:
        store = FileStore(place, defaults=Lifetime(idle_ms=1000))
        rows = [info async for info in iterate(store)]
        session, transcript = await store.get(WORK), await store.read(WORK)
        changes = await store.changes(await store.position())
        health = await store.health()
        archives = [info async for info in store.list_archives()]
        return [len(rows), session.revision, len(transcript.lines), changes.items, health.ok, health.reason, archives]

    before = sorted(place.rglob("*"))
    rows, revision, lines, changes, ok, reason, archives = without_rights(reads)
    assert (rows, revision, lines, changes, ok, reason, len(archives)) == (11, 1, 1, (), False, "readonly", 3)
    assert sorted(place.rglob("*")) == before


async def test_what_was_marked_is_seen_in_a_read_only_directory(
    store: FileStore, sessions: Path, read_only: Callable[[], Path]
) -> None:
    await store.title(WORK, "mine")
    await store.touch(WORK, lifetime=Lifetime(idle_ms=100_000_000))
    openclaw.say(sessions, WORK_ID, "theirs")
    place = read_only()

    async def reads() -> list[Any]:
        one = FileStore(place, now_ms=lambda: clock.now_ms() + 50_000_000)
        first, again = await one.get(WORK), await one.get(WORK)
        transcript = await one.read(WORK)
        return [first.marks.title, first.revision, again.revision, transcript.lines[-1]]

    assert without_rights(reads) == ["mine", 4, 4, b"theirs"]


async def test_a_write_to_a_read_only_directory_is_refused(read_only: Callable[[], Path]) -> None:
    place = read_only()

    async def writes() -> list[str]:
        store, reasons = FileStore(place), []
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: store.set(WORK, {}),
            lambda: store.append(WORK, [b"x"]),
            lambda: store.delete(WORK),
            lambda: store.title(WORK, "t"),
            lambda: store.touch(WORK),
            lambda: store.acquire_lease(WORK, "me", 60),
            lambda: store.set(SessionKey("new", "k"), {}),
        ]
        for call in calls:
            try:
                await call()
            except Unavailable as error:
                reasons.append(error.reason)
        return reasons

    assert without_rights(writes) == ["permission"] * 7


@pytest.mark.parametrize("where", range(1, 7))
async def test_a_store_goes_on_after_a_full_disk(store: FileStore, monkeypatch: pytest.MonkeyPatch, where: int) -> None:
    """The same process, with all that it remembers."""
    head = await store.append(WORK, [b"1", b"2"])
    left = iter(range(where, 0, -1))
    real = {name: getattr(os, name) for name in ("write", "fsync", "fdatasync")}

    def refusing(name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if next(left, 2) == 1:
                if name == "write":
                    real[name](arguments[0], bytes(arguments[1])[:5])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real[name](*arguments)

        return call

    with monkeypatch.context() as patch:
        for name in real:
            patch.setattr(os, name, refusing(name))
        try:
            grown = await store.append(WORK, [b"x" * 20, b"4"], position=head.lines)
        except Unavailable as error:
            assert error.reason == "full"
            grown = None
    now = await store.get(WORK)
    assert (now.transcript.lines, now.transcript.generation) == (head.lines + (2 if grown else 0), 0)
    again = await store.append(WORK, [b"x" * 20, b"4"], position=head.lines)
    assert again.lines == head.lines + 2
    assert (await FileStore(store._files.path).read(WORK, head.lines)).lines == (b"x" * 20, b"4")


async def test_a_lock_that_is_held_for_too_long_is_told_and_not_kept(
    store: FileStore, sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.title(WORK, "t")
    monkeypatch.setattr(plainfiles, "LOCK_TIMEOUT_S", 0.1)
    with (sessions / plainfiles.LOCK_NAME).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="held by another process") as caught:
            await store.title(WORK, "u")
        assert caught.value.reason == "timeout"
        assert (await store.get(WORK)).marks.title == "t"
    monkeypatch.undo()
    assert (await store.title(WORK, "v")).revision == 3


async def test_a_deleted_transcript_is_aside_on_the_disk_before_the_delete_is_told_as_done(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def noted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given, **more: (calls.append(name), real(*given, **more))[1]

    for name in ("rename", "fsync", "write"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    await store.delete(WORK)
    assert calls[calls.index("rename") :] == ["rename", "fsync", "write"]


async def test_many_who_wait_for_the_lock_keep_no_reader_waiting(
    store: FileStore, sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.title(WORK, "t")
    monkeypatch.setattr(plainfiles, "LOCK_TIMEOUT_S", 2)
    with (sessions / plainfiles.LOCK_NAME).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = [asyncio.create_task(store.title(WORK, str(number))) for number in range(4 * threads.SIZE)]
        await asyncio.sleep(0.1)
        assert (await store.get(WORK)).marks.title == "t"
        await asyncio.to_thread(lambda: None)
        assert not any(task.done() for task in waiting)
        async with asyncio.timeout(2 * plainfiles.LOCK_TIMEOUT_S):
            failed = await asyncio.gather(*waiting, return_exceptions=True)
    assert {(type(error), error.reason) for error in failed} == {(Unavailable, "timeout")}
    assert (await store.title(WORK, "u")).marks.title == "u"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what others own")
@pytest.mark.parametrize("kind", [FileStore, DirectoryStore])
async def test_a_gateway_goes_on_with_what_root_wrote_into_its_directory(
    kind: type[FileStore] | type[DirectoryStore],
) -> None:
    with tempfile.TemporaryDirectory() as root:
        Path(root).chmod(0o755)
        place = Path(root) / "state"
        place.mkdir()
        os.chown(place, 65534, 65534)
        without_rights(lambda: kind(place).set("k", {"sessionId": "s"}))
        for path in (path for path in place.rglob("*") if path.name in ("sessions.json", "store.json")):
            path.chmod(0o640)

        mended = kind(place)
        await mended.set("k", {"sessionId": "s", "mended": True})
        await mended.set("agent:other:new", {"sessionId": "s"})
        await mended.append("k", [b"1"])
        assert {path.owner() for path in place.rglob("*")} == {place.owner()}
        kept = [path for path in place.rglob("*.json") if path.name in ("sessions.json", "store.json")]
        assert {path.stat().st_mode & 0o777 for path in kept if "other" not in path.parts} == {0o640}

        async def goes_on() -> tuple[object, int]:
            head = await kind(place).append("k", [b"2"])
            return (await kind(place).get("k")).entry["mended"], head.lines

        assert without_rights(goes_on) == (True, 2)
