"""The transcripts and archives of one of OpenClaw's databases, whichever way it keeps them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from sessionstore.openclaw import cold, files, names, sqlite_events, zstd
from sessionstore.openclaw.blob import Blob, Held
from sessionstore.openclaw.packed import Packed, WholeFile
from sessionstore.openclaw.problems import Problem, Reason, Refused
from sessionstore.openclaw.reader import BadEntry, Part
from sessionstore.openclaw.sqlite_database import Database, Row, typed
from sessionstore.openclaw.sqlite_events import Events
from sessionstore.openclaw.sqlite_file import Cell, DatabaseFile

_COLD_TABLE, _ARCHIVE_TABLE = "session_transcript_cold_archives", "session_transcript_archives"
_COLD = (
    "SELECT rowid, session_id, generation, archive_name, archive_sha256, event_count, storage "
    "FROM session_transcript_cold_archives WHERE session_id = CAST(? AS TEXT)"
)
_COLD_IDS = "SELECT session_id FROM session_transcript_cold_archives ORDER BY session_id"
_COLD_FILE = "SELECT 1 FROM session_transcript_cold_archives WHERE archive_name = ? AND storage = 'file'"
_ARCHIVES = (
    "SELECT rowid, archive_name, archive_sha256, encoding FROM session_transcript_archives ORDER BY archive_name"
)
_ARCHIVES_OF = (
    "SELECT rowid, archive_name, archive_sha256, encoding FROM session_transcript_archives "
    "WHERE session_id = CAST(? AS TEXT)"
)
_ARCHIVE_NAMED = (
    "SELECT rowid, archive_name, archive_sha256, encoding FROM session_transcript_archives "
    "WHERE archive_name = CAST(? AS TEXT)"
)


@dataclass(frozen=True, slots=True)
class Transcripts:
    """The transcripts and archives of a database, whichever way it keeps them; a `reader.Folder`.

    Attributes:
        folder: the agent's sessions directory, where cold archives lie in `cold/`.
    """

    file: DatabaseFile
    agent: str
    folder: str

    @property
    def path(self) -> str:
        return self.file.path

    def parts(self) -> Iterator[Part | Problem | BadEntry]:
        """Go through the transcripts, then the archives, then what cannot be one."""
        try:
            database = self.file.current()
        except Refused:
            # The index has told, and set the file aside.
            return
        hot = sqlite_events.session_ids(database)
        for session_id, is_cold in heapq.merge(((id, False) for id in hot), self._cold_ids(database)):
            yield self._cold_or_bad(database, session_id) if is_cold else self.hot(session_id)
        yield from self._archives(database)
        for event in sqlite_events.broken(self.file):
            detail = f"event {event.seq}, without which the transcript is carried: {event.detail}"
            path = f"{self.path}:{_shown(_text(event.session_id))}:{event.seq}"
            blob = Cell(self.file, sqlite_events.TABLE, event.column, event.rowid)
            yield BadEntry(self.agent, None, blob, event.reason, detail, path)

    def beside(self) -> int:
        """Count files that are no part of any conversation: a database is one file, and has them."""
        return 0

    def find(self, session_id: str) -> Events | Packed | Problem | None:
        """Return a transcript: its events, else its cold archive; None without either. Raises: Refused, SourceError."""
        database = self.file.current()
        if sqlite_events.has_events(database, session_id):
            return self.hot(session_id)
        if not database.schema.has_cold or database.row(_COLD, _raw(session_id)) is None:
            return None
        found = self._cold(database, session_id)
        if isinstance(found, BadEntry):
            return Problem(self.path, found.reason, found.detail, self.agent)
        return found

    def hot(self, session_id: str) -> Events:
        """Return the events of a transcript, which may be none."""
        return Events(self.file, self.agent, session_id, names.file_of(session_id), session_id)

    def archives_of(self, session_id: str) -> Iterator[Packed]:
        """Go through the archives of a transcript. Raises: Refused, SourceError."""
        database = self.file.current()
        if database.schema.has_archives:
            for row in database.rows(_ARCHIVES_OF, _raw(session_id)):
                yield self._archive(row)

    def archive_named(self, name: str) -> Packed | None:
        """Return the archive that was published under a file name. Raises: Refused, SourceError."""
        database = self.file.current()
        if not database.schema.has_archives:
            return None
        found = database.row(_ARCHIVE_NAMED, _raw(name))
        return self._archive(found) if found else None

    def knows_cold(self, name: str) -> bool:
        """Tell whether a file is the cold archive of a transcript. Raises: Refused, SourceError."""
        database = self.file.current()
        return database.schema.has_cold and database.row(_COLD_FILE, name) is not None

    def _cold_ids(self, database: Database) -> Iterator[tuple[str, bool]]:
        if database.schema.has_cold:
            for row in database.rows(_COLD_IDS):
                yield _text(typed(row, bytes)[0]), True

    def _cold_or_bad(self, database: Database, session_id: str) -> Packed | BadEntry:
        """Return a cold archive; a row that tells of none costs itself and not its neighbours. Raises: SourceError."""
        try:
            return self._cold(database, session_id)
        except Refused as error:
            path = f"{self.path}:{_shown(session_id)}"
            return BadEntry(self.agent, None, Held(b""), error.reason, str(error), path)

    def _cold(self, database: Database, session_id: str) -> Packed | BadEntry:
        found = database.row(_COLD, _raw(session_id))
        if found is None:
            raise Refused(Reason.DAMAGED_DATABASE, "the database is damaged: a cold archive is there and is not")
        rowid, _, generation, file_name, sha256, event_count, storage = typed(
            found, int, bytes, bytes, bytes, bytes, int, bytes
        )
        name = names.file_of(session_id)
        if sqlite_events.has_events(database, session_id):
            name = names.file_of(f"{session_id}.{names.COLD}")
        part = Packed(
            self._cold_blob(rowid, _text(file_name), storage),
            f"{self.path}:{_shown(session_id)}",
            name,
            self.agent,
            self.file.stamp,
            sha256=_text(sha256),
            transcript_id=session_id,
            lines=cold.Record(session_id, _text(generation), event_count).batches,
        )
        return part.broken() or part

    def _cold_blob(self, rowid: int, name: str, storage: bytes) -> Blob:
        if storage == b"sqlite":
            return Cell(self.file, _COLD_TABLE, "archive_blob", rowid)
        if not cold.FILE_NAME.fullmatch(name):
            raise Refused(Reason.INVALID_TRANSCRIPT_NAME, f"{name!a} is no name of a cold archive")
        source = self.file.source
        return WholeFile(source.tree, files.joined(self.folder, f"{names.COLD}/{name}"), source.max_file_bytes)

    def _archives(self, database: Database) -> Iterator[Packed | BadEntry]:
        if database.schema.has_archives:
            for row in database.rows(_ARCHIVES):
                part = self._archive(row)
                yield part.broken() or part

    def _archive(self, row: Row) -> Packed:
        rowid, name, sha256, encoding = typed(row, int, bytes, bytes, bytes)
        return Packed(
            Cell(self.file, _ARCHIVE_TABLE, "archive_blob", rowid),
            f"{self.path}:{name.decode('utf-8', 'backslashreplace')}",
            _text(name).removesuffix(zstd.SUFFIX),
            self.agent,
            self.file.stamp,
            is_zstd=encoding == b"zstd",
            sha256=_text(sha256),
        )


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _shown(text: str) -> str:
    return _raw(text).decode("utf-8", "backslashreplace")
