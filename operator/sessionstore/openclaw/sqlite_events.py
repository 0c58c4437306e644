"""A transcript that lies in a database event by event: `transcript_events`, in the order of `seq`.

An event is a line of the file that OpenClaw wrote before, byte for byte: as text, or as zstd of which exactly
`event_utf8_bytes` come out. One that cannot be a line is left out: `broken` finds it, so that its bytes are set aside.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from sessionstore.openclaw import zstd
from sessionstore.openclaw.problems import Reason, Refused
from sessionstore.openclaw.sqlite_database import Database, typed
from sessionstore.openclaw.sqlite_file import DatabaseFile
from sessionstore.openclaw.transcript import BATCH_BYTES, BATCH_LINES, Batch

TABLE = "transcript_events"
MAX_EVENT_BYTES = 4 * 1024**2
"""Of an event that is kept compressed, before and after: OpenClaw's own limit, which the table's CHECK repeats."""


@dataclass(frozen=True, slots=True)
class Broken:
    """An event that cannot be a line.

    Attributes:
        column: which holds its bytes.
    """

    rowid: int
    session_id: bytes
    seq: int
    column: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Events:
    """A transcript; a `reader.Part`."""

    file: DatabaseFile
    agent: str
    session_id: str
    name: str
    transcript_id: str | None

    @property
    def path(self) -> str:
        return f"{self.file.path}:{_shown(self.session_id)}"

    @property
    def size(self) -> int:
        """How many bytes the lines have, each with a line feed."""
        return sum(sum(map(len, batch.lines)) + len(batch.lines) for batch in self.batches())

    @property
    def stamp(self) -> str | None:
        return self.file.stamp

    def batches(self) -> Iterator[Batch]:
        """Go through the lines, as many at a time as a file's. Raises: Refused, SourceError."""
        some: list[bytes] = []
        offset = size = 0
        try:
            for line in lines_of(self.file.current(), self.session_id):
                some.append(line)
                size += len(line) + 1
                if len(some) == BATCH_LINES or size >= BATCH_BYTES:
                    yield Batch(some, offset)
                    some, offset, size = [], offset + size, 0
        except Refused:
            # What came before the damage is as good as ever.
            yield Batch(some, offset)
            raise
        if some:
            yield Batch(some, offset)


def has_events(database: Database, session_id: str) -> bool:
    """Tell whether there are events of a transcript. Raises: Refused, SourceError."""
    return database.row(_FIRST, _raw(session_id)) is not None


def session_ids(database: Database) -> Iterator[str]:
    """Go through the ids of all transcripts that have events, sorted. Raises: Refused, SourceError."""
    last = b""
    found = database.row("SELECT min(session_id) FROM transcript_events")
    while found and isinstance(found[0], bytes):
        if last and found[0] <= last:
            raise Refused(Reason.DAMAGED_DATABASE, "the database is damaged: its transcripts are not in order")
        last = found[0]
        yield last.decode("utf-8", "surrogateescape")
        found = database.row(_NEXT_ID, last)


def lines_of(database: Database, session_id: str) -> Iterator[bytes]:
    """Go through a transcript's lines but the broken ones. Raises: Refused, SourceError."""
    sql = _EVENTS if database.schema.compresses else _OLD_EVENTS
    last = -1
    while True:
        try:
            for seq, *payload in database.rows(sql, _raw(session_id), last):
                if not isinstance(seq, int) or seq <= last:
                    raise Refused(Reason.DAMAGED_DATABASE, "the database is damaged: events are not in order")
                last = seq
                line = _line(*payload)
                if isinstance(line, bytes):
                    yield line
            return
        except Refused as error:
            if error.reason is not Reason.TOO_LARGE:
                raise
        # The value that is too large ended the query: go on behind it.
        following = database.row(_NEXT, _raw(session_id), last)
        if following is None:
            return
        last = following[0]


def broken(file: DatabaseFile) -> Iterator[Broken]:
    """Go through the events that are left out, by their place in the table. Raises: Refused, SourceError."""
    if file.is_whole:
        return
    count = 0
    for event in _broken_in(file.current()):
        count += 1
        yield event
    file.is_whole = not count


