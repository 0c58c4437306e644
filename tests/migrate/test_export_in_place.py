"""A rollback: the export takes the place of the old files, which stay beside; a kill loses nothing."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from sessionstore.migrate.directory import open_directory
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.export import run as export
from sessionstore.migrate.export.report import Exported
from sessionstore.migrate.export.run import Format, Options
from sessionstore.migrate.items import Lines, SourceArchive, SourceSession
from sessionstore.migrate.patience import Patience
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions import SessionKey, Status, open_store
from tests.file.children import Fault, Outcome, struck, without_rights
from tests.migrate import states
from tests.migrate.conftest import run

HOME = "/home/node/.openclaw"
KEY = SessionKey("main", "agent:main:main")
WENT_ON = SessionKey("main", "agent:main:cron:c50877a9-fb07-49cf-bc78-ce8b5a41f0be")
DELETED = SessionKey("main", "agent:main:signal:group:AbC+/dEf==")
LINE = b'{"type":"message","id":"after the cutover"}'
STAMP = "2026-11-21T17-30-00"
ASIDE = [f"agents/{agent}/sessions.before-{STAMP}Z" for agent in ("main", "work")]

_runs = (f"run-{number}" for number in itertools.count())
Digests = Mapping[str, str]


@pytest.fixture
def moved(real: Path, tmp_path: Path) -> str:
    """The URL of a store that went on where the real state directory ended: a line more, a session less, a new one."""
    url = f"directory://{tmp_path}/store"
    assert run("migrate", real, "--to", url).status == 0

    async def go_on() -> None:
        async with open_store(url) as store:
            await store.append(KEY, [LINE])
            await store.delete(DELETED)
            await store.set(SessionKey("main", "agent:main:new"), {"sessionId": "new", "updatedAt": 1_795_200_000_000})

    asyncio.run(go_on())
    return url


async def _export(url: str, root: Path, **fields: Any) -> Exported:
    options = Options(
        Format.OPENCLAW_FILES, Patience(0), next(_runs), STAMP, state_dir=PurePosixPath(HOME), in_place=True, **fields
    )
    async with open_store(url) as store:
        return await export.to_directory(store, root, options, lambda phase, done: None)


def _digests(folder: Path) -> Digests:
    """Return file -> digest of everything below a directory."""
    return {name: digest for name, (digest, _, _) in states.fingerprint(folder).items()}


def _sessions(root: Path, agent: str = "main") -> Digests:
    return _digests(root / "agents" / agent / "sessions")


def _is_whole(root: Path, agent: str, old: Digests) -> bool:
    """Tell whether the old sessions of an agent are somewhere, whole."""
    folders = (root / "agents" / agent).glob("sessions*")
    return any(_digests(folder) == old for folder in folders)


def test_what_the_store_has_now_takes_the_place_of_the_old_files(real: Path, moved: str) -> None:
    old = _sessions(real)

    answer = run("export", moved, "--to", real, "--in-place", "--state-dir", HOME)

    assert (answer.status, answer.document["outcome"], answer.document["sessions"]) == (0, "Exported", 11), answer
    folder = real / "agents" / "main" / "sessions"
    index = json.loads((folder / "sessions.json").read_bytes())
    assert DELETED.key not in index and "agent:main:new" in index
    stem = Path(index[KEY.key]["sessionFile"]).name
    assert (folder / stem).read_bytes().endswith(LINE + b"\n")
    aside = [Path(path) for path in answer.document["putAside"]]
    assert [path.parent.name for path in aside] == ["main", "work"]
    assert _digests(real / aside[0]) == old
    assert sorted(path.name for path in real.iterdir()) == ["agents", "openclaw.json"]


def test_what_is_no_session_is_carried_along(real: Path, moved: str) -> None:
    folder = real / "agents" / "main" / "sessions"
    (folder / "notes of a person.txt").write_text("keep")
    (folder / "sessions.json.bak.1795000000000").write_text('{"old": {"sessionId": "x"}}')
    (folder / "a.jsonl.lock").touch()
    (folder / "link").symlink_to("nowhere")
    old = _sessions(real)

    found = asyncio.run(_export(moved, real))

    new = _sessions(real)
    beside = {name for name in old if "trajectory" in name or "skills-prompts" in name or name.startswith("notes")}
    assert {name: new[name] for name in beside} == {name: old[name] for name in beside}
    assert (folder / "link").readlink() == Path("nowhere")
    assert {"sessions.json.bak.1795000000000", "a.jsonl.lock"} & set(new) == set()
    assert found.carried == len([name for name in beside if (folder / name).is_file()]) + 1
    assert run("inspect", real).document["sessions"] == 11


def test_sessions_that_were_deleted_in_the_store_do_not_come_back(real: Path, moved: str) -> None:
    async def delete_all_of_work() -> None:
        async with open_store(moved) as store:
            assert await store.invalidate(agent="work") == 1

    asyncio.run(delete_all_of_work())

    asyncio.run(_export(moved, real))

    assert [path.name for path in (real / "agents" / "work" / "sessions").iterdir()] == ["sessions.json"]
    assert (real / "agents" / "work" / "sessions" / "sessions.json").read_bytes() == b"{}"


def test_what_was_exported_and_went_on_is_migrated_back_without_a_conflict(
    real: Path, moved: str, tmp_path: Path
) -> None:
    async def archive() -> None:
        async with open_store(moved) as store:
            await store.archive(KEY)

    asyncio.run(archive())
    arguments = ("--in-place", "--state-dir", "/elsewhere")
    assert run("export", moved, "--to", real, *arguments).status == 0
    index = real / "agents" / "main" / "sessions" / "sessions.json"
    entries = json.loads(index.read_bytes())
    stem = PurePosixPath(entries[WENT_ON.key]["sessionFile"]).name
    with (index.parent / stem).open("ab") as transcript:
        transcript.write(b'{"type":"message","id":"after the rollback"}\n')
    entries[WENT_ON.key]["updatedAt"] += 60_000
    index.write_text(json.dumps(entries))

    found = run("migrate", real, "--to", moved, "--conflicts", "Fail", *arguments[1:])

    assert (found.status, found.document["outcome"]) == (0, "Verified"), found
    assert (found.document["conflicts"], found.document["mismatchCount"]) == (0, 0)
    assert found.document["migrated"] == 10, "all but the new one say anew where their files lie"
    assert run("verify", real, "--against", moved, *arguments[1:]).status == 0


def test_an_agent_that_was_not_asked_for_is_left_alone(real: Path, moved: str) -> None:
    before = states.fingerprint(real / "agents" / "main")

    found = asyncio.run(_export(moved, real, agents=("work",)))

    assert found.put_aside == (ASIDE[1],)
    assert states.fingerprint(real / "agents" / "main") == before


def test_a_second_rollback_keeps_what_the_first_put_aside(real: Path, moved: str) -> None:
    old = _sessions(real)

    found = [asyncio.run(_export(moved, real)) for _ in range(2)]

    assert [each.put_aside for each in found] == [tuple(ASIDE), tuple(f"{path}-2" for path in ASIDE)]
    assert _digests(real / ASIDE[0]) == old
    assert _sessions(real) == _digests(real / f"{ASIDE[0]}-2")


def test_a_store_that_moves_ends_it_and_nothing_is_replaced(
    real: Path, moved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = states.fingerprint(real)
    monkeypatch.setattr("sessionstore.migrate.export.writing.Writer.count_moving", _three)

    with pytest.raises(MigrationError, match="nothing was replaced") as refused:
        asyncio.run(_export(moved, real))

    assert refused.value.reason == "StoreMoving"
    assert _without_root(states.fingerprint(real)) == _without_root(before)


async def _three(writer: object) -> int:
    return 3


def _without_root(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: (digest, mode) for name, (digest, mode, _) in found.items()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_gateways_own_user_can_do_it(real: Path, moved: str, tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    for path in (real, *real.rglob("*"), *(tmp_path / "store").rglob("*"), tmp_path / "store"):
        os.chown(path, 65534, 65534, follow_symlinks=False)

    found = without_rights(lambda: _export(moved, real))

    assert found.outcome == "Exported"
    assert {path.lstat().st_uid for path in real.rglob("*")} == {65534}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_is_told_whom_to_run_as(real: Path, moved: str, tmp_path: Path) -> None:
    async def refused() -> str:
        with pytest.raises(MigrationError) as error:
            await _export(f"directory://{tmp_path}/store", real)
        return f"{error.value.reason}: {error.value}"

    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    for path in ((tmp_path / "store"), *(tmp_path / "store").rglob("*")):
        os.chown(path, 65534, 65534)
    os.chown(real, 0, 0)
    real.chmod(0o755)

    assert without_rights(refused).startswith("PermissionDenied: ")


def test_a_link_in_the_place_of_a_directory_is_not_followed(real: Path, moved: str, tmp_path: Path) -> None:
    (real / "agents" / "work").rename(tmp_path / "elsewhere")
    (real / "agents" / "work").symlink_to(tmp_path / "elsewhere")
    before = states.fingerprint(tmp_path / "elsewhere")

    with pytest.raises(MigrationError, match="is not followed"):
        asyncio.run(_export(moved, real))

    assert states.fingerprint(tmp_path / "elsewhere") == before


def _points(act: Callable[[int], Outcome], count: int) -> list[int]:
    """Return `count` numbers of system calls, spread over all there are."""
    most = 1
    while act(most) is not Outcome.DONE:
        most *= 2
    few, many = most // 2, most
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if act(middle) is Outcome.DONE else (middle, many)
    return sorted({number * many // count for number in range(count)})


def test_killed_at_any_system_call_nothing_is_lost_and_the_next_run_finishes(
    real: Path, moved: str, tmp_path: Path, count: Callable[[int, int], int]
) -> None:
    old = {agent: _sessions(real, agent) for agent in ("main", "work")}
    asyncio.run(_export(moved, shutil.copytree(real, tmp_path / "done")))
    new = {agent: _sessions(tmp_path / "done", agent) for agent in ("main", "work")}
    root = tmp_path / "root"

    def act(number: int) -> Outcome:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(real, root, symlinks=True)
        return struck(lambda: _export(moved, root), number, Fault.KILL)

    for number in _points(act, count(12, 500)):
        assert act(number) is Outcome.KILLED
        for agent in old:
            assert _is_whole(root, agent, old[agent]), number

        found = asyncio.run(_export(moved, root))

        assert found.outcome == "Exported"
        for agent in old:
            assert _sessions(root, agent) == new[agent], number
            assert _is_whole(root, agent, old[agent]), number
        assert sorted(path.name for path in root.iterdir()) == ["agents", "openclaw.json"]


def test_a_disk_that_is_full_leaves_everything_as_it_was(
    real: Path, moved: str, tmp_path: Path, count: Callable[[int, int], int]
) -> None:
    before = _without_root(states.fingerprint(real))
    root = tmp_path / "root"

    def act(number: int) -> Outcome:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(real, root, symlinks=True)
        return struck(lambda: _export(moved, root), number, Fault.FULL)

    failed = 0
    for number in range(0, 48, 48 // count(8, 48)):
        if act(number) is Outcome.FAILED:
            failed += 1
            assert _without_root(states.fingerprint(root)) == before, number
    assert failed > 3


Found = dict[str, tuple[Any, tuple[bytes, ...]]]
_REWRITTEN = ("sessionFile", "archivedAt")


async def _read(root: Path, scratch: Scratch) -> tuple[Found, int]:
    """Return what a directory holds: name -> entry but for what is rewritten, and lines; and how many old entries."""
    found: Found = {}
    with open_directory(root, scratch) as source:
        async for session in source.sessions():
            assert isinstance(session, SourceSession)
            entry = {name: value for name, value in session.entry.items() if name not in _REWRITTEN}
            found[str(session.key)] = entry, await _lines(session.lines)
        async for archive in source.archives():
            assert isinstance(archive, SourceArchive)
            found[f"{archive.agent}/{archive.name}"] = None, await _lines(archive.lines)
        return found, source.superseded()


async def _lines(lines: Lines | None) -> tuple[bytes, ...]:
    return tuple([line async for batch in lines.batches() for line in batch.lines]) if lines else ()


async def _fill(url: str, root: Path, scratch: Scratch) -> None:
    async with open_store(url) as store:
        with open_directory(root, scratch) as source:
            async for session in source.sessions():
                assert isinstance(session, SourceSession)
                await store.create(session.key, session.entry, await _lines(session.lines))
                if session.status is Status.ARCHIVED:
                    await store.archive(session.key)
            async for archive in source.archives():
                assert isinstance(archive, SourceArchive)
                await store.put_archive(archive.agent, archive.name, await _lines(archive.lines))


@pytest.mark.parametrize("layout", sorted(states.FILE_LAYOUTS))
def test_every_layout_of_files_is_replaced_by_what_the_gateway_reads(layout: str, tmp_path: Path) -> None:
    root, url = states.FILE_LAYOUTS[layout](tmp_path / "state"), f"directory://{tmp_path}/store"
    old = set(_digests(root).values())
    with Scratch(tmp_path) as scratch:
        before, _ = asyncio.run(_read(root, scratch))
        asyncio.run(_fill(url, root, scratch))

        found = asyncio.run(_export(url, root))

        assert (found.outcome, found.mismatches, found.notes) == ("Exported", (), ())
        assert asyncio.run(_read(root, scratch)) == (before, 0), "all of it is there, and nothing of the old is read"
    assert old <= set(_digests(root).values()), "all that was there is there"


def test_an_index_elsewhere_is_refused_where_it_cannot_be_followed(real: Path, moved: str) -> None:
    (real / "openclaw.json").write_text('{"session": {"store": "/mnt/other/{agentId}.json"}}')
    before = states.fingerprint(real)

    with pytest.raises(MigrationError, match="the gateway would look elsewhere") as refused:
        asyncio.run(_export(moved, real))

    assert (refused.value.reason, states.fingerprint(real)) == ("UnsupportedTarget", before)


def test_an_index_of_an_agent_each_is_written_where_it_is_configured(real: Path, moved: str) -> None:
    (real / "openclaw.json").write_text('{"session": {"store": "~/.openclaw/stores/{agentId}/index.json"}}')

    found = asyncio.run(_export(moved, real))

    index = json.loads((real / "stores" / "work" / "index.json").read_bytes())
    assert (found.outcome, list(index)) == ("Exported", ["agent:work:main"])
    assert index["agent:work:main"]["sessionFile"].startswith(f"{HOME}/agents/work/sessions/")
    assert not (real / "agents" / "work" / "sessions" / "sessions.json").exists()
