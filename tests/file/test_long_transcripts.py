"""Lines are found without reading all: counted once, read from the nearest known place, or from the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionstore.sessions.file import index, transcripts
from sessionstore.sessions.file.store import FileStore
from sessionstore.sessions.file.transcripts import LineReader
from sessionstore.sessions.plainfiles import lines_of
from tests.file import openclaw

WORK = "agent:work:main"
WORK_ID = "5b5e1979-61f4-46b6-88a5-97938d77d5ae"
MIB = 1024 * 1024

PARTS = st.lists(st.sampled_from([b"", b"a", b"bc", b"d" * 7, b"e" * 40]), min_size=1, max_size=60)


class Read:
    """Counts the bytes that are read from files."""

    bytes = 0


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[Read]:
    counted, real = Read(), os.pread

    def pread(*arguments: Any) -> bytes:
        data = real(*arguments)
        counted.bytes += len(data)
        return data

    monkeypatch.setattr(os, "pread", pread)
    yield counted


@given(PARTS, st.booleans(), st.integers(1, 50), st.lists(st.tuples(st.integers(-70, 70), st.integers(-70, 70))))
def test_slices_are_those_of_all_lines(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[bytes],
    is_ended: bool,
    block: int,
    slices: list[tuple[int, int]],
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines"
    path.write_bytes(b"\n".join(parts) + (b"\n" if is_ended else b""))
    lines, reader = lines_of(path.read_bytes()), LineReader()
    with pytest.MonkeyPatch.context() as patch, path.open("rb") as file:
        patch.setattr(transcripts, "BLOCK", block)
        size = path.stat().st_size
        assert transcripts.count(file.fileno(), 0, size) == len(lines)
        for start, stop in slices:
            first, last, _ = slice(start, stop).indices(len(lines))
            if first < last:
                assert list(reader.read(file.fileno(), size, len(lines), first, last)) == lines[start:stop]


async def test_a_million_lines_are_read_once_to_be_counted_and_never_again(
    state: Path, sessions: Path, read: Read
) -> None:
    lines = [b'{"n":%d}' % number for number in range(1_000_000)]
    (sessions / f"{WORK_ID}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    store = FileStore(state)
    assert (await store.get(WORK)).transcript.lines == 1_000_000
    for one in (store, FileStore(state)):
        read.bytes = 0
        assert (await one.read(WORK, -20)).lines == tuple(lines[-20:])
        assert (await one.read(WORK, 5, 10)).lines == tuple(lines[5:10])
        await one.append(WORK, [b"ours"])
        openclaw.say(sessions, WORK_ID, "theirs")
        lines += [b"ours", b"theirs"]
        assert (await one.read(WORK, -3)).lines == tuple(lines[-3:])
        assert (await one.read(WORK, -9, -2)).lines == tuple(lines[-9:-2])
        assert read.bytes < 3 * MIB


async def test_a_page_begins_where_the_last_one_ended(state: Path, sessions: Path, read: Read) -> None:
    lines = [b'{"n":%d}' % number for number in range(300_000)]
    (sessions / f"{WORK_ID}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    store, size = FileStore(state), (sessions / f"{WORK_ID}.jsonl").stat().st_size
    await store.get(WORK)
    read.bytes = 0
    found: list[bytes] = []
    while len(found) < len(lines):
        found += (await store.read(WORK, len(found), len(found) + 20_000)).lines
    assert found == lines
    assert read.bytes < 8 * size


async def test_an_archive_in_parts_is_not_counted_again_for_each(store: FileStore, read: Read) -> None:
    name, part = "s.jsonl.reset.2026-11-20T10-07-57.629Z", [b"x" * 1000] * 1000
    for number in range(10):
        assert await store.put_archive("work", name, part, position=number * 1000) == (number + 1) * 1000
    assert read.bytes < MIB
    assert await store.read_archive("work", name, -2) == (part[0], part[0])
    assert read.bytes < 2 * MIB


async def test_what_has_not_changed_is_not_read_again(
    store: FileStore, sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[int] = []
    real: Callable[..., Any] = index.rawjson.members

    def members(data: bytes) -> Any:
        parsed.append(len(data))
        return real(data)

    monkeypatch.setattr(index.rawjson, "members", members)
    for _ in range(3):
        await store.get(WORK)
        await store.set(WORK, {"sessionId": WORK_ID})
        await store.append(WORK, [b"x"])
        await store.list(agent="work")
    assert len(parsed) == 1
    with openclaw.changing(sessions) as entries:
        entries[WORK]["n"] = 1
    assert (await store.get(WORK)).entry["n"] == 1
    assert len(parsed) == 2
