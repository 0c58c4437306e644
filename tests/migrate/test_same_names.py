"""Things of one name in several folders: none is lost, and none ends the migration."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionstore.sessions.memory import MemoryStore
from tests.migrate import states
from tests.migrate.conftest import migrate, verify
from tests.migrate.sqlite_states import zstd
from tests.migrate.states import HEADER, TURN, State, write

DELETED = "x.jsonl.deleted.2026-11-20T10-08-02.716Z"


@pytest.mark.parametrize("lines", [[HEADER], [HEADER, TURN], [TURN]], ids=["the same", "more", "others"])
async def test_orphans_of_one_name_in_two_folders_are_both_carried(tmp_path: Path, lines: list[bytes]) -> None:
    root = states.charts(tmp_path)
    write(root / "agents/main/sessions/lost.jsonl", b"".join(line + b"\n" for line in lines))
    store = MemoryStore()

    first = await migrate(root, store)
    again = await migrate(root, store)

    assert (first.outcome, first.survey.archives) == ("Verified", 3)
    assert again.accounts is not None
    assert (again.outcome, again.accounts.archives.present) == ("Verified", 3)
    assert sorted([await _lines(store, name) for name in await _named(store, "lost")]) == sorted([[HEADER], lines])
    assert (await verify(root, store)).outcome == "Verified"


async def test_an_archive_and_its_compressed_copy_are_both_carried(state: State) -> None:
    state.session("k")
    state.file(DELETED, TURN + b"\n")
    state.file(f"{DELETED}.zst", zstd.compress(HEADER + b"\n"))
    store = MemoryStore()

    report = await migrate(state.root, store)

    assert (report.outcome, report.survey.archives) == ("Verified", 2)
    assert sorted([await _lines(store, name) for name in await _named(store, DELETED)]) == [[TURN], [HEADER]]


async def _named(store: MemoryStore, beginning: str) -> list[str]:
    found = [archive.name async for archive in store.list_archives(agent="main")]
    return sorted(name for name in found if name.startswith(beginning))


async def _lines(store: MemoryStore, name: str) -> list[bytes]:
    return list(await store.read_archive("main", name, 0, 100) or [])
