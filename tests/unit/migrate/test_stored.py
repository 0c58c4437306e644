"""Lines come in slices of a bounded size, and both sides are walked to their ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import pytest

from sessionstore.migrate import stored
from sessionstore.sessions.memory import MemoryStore


async def _lines(lines: Iterable[bytes]) -> AsyncIterator[bytes]:
    for line in lines:
        yield line


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        pytest.param([], [], (0, 0), id="both empty"),
        pytest.param([b"a", b"b"], [b"a", b"b"], (2, 2), id="the same"),
        pytest.param([b"a", b"b"], [], (0, 2), id="nothing there"),
        pytest.param([], [b"a"], (0, 0), id="nothing here"),
        pytest.param([b"a", b"b", b"c"], [b"a"], (1, 3), id="there is a part of here"),
        pytest.param([b"a"], [b"a", b"b"], (1, 1), id="here is a part of there"),
        pytest.param([b"a", b"x", b"c"], [b"a", b"b", b"c"], (1, 3), id="same again after a difference"),
    ],
)
async def test_common_lines_are_those_both_begin_with(
    here: list[bytes], there: list[bytes], expected: tuple[int, int]
) -> None:
    assert await stored.count_common(iter(here), _lines(there)) == expected


@pytest.mark.parametrize("number", [0, 1, 2, 31, 32, 33, 5000])
async def test_an_archive_comes_whole_whatever_its_length(number: int) -> None:
    store = MemoryStore()
    lines = [str(index).encode() for index in range(number)]
    await store.put_archive("main", "x.jsonl", lines)

    assert [line async for line in stored.of_archive(store, "main", "x.jsonl")] == lines


def test_batches_are_bounded_by_bytes_and_by_lines() -> None:
    long = b"x" * (stored.SLICE_BYTES // 2)

    assert [len(batch) for batch in stored.batches(iter([long] * 5))] == [2, 2, 1]
    assert [len(batch) for batch in stored.batches(iter([b""] * 2500))] == [1000, 1000, 500]
    assert [len(batch) for batch in stored.batches(iter([long * 3, b""]))] == [1, 1]
    assert list(stored.batches(iter([]))) == []
