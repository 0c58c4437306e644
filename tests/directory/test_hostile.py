"""What others put into a directory store: ignored in lists, reported, never followed, never waited for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionstore.sessions import (
    ConfigurationError,
    SessionKey,
    SessionStorage,
    Store,
    Unavailable,
    Unreadable,
    open_store,
    plainfiles,
    threads,
)
from sessionstore.sessions.directory import DirectoryStore, codec, locks, names
from sessionstore.sessions.plainfiles import Directory

K, OTHER = SessionKey("main", "k"), SessionKey("main", "other")


@pytest.fixture
async def store(tmp_path: Path) -> DirectoryStore:
    store = DirectoryStore(tmp_path / "store")
    for key in (K, OTHER):
        await store.set(key, {"sessionId": "s"})
        await store.append(key, [b"1", b"2"])
    return store


def record_of(tmp_path: Path, name: SessionKey = K) -> Path:
    place = names.place_of(name)
    return (tmp_path / "store").joinpath(*place.directories, place.record)


def lines_of(tmp_path: Path, name: SessionKey = K) -> Path:
    return record_of(tmp_path, name).with_name(names.place_of(name).lines("s", 0))


def link(path: Path) -> None:
    outside = path.parents[4] / "outside"
    if path.exists():
        path.rename(outside)
    path.symlink_to(outside)


def dangling(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("nowhere")


def fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeros(path: Path) -> None:
    """What some file systems leave of a file after the power failed."""
    path.write_bytes(b"\0" * path.stat().st_size)


def anothers(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"key":"k"', b'"key":"z"'))


def huge(path: Path) -> None:
    os.truncate(path, 10**12)


SPECIAL = [link, dangling, fifo, directory]
DAMAGE = [*SPECIAL, empty, half, zeros, anothers]


def contents(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_one_damaged_record_costs_itself_and_not_the_list(
    store: DirectoryStore, tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = record_of(tmp_path)
    damage(path)
    before = path.read_bytes() if path.is_file() else None
    fresh = DirectoryStore(tmp_path / "store")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert [row.key for row in (await fresh.list()).items] == [OTHER]
    assert len(caplog.records) == 1
    health = await fresh.health()
    assert health.ok
    assert path.name in health.message
    assert dict(health.facts)["left out"] == "1"
    for call in (fresh.get(K), fresh.set(K, {}), fresh.append(K, [b"3"]), fresh.delete(K), fresh.read(K)):
        with pytest.raises(Unreadable, match="main/k"):
            await call
    assert (path.read_bytes() if path.is_file() else None) == before
    assert len((await fresh.read(OTHER)).lines) == 2


@pytest.mark.parametrize("damage", [*SPECIAL, half, empty])
async def test_lines_that_are_not_what_was_written_are_an_error_and_the_entry_is_not(
    store: DirectoryStore, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(lines_of(tmp_path))
    fresh = DirectoryStore(tmp_path / "store")
    assert (await fresh.get(K)).entry.session_id == "s"
    for call in (fresh.read(K), fresh.append(K, [b"3"])):
        with pytest.raises(Unreadable):
            await call
    assert len((await fresh.list()).items) == 2


async def test_other_line_breaks_than_are_on_record_are_an_error(store: DirectoryStore, tmp_path: Path) -> None:
    lines_of(tmp_path).write_bytes(b"1.2\n")
    with pytest.raises(Unreadable):
        await DirectoryStore(tmp_path / "store").read(K)


@pytest.mark.parametrize("damage", [link, dangling, fifo])
@pytest.mark.parametrize("level", [1, 2, 3])
async def test_what_stands_in_place_of_a_directory_is_not_entered(
    store: DirectoryStore, tmp_path: Path, damage: Callable[[Path], None], level: int
) -> None:
    path = record_of(tmp_path)
    for _ in range(level):
        path = path.parent
    path.rename(tmp_path / "outside")
    if damage is link:
        path.symlink_to(tmp_path / "outside")
    else:
        damage(path)
    before = contents(tmp_path / "outside")
    fresh = DirectoryStore(tmp_path / "store")
    for call in (fresh.get(K), fresh.set(K, {"sessionId": "t"})):
        with pytest.raises(Unreadable):
            await call
    if level < 3:
        assert K not in [row.key for row in (await fresh.list()).items]
        assert path.name in (await fresh.health()).message
    else:
        with pytest.raises(Unreadable):
            await fresh.list()
    assert contents(tmp_path / "outside") == before


@pytest.mark.parametrize(
    "name", ["notes.txt", ".DS_Store", "s-k.json", "x" * 255, "\udcff\udcfe", "k.json", "s-aw.json~"]
)
@pytest.mark.parametrize("where", [1, 2, 3])
async def test_foreign_files_are_left_alone_and_reported(
    store: DirectoryStore, tmp_path: Path, name: str, where: int
) -> None:
    path = record_of(tmp_path)
    for _ in range(where):
        path = path.parent
    (path / name).write_bytes(b"{}")
    fresh = DirectoryStore(tmp_path / "store")
    assert len((await fresh.list()).items) == 2
    assert dict((await fresh.health()).facts)["left out"] == "1"
    await fresh.sweep()
    assert (path / name).read_bytes() == b"{}"


@pytest.mark.parametrize("damage", [link, dangling, fifo])
@pytest.mark.parametrize("name", ["locks", "store.json", "journal"])
async def test_the_store_s_own_files_are_not_followed_either(
    store: DirectoryStore, tmp_path: Path, damage: Callable[[Path], None], name: str
) -> None:
    path = tmp_path / "store" / name
    path.rename(tmp_path / "outside")
    if damage is link:
        path.symlink_to(tmp_path / "outside")
    else:
        damage(path)
    fresh = DirectoryStore(tmp_path / "store")
    with pytest.raises(Unreadable):
        await fresh.set(K, {"sessionId": "t"})


@pytest.mark.parametrize("kind", ["fifo", "link", "file"])
async def test_a_store_that_is_no_directory_is_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "store"
    {"fifo": fifo, "link": dangling, "file": lambda p: p.write_bytes(b"")}[kind](path)
    for call in (DirectoryStore(path).set(K, {}),):
        with pytest.raises((Unreadable, Unavailable)):
            await call


async def test_a_directory_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "agents" / "main" / "sessions").mkdir(parents=True)
    (tmp_path / "agents" / "main" / "sessions" / "sessions.json").write_text("{}")
    store = DirectoryStore(tmp_path)
    for call in (store.get(K), store.set(K, {}), store.list(), store.position()):
        with pytest.raises(Unreadable, match="promotion"):
            await call
    assert not (await store.health()).ok
    assert not (tmp_path / "store.json").exists()


async def test_a_fresh_volume_is_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".snapshot").mkdir()
    await DirectoryStore(tmp_path).set(K, {})
    assert await DirectoryStore(tmp_path).exists(K)


async def test_a_later_layout_is_not_touched(store: DirectoryStore, tmp_path: Path) -> None:
    file = tmp_path / "store" / "store.json"
    file.write_bytes(file.read_bytes().replace(b'"layout":1', b'"layout":2'))
    fresh = DirectoryStore(tmp_path / "store")
    for call in (fresh.get(K), fresh.set(K, {}), fresh.list()):
        with pytest.raises(Unreadable, match="layout 2"):
            await call


async def test_a_record_of_absurd_size_is_not_read_into_memory(store: DirectoryStore, tmp_path: Path) -> None:
    huge(record_of(tmp_path))
    fresh = DirectoryStore(tmp_path / "store")
    assert len((await fresh.list()).items) == 1
    with pytest.raises(Unreadable, match="bytes"):
        await fresh.get(K)


async def test_what_could_not_be_read_again_is_not_written(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await store.get(K)
    monkeypatch.setattr(codec, "MAX_BYTES", 4000)
    for number in range(100):
        with contextlib.suppress(Unavailable):
            await store.set(K, {"sessionId": f"{number:036}"})
    with pytest.raises(Unavailable, match="smaller entry") as caught:
        await store.set(K, {"sessionId": "s", "pad": "x" * 3500})
    assert caught.value.reason == "full"
    assert (await store.get(K)).revision > before.revision
    assert await store.delete(K)


async def test_what_is_repaired_comes_back(store: DirectoryStore, tmp_path: Path) -> None:
    path, good = record_of(tmp_path), record_of(tmp_path).read_bytes()
    path.write_bytes(b"{")
    fresh = DirectoryStore(tmp_path / "store")
    assert len((await fresh.list()).items) == 1
    path.write_bytes(good)
    await fresh.set(K, {"sessionId": "s"})
    assert len((await fresh.list()).items) == 2
    assert "left out of lists" not in (await fresh.health()).message


async def test_a_damaged_lease_and_document_and_archive_name_themselves(store: DirectoryStore, tmp_path: Path) -> None:
    await store.acquire_lease(K, "me", 10)
    await store.put_document("d", b"body")
    await store.put_archive("main", "x.jsonl.reset.1", [b"1"])
    await store.put_archive("main", "y.jsonl.reset.1", [b"1"])
    record_of(tmp_path).with_suffix(".lease").write_bytes(b"{")
    next((tmp_path / "store" / "documents").iterdir()).write_bytes(b"{}")
    (tmp_path / "store" / "archives" / "main" / (names.stem_of("x.jsonl.reset.1") + ".json")).write_bytes(b"")
    for call in (store.set(K, {}), store.get_document("d"), store.read_archive("main", "x.jsonl.reset.1")):
        with pytest.raises(Unreadable):
            await call
    assert [info.name async for info in store.list_archives()] == ["y.jsonl.reset.1"]
    assert (await store.get(K)) is not None


async def test_leftovers_of_killed_writers_go_with_a_sweep_and_fresh_ones_stay(
    store: DirectoryStore, tmp_path: Path
) -> None:
    folder = record_of(tmp_path).parent
    old, new = folder / ".sessionstore-1-aa.tmp", folder / ".sessionstore-2-bb.tmp"
    uncounted = folder / names.place_of(K).lines("s", 7)
    orphan = folder / names.place_of(SessionKey("main", "never")).lines("s", 0)
    for path in (old, new, uncounted, orphan):
        path.write_bytes(b"x\n")
    os.utime(old, (0, 0))
    assert len((await store.list()).items) == 2
    await store.sweep()
    assert [path.exists() for path in (old, new, uncounted, orphan)] == [False, True, False, False]
    assert len((await store.read(K)).lines) == 2


async def test_a_directory_that_is_taken_away_is_seen_by_the_next_call(store: DirectoryStore, tmp_path: Path) -> None:
    await store.list()
    cursor = await store.position()
    (tmp_path / "store").rename(tmp_path / "aside")
    assert await store.get(K) is None
    assert (await store.list()).items == ()
    await store.set(K, {"n": 1})
    assert [row.revision for row in (await store.list()).items] == [1]
    with pytest.raises(Exception, match="another store"):
        await store.changes(cursor)


async def test_a_lock_that_another_keeps_is_unavailable_in_the_end(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plainfiles, "LOCK_TIMEOUT_S", 0.1)
    with Directory.opened(tmp_path / "store", create=False) as root:
        assert root is not None
        with locks.held(root, names.place_of(K).slot, "test"):
            with pytest.raises(Unavailable) as caught:
                await store.set(K, {})
            # Its neighbour is not concerned, and readers are not either.
            await store.set(OTHER, {"sessionId": "s"})
            assert await store.get(K) is not None
    assert caught.value.reason == "timeout"
    await store.set(K, {})


async def test_many_who_wait_for_one_session_keep_nobody_else_waiting(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have = (await store.read(K)).head.lines
    monkeypatch.setattr(plainfiles, "LOCK_TIMEOUT_S", 2)
    with Directory.opened(tmp_path / "store", create=False) as root:
        assert root is not None
        with locks.held(root, names.place_of(K).slot, "test"):
            waiting = [asyncio.create_task(store.append(K, [b"x"])) for _ in range(4 * threads.SIZE)]
            await asyncio.sleep(0.1)
            assert await store.get(OTHER) is not None
            await asyncio.to_thread(lambda: None)
            assert not any(task.done() for task in waiting)
            # Who waited for a thread has waited; the time of the last one is over when that of the first one is.
            async with asyncio.timeout(2 * plainfiles.LOCK_TIMEOUT_S):
                failed = await asyncio.gather(*waiting, return_exceptions=True)
    assert {(type(error), error.reason) for error in failed} == {(Unavailable, "timeout")}
    assert (await store.append(K, [b"y"])).lines == have + 1


@pytest.mark.parametrize("url", ["directory://host/dir", "directory:relative", "directory:///dir?x=1"])
def test_a_url_that_names_no_directory_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        open_store(url)


def test_a_directory_has_to_be_named() -> None:
    with pytest.raises(ConfigurationError, match="state_dir"):
        SessionStorage(backend="directory")


async def test_a_url_opens_the_directory(tmp_path: Path) -> None:
    async with open_store(f"directory://{tmp_path}/a%20b") as store:
        assert isinstance(store, Store)
        await store.set("k", {})
    assert (tmp_path / "a b" / "store.json").exists()
