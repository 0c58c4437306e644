"""From OpenClaw's files to a directory store and back: all of it, and whoever is interrupted begins again."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from sessionstore.sessions import Conflict, Lifetime, SessionKey, Status, Store, Unavailable, Unreadable, iterate
from sessionstore.sessions.directory import DirectoryStore, promotion
from sessionstore.sessions.directory.promotion import Moved, promote, roll_back
from sessionstore.sessions.file import FileStore
from tests.conftest import ROOT

FIXTURE = ROOT / "tests" / "fixtures" / "openclaw" / "file-2026.7.1-2.tar.gz"
MAIN, WORK = "agent:main:main", "agent:work:main"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path / "state", filter="data")
    return tmp_path / "state"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "store"


async def held(store: Store) -> dict[str, Any]:
    """Return all sessions and archives of a store, without what only one kind keeps."""
    found: dict[str, Any] = {}
    async for info in iterate(store):
        session, transcript = await store.get(info.key), await store.read(info.key)
        assert session is not None
        found[str(info.key)] = (
            dict(session.entry), session.status, session.marks, session.lifetime, session.revision,
            transcript and transcript.lines,
        )  # fmt: skip
    async for archive in store.list_archives():
        found[f"{archive.agent}/{archive.name}"] = await store.read_archive(archive.agent, archive.name)
    return found


def without_revisions(found: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value[:4] + value[5:] if value and isinstance(value[0], dict) else value for name, value in found.items()
    }


def contents(state: Path) -> dict[str, bytes]:
    """Return what OpenClaw wrote."""
    return {
        str(path.relative_to(state)): path.read_bytes()
        for path in state.rglob("*")
        if path.is_file() and not path.name.startswith(".sessionstore")
    }


async def test_everything_comes_over_and_the_files_stay(state: Path, directory: Path) -> None:
    files = FileStore(state)
    await files.tag(MAIN, add=["vip"])
    await files.touch(WORK, lifetime=Lifetime(ttl_ms=10**9))
    wanted, before = await held(files), contents(state)
    assert await promote(state, directory) == Moved(sessions=11, lines=26, archives=3)
    assert await held(DirectoryStore(directory)) == wanted
    assert contents(state) == before
    assert not list(directory.parent.glob("*" + promotion.MIGRATING))


async def test_promoting_again_changes_nothing(state: Path, directory: Path) -> None:
    moved = await promote(state, directory)
    await DirectoryStore(directory).append(MAIN, [b"later"])
    wanted = await held(DirectoryStore(directory))
    assert await promote(state, directory) == moved
    assert await held(DirectoryStore(directory)) == wanted


async def test_nothing_at_all_is_an_empty_store(tmp_path: Path, directory: Path) -> None:
    (tmp_path / "state").mkdir()
    assert await promote(tmp_path / "state", directory) == Moved(0, 0, 0)
    assert (await DirectoryStore(directory).list()).items == ()


@pytest.mark.parametrize("at", ["_keep", "_compared", "_rename"])
async def test_a_promotion_that_is_cut_off_leaves_no_store_and_the_next_one_ends_it(
    state: Path, directory: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    class Crash(BaseException):
        pass

    calls = iter(range(100))

    def crash(*arguments: object) -> None:
        if next(calls) == 0 and at == "_keep":
            return original(*arguments)
        raise Crash

    original, wanted = getattr(promotion, at), await held(FileStore(state))
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(promotion, at, crash)
        await promote(state, directory)
    assert not directory.exists()
    assert (await promote(state, directory)).sessions == 11
    assert await held(DirectoryStore(directory)) == wanted


async def test_a_damaged_session_is_named_and_nothing_is_made(state: Path, directory: Path) -> None:
    file = state / "agents" / "work" / "sessions" / "sessions.json"
    file.write_bytes(file.read_bytes()[:-2] + b',\n  "agent:work:bad": 7\n}')
    with pytest.raises(Unreadable, match="agent:work:bad"):
        await promote(state, directory)
    assert not directory.exists()


async def test_a_store_that_lacks_something_is_not_taken_for_the_promoted_one(state: Path, directory: Path) -> None:
    await DirectoryStore(directory).set("other", {})
    with pytest.raises(Conflict, match="is not in"):
        await promote(state, directory)
    assert list(await held(DirectoryStore(directory))) == ["main/other"]


async def test_two_promotions_at_once_do_not_meet(state: Path, directory: Path) -> None:
    with promotion._alone(directory.parent), pytest.raises(Unavailable, match="at work"):
        await promote(state, directory)
    assert (await promote(state, directory)).sessions == 11


async def changed(store: Store) -> None:
    """Do what a day does: other entries, lines, sessions, marks."""
    session = await store.get(MAIN)
    assert session is not None
    await store.set(MAIN, session.entry.with_fields({"day": 1}))
    await store.append(MAIN, [b'{"type":"message"}'])
    await store.rewrite(WORK, [b"compacted"])
    await store.set(SessionKey("new", "agent:new:main"), {"sessionId": "n", "updatedAt": 5}, lifetime=Lifetime(10**9))
    await store.append("agent:new:main", [b"1", b"2"])
    await store.tag(WORK, add=["b", "a"])
    await store.title(WORK, "A title")
    await store.pin(MAIN)
    await store.archive(MAIN, reason="over")
    await store.put_archive("new", "x.jsonl.reset.2026", [b"1"])


async def test_a_roll_back_brings_the_files_to_where_the_store_is(state: Path, directory: Path) -> None:
    await promote(state, directory)
    store = DirectoryStore(directory)
    await changed(store)
    gone = await anext(info.key async for info in iterate(store) if info.key.key not in (MAIN, WORK, "agent:new:main"))
    await store.delete(gone)
    wanted = await held(store)
    moved = await roll_back(directory, state)
    assert moved.sessions == 11
    found = await held(FileStore(state))
    assert {name for name in found if name not in wanted and ".deleted." not in name} == set()
    assert without_revisions({name: found[name] for name in wanted}) == without_revisions(wanted)
    assert found[f"main/{MAIN}"][1] is Status.ARCHIVED
    assert not directory.exists()
    aside = directory.with_name(directory.name + promotion.ROLLED_BACK)
    assert await held(DirectoryStore(aside)) == wanted
    # OpenClaw finds its own layout: plain JSON with its keys.
    entries = json.loads((state / "agents" / "main" / "sessions" / "sessions.json").read_text())
    assert entries[MAIN]["day"] == 1


async def test_a_roll_back_that_is_cut_off_leaves_the_store_and_the_next_one_ends_it(
    state: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        pass

    await promote(state, directory)
    await changed(DirectoryStore(directory))
    wanted = await held(DirectoryStore(directory))
    for at in ("_bring_lines_back", "_bring_archives_back", "_rename"):
        with monkeypatch.context() as patch, pytest.raises(Crash):
            patch.setattr(promotion, at, lambda *_: (_ for _ in ()).throw(Crash()))
            await roll_back(directory, state)
        assert await held(DirectoryStore(directory)) == wanted
    await roll_back(directory, state)
    found = await held(FileStore(state))
    assert without_revisions({name: found[name] for name in wanted}) == without_revisions(wanted)


async def test_what_only_the_files_have_is_left_alone(state: Path, directory: Path) -> None:
    await promote(state, directory)
    await FileStore(state).set("agent:main:later", {"sessionId": "later"})
    await roll_back(directory, state)
    assert await FileStore(state).exists("agent:main:later")


async def test_after_a_roll_back_one_can_promote_again(state: Path, directory: Path) -> None:
    for _ in range(3):
        await promote(state, directory)
        await DirectoryStore(directory).append(MAIN, [b"more"])
        await roll_back(directory, state)
    transcript = await FileStore(state).read(MAIN)
    assert transcript is not None
    assert transcript.lines[-3:] == (b"more",) * 3
    assert len(list(directory.parent.glob("store.rolled-back*"))) == 3


async def test_what_the_files_cannot_hold_is_said_and_the_store_stays(state: Path, directory: Path) -> None:
    await promote(state, directory)
    store = DirectoryStore(directory)
    for number in (1, 2):
        await store.set(f"agent:main:twin{number}", {"sessionId": "twin"})
        await store.append(f"agent:main:twin{number}", [b"%d" % number])
    with pytest.raises(Conflict, match="twin"):
        await roll_back(directory, state)
    assert directory.exists()


async def test_a_store_with_damage_is_not_rolled_back(state: Path, directory: Path) -> None:
    await promote(state, directory)
    next((directory / "agents").rglob("*.json")).write_bytes(b"{")
    with pytest.raises(Unreadable, match="left out"):
        await roll_back(directory, state)
