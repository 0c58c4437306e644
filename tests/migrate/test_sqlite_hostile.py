"""Databases that are made to lead SQLite out of the directory, or that change while they are copied."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionstore.openclaw import sqlite_copy
from sessionstore.openclaw.problems import Reason
from sessionstore.openclaw.scratch import Scratch
from sessionstore.openclaw.sqlite_copy import Source
from sessionstore.openclaw.tree import Tree
from tests.migrate import sqlite_states
from tests.migrate.sqlite_states import Database
from tests.migrate.states import HEADER
from tests.migrate.test_sqlite_era import LINES, found_in

FILE = "agents/main/agent/openclaw-agent.sqlite"
_MAGIC = bytes.fromhex("d9d505f920a163d7")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "state")


async def test_a_journal_cannot_name_a_file_to_be_deleted(database: Database, tmp_path: Path) -> None:
    """SQLite rolls such a journal back, and then deletes the file that it names as the other half of it."""
    other = tmp_path / "other"
    other.write_bytes(b"somebody's")
    killed = _killed_within_a_transaction(database, tmp_path / "killed")
    journal = Path(f"{killed / FILE}-journal")
    journal.write_bytes(_naming(journal.read_bytes(), os.fsencode(other)))

    with Scratch(tmp_path) as scratch:
        found = await found_in(killed, scratch)

    assert other.exists()
    assert found.sessions == {}
    assert [reason for reason, _ in found.aside] == [Reason.DAMAGED_DATABASE] * 2
    assert [raw for _, raw in found.aside] == [(killed / FILE).read_bytes(), journal.read_bytes()]


def _killed_within_a_transaction(database: Database, target: Path) -> Path:
    database.session("k", [HEADER])
    database.connection.execute("PRAGMA cache_size = 1")
    database.connection.execute("BEGIN")
    for number in range(200):
        database.session(f"more-{number}", LINES)
    shutil.copytree(database.root, target)
    database.connection.execute("ROLLBACK")
    return target


def _naming(journal: bytes, name: bytes) -> bytes:
    """Let a journal end as that of a transaction over several databases does."""
    page_of_locks = 0x40000000 // 4096 + 1
    ending = struct.pack(">I", page_of_locks) + name + struct.pack(">II", len(name), sum(name))
    return journal + bytes(-len(journal) % 512) + ending + _MAGIC


def test_a_log_that_was_used_and_emptied_during_the_copy_is_noticed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        database.session(f"k-{number}", [b'"%b"' % (b"x" * 1000)] * 20)
    database.connection.execute("PRAGMA journal_mode = WAL")
    database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert Path(f"{database.file}-wal").stat().st_size == 0
    chunks, begun = Source.chunks, []

    def writing_meanwhile(source: Source, suffix: str) -> Iterator[bytes]:
        for chunk in chunks(source, suffix):
            yield chunk
            if not begun:
                begun.append(suffix)
                database.connection.execute("DELETE FROM transcript_events WHERE seq % 2")
                database.connection.execute("VACUUM")
                database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    monkeypatch.setattr(sqlite_copy, "_CHUNK", 64 * 1024)
    monkeypatch.setattr(Source, "chunks", writing_meanwhile)
    with Scratch(tmp_path) as scratch, Tree(database.root) as tree:
        copied = sqlite_states.connect(sqlite_copy.copy(Source(tree, FILE, 1024**3), scratch))
        assert copied.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copied.execute("SELECT count(*) FROM transcript_events").fetchone() == (400,)
        copied.close()
    database.close()
