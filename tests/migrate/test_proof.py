"""The proof of a migration fails where the store has not what it was given; what went wrong there is not excused."""

from __future__ import annotations

from typing import Any

import pytest

from sessionstore.openclaw import files
from sessionstore.sessions.memory import MemoryStore
from sessionstore.sessions.record import SessionKey
from tests.migrate import conftest
from tests.migrate.states import HEADER, TURN, State

NEWER = 1_800_000_000_000
A = SessionKey("main", "a")


class Doubling(MemoryStore):
    """A store that makes two of each line."""

    async def create(self, key: Any, entry: Any, lines: Any = (), **options: Any) -> Any:
        return await super().create(key, entry, [*lines, *lines], **options)


@pytest.mark.parametrize("settled_ns", [-(10**12), 10**12], ids=["settled", "fresh"])
async def test_lines_that_are_there_twice_are_no_later_state(
    state: State, monkeypatch: pytest.MonkeyPatch, settled_ns: int
) -> None:
    monkeypatch.setattr(files, "_SETTLED_NS", settled_ns)
    state.session("a", lines=HEADER + b"\n" + TURN + b"\n")

    report = await conftest.migrate(state.root, Doubling())

    assert report.outcome == "Failed"
    assert [(found.name, found.line) for found in report.mismatches] == [("a", 3)]


class Losing(MemoryStore):
    """A store of which a session is gone once the proof begins: deleted, or lost without a trace."""

    is_deleted = False
    is_done = False

    async def put_document(self, name: str, body: bytes) -> None:
        if b'"phase": "Verify"' in body and not self.is_done:
            self.is_done = True
            if self.is_deleted:
                await self.delete(A)
            else:
                del self._kept.records[A]
        await super().put_document(name, body)


@pytest.mark.parametrize("session_id", ["id-0", "other"], ids=["later in the store", "winner of a conflict"])
@pytest.mark.parametrize(("is_deleted", "outcome"), [(True, "Verified"), (False, "Failed")])
async def test_the_stores_side_may_be_deleted_but_not_lost(
    state: State, session_id: str, is_deleted: bool, outcome: str
) -> None:
    state.session("a")
    store = Losing()
    store.is_deleted = is_deleted
    await store.set(A, {"sessionId": session_id, "updatedAt": NEWER})
    await store.append(A, [HEADER, TURN])

    report = await conftest.migrate(state.root, store)

    assert store.is_done and report.outcome == outcome
