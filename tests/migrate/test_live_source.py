"""What a gateway does to its sessions between the copy that is made while it runs and the one that ends it.

There is one side then, in two states: the store has the later one in the end, whatever the policy for two sides is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionstore.migrate import journal, pipeline
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.plan import Policy
from sessionstore.migrate.progress import Progress, Watch
from sessionstore.migrate.report import Report
from sessionstore.openclaw import files
from sessionstore.sessions.memory import MemoryStore
from sessionstore.sessions.record import SessionKey
from tests.migrate import conftest
from tests.migrate.states import HEADER, TURN, State

NEWER = 1_800_000_000_000
A, B = SessionKey("main", "a"), SessionKey("main", "b")
POLICIES = pytest.mark.parametrize("policy", list(Policy))


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the stamp of a file however new it is: what is written here is not written twice in a tick."""
    monkeypatch.setattr(files, "_SETTLED_NS", -(10**12))


async def _migrate(
    state: State,
    store: MemoryStore,
    *,
    is_live: bool = False,
    policy: Policy = Policy.NEWEST,
    origin: str = "here",
    name: str = "s",
    watch: Watch = lambda seen: None,
) -> Report:
    options = pipeline.Options(name, Patience(0), policy, is_live=is_live, origin=origin)
    return await conftest.migrate(state.root, store, options, watch)


async def _lines(store: MemoryStore, key: SessionKey) -> list[bytes]:
    found = await store.read(key)
    return [] if found is None else list(found.lines)


def _reset(state: State) -> None:
    (state.folder / "id-0.jsonl").rename(state.folder / "id-0.jsonl.reset.2026-11-20T10-07-57.629Z")
    state.session("a", lines=TURN + b"\n", sessionId="after", updatedAt=NEWER)


def _compact(state: State) -> None:
    state.session("a", lines=TURN + b"\n", sessionId="id-0", updatedAt=NEWER)


def _set_without_a_time(state: State) -> None:
    state.session("a", lines=HEADER + b"\n", sessionId="id-0", updatedAt=1_700_000_000_000, model="another")


def _delete(state: State, key: str) -> None:
    transcript = state.folder / f"{state.entries.pop(key)['sessionId']}.jsonl"
    transcript.rename(f"{transcript}.deleted.2026-11-20T10-08-02.716Z")
    state.index(json.dumps(state.entries).encode())


@POLICIES
@pytest.mark.parametrize("change", [_reset, _compact, _set_without_a_time])
async def test_what_the_gateway_made_of_a_session_is_no_conflict(
    state: State, policy: Policy, change: Callable[[State], None]
) -> None:
    state.session("a", lines=HEADER + b"\n", sessionId="id-0")
    store = MemoryStore()
    await _migrate(state, store, is_live=True, policy=policy)
    change(state)

    report = await _migrate(state, store, policy=policy)

    assert report.outcome == "Verified" and report.accounts is not None
    assert report.accounts.sessions.conflicts == 0
    assert report.proof is not None and report.proof.source_digest == report.proof.store_digest


@POLICIES
async def test_a_session_that_the_gateway_deleted_does_not_come_back(state: State, policy: Policy) -> None:
    state.session("a")
    state.session("b")
    store = MemoryStore()
    await _migrate(state, store, is_live=True, policy=policy)
    _delete(state, "a")

    report = await _migrate(state, store, policy=policy)

    assert report.outcome == "Verified"
    assert await store.get(A) is None and await store.get(B) is not None
    (kept,) = report.kept
    assert json.loads((await store.get_document(kept) or b"").split(b"\n")[0])["key"] == "a"


async def test_a_session_that_is_used_in_the_store_already_stays(state: State) -> None:
    state.session("a")
    store = MemoryStore()
    await _migrate(state, store, is_live=True)
    await store.append(A, [TURN])
    _delete(state, "a")
    state.session("b")

    await _migrate(state, store)

    assert TURN in await _lines(store, A)


@pytest.mark.parametrize("index", [b"{}", None])
async def test_sessions_of_an_index_that_was_lost_are_not_gone(state: State, index: bytes | None) -> None:
    state.session("a")
    state.session("b")
    store = MemoryStore()
    await _migrate(state, store, is_live=True)
    (state.folder / "sessions.json").unlink()
    if index is not None:
        state.index(index)

    await _migrate(state, store)

    assert await store.get(A) is not None and await store.get(B) is not None


async def test_what_one_of_two_sources_has_deleted_the_other_still_brings(tmp_path: Path) -> None:
    first, second = State(tmp_path / "first"), State(tmp_path / "second")
    store = MemoryStore()
    for state in (first, second):
        state.session("a")
        state.session("b")
        await _migrate(state, store, is_live=True, name=state.root.name)
    _delete(first, "a")

    reports = [await _migrate(state, store, name=state.root.name) for state in (first, second)]

    assert [report.outcome for report in reports] == ["Verified", "Verified"]
    assert await _lines(store, A) == [HEADER]


