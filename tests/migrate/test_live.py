"""A source that a gateway writes to is copied as far as it goes, and a short run without the gateway finishes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sessionstore.migrate import pipeline
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.progress import Progress
from sessionstore.migrate.report import Report
from sessionstore.openclaw import files
from sessionstore.sessions.memory import MemoryStore
from tests.migrate import conftest
from tests.migrate.conftest import run
from tests.migrate.states import HEADER, TURN, State

NEWER = 1_800_000_000_000


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the stamp of a file however new it is: what is written here is not written twice in a tick."""
    monkeypatch.setattr(files, "_SETTLED_NS", -(10**12))


async def migrate(state: State, store: MemoryStore, *, is_live: bool, watch: Any = lambda seen: None) -> Report:
    options = pipeline.Options("s", Patience(0), is_live=is_live)
    return await conftest.migrate(state.root, store, options, watch)


def _more_lines(state: State) -> None:
    state.session("a", lines=HEADER + b"\n" + TURN + b"\n", sessionId="id-0", updatedAt=NEWER)


def _half_a_line(state: State) -> None:
    state.file("id-0.jsonl", HEADER + b"\n" + TURN[:5])


def _another_session(state: State) -> None:
    state.session("c")


def _gone(state: State) -> None:
    (state.folder / "id-0.jsonl").unlink()


def _reset(state: State) -> None:
    (state.folder / "id-0.jsonl").rename(state.folder / "id-0.jsonl.reset.2026-11-20T10-07-57.629Z")
    state.session("a", lines=TURN + b"\n", sessionId="after", updatedAt=NEWER)


@pytest.mark.parametrize("phase", ["Plan", "Copy", "Verify"])
@pytest.mark.parametrize("write", [_more_lines, _half_a_line, _another_session, _gone, _reset])
async def test_what_moves_is_no_failure_and_the_next_run_finishes_it(
    state: State, phase: str, write: Callable[[State], None]
) -> None:
    state.session("a")
    state.session("b")
    store, written = MemoryStore(), []

    def watch(seen: Progress) -> None:
        if seen.phase == phase and not written:
            written.append(write(state))

    first = await migrate(state, store, is_live=True, watch=watch)
    second = await migrate(state, store, is_live=False)

    assert (first.outcome, second.outcome) == ("PreCopied", "Verified")
    assert first.moving is not None and second.moving is None
    assert written and second.accounts and second.accounts.sessions.present >= 1
    # What is gone from the source stays in the store.
    assert second.proof and (second.proof.source_digest == second.proof.store_digest or write is _gone)


async def test_what_moved_is_counted(state: State) -> None:
    state.session("a")
    state.session("b")

    def watch(seen: Progress) -> None:
        if seen.phase == "Verify":
            _more_lines(state)

    report = await migrate(state, MemoryStore(), is_live=True, watch=watch)

    assert (report.outcome, report.moving) == ("PreCopied", 1)


async def test_a_difference_that_is_none_of_the_sources_fails_all_the_same(state: State) -> None:
    state.session("a")
    store = MemoryStore()

    def watch(seen: Progress) -> None:
        if seen.phase == "Verify":
            store._kept.records.clear()

    report = await migrate(state, store, is_live=True, watch=watch)

    assert report.outcome == "Failed" and report.proof and report.proof.mismatch_count == 1


def test_the_command_says_what_moved_and_ends_well(state: State, url: str) -> None:
    state.session("a")

    first = run("migrate", state.root, "--to", url, "--live")
    second = run("migrate", state.root, "--to", url)

    assert (first.status, first.document["outcome"], first.document["moving"]) == (0, "PreCopied", 0)
    assert (second.status, second.document["outcome"], second.document["present"]) == (0, "Verified", 1)
