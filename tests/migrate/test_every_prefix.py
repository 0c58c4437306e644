"""Interrupted before or after any single write, and run again, a migration ends as an undisturbed one does."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sessionstore.migrate import pipeline
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.plan import Policy
from sessionstore.sessions import SessionKey, Unavailable, iterate
from sessionstore.sessions.memory import MemoryStore
from tests.migrate.conftest import migrate
from tests.migrate.states import HEADER, TURN, State

WRITES = frozenset({"create", "set", "append", "rewrite", "put_archive", "put_document"})
OTHER = b'{"type":"message","id":"other"}'
OLDER, NEWER = 1_600_000_000_000, 1_800_000_000_000
KEY = SessionKey("main", "k")


class Breaking:
    """A store that is away at the `at`-th write, which it has carried out all the same where `is_lost_answer`."""

    def __init__(self, store: MemoryStore, at: int, *, is_lost_answer: bool) -> None:
        self.store, self.left, self.is_lost_answer = store, at, is_lost_answer

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)
        if name not in WRITES:
            return method

        async def write(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left != 0:
                return await method(*arguments, **options)
            if self.is_lost_answer:
                await method(*arguments, **options)
            raise Unavailable("pulled out", "connection")

        return write


async def _empty(store: MemoryStore) -> None:
    """Everything is new."""


async def _older(store: MemoryStore) -> None:
    await _put(store, {"sessionId": "id-0", "updatedAt": OLDER}, [HEADER])


async def _apart(store: MemoryStore) -> None:
    await _put(store, {"sessionId": "id-0", "updatedAt": OLDER}, [HEADER, OTHER, OTHER, OTHER])


async def _apart_and_newer(store: MemoryStore) -> None:
    await _put(store, {"sessionId": "id-0", "updatedAt": NEWER}, [HEADER, OTHER])


async def _other_transcript(store: MemoryStore) -> None:
    await _put(store, {"sessionId": "theirs", "updatedAt": NEWER}, [HEADER, OTHER])


async def _moved_on(store: MemoryStore) -> None:
    """Has had our transcript, with other lines, and has another one now."""
    await _apart(store)
    await _other_transcript(store)


async def _put(store: MemoryStore, entry: dict[str, object], lines: list[bytes]) -> None:
    await store.set(KEY, entry)
    await store.append(KEY, lines)
    await store.set(KEY, entry)


@pytest.fixture
def filled(state: State, monkeypatch: pytest.MonkeyPatch) -> State:
    monkeypatch.setattr("sessionstore.migrate.stored.SLICE_LINES", 1)
    state.session("k", lines=HEADER + b"\n" + TURN + b"\n" + TURN + b"\n{torn")
    state.session("bare", lines=None)
    state.file("x.jsonl.reset.2026-11-20T10-07-57.629Z", HEADER + b"\n" + TURN + b"\n")
    return state


@pytest.mark.parametrize("is_lost_answer", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("policy", [Policy.NEWEST, Policy.KEEP_SOURCE, Policy.KEEP_STORE])
@pytest.mark.parametrize("before", [_empty, _older, _apart, _apart_and_newer, _other_transcript, _moved_on])
async def test_every_interruption_ends_the_same(
    filled: State, before: Callable[[MemoryStore], Awaitable[None]], policy: Policy, is_lost_answer: bool
) -> None:
    undisturbed = MemoryStore(lambda: NEWER + 1)
    await before(undisturbed)
    await _migrate(filled, undisturbed, policy)
    expected = await _content(undisturbed)

    for at in itertools.count(1):
        store = MemoryStore(lambda: NEWER + 1)
        await before(store)
        breaking = Breaking(store, at, is_lost_answer=is_lost_answer)
        try:
            await _migrate(filled, breaking, policy)
        except Unavailable:
            await _migrate(filled, store, policy)
        assert await _content(store) == expected, f"interrupted at write {at}"
        assert await _lost_sides(store) >= await _lost_sides(undisturbed), f"interrupted at write {at}"
        if breaking.left > 0:
            break
    assert at > 3


async def _migrate(state: State, store: Any, policy: Policy) -> None:
    report = await migrate(state.root, store, pipeline.Options("s", Patience(0), policy))
    assert not report.mismatches


async def _content(store: MemoryStore) -> dict[str, object]:
    """Return everything but revisions and reports: those tell how often we wrote."""
    found: dict[str, object] = {}
    async for info in iterate(store):
        session, read = await store.get(info.key), await store.read(info.key)
        assert session is not None and read is not None
        found[str(info.key)] = (session.entry.raw, session.updated_ms, read.lines)
    async for archive in store.list_archives():
        found[archive.name] = await store.read_archive(archive.agent, archive.name)
    async for name in store.list_documents("migration/s/quarantine/"):
        found[name] = await store.get_document(name)
    return found


async def _lost_sides(store: MemoryStore) -> set[str]:
    """Return the names of what was kept of lost conflicts; a name is made from the content."""
    return {name async for name in store.list_documents("migration/s/conflicts/")}
