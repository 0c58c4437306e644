"""A database is copied whole or not at all, also while a gateway writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionstore.openclaw import sqlite_copy, sqlite_log
from sessionstore.openclaw.problems import Reason, Refused, SourceError
from sessionstore.openclaw.scratch import Scratch
from sessionstore.openclaw.sqlite_copy import LOG, Source
from sessionstore.openclaw.tree import Tree

FILE = "x.sqlite"


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    root = tmp_path / "root"
    root.mkdir()
    with Tree(root) as tree:
        yield Source(tree, FILE, 1 << 30)


@pytest.fixture
def writer(source: Source) -> Iterator[sqlite3.Connection]:
    """A gateway that is at work: a log, and pages of one row each."""
    connection = sqlite3.connect(source.tree.root / FILE, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, text TEXT)")
    _write(connection, 0, 50)
    yield connection
    connection.close()


def _write(connection: sqlite3.Connection, start: int, stop: int) -> None:
    """Commit rows that are all the same, in one step: a copy has rows of one kind, or is torn."""
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO rows VALUES (?, ?)", ((number, "x" * 3000) for number in range(start, stop)))
    connection.execute("UPDATE rows SET text = ?", (str(stop) * 1000,))
    connection.execute("COMMIT")


def _rows(copy: Path) -> tuple[int, int]:
    """Return how many rows a copy has, and of how many kinds."""
    connection = sqlite3.connect(copy)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found: tuple[int, int] = connection.execute("SELECT count(*), count(DISTINCT text) FROM rows").fetchone()
        return found
    finally:
        connection.close()


def test_what_is_in_the_log_alone_is_copied(source: Source, scratch: Scratch, writer: sqlite3.Connection) -> None:
    assert _rows(sqlite_copy.copy(source, scratch)) == (50, 1)


def test_what_moves_from_the_log_into_the_database_meanwhile_is_there_once(
    source: Source, scratch: Scratch, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is copied while the log is written into it: old pages before, new ones behind."""
    chunks = Source.chunks

    def slow(self: Source, suffix: str) -> Iterator[bytes]:
        for number, chunk in enumerate(chunks(self, suffix)):
            if not suffix and not number:
                yield chunk[:4096]
                _write(writer, 50, 60)
                writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
                yield chunk[4096:]
            else:
                yield chunk

    monkeypatch.setattr(Source, "chunks", slow)

    count, kinds = _rows(sqlite_copy.copy(source, scratch))

    assert (count, kinds) == (60, 1)


def test_a_log_that_was_begun_anew_meanwhile_is_copied_again(
    source: Source, scratch: Scratch, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks, again = Source.chunks, iter([True, True])

    def disturbed(self: Source, suffix: str) -> Iterator[bytes]:
        if not suffix and next(again, False):
            writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            _write(writer, 50, 60) if _count(writer) == 50 else _write(writer, 60, 70)
        yield from chunks(self, suffix)

    monkeypatch.setattr(Source, "chunks", disturbed)

    assert _rows(sqlite_copy.copy(source, scratch)) == (70, 1)


def _count(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM rows").fetchone()
    return int(count)


def test_a_log_that_is_always_begun_anew_ends_the_run(
    source: Source, scratch: Scratch, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = Source.chunks

    def disturbed(self: Source, suffix: str) -> Iterator[bytes]:
        if not suffix:
            writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            writer.execute("INSERT INTO rows (text) VALUES ('more')")
        yield from chunks(self, suffix)

    monkeypatch.setattr(Source, "chunks", disturbed)

    with pytest.raises(SourceError, match="stop the gateway") as raised:
        sqlite_copy.copy(source, scratch)
    assert raised.value.reason == "SourceChanged"
    assert not any(path.is_file() for path in scratch.path().parent.iterdir())


def test_a_link_in_the_place_of_the_log_is_not_followed(source: Source, scratch: Scratch, tmp_path: Path) -> None:
    (source.tree.root / FILE).write_bytes(b"")
    (tmp_path / "secret").write_bytes(b"secret")
    (source.tree.root / f"{FILE}{LOG}").symlink_to(tmp_path / "secret")

    with pytest.raises(Refused) as raised:
        sqlite_copy.copy(source, scratch)
    assert raised.value.reason is Reason.SYMLINK


def test_frames_of_an_earlier_log_are_not_missed(source: Source, scratch: Scratch, writer: sqlite3.Connection) -> None:
    _write(writer, 50, 200)
    writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
    _write(writer, 200, 201)
    copy = sqlite_copy.copy(source, scratch)

    assert sqlite_log.damage(Path(f"{copy}{LOG}"), _frames(copy)) is None


def test_a_transaction_that_is_under_way_is_not_missed(
    source: Source, scratch: Scratch, writer: sqlite3.Connection
) -> None:
    writer.execute("PRAGMA cache_size = 1")
    writer.execute("BEGIN")
    writer.execute("UPDATE rows SET text = text || 'y'")
    copy = sqlite_copy.copy(source, scratch)
    frames = _frames(copy)

    assert Path(f"{copy}{LOG}").stat().st_size > 32 + frames * (24 + 4096)
    assert sqlite_log.damage(Path(f"{copy}{LOG}"), frames) is None


@pytest.mark.parametrize("at", [4, 20, 40, 5000])
def test_a_byte_that_changed_in_the_log_is_told(
    source: Source, scratch: Scratch, writer: sqlite3.Connection, at: int
) -> None:
    copy = sqlite_copy.copy(source, scratch)
    log = Path(f"{copy}{LOG}")
    raw = bytearray(log.read_bytes())
    raw[at] ^= 1
    log.write_bytes(raw)

    assert sqlite_log.damage(log, _frames(copy))


def _frames(copy: Path) -> int:
    connection = sqlite3.connect(copy)
    try:
        _, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        # SQLite removes the log when the last connection is closed: look at it as it was.
        log = Path(f"{copy}{LOG}")
        kept = log.read_bytes()
    finally:
        connection.close()
    log.write_bytes(kept)
    return max(0, int(frames))
