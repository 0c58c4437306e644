"""What a run leaves in the store makes the next one short, and is believed only where nobody touched either side."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from sessionstore.migrate import journal, pipeline
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.plan import Policy
from sessionstore.migrate.progress import Progress
from sessionstore.migrate.report import Report
from sessionstore.openclaw import files
from sessionstore.sessions import SessionKey
from sessionstore.sessions.memory import MemoryStore
from tests.migrate import conftest
from tests.migrate.states import HEADER, TURN, State

OPTIONS = pipeline.Options("s", Patience(0), origin="here")
NEWER = 1_800_000_000_000
ARCHIVE = "x.jsonl.reset.2026-11-20T10-07-57.629Z"


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


class Dying(MemoryStore):
    """A store under which the process is killed at the `left`-th write, before or after it is carried out."""

    left = -1
    is_after = False


def _dying(name: str) -> Any:
    async def write(self: Dying, *arguments: Any, **options: Any) -> Any:
        self.left -= 1
        if self.left == 0 and not self.is_after:
            raise Killed
        found = await getattr(MemoryStore, name)(self, *arguments, **options)
        if self.left == 0:
            raise Killed
        return found

    return write


for _name in ("create", "set", "append", "rewrite", "put_archive", "put_document", "delete_document"):
    setattr(Dying, _name, _dying(_name))


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the stamp of a file however new it is: what is written here is not written twice in a tick."""
    monkeypatch.setattr(files, "_SETTLED_NS", -(10**12))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The transcripts and archives that were read, by name, each time."""
    found: list[str] = []
    whole, few = files.FilePart.batches, files.FilePart.few

    def at_once(part: files.FilePart) -> list[bytes] | None:
        lines = few(part)
        found.extend([] if lines is None else [part.name])
        return lines

    def batches(part: files.FilePart) -> Iterator[Any]:
        found.append(part.name)
        return whole(part)

    monkeypatch.setattr(files.FilePart, "batches", batches)
    monkeypatch.setattr(files.FilePart, "few", at_once)
    return found


@pytest.fixture
def filled(state: State) -> State:
    state.session("a", lines=HEADER + b"\n" + TURN + b"\n")
    state.session("b")
    state.session("bare", lines=b"")
    state.file(ARCHIVE, HEADER + b"\n")
    return state


async def migrate(state: State, store: MemoryStore, **changes: Any) -> Report:
    watch = changes.pop("watch", lambda seen: None)
    return await conftest.migrate(state.root, store, dataclasses.replace(OPTIONS, **changes), watch)


def counts(report: Report) -> dict[str, Any]:
    """Return what a killed and resumed run has to say just like an undisturbed one."""
    document = report.document()
    return {name: document[name] for name in ("outcome", "accounts", "digest", "storeDigest", "problems", "lines")}


async def test_a_second_run_reads_nothing_and_proves_the_same(filled: State, read: list[str]) -> None:
    store = MemoryStore()
    first = await migrate(filled, store)
    read.clear()

    second = await migrate(filled, store)

    assert read == []
    assert second.accounts and second.accounts.sessions.present == 3 and second.accounts.lines.present == 3
    assert second.accounts.archives.present == 1
    assert first.proof and second.proof and second.proof.store_digest == first.proof.store_digest != ""
    assert second.survey == first.survey


async def test_thorough_reads_everything(filled: State, read: list[str]) -> None:
    store = MemoryStore()
    await migrate(filled, store)
    read.clear()

    report = await migrate(filled, store, is_thorough=True)

    assert set(read) == {"id-0.jsonl", "id-1.jsonl", "id-2.jsonl", ARCHIVE}
    assert report.accounts and report.accounts.sessions.present == 3


async def test_what_changed_in_the_source_is_carried_and_nothing_else_is_read(filled: State, read: list[str]) -> None:
    store = MemoryStore()
    await migrate(filled, store)
    read.clear()
    filled.session("a", lines=HEADER + b"\n" + TURN + b"\n" + TURN + b"\n", sessionId="id-0", updatedAt=NEWER)

    report = await migrate(filled, store)

    assert set(read) == {"id-0.jsonl"}
    assert report.accounts and (report.accounts.sessions.migrated, report.accounts.sessions.present) == (1, 2)
    assert (report.accounts.lines.migrated, report.accounts.lines.present) == (1, 3)


@pytest.mark.parametrize("change", ["touched", "lost", "made again"])
async def test_what_changed_in_the_store_is_looked_at(filled: State, read: list[str], change: str) -> None:
    ticks = itertools.count(NEWER, 1000)
    store = MemoryStore(lambda: next(ticks))
    await migrate(filled, store)
    held = await store.get("b")
    assert held is not None
    read.clear()
    if change == "touched":
        await store.append("b", [TURN])
    else:
        _forget(store, SessionKey("main", "b"))
    if change == "made again":
        # By chance with the revision, the entry and the number of lines that were noted.
        made = await store.create("b", held.entry, [TURN])
        assert made.revision == held.revision and made.transcript == held.transcript

    report = await migrate(filled, store)

    assert "id-1.jsonl" in read and "id-0.jsonl" not in read
    assert report.outcome == "Verified" and report.accounts
    assert report.accounts.sessions.migrated == (change == "lost")
    assert report.accounts.sessions.conflicts == (change == "made again")


def _forget(store: MemoryStore, key: SessionKey) -> None:
    """Lose a session without a trace, as a store does that comes back from an older backup."""
    shelf = store._kept
    del shelf.records[key], shelf.lines[key]


async def test_what_was_deleted_in_the_store_since_stays_deleted(filled: State) -> None:
    store = MemoryStore()
    await migrate(filled, store)
    await store.delete("b")

    report = await migrate(filled, store)

    assert not await store.exists("b")
    assert report.outcome == "Verified" and report.accounts and report.accounts.sessions.present == 3


@pytest.mark.parametrize("lines", [HEADER + b"\n{", b"nonsense\n", None], ids=["torn", "no JSON", "no file"])
async def test_what_is_not_whole_and_was_deleted_in_the_store_stays_deleted(state: State, lines: bytes | None) -> None:
    state.session("a", lines=lines)
    store = MemoryStore()
    await migrate(state, store)
    await store.delete("a")

    reports = [await migrate(state, store) for _ in range(2)]

    assert not await store.exists("a")
    assert [report.accounts.sessions.present for report in reports if report.accounts] == [1, 1]
    assert [report.outcome for report in reports] == ["Verified", "Verified"]


async def test_a_deletion_holds_where_the_files_were_put_on_another_volume(filled: State) -> None:
    store = MemoryStore()
    await migrate(filled, store)
    await store.delete("b")
    for file in filled.folder.iterdir():
        file.touch()

    report = await migrate(filled, store, origin="another")

    assert not await store.exists("b")
    assert report.accounts and report.accounts.sessions.present == 3


async def test_what_the_source_went_on_with_comes_back(filled: State) -> None:
    store = MemoryStore()
    await migrate(filled, store)
    await store.delete("b")
    filled.session("b", sessionId="id-1", updatedAt=NEWER)

    report = await migrate(filled, store)

    assert await store.exists("b")
    assert report.accounts and report.accounts.sessions.migrated == 1


async def test_a_problem_is_told_each_time(filled: State) -> None:
    filled.session("torn", lines=HEADER + b"\n{")
    store = MemoryStore()

    reports = [await migrate(filled, store) for _ in range(2)]

    assert [problem.key for report in reports for problem in report.problems] == ["torn", "torn"]


async def test_a_failed_proof_makes_the_next_run_look_at_everything(filled: State, read: list[str]) -> None:
    store = MemoryStore()

    def lose(seen: Progress) -> None:
        if seen.phase == "Verify" and seen.done == 0:
            _forget(store, SessionKey("main", "b"))

    assert (await migrate(filled, store, watch=lose)).outcome == "Failed"
    read.clear()
    report = await migrate(filled, store)

    assert report.outcome == "Verified" and await store.exists("b")
    assert {"id-0.jsonl", "id-1.jsonl"} <= set(read)


@pytest.mark.parametrize("is_after", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("before", ["empty", "one older", "one apart", "carried once"])
async def test_killed_at_any_write_and_run_again_it_says_the_same(
    filled: State, monkeypatch: pytest.MonkeyPatch, before: str, is_after: bool
) -> None:
    monkeypatch.setattr(journal, "GROUP", 2)
    filled.session("torn", lines=HEADER + b"\n{")

    async def prepare() -> Dying:
        store = Dying()
        if before == "carried once":
            await migrate(filled, store)
        if before != "empty":
            await store.set("a", {"sessionId": "id-0", "updatedAt": 5})
            await store.append("a", [HEADER, b"{}"] if before == "one apart" else [HEADER])
            await store.set("a", {"sessionId": "id-0", "updatedAt": 5})
        store.is_after = is_after
        return store

    expected = counts(await migrate(filled, await prepare()))
    for at in itertools.count(1):
        store = await prepare()
        store.left = at
        try:
            await migrate(filled, store)
        except Killed:
            store.left = -1
            said = json.loads(await store.get_document("migration/s/report") or b"{}")
            again = counts(await migrate(filled, store))
            # Where all was done and said, the next run finds it done.
            assert expected in (again, {name: said.get(name) for name in expected}), f"killed at write {at}"
        if store.left > 0:
            break
    assert at > 5


async def test_the_rows_of_another_source_do_no_harm(filled: State, tmp_path: Any) -> None:
    other = State(tmp_path / "other")
    other.session("a", lines=TURN + b"\n", updatedAt=NEWER)
    store = MemoryStore()
    await migrate(filled, store)

    report = await migrate(other, store, origin="there")

    assert report.outcome == "Verified" and report.accounts and report.accounts.sessions.conflicts == 1
    read_back = await store.read("a")
    assert read_back is not None and read_back.lines == (TURN,)


async def test_what_a_killed_run_did_not_prove_is_not_proven_by_another_source(
    filled: State, tmp_path: Any, read: list[str]
) -> None:
    other = State(tmp_path / "other")
    other.session("x")
    store = MemoryStore()

    def kill(seen: Progress) -> None:
        if seen.phase == "Verify":
            raise Killed

    with pytest.raises(Killed):
        await migrate(filled, store, watch=kill)
    await migrate(other, store, origin="there")
    read.clear()

    assert (await migrate(filled, store)).outcome == "Verified"
    assert {"id-0.jsonl", "id-1.jsonl"} <= set(read)


async def test_a_ledger_that_makes_no_sense_is_none(filled: State, read: list[str]) -> None:
    store = MemoryStore()
    await migrate(filled, store)
    await store.put_document("migration/s/ledger/0", b"nonsense")
    read.clear()

    assert (await migrate(filled, store)).outcome == "Verified"
    assert read
    await store.put_document("migration/s/ledger/head", b"[]")
    assert (await migrate(filled, store)).outcome == "Verified"


async def test_a_ledger_does_not_grow_with_each_run(filled: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SPARE", 0)
    store = MemoryStore()
    for number in range(10):
        filled.session("a", lines=HEADER + b"\n" + TURN * (number + 1) + b"\n", sessionId="id-0", updatedAt=number)
        await migrate(filled, store, policy=Policy.KEEP_SOURCE)

    documents = [name async for name in store.list_documents("migration/s/ledger/")]
    assert len(documents) < 6


async def test_a_policy_of_fail_still_fails_where_a_killed_run_left_off(filled: State) -> None:
    store = Dying()
    await store.set("a", {"sessionId": "other", "updatedAt": NEWER})
    store.left = 8
    with pytest.raises(Killed):
        await migrate(filled, store)
    store.left = -1
    assert b'"run": 1, "proven": 0' in (await store.get_document("migration/s/ledger/head") or b"")
    await store.set("b", {"sessionId": "other", "updatedAt": NEWER})

    with pytest.raises(pipeline.MigrationError, match="differ in the store"):
        await migrate(filled, store, policy=Policy.FAIL)
