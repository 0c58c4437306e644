"""The journal behind the feed of a directory store: places, segments, and what a killed writer leaves."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionstore.sessions import FeedLost, Operation, SessionKey, feed
from sessionstore.sessions.directory import journal
from sessionstore.sessions.directory.journal import Journal, Note
from sessionstore.sessions.plainfiles import Directory

K = SessionKey("main", "k")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    with Directory.opened(tmp_path, "journal", create=True) as opened:
        assert opened is not None
        yield opened


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 200)


def always(_: Note) -> bool:
    return True


def told(directory: Directory, place: int, limit: int = 10_000) -> list[int]:
    found = journal.changes(Journal(directory), "id", feed.encode("id", [place]), limit, always)
    return [change.revision for change in found.items]


def write(directory: Directory, *revisions: int) -> None:
    for revision in revisions:
        Journal(directory).write(K, revision, Operation.SET)


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_what_is_written_is_read_in_order(directory: Directory, count: int) -> None:
    write(directory, *range(count))
    assert told(directory, 0) == list(range(count))
    assert told(directory, Journal(directory).end) == []


def test_names_of_all_kinds_come_back(directory: Directory) -> None:
    names = [SessionKey("a.b", key) for key in ("\n", '"', "\u2028", "ü" * 2048, "__proto__", "\x01")]
    for name in names:
        Journal(directory).write(name, 1, Operation.MARK)
    assert [note.key for note in Journal(directory).read(0)[0]] == names


def test_a_use_is_noted_and_not_told(directory: Directory) -> None:
    Journal(directory).write(K, 1, None)
    write(directory, 2)
    assert told(directory, 0) == [2]
    assert [note.operation for note in Journal(directory).read(0)[0]] == [None, Operation.SET]


@pytest.mark.usefixtures("small_segments")
def test_old_segments_go_and_a_cursor_into_them_is_lost(directory: Directory) -> None:
    write(directory, *range(4))
    early = Journal(directory).end
    write(directory, *range(4, 100))
    assert len(directory.names()) == journal.SEGMENTS
    with pytest.raises(FeedLost, match="not kept"):
        told(directory, early)
    kept = told(directory, Journal(directory).first)
    assert kept == list(range(kept[0], 100))


@pytest.mark.usefixtures("small_segments")
def test_a_cursor_goes_on_across_segments(directory: Directory) -> None:
    write(directory, 0)
    places = [Journal(directory).end]
    for revision in range(1, 15):
        write(directory, revision)
        places.append(Journal(directory).end)
    assert [told(directory, place, limit=1) for place in places] == [[number] for number in range(1, 15)] + [[]]


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("torn", [b'\n["main","k",7,"s', b"\n", b'\n["main","k",7,"set"]', b"\n" + b"x" * 300])
def test_what_a_killed_writer_left_half_takes_nothing_with_it(
    directory: Directory, tmp_path: Path, torn: bytes
) -> None:
    write(directory, 1)
    with (tmp_path / "journal" / f"{0:020d}.log").open("ab") as file:
        file.write(torn)
    place = Journal(directory).end
    assert told(directory, 0) == [1]
    write(directory, 2, 3)
    assert [revision for revision in told(directory, place) if revision != 7] == [2, 3]


def test_a_place_that_is_none_and_one_ahead_are_lost(directory: Directory) -> None:
    write(directory, 1)
    with pytest.raises(FeedLost, match="another one now"):
        told(directory, 5)
    with pytest.raises(FeedLost, match="lost changes"):
        told(directory, 5000)


def test_the_feed_stops_before_what_is_being_carried_out(directory: Directory) -> None:
    write(directory, 1, 2, 3, 4)
    kept = Journal(directory)
    found = journal.changes(kept, "id", feed.encode("id", [0]), 100, lambda note: note.revision != 3)
    assert [change.revision for change in found.items] == [1, 2]
    rest = journal.changes(kept, "id", found.cursor, 100, always)
    assert [change.revision for change in rest.items] == [3, 4]
    end = journal.settled_end(kept, 0, lambda note: note.revision != 3)
    assert found.cursor == journal.cursor_of(kept, "id", end)


@pytest.mark.usefixtures("small_segments")
def test_a_segment_gets_no_successor_while_somebody_is_about_to_write_to_it(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived, go_on, original = threading.Event(), threading.Event(), os.write

    def slow(file: int, data: bytes) -> int:
        if threading.current_thread() is late:
            arrived.set()
            go_on.wait()
        return original(file, data)

    write(directory, 1)
    late = threading.Thread(target=write, args=(directory, 100))
    others = threading.Thread(target=write, args=(directory, *range(2, 12)))
    monkeypatch.setattr(journal.os, "write", slow)
    late.start()
    arrived.wait()
    others.start()
    others.join(0.3)  # they stand before the next segment; where they did not, they would be through by now
    go_on.set()
    late.join()
    others.join()
    assert sorted(told(directory, 0)) == [*range(1, 12), 100]


def _write_many(path: Path, writer: int, count: int) -> None:
    journal.SEGMENT_BYTES, journal.SEGMENTS = 300, 1000
    with Directory.opened(path, "journal", create=True) as directory:
        assert directory is not None
        for number in range(count):
            Journal(directory).write(SessionKey("main", f"w{writer}"), number, Operation.SET)


def test_writers_that_begin_segments_under_each_other_lose_no_line(tmp_path: Path, directory: Directory) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(tmp_path, writer, 100)) for writer in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = journal.changes(Journal(directory), "id", feed.encode("id", [0]), 10_000, always).items
    assert len(directory.names()) > 20
    for writer in range(4):
        revisions = [change.revision for change in found if change.key.key == f"w{writer}"]
        assert revisions == list(range(100))
