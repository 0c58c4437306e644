"""One of OpenClaw's databases, opened from its copy: looked over once, then read row by row.

Nothing in it is trusted. A damaged file is a `Refused` with `DamagedDatabase`, whatever SQLite says; nothing that it
holds can keep SQLite busy for ever, or fill the memory. Only tables of rows are read: virtual ones (FTS5) are code.
Source of the schema: `openclaw-agent-db` of OpenClaw 2026.8.1 (version 19) and 2026.9.6 (23).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sessionstore.openclaw import sqlite_log
from sessionstore.openclaw.problems import Reason, Refused, SourceError

OLDEST, NEWEST = 14, 23
"""Of `PRAGMA user_version`: from 14 on there are `session_nodes`; what comes after 23 nobody knows."""
OLDEST_SQLITE = (3, 37, 0)
"""The first that can read STRICT tables."""
MAX_VALUE_BYTES = 256 * 1024**2
"""Larger values are not read: no store takes them."""
_STEP = 10_000
_LEAST_STEPS = 1_000
_CORE: Mapping[str, frozenset[str]] = {
    "session_nodes": frozenset({"session_key", "current_session_id", "entry_json", "archived_at"}),
    "session_windows": frozenset({"session_id", "session_key"}),
    "transcript_events": frozenset({"session_id", "seq", "event_json"}),
}
_OPTIONAL: Mapping[str, frozenset[str]] = {
    "session_transcript_archives": frozenset(
        {"session_id", "encoding", "archive_blob", "archive_sha256", "archive_name"}
    ),
    "session_transcript_cold_archives": frozenset(
        {"session_id", "generation", "archive_name", "archive_sha256", "event_count", "storage", "archive_blob"}
    ),
}
_PRAGMAS = (
    "PRAGMA query_only = ON",
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",
    # They call functions that an older SQLite lacks (octet_length), and say nothing about damage.
    "PRAGMA ignore_check_constraints = ON",
)

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database has. Whatever is not required appeared with a later version, or with its first row."""

    version: int
    agent: str | None
    tables: frozenset[str]
    compresses: bool

    @property
    def has_archives(self) -> bool:
        """Whether it keeps transcripts of sessions that were deleted."""
        return "session_transcript_archives" in self.tables

    @property
    def has_cold(self) -> bool:
        """Whether it may keep transcripts of inactive sessions elsewhere."""
        return "session_transcript_cold_archives" in self.tables


