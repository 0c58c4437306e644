"""Reads a portable dump (`dump_records.py`) as a source of sessions: a `items.Source`.

The dump is gone through once, to check that it is whole and to note where each session begins; then sessions are read
from their places. A dump that was cut off or changed is refused: what is missing from it cannot be counted. Whoever
means to use it all the same replaces its last line by `{"type":"end"}`; what is broken in it is then set aside.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from sessionstore.migrate import dump_records
from sessionstore.migrate.dump_records import BadRecord
from sessionstore.migrate.items import SetAside, SourceArchive, SourceSession
from sessionstore.openclaw.problems import Problem, Reason, SourceError
from sessionstore.openclaw.scratch import Scratch
from sessionstore.openclaw.transcript import Batch
from sessionstore.openclaw.tree import printable
from sessionstore.sessions.exceptions import InvalidEntry, InvalidKey
from sessionstore.sessions.record import SessionKey, check_agent, check_archive_name

MAX_RECORD_BYTES = 1024**3
"""A record may hold one line of a transcript that is as long as Redis takes, in base64."""
_CHUNK = 1024 * 1024
_SESSION, _ARCHIVE, _BAD = range(3)


class _Row(NamedTuple):
    """Where something lies in the dump. `agent` and `name` are texts as they stand there, not yet judged."""

    kind: int
    agent: str
    name: str
    at: int
    size: int


@dataclass(frozen=True, slots=True)
class _Region:
    """Bytes of the dump; an `openclaw.blob.Blob`."""

    path: Path
    at: int
    size: int

    def chunks(self) -> Iterator[bytes]:
        with _opened(self.path) as stream:
            stream.seek(self.at)
            left = self.size
            while left and (chunk := stream.read(min(left, _CHUNK))):
                left -= len(chunk)
                yield chunk


@dataclass(frozen=True, slots=True)
class DumpLines:
    """The lines that follow a session or an archive; an `items.Lines`."""

    dump: DumpSource
    row: _Row

    @property
    def path(self) -> str:
        return self.dump.shown

    @property
    def stamp(self) -> str | None:
        """The digest of the whole dump and the place in it: the same bytes, the same lines."""
        return f"{self.dump.sha256}:{self.row.at}"

    def few(self) -> list[bytes] | None:
        return None

    async def batches(self) -> AsyncIterator[Batch]:
        """Go through the lines. Raises: SourceError when the dump was changed since it was opened."""
        with _opened(self.dump.path) as stream:
            stream.seek(self.row.at + self.row.size)
            at = stream.tell()
            while dump_records.is_lines(raw := stream.readline(MAX_RECORD_BYTES)):
                with contextlib.suppress(BadRecord):
                    # What cannot be read was set aside when the dump was gone through.
                    yield Batch(dump_records.lines_of(dump_records.read(raw)), at)
                at += len(raw)


class DumpSource:
    """A dump that was gone through; an `items.Source`. Make it with `open_dump`."""

    layouts = ("jsonl",)

    def __init__(self, path: Path, shown: str, index: sqlite3.Connection) -> None:
        self.path = path
        self.shown = shown
        self._index = index
        self._superseded = 0
        index.execute(
            "CREATE TABLE places (kind INT, agent TEXT, name TEXT, at INT, size INT, PRIMARY KEY (kind, agent, name))"
        )
        index.execute("BEGIN")
        self.sha256 = self._read()

    async def sessions(self) -> AsyncIterator[SourceSession | SetAside]:
        """Go through the sessions, and what is broken."""
        for row in self._rows(_BAD):
            yield SetAside(self._problem(row, row.name, Reason.INVALID_JSON), self._whole(row))
        for row in self._rows(_SESSION):
            yield self._session(row)

    async def archives(self) -> AsyncIterator[SourceArchive | SetAside]:
        """Go through the archives."""
        for row in self._rows(_ARCHIVE):
            try:
                agent, name = check_agent(row.agent), check_archive_name(row.name)
            except InvalidKey as error:
                yield SetAside(self._problem(row, str(error), Reason.INVALID_KEY), self._whole(row), is_archive=True)
                continue
            yield SourceArchive(agent, name, DumpLines(self, row))

    def beside(self) -> int:
        return 0

    def superseded(self) -> int:
        """Count the sessions that were written again, since they changed while the dump was made."""
        return self._superseded

    def _session(self, row: _Row) -> SourceSession | SetAside:
        try:
            record = self._record(row)
            key, entry = SessionKey(row.agent, row.name), dump_records.entry_of(record)
            has_lines = entry.transcript_id is not None
            return SourceSession(
                key,
                entry,
                DumpLines(self, row) if has_lines else None,
                None,
                dump_records.status_of(record),
                dump_records.marks_of(record),
                dump_records.lifetime_of(record),
            )
        except (BadRecord, InvalidEntry) as error:
            return SetAside(self._problem(row, str(error), Reason.INVALID_JSON), self._whole(row))
        except InvalidKey as error:
            return SetAside(self._problem(row, str(error), Reason.INVALID_KEY), self._whole(row))

    def _record(self, row: _Row) -> dict[str, Any]:
        return dump_records.read(b"".join(self._region(row).chunks()))

    def _region(self, row: _Row) -> _Region:
        return _Region(self.path, row.at, row.size)

    def _whole(self, row: _Row) -> _Region:
        """Return what is set aside: the record, with the lines that follow it where it is not one of them."""
        size = row.size
        with _opened(self.path) as stream:
            stream.seek(row.at)
            if not dump_records.is_lines(stream.readline(MAX_RECORD_BYTES)):
                while dump_records.is_lines(raw := stream.readline(MAX_RECORD_BYTES)):
                    size += len(raw)
        return _Region(self.path, row.at, size)

    def _problem(self, row: _Row, detail: str, reason: Reason) -> Problem:
        if row.kind == _BAD:
            return Problem(self.shown, reason, detail, offset=row.at)
        return Problem(self.shown, reason, detail, row.agent, row.name, row.at)

    def _rows(self, kind: int) -> Iterator[_Row]:
        for found in self._index.execute("SELECT * FROM places WHERE kind = ? ORDER BY at", (kind,)):
            yield _Row(*found)

    def _read(self) -> str:
        """Go through the dump, note every place, and return its digest. Raises: SourceError."""
        whole = hashlib.sha256()
        at, last = 0, None
        with _opened(self.path) as stream:
            _check_header(stream.readline(dump_records.HEADER_BYTES), self.shown)
            stream.seek(0)
            while raw := stream.readline(MAX_RECORD_BYTES):
                last = self._note(raw, at)
                if last == "end":
                    self._check_end(dump_records.read(raw), whole.hexdigest(), stream.read(1))
                    return whole.hexdigest()
                whole.update(raw)
                at += len(raw)
        raise SourceError(
            "DamagedDump",
            f"{self.shown} is cut off after {at} bytes: its last line, which tells that it is whole, is missing; get "
            'the whole dump, or append the line {"type":"end"} to take what is there',
        )

    def _check_end(self, record: dict[str, Any], digest: str, more: bytes) -> None:
        if more:
            raise SourceError("DamagedDump", f"{self.shown} goes on behind its last line; it is two dumps, or damaged")
        if record.get("sha256", digest) != digest:
            raise SourceError(
                "DamagedDump",
                f"{self.shown} was changed after it was written: its digest is {digest}, and its last line says "
                f'{record["sha256"]}; to take it as it is, replace its last line by {{"type":"end"}}',
            )

    def _note(self, raw: bytes, at: int) -> str | None:
        """Note what a line is; return its type."""
        try:
            record = dump_records.read(raw)
            self._take(record, at, len(raw))
        except BadRecord as error:
            self._put(_Row(_BAD, str(at), f"a line that is no record of a dump: {error}", at, len(raw)))
            return None
        return str(record["type"])

    def _take(self, record: dict[str, Any], at: int, size: int) -> None:
        kind = record["type"]
        if kind == "session":
            self._put(_Row(_SESSION, _text(record, "agent"), _text(record, "key"), at, size))
        elif kind == "archive":
            self._put(_Row(_ARCHIVE, _text(record, "agent"), _text(record, "name"), at, size))
        elif kind == "deleted":
            self._drop(_SESSION, _text(record, "agent"), _text(record, "key"))
        elif kind == "lines":
            dump_records.lines_of(record)
        elif kind not in ("dump", "end"):
            raise BadRecord(f"unknown type {kind!a}")

    def _put(self, row: _Row) -> None:
        self._drop(row.kind, row.agent, row.name)
        self._index.execute("INSERT INTO places VALUES (?, ?, ?, ?, ?)", row)

    def _drop(self, kind: int, agent: str, name: str) -> None:
        gone = self._index.execute("DELETE FROM places WHERE kind = ? AND agent = ? AND name = ?", (kind, agent, name))
        self._superseded += gone.rowcount if kind == _SESSION else 0


def open_dump(path: Path, scratch: Scratch) -> DumpSource:
    """Open the dump at `path`; `-` is standard input, which is kept in the scratch directory. Raises: SourceError."""
    if str(path) != "-":
        return DumpSource(path, printable(path.name), scratch.database())
    kept = scratch.path(".jsonl")
    with kept.open("wb") as copy, open(0, "rb", closefd=False) as stdin:
        while chunk := stdin.read(_CHUNK):
            copy.write(chunk)
    return DumpSource(kept, "-", scratch.database())


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as stream:
            yield stream
    except FileNotFoundError as error:
        raise SourceError(
            "PathNotFound", f"{path} does not exist; name a dump that `sessionstore export` wrote"
        ) from error
    except PermissionError as error:
        raise SourceError("PermissionDenied", f"{path} may not be read; run as the user that owns it") from error
    except OSError as error:
        raise SourceError("SourceUnreadable", f"{path} cannot be read: {error.strerror}") from error


def _check_header(raw: bytes, shown: str) -> None:
    try:
        dump_records.check_header(raw)
    except BadRecord as error:
        hint = "name a file that `sessionstore export --format jsonl` wrote"
        raise SourceError("NotADump", f"{shown} is no dump of sessions: {error}; {hint}") from error


def _text(record: dict[str, Any], name: str) -> str:
    """Return a name for the index, which holds no lone surrogates."""
    return _shown(dump_records.text_of(record, name))


def _shown(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
