"""Files of lines: an append costs what is appended, a slice what is read and the way to it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from sessionstore.sessions.directory import lines
from sessionstore.sessions.directory.lines import Extent, Gone, LineReader
from sessionstore.sessions.exceptions import Unreadable
from sessionstore.sessions.plainfiles import Directory

NAME = "x.jsonl"
Count = Callable[[int, int], int]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    with Directory.opened(tmp_path, create=True) as opened:
        assert opened is not None
        yield opened


class Reads:
    """Counts the bytes that are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        original = os.pread

        def pread(file: int, size: int, offset: int) -> bytes:
            data = original(file, size, offset)
            self.bytes += len(data)
            return data

        monkeypatch.setattr(lines.os, "pread", pread)

    def taken(self) -> int:
        taken, self.bytes = self.bytes, 0
        return taken


@pytest.mark.parametrize("block", [1, 2, 7, 64, 100_000])
def test_every_slice_is_what_python_s_is(directory: Directory, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", block)
    rows = [b"", b"a", b"bb", b"\r", b"x" * 50, b"", b"\x00\xff", b"last"]
    have = lines.append(directory, NAME, Extent(), rows)
    for _ in range(2):
        reader = LineReader()
        for start in range(len(rows) + 1):
            for stop in range(start, len(rows) + 1):
                assert reader.read(directory, NAME, have, start, stop) == tuple(rows[start:stop])
                assert LineReader().read(directory, NAME, have, start, stop) == tuple(rows[start:stop])


@given(data=some.data())
def test_random_lines_and_slices_in_any_order(tmp_path_factory: pytest.TempPathFactory, data: some.DataObject) -> None:
    sizes = data.draw(some.lists(some.integers(0, 300), min_size=1, max_size=60))
    rows = [bytes([97 + index % 26]) * size for index, size in enumerate(sizes)]
    original, lines.BLOCK_BYTES = lines.BLOCK_BYTES, data.draw(some.integers(1, 400))
    try:
        with Directory.opened(tmp_path_factory.mktemp("lines"), create=True) as opened:
            assert opened is not None
            cut = data.draw(some.integers(0, len(rows)))
            have = lines.append(opened, NAME, Extent(), rows[:cut])
            reader = LineReader()
            for _ in range(5):
                start = data.draw(some.integers(0, have.lines))
                stop = data.draw(some.integers(start, have.lines))
                assert reader.read(opened, NAME, have, start, stop) == tuple(rows[start:stop])
            have = lines.append(opened, NAME, have, rows[cut:])
            for _ in range(5):
                start = data.draw(some.integers(0, have.lines))
                stop = data.draw(some.integers(start, have.lines))
                assert reader.read(opened, NAME, have, start, stop) == tuple(rows[start:stop])
    finally:
        lines.BLOCK_BYTES = original


def test_what_no_record_counts_is_cut_off_by_the_next_append(directory: Directory, tmp_path: Path) -> None:
    have = lines.append(directory, NAME, Extent(), [b"1"])
    with (tmp_path / NAME).open("ab") as file:
        file.write(b"2\n3 is torn")
    assert LineReader().read(directory, NAME, have, 0, 1) == (b"1",)
    have = lines.append(directory, NAME, have, [b"two"])
    assert (tmp_path / NAME).read_bytes() == b"1\ntwo\n"
    assert have == Extent(2, 6)


def test_less_than_is_on_record_is_an_error_and_nothing_at_all_another(directory: Directory, tmp_path: Path) -> None:
    have = lines.append(directory, NAME, Extent(), [b"1", b"2"])
    with pytest.raises(Gone):
        LineReader().read(directory, "other.jsonl", have, 0, 1)
    (tmp_path / NAME).write_bytes(b"1\n")
    for call in (
        lambda: LineReader().read(directory, NAME, have, 0, 1),
        lambda: lines.append(directory, NAME, have, [b"3"]),
    ):
        with pytest.raises(Unreadable, match="on record"):
            call()


def test_of_a_long_transcript_only_what_is_asked_for_is_read(
    directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: Count
) -> None:
    number = count(100_000, 1_000_000)
    line = b'{"type":"message","id":"%08d","text":"' + b"x" * 60 + b'"}'
    have = lines.append(directory, NAME, Extent(), [line % index for index in range(number)])
    reads = Reads(monkeypatch)
    block = lines.BLOCK_BYTES
    tail = LineReader().read(directory, NAME, have, number - 20, number)
    assert (tail[0], tail[-1], reads.taken() <= 2 * block) == (line % (number - 20), line % (number - 1), True)
    assert LineReader().read(directory, NAME, have, 0, 20)[-1] == line % 19
    assert reads.taken() <= 2 * block
    reader = LineReader()
    for start in range(0, number, 10_000):
        part = reader.read(directory, NAME, have, start, start + 10_000)
        assert part[0] == line % start
    # Page after page, all that is read twice is what lies between a page's end and the nearest place known.
    assert reads.taken() <= 2.5 * have.size
    for _ in range(50):
        start = random.randrange(number - 10)
        assert reader.read(directory, NAME, have, start, start + 10)[0] == line % start
    assert reads.taken() <= 50 * 3 * block
    backwards = LineReader()
    for stop in range(number, 0, -10_000):
        assert backwards.read(directory, NAME, have, stop - 10_000, stop)[-1] == line % (stop - 1)
    assert reads.taken() <= 2.5 * have.size


def test_an_append_to_a_long_transcript_writes_what_is_appended(
    directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have = lines.append(directory, NAME, Extent(), [b"x" * 99] * 100_000)
    reads = Reads(monkeypatch)
    inode = (tmp_path / NAME).stat().st_ino
    have = lines.append(directory, NAME, have, [b"new"])
    assert (reads.taken(), have, (tmp_path / NAME).stat().st_ino) == (0, Extent(100_001, 10_000_004), inode)


def test_only_so_many_files_are_remembered(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "FILES_KNOWN", 3)
    reader = LineReader()
    for number in range(10):
        have = lines.append(directory, f"{number}.jsonl", Extent(), [b"1", b"2"])
        assert reader.read(directory, f"{number}.jsonl", have, 1, 2) == (b"2",)
    assert len(reader._known) == 3
