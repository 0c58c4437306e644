"""A state directory as a source: what is carried, what is set aside, and what is asked for again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from sessionstore.migrate import pipeline
from sessionstore.migrate.directory import DirectorySource, open_directory
from sessionstore.migrate.items import Lines, SetAside, SourceArchive, SourceSession
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.report import Report
from sessionstore.openclaw import scratch as scratching
from sessionstore.openclaw.files import stamp_of
from sessionstore.openclaw.problems import Problem, Reason
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions import SessionKey
from sessionstore.sessions.memory import MemoryStore
from tests.migrate.states import HEADER, TURN, State


async def _lines(lines: Lines | None) -> list[bytes]:
    return [line for batch in [b async for b in lines.batches()] for line in batch.lines] if lines else []


async def _sessions(source: DirectorySource) -> dict[str, list[bytes]]:
    found = [item async for item in source.sessions()]
    return {item.key.key: await _lines(item.lines) for item in found if isinstance(item, SourceSession)}


async def _archives(source: DirectorySource) -> list[tuple[str, bool]]:
    found = [item async for item in source.archives()]
    return [(item.name, item.orphan) for item in found if isinstance(item, SourceArchive)]


async def test_the_real_state_directory_is_read_whole(real: Path, scratch: Scratch) -> None:
    with open_directory(real, scratch) as source:
        sessions = [item async for item in source.sessions()]
        lines = [len(await _lines(item.lines)) for item in sessions if isinstance(item, SourceSession)]
        archives = await _archives(source)

        assert (len(sessions), sum(lines), len(archives)) == (11, 26, 3)
        assert not [found async for found in source.archives() if isinstance(found, Problem)]
        assert (source.beside(), source.superseded()) == (9, 0)
        assert source.layouts == ("sessions.json",)


async def test_every_pass_reads_afresh(state: State, scratch: Scratch) -> None:
    state.session("a")
    with open_directory(state.root, scratch) as source:
        first = await _sessions(source)
        state.session("b", lines=HEADER + b"\n" + TURN + b"\n")
        (state.folder / "id-0.jsonl").rename(state.folder / "elsewhere.jsonl")

        assert (first, await _sessions(source)) == ({"a": [HEADER]}, {"a": [], "b": [HEADER, TURN]})
        assert await _archives(source) == [("elsewhere.jsonl", True)]


async def test_a_folder_that_took_anothers_place_is_read(state: State, scratch: Scratch) -> None:
    state.session("a")
    with open_directory(state.root, scratch) as source:
        assert await _sessions(source) == {"a": [HEADER]}
        state.folder.rename(state.folder.with_name("before"))
        State(state.root, "other").folder.rename(state.folder)

        assert await _sessions(source) == {}


@pytest.mark.parametrize("in_memory", [0, 200, 10**6], ids=["on disk", "moved to disk", "in memory"])
async def test_names_are_sorted_in_memory_or_beyond(
    state: State, scratch: Scratch, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    monkeypatch.setattr(scratching, "_MOST_BYTES", in_memory)
    for name in ("b", "a b", "a", "é"):
        state.file(f"{name}.jsonl", b"")

    with open_directory(state.root, scratch) as source:
        assert [name for name, _ in await _archives(source)] == ["a b.jsonl", "a.jsonl", "b.jsonl", "é.jsonl"]


async def test_a_stamp_is_withheld_while_the_file_is_fresh(state: State, scratch: Scratch) -> None:
    state.session("a")

    with open_directory(state.root, scratch) as source:
        [item] = [item async for item in source.sessions()]

        assert isinstance(item, SourceSession) and item.lines and item.lines.stamp is None


def test_a_stamp_holds_what_changes_with_a_file() -> None:
    settled = Path(__file__).stat()

    assert stamp_of(settled) == f"{settled.st_size}:{settled.st_ino}:{settled.st_mtime_ns}:{settled.st_ctime_ns}"


async def test_an_archive_whose_name_no_store_takes_is_set_aside_with_its_bytes(tmp_path: Path) -> None:
    state = State(tmp_path / "state", "no agent")
    state.file("x.jsonl", HEADER + b"\n" + TURN[:9])

    with Scratch(tmp_path) as scratch, open_directory(state.root, scratch) as source:
        [item] = [item async for item in source.archives()]

        assert isinstance(item, SetAside) and item.is_archive
        assert (item.problem.reason, b"".join(item.blob.chunks())) == (Reason.INVALID_KEY, HEADER + b"\n" + TURN[:9])
        assert item.blob.size == len(HEADER) + 10


async def test_a_pass_that_was_not_finished_tells_nothing_of_orphans(state: State, scratch: Scratch) -> None:
    state.session("a")
    state.session("b")
    with open_directory(state.root, scratch) as source:
        unfinished = source.sessions()
        await anext(unfinished)
        await unfinished.aclose()  # type: ignore[attr-defined]

        assert await _archives(source) == []
        assert await _sessions(source) == {"a": [HEADER], "b": [HEADER]}


async def test_a_file_above_the_limit_is_told_once_and_leaves_nothing_in_the_store(state: State) -> None:
    state.session("k", (HEADER + b"\n") * 1000)
    state.file("lost.jsonl", (HEADER + b"\n") * 1000)
    store = MemoryStore()

    small = await _migrate(state.root, store, max_file_bytes=5000)

    assert small.accounts is not None
    assert (small.accounts.archives.migrated, small.accounts.archives.quarantined) == (0, 1)
    assert [(problem.path, problem.reason, problem.key) for problem in small.problems] == [
        ("agents/main/sessions/id-0.jsonl", Reason.TOO_LARGE, "k"),
        ("agents/main/sessions/lost.jsonl", Reason.TOO_LARGE, None),
    ]
    assert [archive.name async for archive in store.list_archives()] == []

    large = await _migrate(state.root, store, max_file_bytes=1024**2)

    assert (large.outcome, large.problems) == ("Verified", ())
    assert len(await _lines_of(store, "k")) == 1000
    assert [(archive.name, archive.lines) async for archive in store.list_archives()] == [("lost.jsonl", 1000)]


async def _lines_of(store: MemoryStore, key: str) -> Sequence[bytes]:
    found = await store.read(SessionKey("main", key))
    assert found is not None
    return found.lines


async def _migrate(root: Path, store: MemoryStore, max_file_bytes: int) -> Report:
    with Scratch() as scratch, open_directory(root, scratch, max_file_bytes) as source:
        options = pipeline.Options("s", Patience(0))
        return await pipeline.migrate(source, store, scratch, options, lambda seen: None)
