"""The layout of OpenClaw 2026.8 and later: a database of each agent, `agents/<agent>/agent/openclaw-agent.sqlite`.

`session_nodes` has the entries. A transcript is in `transcript_events`, or of an inactive session in a cold archive;
`session_transcript_archives` has those of sessions that were deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sessionstore.openclaw.blob import Held
from sessionstore.openclaw.problems import Problem, Reason, Refused
from sessionstore.openclaw.reader import BadEntry, Part, RawEntry
from sessionstore.openclaw.sqlite_copy import JOURNAL, LOG
from sessionstore.openclaw.sqlite_database import Database
from sessionstore.openclaw.sqlite_file import Cell, DatabaseFile, FileBlob
from sessionstore.openclaw.sqlite_transcripts import Transcripts

LAYOUT = "sqlite"
MAX_ENTRY_BYTES = 12 * 1024**2
"""What is held of one entry. More than a store takes, so that the store's own limit is what a person reads about."""
_NODES = "SELECT rowid, session_key, current_session_id, archived_at FROM session_nodes ORDER BY session_key"
_ENTRY = "SELECT entry_json FROM session_nodes WHERE rowid = ?"


@dataclass(frozen=True, slots=True)
class DatabaseIndex:
    """The entries of a database; a `reader.Index`.

    Attributes:
        agent: of all entries; None where the key tells (`agent_of`).
        transcripts: where its transcripts are looked up.
        look_up: finds a transcript that was not read into the database, and still is a file.
    """

    file: DatabaseFile
    agent: str | None
    transcripts: Transcripts
    look_up: Callable[[RawEntry, str], Part | Problem | None]
    agent_of: Callable[[str], str]
    layout: str = LAYOUT

    @property
    def path(self) -> str:
        return self.file.path

    def entries(self) -> Iterator[RawEntry | BadEntry]:
        """Go through the entries, by key. Of a damaged database those that can be read come first, then all of it."""
        if self.file.source.tree.status(self.file.source.path) is None:
            return
        try:
            database = self.file.refresh()
            last = None
            for rowid, key, session_id, archived_at in database.rows(_NODES):
                if (
                    not isinstance(key, bytes)
                    or not isinstance(session_id, bytes)
                    or (last is not None and key <= last)
                ):
                    raise Refused(Reason.DAMAGED_DATABASE, "the database is damaged: its sessions are not in order")
                last = key
                yield self._entry(database, rowid, _text(key), _text(session_id), archived_at is not None)
        except Refused as error:
            yield from self._whole(error.reason, str(error))
            return
        if self.file.damage:
            detail = f"the database is damaged, and may lack sessions or lines: {self.file.damage}; restore a backup"
            yield from self._whole(Reason.DAMAGED_DATABASE, detail)

    def transcript(self, entry: RawEntry, transcript_id: str) -> Part | Problem:
        """Return where an entry's lines are. A session without any has a transcript without lines."""
        try:
            found = self.transcripts.find(transcript_id) or self.look_up(entry, transcript_id)
            return self.transcripts.hot(transcript_id) if found is None else found
        except Refused as error:
            return error.problem(self.path, entry.agent, entry.key)

    def _entry(
        self, database: Database, rowid: int, key: str, session_id: str, is_archived: bool
    ) -> RawEntry | BadEntry:
        agent = self.agent_of(key) if self.agent is None else self.agent
        try:
            found = database.row(_ENTRY, rowid, max_bytes=MAX_ENTRY_BYTES)
        except Refused as error:
            blob = Cell(self.file, "session_nodes", "entry_json", rowid)
            kept = blob if error.reason is Reason.TOO_LARGE else Held(b"")
            return BadEntry(agent, key, kept, error.reason, str(error))
        if found is None or not isinstance(found[0], bytes):
            return BadEntry(agent, key, Held(b""), Reason.DAMAGED_DATABASE, "the entry has no text")
        return RawEntry(agent, key, found[0], session_id, is_archived)

    def newest_ms(self) -> int:
        """Return when the session that moved last did; 0 where that cannot be told. Raises: SourceError."""
        try:
            found = self.file.current().row("SELECT max(updated_at) FROM session_nodes")
        except Refused:
            return 0
        return found[0] if found and isinstance(found[0], int) else 0

    def _whole(self, reason: Reason, detail: str) -> Iterator[BadEntry]:
        """Set the file aside, and its log and journal."""
        source = self.file.source
        if reason is not Reason.DAMAGED_DATABASE:
            yield BadEntry(self.transcripts.agent, None, Held(b""), reason, detail)
            return
        yield BadEntry(self.transcripts.agent, None, FileBlob(source, ""), reason, detail)
        for suffix, what in ((LOG, "log"), (JOURNAL, "journal")):
            status = source.tree.status(source.path + suffix)
            if status and status.st_size:
                detail = f"the {what} of the damaged database"
                yield BadEntry(
                    self.transcripts.agent, None, FileBlob(source, suffix), reason, detail, self.path + suffix
                )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
