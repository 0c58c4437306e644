"""Lines come in slices of a bounded size, and both sides are walked to the end of the source's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from sessionstore.migrate import stored
from sessionstore.migrate.bounded import Room
from sessionstore.migrate.stored import Taken, Walk
from sessionstore.openclaw.problems import Reason, Refused
from sessionstore.openclaw.transcript import Batch, Line
from sessionstore.sessions.memory import MemoryStore


class _Lines:
    """A source's lines, in batches as they are given; then a refusal, where one is given."""

    path, stamp = "x.jsonl", None

    def __init__(self, *batches: Batch, refusal: Refused | None = None) -> None:
        self._batches, self._refusal = batches, refusal

    def few(self) -> None:
        return None

    async def batches(self) -> AsyncIterator[Batch]:
        for batch in self._batches:
            yield batch
        if self._refusal:
            raise self._refusal


async def _batches(*batches: list[bytes]) -> AsyncIterator[Sequence[bytes]]:
    for batch in batches:
        yield batch


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
@pytest.mark.parametrize("size", [1, 2, 5])
async def test_common_lines_are_those_both_begin_with(
    here: list[bytes], there: list[bytes], expected: tuple[int, int], size: int
) -> None:
    async def read(start: int, stop: int) -> Sequence[bytes]:
        return there[start:stop]

    cut = [here[start : start + size] for start in range(0, len(here), size)]

    assert await stored.walk(_batches(*cut), read) == Walk(*expected)


@pytest.mark.parametrize("number", [0, 1, 2, 31, 32, 33, 5000])
@pytest.mark.parametrize("start", [0, 1])
async def test_an_archive_comes_whole_whatever_its_length(number: int, start: int) -> None:
    store = MemoryStore()
    lines = [str(index).encode() for index in range(number)]
    await store.put_archive("main", "x.jsonl", lines)

    found = stored.slices(stored.archive_reader(store, "main", "x.jsonl"), start)

    assert [line async for some in found for line in some] == lines[start:]


async def test_slices_of_long_lines_have_few() -> None:
    store = MemoryStore()
    await store.put_archive("main", "x.jsonl", [b"x" * 1024 * 1024] * 40)

    found = [len(some) async for some in stored.slices(stored.archive_reader(store, "main", "x.jsonl"))]

    assert found[0] == 32 and max(found[1:]) <= 4 and sum(found) == 40


@pytest.mark.parametrize("refusal", [None, Refused(Reason.UNREADABLE, "gone")], ids=["to its end", "as far as it goes"])
async def test_the_whole_lines_come_and_the_torn_one_is_told(refusal: Refused | None) -> None:
    torn = Line(b"{", 4, torn=True)
    lines, taken, room = _Lines(Batch([b"a"]), Batch([b"b"], 2, torn), refusal=refusal), Taken(), Room(1)

    found = [list(some) async for some in stored.whole(lines, room, taken)]

    assert (found, taken) == ([[b"a"], [b"b"]], Taken(2, torn))
    await room.wait()


async def test_no_lines_are_none() -> None:
    assert [some async for some in stored.whole(None, Room())] == []