class Database:
    """A copy that is open. Texts come out as UTF-8 bytes, valid or not."""

    def __init__(self, file: Path) -> None:
        """Open the copy and look at its schema. Raises: Refused, SourceError."""
        check_sqlite()
        self.file = file
        self._steps_left = 0
        # Batches of one transcript may be read in another thread than the next one's.
        self._connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._connection.text_factory = bytes
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        self._connection.set_progress_handler(self._count_step, _STEP)
        # What SQLite does grows with the size of the file. A damaged one may send it round in circles.
        total = sum(
            Path(f"{file}{suffix}").stat().st_size for suffix in ("", "-wal") if Path(f"{file}{suffix}").exists()
        )
        self._most_steps = _LEAST_STEPS + total // 1000
        self.most_rows = total
        try:
            with self._telling():
                for pragma in _PRAGMAS:
                    self._execute(pragma).fetchall()
            self.schema = self._read_schema()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the copy."""
        self._connection.close()

    def damage(self) -> str | None:
        """Say what is wrong with the log and the tables that are read, or None. Reads all of them."""
        try:
            _, frames, _ = self.row("PRAGMA wal_checkpoint(PASSIVE)") or (0, -1, -1)
            # Where no log is in use, SQLite counts -1 frames; one may lie there all the same.
            lost = sqlite_log.damage(Path(f"{self.file}-wal"), max(frames, 0))
            if lost:
                return lost
            for table in sorted(self.schema.tables):
                # The number bounds what it says and not what it looks at; a table's name leaves out all others.
                for (said,) in self.rows(f"PRAGMA integrity_check('{table}')"):
                    if said != b"ok":
                        return f"{table}: {said.decode('utf-8', 'backslashreplace')}"
        except Refused as error:
            return str(error)
        return None

    def rows(self, sql: str, *values: object) -> Iterator[Row]:
        """Go through what a query finds, one row at a time. Raises: Refused, SourceError."""
        with self._telling():
            cursor = self._execute(sql, *values)
            for count, row in enumerate(cursor):
                if count >= self.most_rows:
                    raise Refused(Reason.DAMAGED_DATABASE, "more rows come out of it than its size allows")
                yield row
                self._steps_left = self._most_steps

    def row(self, sql: str, *values: object, max_bytes: int = MAX_VALUE_BYTES) -> Row | None:
        """Return the first row that a query finds. Raises: Refused with TooLarge above `max_bytes`; SourceError."""
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max_bytes)
        try:
            with self._telling():
                found: Row | None = self._execute(sql, *values).fetchone()
                return found
        finally:
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)

    def cell(self, table: str, column: str, rowid: int) -> Iterator[bytes]:
        """Go through one value, however large, 1 MiB at a time. Raises: Refused, SourceError."""
        with self._telling(), self._connection.blobopen(table, column, rowid, readonly=True) as blob:
            while chunk := blob.read(1024 * 1024):
                yield chunk

    def cell_size(self, table: str, column: str, rowid: int) -> int:
        """Return how many bytes a value has. Raises: Refused, SourceError."""
        with self._telling(), self._connection.blobopen(table, column, rowid, readonly=True) as blob:
            return len(blob)

    def _execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        self._steps_left = self._most_steps
        return self._connection.execute(sql, values)

    def _count_step(self) -> bool:
        self._steps_left -= 1
        return self._steps_left < 0

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Turn whatever SQLite, or its module, says of a broken file into one reason."""
        try:
            yield
        except sqlite3.Error as error:
            raise _refusal(error) from error
        except (UnicodeDecodeError, OverflowError) as error:
            raise Refused(Reason.DAMAGED_DATABASE, f"the database is damaged: {error}") from error

    def _read_schema(self) -> Schema:
        (version,) = self.row("PRAGMA user_version") or (0,)
        tables = frozenset(table for table in {**_CORE, **_OPTIONAL} if self._has_table(table))
        if not tables and not version:
            raise Refused(Reason.DAMAGED_DATABASE, "the database has none of OpenClaw's tables; was its log lost?")
        _check_version(version)
        missing = [table for table in _CORE if table not in tables]
        missing += [
            f"{table}.{column}"
            for table in sorted(tables)
            for column in sorted({**_CORE, **_OPTIONAL}[table] - self._columns(table))
        ]
        if missing:
            detail = f"the database lacks {', '.join(missing)}; open it with OpenClaw 2026.9 once (openclaw doctor)"
            raise Refused(Reason.UNSUPPORTED_LAYOUT, detail)
        if self.row("PRAGMA encoding") != (b"UTF-8",):
            raise Refused(Reason.UNSUPPORTED_LAYOUT, "the database keeps its text as UTF-16, which OpenClaw never does")
        compresses = {"event_zstd", "event_utf8_bytes"} <= self._columns("transcript_events")
        return Schema(version, self._agent(), tables, compresses)

    def _has_table(self, name: str) -> bool:
        sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ? AND sql NOT LIKE 'CREATE VIRTUAL%'"
        return self.row(sql, name) is not None

    def _columns(self, table: str) -> frozenset[str]:
        return frozenset(row[1].decode("utf-8", "replace") for row in self.rows(f"PRAGMA table_info('{table}')"))

    def _agent(self) -> str | None:
        if not self._has_table("schema_meta") or "agent_id" not in self._columns("schema_meta"):
            return None
        found = self.row("SELECT agent_id FROM schema_meta WHERE agent_id IS NOT NULL")
        return found[0].decode("utf-8", "surrogateescape") if found and isinstance(found[0], bytes) else None


def typed(row: Row, *types: type | tuple[type, ...]) -> Row:
    """Return a row of which the values are of these types, as the schema says. Raises: Refused."""
    if not all(isinstance(value, kind) for value, kind in zip(row, types, strict=True)):
        raise Refused(Reason.DAMAGED_DATABASE, "the database is damaged: a row of it is not what the schema says")
    return row


def check_sqlite() -> None:
    """Raise SourceError where SQLite itself is too old."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise SourceError(
            "SQLiteTooOld",
            f"SQLite {sqlite3.sqlite_version} cannot read OpenClaw's databases; "
            "use a Python with SQLite 3.37 or newer, as our image has",
        )


def _check_version(version: int) -> None:
    if version > NEWEST:
        detail = f"schema {version} of a newer OpenClaw; {NEWEST} is the newest that is known: use a newer sessionstore"
        raise Refused(Reason.UNSUPPORTED_LAYOUT, detail)
    if version < OLDEST:
        detail = f"schema {version} of a test version of OpenClaw; open it with OpenClaw 2026.9 once (openclaw doctor)"
        raise Refused(Reason.UNSUPPORTED_LAYOUT, detail)


def _refusal(error: sqlite3.Error) -> Refused | SourceError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM):
        return SourceError("SourceUnreadable", f"the copy of a database cannot be read: {error}; check --scratch")
    if code == sqlite3.SQLITE_TOOBIG:
        return Refused(Reason.TOO_LARGE, f"a value of more than {MAX_VALUE_BYTES} bytes, which no store takes")
    if code == sqlite3.SQLITE_NOTADB:
        return Refused(Reason.DAMAGED_DATABASE, "it is no SQLite database, or an encrypted one")
    if code == sqlite3.SQLITE_INTERRUPT:
        return Refused(Reason.DAMAGED_DATABASE, "the database is damaged: SQLite comes to no end with it")
    return Refused(Reason.DAMAGED_DATABASE, f"the database is damaged: {error}")
