"""The sessions of one agent as its files have them at one moment. Made per call, under the lock where it writes.

`sessions.json` is written first and the side file after it: a crash between the two looks like a change by another
program, which counts as the one revision that was being made.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence

from sessionstore.openclaw import rawjson
from sessionstore.sessions.exceptions import Conflict, InvalidEntry, InvalidKey, NoTranscript, Unreadable
from sessionstore.sessions.file import revisions
from sessionstore.sessions.file.revisions import Facts, Row
from sessionstore.sessions.plainfiles import Directory, Measure, lines_of
from sessionstore.sessions.record import Entry, Session, SessionInfo, SessionKey, Status, Transcript, TranscriptHead

SESSIONS_NAME = "sessions.json"


class AgentSessions:
    """Reads at once what the directory holds; the methods that change something write it back."""

    def __init__(self, agent: str, directory: Directory) -> None:
        """Read `sessions.json` and the side file. Raises: Unreadable."""
        self.agent = agent
        self.entries = _entries(directory)
        """Session key -> the entry's bytes, as laid out in the file."""
        self.noticed = False
        """Whether another program's change was seen that the side file does not know yet."""
        self._directory = directory
        path = str(directory.path / revisions.FILE_NAME)
        self._rows = revisions.parse(directory.read(revisions.FILE_NAME), path)

    def session(self, name: SessionKey) -> Session | None:
        """Return the session, or None. Raises: Unreadable."""
        row, entry = self._observe(name), self._entry(name)
        if row is None or entry is None:
            return None
        return Session(
            key=name,
            entry=entry,
            revision=row.revision,
            status=Status.ACTIVE,
            created_ms=row.created_ms,
            updated_ms=row.updated_ms,
            written_ms=row.written_ms,
            transcript=_head(entry, row),
        )

    def rows(self) -> list[SessionInfo]:
        """Return a row for each session. Raises: Unreadable for the first that is none."""
        sessions = [self.session(self._name(key)) for key in self.entries]
        return [
            SessionInfo(
                session.key,
                session.entry.session_id,
                session.status,
                session.transcript.lines if session.transcript else 0,
                session.revision,
                session.updated_ms,
            )
            for session in sessions
            if session is not None
        ]

    def expect(self, name: SessionKey, expected: int | None) -> Session | None:
        """Return the current session, or raise Conflict where its revision is not `expected`."""
        current = self.session(name)
        have = current.revision if current else 0
        if expected is not None and expected != have:
            self._save_noticed()
            raise Conflict(f"session {name} is at revision {have}, not {expected}", current)
        return current

    def put(self, name: SessionKey, entry: Entry, now_ms: int) -> Session:
        """Write an entry."""
        row = self._observe(name)
        self.entries[name.key] = rawjson.indent(entry.raw, 1)
        self._save_entries()
        facts = self._facts(name)
        generations = dict(row.generations) if row else {}
        if facts.transcript_id:
            generations.setdefault(facts.transcript_id, 0)
        self._rows[name.key] = Row(
            revision=row.revision + 1 if row else 1,
            digest=facts.digest,
            lines=facts.lines,
            measure=facts.measure,
            created_ms=row.created_ms if row and row.digest else now_ms,
            updated_ms=now_ms if entry.updated_ms is None else entry.updated_ms,
            written_ms=now_ms,
            generations=generations,
        )
        self.save_revisions()
        session = self.session(name)
        assert session is not None
        return session

    def drop(self, name: SessionKey, now_ms: int) -> None:
        """Take a session away; its transcript becomes an archive, as when OpenClaw deletes."""
        row, entry = self._observe(name), self._entry(name)
        assert row is not None
        assert entry is not None
        del self.entries[name.key]
        unnamed = [transcript_id for transcript_id in row.generations if not self._is_named(transcript_id)]
        self._save_entries()
        self._rows[name.key] = revisions.bury(row, now_ms)
        self.save_revisions()
        for transcript_id in unnamed:
            file = f"{transcript_id}.jsonl"
            self._directory.rename(file, f"{file}.deleted.{_stamp(now_ms)}")

    def check_transcript(self, name: SessionKey, position: int | None, generation: int | None) -> TranscriptHead:
        """Return the current transcript's head. Raises: NoTranscript; Conflict where it is not as expected."""
        session = self.session(name)
        if session is None or session.transcript is None:
            why = "is absent" if session is None else "names no transcript (sessionFile, sessionId)"
            raise NoTranscript(f"session {name} {why}")
        head = session.transcript
        for what, wanted, have in (("generation", generation, head.generation), ("lines", position, head.lines)):
            if wanted not in (None, have):
                self._save_noticed()
                raise Conflict(f"transcript of {name} has {what} {have}, not {wanted}", session)
        return head

    def append(self, name: SessionKey, lines: Sequence[bytes], now_ms: int) -> TranscriptHead:
        """Add lines to a transcript that `check_transcript` has passed."""
        head = self.check_transcript(name, None, None)
        if not lines:
            return head
        self._directory.append(f"{head.id}.jsonl", b"".join(line + b"\n" for line in lines))
        return self._moved(name, TranscriptHead(head.id, head.generation, head.lines + len(lines)), now_ms)

    def rewrite(self, name: SessionKey, lines: Sequence[bytes], now_ms: int) -> TranscriptHead:
        """Replace the lines of a transcript that `check_transcript` has passed."""
        head = self.check_transcript(name, None, None)
        replaced = TranscriptHead(head.id, head.generation + 1, len(lines))
        # The generation is on record before the lines change: after a crash between the two, new lines that are no
        # fewer than the old would look like an append.
        row = self._rows[name.key]
        generations = dict(row.generations) | {head.id: replaced.generation}
        self._rows[name.key] = dataclasses.replace(row, generations=generations)
        self.save_revisions()
        self._directory.replace(f"{head.id}.jsonl", b"".join(line + b"\n" for line in lines))
        return self._moved(name, replaced, now_ms)

    def read(self, name: SessionKey, start: int, stop: int | None) -> Transcript | None:
        """Return lines of the current transcript."""
        session = self.session(name)
        if session is None or session.transcript is None:
            return None
        lines = lines_of(self._directory.read(f"{session.transcript.id}.jsonl") or b"")
        # Counted from what was read: another program may have appended since the head was made.
        head = TranscriptHead(session.transcript.id, session.transcript.generation, len(lines))
        first, last, _ = slice(start, stop).indices(len(lines))
        return Transcript(head, first, tuple(lines[first:last]))

    def save_revisions(self) -> None:
        """Write the side file, what was noticed of other programs included."""
        self._directory.replace(revisions.FILE_NAME, revisions.dump(self._rows))
        self.noticed = False

    def _save_noticed(self) -> None:
        if self.noticed:
            self.save_revisions()

    def _save_entries(self) -> None:
        members = (b"  " + rawjson.dump(key) + b": " + raw for key, raw in self.entries.items())
        body = b",\n".join(members)
        self._directory.replace(SESSIONS_NAME, b"{\n" + body + b"\n}" if body else b"{}")

    def _moved(self, name: SessionKey, head: TranscriptHead, now_ms: int) -> TranscriptHead:
        row = self._rows[name.key]
        self._rows[name.key] = dataclasses.replace(
            row,
            revision=row.revision + 1,
            lines=head.lines,
            measure=self._directory.measure(f"{head.id}.jsonl") or Measure(),
            updated_ms=max(row.updated_ms, now_ms),
            written_ms=now_ms,
            generations=dict(row.generations) | {head.id: head.generation},
        )
        self.save_revisions()
        return head

    def _observe(self, name: SessionKey) -> Row | None:
        known = self._rows.get(name.key)
        row = revisions.observe(known, self._facts(name))
        if row is not None and row is not known:
            self._rows[name.key] = row
            self.noticed = True
        return row

    def _facts(self, name: SessionKey) -> Facts:
        entry = self._entry(name)
        if entry is None:
            return revisions.ABSENT
        transcript_id, digest = entry.transcript_id, revisions.digest_of(entry.raw)
        measure = self._directory.measure(f"{transcript_id}.jsonl") if transcript_id else None
        return Facts(
            digest=digest,
            transcript_id=transcript_id,
            lines=self._count(name, digest, transcript_id, measure),
            measure=measure or Measure(),
            updated_ms=entry.updated_ms,
        )

    def _count(self, name: SessionKey, digest: str, transcript_id: str | None, measure: Measure | None) -> int:
        """Count a transcript's lines; a file that is as it was when last counted is not read again."""
        if measure is None:
            return 0
        row = self._rows.get(name.key)
        if row is not None and (row.digest, row.measure) == (digest, measure):
            return row.lines
        return len(lines_of(self._directory.read(f"{transcript_id}.jsonl") or b""))

    def _is_named(self, transcript_id: str) -> bool:
        """Return whether an entry names the transcript, or might: of a damaged one it cannot be told."""
        for key in [key for key, raw in self.entries.items() if transcript_id.encode() in raw]:
            try:
                if self._entry_of(key).transcript_id == transcript_id:
                    return True
            except Unreadable:
                return True
        return False

    def _entry(self, name: SessionKey) -> Entry | None:
        return self._entry_of(name.key) if name.key in self.entries else None

    def _entry_of(self, key: str) -> Entry:
        try:
            entry = Entry(rawjson.compact(self.entries[key]))
            # Asked for here, so that an entry that names a path as its transcript is unreadable like any other damage.
            _ = entry.transcript_id
            return entry
        except InvalidEntry as error:
            path = self._directory.path / SESSIONS_NAME
            raise Unreadable(f"session {self.agent}/{key} cannot be read from {path}: {error}") from error

    def _name(self, key: str) -> SessionKey:
        try:
            return SessionKey(self.agent, key)
        except InvalidKey as error:
            raise Unreadable(f"{self._directory.path / SESSIONS_NAME} holds an impossible key: {error}") from error


def _entries(directory: Directory) -> dict[str, bytes]:
    path = directory.path / SESSIONS_NAME
    data = directory.read(SESSIONS_NAME)
    found: dict[str, bytes] = {}
    if data is None:
        return found
    try:
        for key, raw in rawjson.members(data):
            if key in found:
                raise Unreadable(f"{path} holds the key {key!a} twice; keep one of the two and try again")
            found[key] = raw
    except rawjson.RawJSONError as error:
        raise Unreadable(f"{path} cannot be read: {error}; nothing was changed") from error
    return found


def _head(entry: Entry, row: Row) -> TranscriptHead | None:
    transcript_id = entry.transcript_id
    return TranscriptHead(transcript_id, row.generation(transcript_id), row.lines) if transcript_id else None


def _stamp(now_ms: int) -> str:
    """Return a time as OpenClaw's archive names have it: ISO 8601 with `-` for `:`."""
    when = datetime.datetime.fromtimestamp(now_ms / 1000, datetime.UTC)
    return f"{when:%Y-%m-%dT%H-%M-%S}.{now_ms % 1000:03d}Z"