def _broken_in(database: Database) -> Iterator[Broken]:
    last = -1
    try:
        for row in database.rows(_SUSPECTS if database.schema.compresses else _OLD_SUSPECTS):
            rowid, session_id, seq = typed(row[:3], int, bytes, int)
            payload = row[3:]
            last = rowid
            problem = _line(*payload)
            if isinstance(problem, str):
                yield _broken(rowid, session_id, seq, payload[0], Reason.UNDECODABLE, problem)
    except Refused as error:
        if error.reason is not Reason.TOO_LARGE:
            raise
        # A value that is too large ended the query: look at one row after the other from here on.
        yield from _broken_behind(database, last)


def _broken_behind(database: Database, last: int) -> Iterator[Broken]:
    for row in database.rows(_ROWS, last):
        rowid, session_id, seq = typed(row, int, bytes, int)
        try:
            payload = database.row(_EVENT if database.schema.compresses else _OLD_EVENT, rowid) or (b"",)
        except Refused as error:
            yield _broken(rowid, session_id, seq, b"", error.reason, str(error))
            continue
        problem = _line(*payload) if len(payload) > 1 else b""
        if isinstance(problem, str):
            yield _broken(rowid, session_id, seq, payload[0], Reason.UNDECODABLE, problem)


def _broken(rowid: int, session_id: bytes, seq: int, text: object, reason: Reason, detail: str) -> Broken:
    return Broken(rowid, session_id, seq, "event_zstd" if text is None else "event_json", reason, detail)


# An id is given as bytes, since one need not be UTF-8 in a damaged database.
_FIRST = "SELECT 1 FROM transcript_events WHERE session_id = CAST(? AS TEXT) LIMIT 1"
_NEXT_ID = "SELECT min(session_id) FROM transcript_events WHERE session_id > CAST(? AS TEXT)"
_NEXT = "SELECT seq FROM transcript_events WHERE session_id = CAST(? AS TEXT) AND seq > ? ORDER BY seq LIMIT 1"
_EVENTS = (
    "SELECT seq, event_json, event_zstd, event_utf8_bytes FROM transcript_events "
    "WHERE session_id = CAST(? AS TEXT) AND seq > ? ORDER BY seq"
)
_EVENT = "SELECT event_json, event_zstd, event_utf8_bytes FROM transcript_events WHERE rowid = ?"
_ROWS = "SELECT rowid, session_id, seq FROM transcript_events WHERE rowid > ? ORDER BY rowid"
_SUSPECTS = (
    "SELECT rowid, session_id, seq, event_json, event_zstd, event_utf8_bytes FROM transcript_events "
    "WHERE event_json IS NULL OR instr(event_json, char(10)) ORDER BY rowid"
)
# Version 19 does not compress.
_OLD_SUSPECTS = (
    "SELECT rowid, session_id, seq, event_json, NULL, NULL FROM transcript_events "
    "WHERE event_json IS NULL OR instr(event_json, char(10)) ORDER BY rowid"
)
_OLD_EVENTS = (
    "SELECT seq, event_json, NULL, NULL FROM transcript_events "
    "WHERE session_id = CAST(? AS TEXT) AND seq > ? ORDER BY seq"
)
_OLD_EVENT = "SELECT event_json, NULL, NULL FROM transcript_events WHERE rowid = ?"


def _line(text: object, packed: object, size: object) -> bytes | str:
    """Return an event's line, or why there is none."""
    if isinstance(text, bytes):
        return _one_line(text)
    if not isinstance(packed, bytes) or not isinstance(size, int):
        return "the event has neither a text nor its bytes"
    if not (1 <= size <= MAX_EVENT_BYTES and len(packed) <= MAX_EVENT_BYTES):
        return f"{len(packed)} bytes say that they become {size}; the limit is {MAX_EVENT_BYTES}"
    try:
        return _one_line(zstd.exactly(packed, size))
    except zstd.DecodeError as error:
        return str(error)


def _one_line(text: bytes) -> bytes | str:
    """Return a text without line feeds: in JSON they are white space, and in a transcript the end of a line."""
    if b"\n" not in text:
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return "it holds a line feed and is no JSON"
    return text.replace(b"\n", b" ")


def _raw(session_id: str) -> bytes:
    return session_id.encode("utf-8", "surrogateescape")


def _shown(session_id: str) -> str:
    return _raw(session_id).decode("utf-8", "backslashreplace")
