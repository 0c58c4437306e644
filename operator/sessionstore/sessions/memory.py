"""Sessions in this process alone: for tests, and as the shortest reading of the Store contract.

No method awaits anything between reading and writing, so each is atomic within its event loop.
"""

from __future__ import annotations

import builtins
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from sessionstore.sessions import clock, paging, record
from sessionstore.sessions.exceptions import Conflict, NoTranscript
from sessionstore.sessions.record import (
    ArchiveInfo,
    Entry,
    EntryLike,
    Page,
    Session,
    SessionInfo,
    SessionKey,
    Status,
    Transcript,
    TranscriptHead,
)
from sessionstore.sessions.store import Capability, Key

Lines = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Transcript:
    generation: int = 0
    lines: Lines = ()


@dataclass(frozen=True, slots=True)
class _Record:
    """A session, or its tombstone: then `entry` is None and transcripts keep only their generation."""

    revision: int
    entry: Entry | None
    created_ms: int
    updated_ms: int
    written_ms: int
    transcripts: Mapping[str, _Transcript]


class MemoryStore:
    """A Store that is gone with the process."""

    def __init__(self, now_ms: Callable[[], int] = clock.now_ms) -> None:
        """Start empty. `now_ms` gives milliseconds since the epoch."""
        self._now_ms = now_ms
        self._records: dict[SessionKey, _Record] = {}
        self._archives: dict[tuple[str, str], Lines] = {}
        self._documents: dict[str, bytes] = {}

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.ARCHIVES, Capability.DOCUMENTS})

    async def get(self, key: Key) -> Session | None:
        return self._session(SessionKey.of(key))

    async def set(self, key: Key, entry: EntryLike, *, expected: int | None = None) -> Session:
        name, entry, now = SessionKey.of(key), Entry.of(entry), self._now_ms()
        transcript_id = entry.transcript_id
        current = self._expect(name, expected)
        past = self._records.get(name)
        self._records[name] = _Record(
            revision=past.revision + 1 if past else 1,
            entry=entry,
            created_ms=current.created_ms if current else now,
            updated_ms=now if entry.updated_ms is None else entry.updated_ms,
            written_ms=now,
            transcripts=({transcript_id: _Transcript()} if transcript_id else {})
            | dict(past.transcripts if past else {}),
        )
        return self._made(name)

    async def delete(self, key: Key, *, expected: int | None = None) -> bool:
        name, now = SessionKey.of(key), self._now_ms()
        if self._expect(name, expected) is None:
            return False
        past = self._records[name]
        kept = {id: _Transcript(old.generation + 1) for id, old in past.transcripts.items()}
        self._records[name] = _Record(past.revision + 1, None, past.created_ms, now, now, kept)
        return True

    async def exists(self, key: Key) -> bool:
        return self._session(SessionKey.of(key)) is not None

    async def append(
        self, key: Key, lines: Sequence[bytes], *, position: int | None = None, generation: int | None = None
    ) -> TranscriptHead:
        name, added = SessionKey.of(key), tuple(record.check_lines(lines))
        head, old = self._transcript(name)
        self._check(name, head, position, generation)
        if added:
            self._put_transcript(name, head.id, _Transcript(old.generation, old.lines + added))
        return TranscriptHead(head.id, head.generation, head.lines + len(added))

    async def rewrite(self, key: Key, lines: Sequence[bytes], *, generation: int | None = None) -> TranscriptHead:
        name, new = SessionKey.of(key), tuple(record.check_lines(lines))
        head, old = self._transcript(name)
        self._check(name, head, None, generation)
        self._put_transcript(name, head.id, _Transcript(old.generation + 1, new))
        return TranscriptHead(head.id, old.generation + 1, len(new))

    async def read(self, key: Key, start: int = 0, stop: int | None = None) -> Transcript | None:
        name = SessionKey.of(key)
        session = self._session(name)
        if session is None or session.transcript is None:
            return None
        head = session.transcript
        first, last, _ = slice(start, stop).indices(head.lines)
        return Transcript(head, first, self._records[name].transcripts[head.id].lines[first:last])

    async def list(
        self, *, agent: str | None = None, status: Status | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page:
        sessions = [session for name in self._records if (session := self._session(name))]
        rows = [
            SessionInfo(
                session.key,
                session.entry.session_id,
                session.status,
                session.transcript.lines if session.transcript else 0,
                session.revision,
                session.updated_ms,
            )
            for session in sessions
            if agent in (None, session.key.agent) and status in (None, session.status)
        ]
        return paging.page(rows, limit, cursor)

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    async def put_archive(self, agent: str, name: str, lines: Sequence[bytes], *, position: int = 0) -> int:
        key = (record.check_agent(agent), record.check_archive_name(name))
        old = self._archives.get(key, ())
        if len(old) != position:
            raise Conflict(f"archive {agent}/{name} has {len(old)} lines, not {position}", None)
        self._archives[key] = old + tuple(record.check_lines(lines))
        return len(self._archives[key])

    async def read_archive(self, agent: str, name: str, start: int = 0, stop: int | None = None) -> Lines | None:
        lines = self._archives.get((agent, name))
        return None if lines is None else lines[start:stop]

    async def list_archives(self, *, agent: str | None = None) -> AsyncIterator[ArchiveInfo]:
        for (owner, name), lines in builtins.list(self._archives.items()):
            if agent in (None, owner):
                yield ArchiveInfo(owner, name, len(lines))

    async def put_document(self, name: str, body: bytes) -> None:
        self._documents[record.check_document_name(name)] = body

    async def get_document(self, name: str) -> bytes | None:
        return self._documents.get(name)

    async def delete_document(self, name: str) -> bool:
        return self._documents.pop(name, None) is not None

    async def list_documents(self, prefix: str = "") -> AsyncIterator[str]:
        for name in builtins.list(self._documents):
            if name.startswith(prefix):
                yield name

    def _session(self, name: SessionKey) -> Session | None:
        found = self._records.get(name)
        if found is None or found.entry is None:
            return None
        transcript_id = found.entry.transcript_id
        transcript = found.transcripts[transcript_id] if transcript_id else _Transcript()
        return Session(
            key=name,
            entry=found.entry,
            revision=found.revision,
            status=Status.ACTIVE,
            created_ms=found.created_ms,
            updated_ms=found.updated_ms,
            written_ms=found.written_ms,
            transcript=TranscriptHead(transcript_id, transcript.generation, len(transcript.lines))
            if transcript_id
            else None,
        )

    def _made(self, name: SessionKey) -> Session:
        session = self._session(name)
        assert session is not None
        return session

    def _expect(self, name: SessionKey, expected: int | None) -> Session | None:
        current = self._session(name)
        have = current.revision if current else 0
        if expected is not None and expected != have:
            raise Conflict(f"session {name} is at revision {have}, not {expected}", current)
        return current

    def _transcript(self, name: SessionKey) -> tuple[TranscriptHead, _Transcript]:
        session = self._session(name)
        if session is None or session.transcript is None:
            why = "is absent" if session is None else "names no transcript (sessionFile, sessionId)"
            raise NoTranscript(f"session {name} {why}")
        return session.transcript, self._records[name].transcripts[session.transcript.id]

    def _check(self, name: SessionKey, head: TranscriptHead, position: int | None, generation: int | None) -> None:
        if generation not in (None, head.generation):
            raise Conflict(
                f"transcript of {name} is at generation {head.generation}, not {generation}", self._session(name)
            )
        if position not in (None, head.lines):
            raise Conflict(f"transcript of {name} has {head.lines} lines, not {position}", self._session(name))

    def _put_transcript(self, name: SessionKey, transcript_id: str, transcript: _Transcript) -> None:
        past, now = self._records[name], self._now_ms()
        self._records[name] = dataclasses.replace(
            past,
            revision=past.revision + 1,
            updated_ms=max(past.updated_ms, now),
            written_ms=now,
            transcripts=dict(past.transcripts) | {transcript_id: transcript},
        )
