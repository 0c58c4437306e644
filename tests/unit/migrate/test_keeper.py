"""What is set aside is kept under names that its content makes, in documents that a store can hold."""

from __future__ import annotations

import json

import pytest

from sessionstore.migrate import keeper
from sessionstore.migrate.keeper import Keeper
from sessionstore.openclaw.problems import Problem, Reason
from sessionstore.sessions.memory import MemoryStore

PROBLEM = Problem("agents/main/sessions/sessions.json", Reason.INVALID_JSON, "no JSON", "main", "ключ")


@pytest.mark.parametrize("name", ["a", "old-home", "A.b_c-1", "x" * 63])
def test_a_name_that_fits_into_a_document_name_is_taken(name: str) -> None:
    assert keeper.check_source_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a/b", "..", "x" * 64, "a b"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="1-63 characters"):
        keeper.check_source_name(name)


async def test_the_same_bytes_are_kept_once() -> None:
    store = MemoryStore()
    names = {await Keeper(store, "s").keep_problem(PROBLEM, b"raw") for _ in range(2)}

    assert names == {name async for name in store.list_documents()}
    header, raw = (await store.get_document(names.pop()) or b"").split(b"\n", 1)
    assert raw == b"raw"
    assert json.loads(header) == {
        "path": PROBLEM.path, "agent": "main", "key": "ключ", "reason": "InvalidJSON", "detail": "no JSON", "bytes": 3,
    }  # fmt: skip


async def test_what_is_too_long_goes_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "PART_BYTES", 100)
    store = MemoryStore()

    name = await Keeper(store, "s").keep_problem(PROBLEM, b"x" * 300)

    parts = sorted([name async for name in store.list_documents()])
    assert parts[:2] == [name, f"{name}/1"]
    assert b"".join([await store.get_document(part) or b"" for part in parts]).endswith(b"\n" + b"x" * 300)
