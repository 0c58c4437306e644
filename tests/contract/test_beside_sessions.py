"""Archives and documents, and that each backend does exactly what it declares."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from sessionstore.sessions import ArchiveInfo, Capability, Conflict, InvalidEntry, InvalidKey, Store, Unsupported
from tests.contract.conftest import Backend

NAME = "s.jsonl.reset.2026-11-20T10-07-57.629Z"


async def everything(items: AsyncIterator[Any]) -> list[Any]:
    return sorted([item async for item in items])


@pytest.fixture
def documents(store: Store, backend: Backend) -> Store:
    if Capability.DOCUMENTS not in backend.declared["capabilities"]:
        pytest.skip(f"{backend.name} declares no documents")
    return store


async def test_a_backend_declares_what_the_table_says(store: Store, backend: Backend) -> None:
    assert store.capabilities == frozenset(map(Capability, backend.declared["capabilities"]))


async def test_documents_that_are_not_declared_are_refused(store: Store) -> None:
    if Capability.DOCUMENTS in store.capabilities:
        await store.put_document("a", b"x")
        return
    with pytest.raises(Unsupported):
        await store.put_document("a", b"x")
    with pytest.raises(Unsupported):
        await store.get_document("a")
    with pytest.raises(Unsupported):
        await store.delete_document("a")
    with pytest.raises(Unsupported):
        await everything(store.list_documents())


async def test_an_archive_is_written_in_parts_and_read_in_slices(store: Store) -> None:
    lines = [b'{"type":"session"}', b"", b"\xff", b"last"]
    assert await store.put_archive("main", NAME, lines[:1]) == 1
    assert await store.put_archive("main", NAME, lines[1:], position=1) == 4
    for start, stop in [(0, None), (1, 3), (-2, None), (0, -1), (0, 0), (-9, -9), (2, 99)]:
        assert await store.read_archive("main", NAME, start, stop) == tuple(lines[start:stop])


async def test_an_archive_that_grew_meanwhile_is_a_conflict(store: Store) -> None:
    await store.put_archive("main", NAME, [b"1"])
    for position in (0, 2):
        with pytest.raises(Conflict, match="1 lines"):
            await store.put_archive("main", NAME, [b"2"], position=position)
    assert await store.read_archive("main", NAME) == (b"1",)


async def test_an_archive_s_lines_are_replaced_where_they_are_those_that_were_read(store: Store) -> None:
    await store.put_archive("main", NAME, [b"1", b"2"])
    with pytest.raises(Conflict, match="2 lines"):
        await store.put_archive("main", NAME, [b"new"], position=1, replace=True)
    assert await store.put_archive("main", NAME, [b"new"], position=2, replace=True) == 1
    assert await store.read_archive("main", NAME) == (b"new",)
    assert await everything(store.list_archives()) == [ArchiveInfo("main", NAME, 1)]


async def test_archives_are_listed_by_agent_and_are_no_sessions(store: Store) -> None:
    await store.put_archive("main", NAME, [b"1"])
    await store.put_archive("work", NAME, [])
    expected = [ArchiveInfo("main", NAME, 1), ArchiveInfo("work", NAME, 0)]
    assert await everything(store.list_archives()) == expected
    assert await everything(store.list_archives(agent="work")) == expected[1:]
    assert await everything(store.list_archives(agent="nobody")) == []
    assert (await store.list()).items == ()


async def test_an_absent_archive_is_none_and_one_without_lines_is_not(store: Store) -> None:
    assert await store.read_archive("main", NAME) is None
    await store.put_archive("main", NAME, [])
    assert await store.read_archive("main", NAME) == ()


@pytest.mark.parametrize(
    ("agent", "name"), [("..", NAME), ("main", "../x.jsonl.reset.1"), ("main", ""), ("main", "x" * 256)]
)
async def test_an_impossible_archive_name_is_refused(store: Store, agent: str, name: str) -> None:
    with pytest.raises(InvalidKey):
        await store.put_archive(agent, name, [b"1"])


async def test_a_line_feed_in_an_archive_is_refused(store: Store) -> None:
    with pytest.raises(InvalidEntry, match="line feed"):
        await store.put_archive("main", NAME, [b"a\nb"])
    assert await store.read_archive("main", NAME) is None


async def test_documents_are_kept_by_name(documents: Store) -> None:
    bodies = {"migration/home/report": b'{"a":1}', "migration/home/quarantine/1": b"\x00\xff", "other {b1} ü": b""}
    for name, body in bodies.items():
        await documents.put_document(name, body)
    assert {name: await documents.get_document(name) for name in bodies} == bodies
    assert await everything(documents.list_documents()) == sorted(bodies)
    assert await everything(documents.list_documents("migration/home/q")) == ["migration/home/quarantine/1"]
    await documents.put_document("other {b1} ü", b"new")
    assert await documents.get_document("other {b1} ü") == b"new"


async def test_a_document_is_forgotten_once(documents: Store) -> None:
    await documents.put_document("a", b"1")
    assert await documents.delete_document("a") is True
    assert await documents.delete_document("a") is False
    assert await documents.get_document("a") is None
    assert await everything(documents.list_documents()) == []


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 1025])
async def test_an_impossible_document_name_is_refused(documents: Store, name: str) -> None:
    with pytest.raises(InvalidKey):
        await documents.put_document(name, b"1")
