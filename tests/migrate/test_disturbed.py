"""Somebody writes to the source or the store meanwhile: that is noticed, and never taken for success."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sessionstore.migrate import pipeline
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.progress import Progress
from sessionstore.migrate.report import Report
from sessionstore.openclaw.problems import Reason
from sessionstore.sessions import Capability, InvalidEntry, InvalidKey, Unavailable, Unsupported
from sessionstore.sessions.memory import MemoryStore
from tests.migrate.conftest import migrate, verify
from tests.migrate.states import HEADER, TURN, State

NEWER = 1_800_000_000_000


class _Busy(MemoryStore):
    """A store in which every session changes right after it was looked at."""

    async def get(self, key: Any) -> Any:
        found = await super().get(key)
        if found:
            await super().set(key, found.entry)
        return found


class _Plain(MemoryStore):
    """A store that keeps sessions and nothing else."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset()

    async def read_archive(self, *arguments: Any, **options: Any) -> Any:
        raise Unsupported("no archives")


class _Full(MemoryStore):
    """A store that has run out of memory."""

    tries = 0

    async def create(self, *arguments: Any, **options: Any) -> Any:
        self.tries += 1
        raise Unavailable("OOM", "full")


class _Narrow(MemoryStore):
    """A store that takes no line above 40 bytes, and no archive whose name it does not like."""

    async def create(self, key: Any, entry: Any, lines: Any = (), **options: Any) -> Any:
        if any(len(line) > 40 for line in lines):
            raise InvalidEntry("a line is above 40 bytes")
        return await super().create(key, entry, lines, **options)

    async def read_archive(self, agent: str, name: str, *arguments: Any) -> Any:
        if name.startswith("lost"):
            raise InvalidKey("no name for an archive")
        return await super().read_archive(agent, name, *arguments)


async def _migrate(state: State, store: MemoryStore, watch: pipeline.Watch, **options: Any) -> Report:
    return await migrate(state.root, store, pipeline.Options("s", Patience(60), **options), watch)


async def _verify(state: State, store: MemoryStore) -> Report:
    return await verify(state.root, store)


def _ignore(seen: Progress) -> None:
    """Watch nothing."""


@pytest.mark.parametrize("phase", ["Copy", "Verify"])
async def test_a_source_that_is_written_meanwhile_fails(state: State, phase: str) -> None:
    state.session("k")

    def write(seen: Progress) -> None:
        if seen.phase == phase:
            state.file("id-0.jsonl", HEADER + b"\n" + TURN + b"\n")

    with pytest.raises(MigrationError, match="main/k, for one") as caught:
        await _migrate(state, MemoryStore(), write)

    assert caught.value.reason == "SourceChanged"


@pytest.mark.parametrize(
    ("entry", "lines", "outcome"),
    [
        pytest.param({"updatedAt": NEWER}, [HEADER, TURN], "Verified", id="a gateway went on"),
        pytest.param({}, [HEADER, TURN], "Verified", id="a gateway added a line"),
        pytest.param({"model": "x"}, [HEADER], "Verified", id="a gateway changed the entry within a millisecond"),
        pytest.param({"updatedAt": NEWER}, [], "Failed", id="lines are gone"),
        pytest.param({"updatedAt": NEWER}, [TURN], "Failed", id="lines are others"),
        pytest.param({"updatedAt": 1}, [HEADER], "Failed", id="the entry is older"),
        pytest.param({"updatedAt": NEWER, "sessionId": "x"}, [HEADER], "Failed", id="another transcript"),
    ],
)
async def test_a_store_that_is_used_meanwhile_is_proven_by_a_second_look(
    state: State, entry: dict[str, Any], lines: list[bytes], outcome: str
) -> None:
    copied = state.session("k")
    state.file("x.jsonl.bak.1", HEADER + b"\n")
    store = MemoryStore()
    used: list[asyncio.Task[None]] = []

    async def use() -> None:
        await store.delete("k")
        await store.set("k", copied | entry)
        await store.append("k", lines)
        await store.set("k", copied | entry)
        await store.put_archive("main", "x.jsonl.bak.1", [TURN], position=1)

    def watch(seen: Progress) -> None:
        if seen.phase == "Verify" and not used:
            used.append(asyncio.ensure_future(use()))

    report = await _migrate(state, store, watch)

    assert report.outcome == outcome
    assert not any(mismatch.kind == "archive" for mismatch in report.mismatches)
    assert (await _verify(state, store)).outcome == "Failed"


async def test_a_session_that_keeps_changing_in_the_store_fails(state: State) -> None:
    state.session("k")
    store = _Busy()
    await store.set("k", {"sessionId": "id-0", "updatedAt": 1})

    with pytest.raises(MigrationError, match="main/k keeps changing") as caught:
        await _migrate(state, store, _ignore)

    assert caught.value.reason == "StoreBusy"


async def test_a_store_that_is_full_is_not_waited_for(state: State) -> None:
    state.session("k")
    store = _Full()

    with pytest.raises(Unavailable):
        await _migrate(state, store, _ignore)

    assert store.tries == 1


async def test_a_store_without_a_place_for_archives_leaves_them_and_says_so(state: State) -> None:
    state.session("k", lines=HEADER + b"\n{")
    state.file("x.jsonl.bak.1", HEADER + b"\n")

    report = await _migrate(state, _Plain(), _ignore)

    assert [problem.reason for problem in report.problems] == [Reason.TORN_LAST_LINE, Reason.NOT_KEPT_BY_STORE]
    assert report.accounts and report.accounts.archives.quarantined == 1
    assert (report.outcome, report.kept) == ("Verified", ())


async def test_what_a_store_refuses_is_set_aside_and_the_rest_goes_on(state: State) -> None:
    long = HEADER + b"\n" + b'"' + b"x" * 50 + b'"\n{'
    state.session("long", lines=long)
    state.session("k")
    state.file("lost.jsonl", TURN + b"\n")
    store = _Narrow()

    planned = await _migrate(state, store, _ignore, is_dry_run=True)
    report = await _migrate(state, store, _ignore)

    assert [problem.reason for problem in planned.problems] == [Reason.TORN_LAST_LINE, Reason.INVALID_KEY]
    assert [(problem.reason, problem.key) for problem in report.problems[1:]] == [
        (Reason.TOO_LARGE, "long"),
        (Reason.INVALID_KEY, None),
    ]
    assert report.outcome == "Verified" and report.imbalance() is None
    assert report.accounts and (report.accounts.sessions.migrated, report.accounts.sessions.quarantined) == (1, 1)
    assert report.accounts.archives.quarantined == 1
    documents = [await store.get_document(name) or b"" for name in report.kept]
    for whole in (long, TURN + b"\n"):
        assert any(document.endswith(b"}\n" + whole) for document in documents)