async def test_what_is_set_aside_is_not_gone(state: State) -> None:
    state.session("a")
    state.session("b")
    store = MemoryStore()
    await _migrate(state, store, is_live=True)
    state.index(json.dumps({**state.entries, "a": 7}).encode())

    await _migrate(state, store)

    assert await store.get(A) is not None


async def test_a_session_that_is_gone_long_after_the_cutover_stays(state: State) -> None:
    state.session("a")
    state.session("b")
    store = MemoryStore()
    await _migrate(state, store, is_live=True)
    await _migrate(state, store)
    _delete(state, "a")

    await _migrate(state, store)

    assert await store.get(A) is not None


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


def _kill(seen: Progress) -> None:
    if seen.phase == "Verify":
        raise Killed


async def test_what_a_killed_copy_brought_and_the_gateway_deleted_does_not_come_back(state: State) -> None:
    state.session("a")
    state.session("b")
    store = MemoryStore()
    with pytest.raises(Killed):
        await _migrate(state, store, is_live=True, watch=_kill)
    _delete(state, "a")

    await _migrate(state, store)

    assert await store.get(A) is None and await store.get(B) is not None


def _grow(state: State) -> None:
    state.session("a", lines=HEADER + b"\n" + TURN + b"\n", sessionId="id-0", updatedAt=NEWER)


def _fresh(state: State, patch: pytest.MonkeyPatch) -> Watch:
    patch.setattr(files, "_SETTLED_NS", 10**12)
    return lambda seen: None


def _torn(state: State, patch: pytest.MonkeyPatch) -> Watch:
    state.file("id-0.jsonl", HEADER + b"\n{")
    return lambda seen: None


def _moving(state: State, patch: pytest.MonkeyPatch) -> Watch:
    return lambda seen: _grow(state) if seen.phase == "Copy" and not seen.done else None


def _later_than_inspect(state: State, patch: pytest.MonkeyPatch) -> Watch:
    _delete(state, "a")
    return lambda seen: _grow(state) if seen.phase == "Copy" and not seen.done else None


@pytest.mark.parametrize("busy", [_fresh, _torn, _moving, _later_than_inspect])
@pytest.mark.parametrize("is_deleted", [True, False], ids=["deleted", "reset"])
async def test_a_session_that_was_in_use_while_it_was_copied_is_known_again(
    state: State,
    monkeypatch: pytest.MonkeyPatch,
    busy: Callable[[State, pytest.MonkeyPatch], Watch],
    is_deleted: bool,
) -> None:
    state.session("a", sessionId="id-0")
    state.session("b")
    store = MemoryStore()
    await _migrate(state, store, is_live=True, policy=Policy.KEEP_STORE, watch=busy(state, monkeypatch))
    assert await store.get(A) is not None
    _delete(state, "a")
    if not is_deleted:
        state.session("a", lines=TURN + b"\n", sessionId="after", updatedAt=NEWER)

    report = await _migrate(state, store, policy=Policy.KEEP_STORE)

    held = await store.get(A)
    assert report.outcome == "Verified" and report.accounts and report.accounts.sessions.conflicts == 0
    assert (held.entry["sessionId"] if held else None) == (None if is_deleted else "after")


async def test_a_deletion_between_two_copies_is_not_forgotten(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SPARE", 0)
    for key in "abcdef":
        state.session(key)
    store = MemoryStore()
    await _migrate(state, store, is_live=True)
    _delete(state, "a")
    for _ in range(3):
        await _migrate(state, store, is_live=True)
    assert await store.get_document("migration/s/ledger/0") is None, "the ledger was not written anew"

    await _migrate(state, store)

    assert await store.get(A) is None and await store.get(B) is not None


async def test_what_cannot_be_looked_into_is_not_gone(state: State, tmp_path: Path) -> None:
    State(state.root, agent="work").session("w")
    state.session("a")
    store = MemoryStore()
    await _migrate(state, store, is_live=True)
    state.folder.rename(tmp_path / "elsewhere")
    state.folder.touch()

    report = await _migrate(state, store)

    assert report.problem_count and await store.get(A) is not None


async def test_what_another_source_of_the_name_brought_is_not_gone(state: State, tmp_path: Path) -> None:
    other = State(tmp_path / "other")
    other.session("b")
    state.session("a")
    store = MemoryStore()
    await _migrate(state, store)

    await _migrate(other, store, is_live=True, origin="there")
    await _migrate(other, store, origin="there")

    assert await store.get(A) is not None


async def test_what_another_source_of_the_name_brought_is_not_ours(state: State, tmp_path: Path) -> None:
    other = State(tmp_path / "other")
    other.session("a", lines=TURN + b"\n", updatedAt=NEWER)
    state.session("a")
    store = MemoryStore()
    await _migrate(state, store)

    await _migrate(other, store, is_live=True, policy=Policy.KEEP_STORE, origin="there")
    report = await _migrate(other, store, policy=Policy.KEEP_STORE, origin="there")

    assert report.accounts and report.accounts.sessions.conflicts == 1
    assert await _lines(store, A) == [HEADER]
