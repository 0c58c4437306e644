"""What each operation makes of a session's record. Pure: record and time in, record out; the clock is a parameter.

The backends that read, decide and write in Python (memory, file, directory, MongoDB) all decide here; Redis decides
in its scripts, and the contract suite compares the two. A record that is absent is None; one that was deleted is a
tombstone, which keeps the revision and the transcripts' generations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sessionstore.sessions.attributes import Attributes, attributes_of
from sessionstore.sessions.exceptions import Conflict, InvalidEntry, NoTranscript
from sessionstore.sessions.record import (
    INHERITED,
    MAX_TAGS,
    NO_MARKS,
    Entry,
    Lifetime,
    Marks,
    Operation,
    Session,
    SessionInfo,
    SessionKey,
    Status,
    TranscriptHead,
    check_text,
)

TOUCH_SHARE = 16
"""A use is written down only when a sixteenth of the idle time has passed since the last: reads stay reads."""


@dataclass(frozen=True, slots=True)
class Span:
    """How long a transcript is, and how often its lines were replaced."""

    generation: int = 0
    lines: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """All that is kept of one session, but for its lines. Times are milliseconds since the epoch."""

    revision: int
    status: Status
    entry: Entry | None
    """None for a tombstone."""
    created_ms: int
    updated_ms: int
    written_ms: int
    touched_ms: int = 0
    expires_ms: int | None = None
    marks: Marks = NO_MARKS
    lifetime: Lifetime = INHERITED
    transcripts: Mapping[str, Span] = field(default_factory=dict)

    def is_live(self, now_ms: int) -> bool:
        """Return whether there is a session to serve."""
        return self.status is not Status.DELETED and not self.is_expired(now_ms)

    def is_expired(self, now_ms: int) -> bool:
        """Return whether this ought to be a tombstone, and is none yet."""
        return self.status is not Status.DELETED and self.expires_ms is not None and self.expires_ms <= now_ms

    @property
    def transcript(self) -> TranscriptHead | None:
        """The head of the current transcript."""
        named = self.entry.transcript_id if self.entry else None
        if named is None:
            return None
        span = self.transcripts.get(named, Span())
        return TranscriptHead(named, span.generation, span.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marking:
    """A change to what people set on a session; None, and empty, leave things as they are."""

    status: Status | None = None
    reason: str | None = None
    pinned: bool | None = None
    add: frozenset[str] = frozenset()
    remove: frozenset[str] = frozenset()
    title: str | None = None
    """Empty text takes the title away."""
    lifetime: Lifetime | None = None

    @property
    def operation(self) -> Operation:
        """What the feed will call it."""
        if self.status is None:
            return Operation.MARK
        return Operation.ARCHIVE if self.status is Status.ARCHIVED else Operation.RESTORE

    def checked(self) -> Marking:
        """Return this, or raise InvalidEntry for a text that cannot be kept."""
        for tag in self.add | self.remove:
            check_text(tag, "tag")
        for text, what in ((self.reason, "reason"), (self.title, "title")):
            if text:
                check_text(text, what)
        return self


def current(record: Record | None, now_ms: int) -> Record | None:
    """Return the record where it can be served."""
    return record if record is not None and record.is_live(now_ms) else None


def tombstone_of(record: Record | None, now_ms: int) -> int | None:
    """Return the revision of a tombstone, also of one that an expired record is about to become."""
    if record is None or record.is_live(now_ms):
        return None
    return record.revision + (record.status is not Status.DELETED)


def buried(record: Record, now_ms: int) -> Record:
    """Delete, or expire: a tombstone. Generations grow, so that nobody appends to the successor of what he knew."""
    spans = {name: Span(span.generation + 1) for name, span in record.transcripts.items()}
    return Record(
        revision=record.revision + 1,
        status=Status.DELETED,
        entry=None,
        created_ms=record.created_ms,
        updated_ms=now_ms,
        written_ms=now_ms,
        transcripts=spans,
    )


def written(
    past: Record | None, entry: Entry, now_ms: int, defaults: Lifetime, lifetime: Lifetime | None = None
) -> Record:
    """Set the entry over `past`, which is None, a tombstone or live."""
    live = past if past is not None and past.status is not Status.DELETED else None
    named = entry.transcript_id
    own = lifetime or (live.lifetime if live else INHERITED)
    return _timed(
        Record(
            revision=past.revision + 1 if past else 1,
            status=live.status if live else Status.ACTIVE,
            entry=entry,
            created_ms=live.created_ms if live else now_ms,
            updated_ms=now_ms if entry.updated_ms is None else entry.updated_ms,
            written_ms=now_ms,
            touched_ms=live.touched_ms if live else 0,
            marks=live.marks if live else NO_MARKS,
            lifetime=own,
            transcripts=({named: Span()} if named else {}) | dict(past.transcripts if past else {}),
        ),
        defaults,
    )


def begun(record: Record, count: int) -> Record:
    """Give a session that `written` has just made the `count` lines that its transcript begins with."""
    head = record.transcript
    assert head is not None
    return dataclasses.replace(record, transcripts=dict(record.transcripts) | {head.id: Span(head.generation, count)})


def extended(record: Record, count: int, now_ms: int, defaults: Lifetime) -> Record:
    """Append `count` lines to the current transcript."""
    head = record.transcript
    assert head is not None
    return _moved(record, head.id, Span(head.generation, head.lines + count), now_ms, defaults)


def rewritten(record: Record, count: int, now_ms: int, defaults: Lifetime) -> Record:
    """Replace the current transcript by `count` lines."""
    head = record.transcript
    assert head is not None
    return _moved(record, head.id, Span(head.generation + 1, count), now_ms, defaults)


def touched(record: Record, now_ms: int, defaults: Lifetime) -> Record:
    """Count a use. No change: the revision stays."""
    return _timed(dataclasses.replace(record, touched_ms=max(record.touched_ms, now_ms)), defaults)


def marked(record: Record, marking: Marking, now_ms: int, defaults: Lifetime) -> Record:
    """Change marks, status or lifetime; the very same record where all is so already. Raises: InvalidEntry."""
    tags = (set(record.marks.tags) | marking.add) - marking.remove
    if len(tags) > MAX_TAGS:
        raise InvalidEntry(f"a session has at most {MAX_TAGS} tags; this would make {len(tags)}")
    status = marking.status or record.status
    turned = status is not record.status
    marks = Marks(
        title=record.marks.title if marking.title is None else marking.title or None,
        tags=tuple(sorted(tags)),
        pinned=record.marks.pinned if marking.pinned is None else marking.pinned,
        reason=_reason(record, marking, status),
    )
    lifetime = marking.lifetime or record.lifetime
    if (marks, status, lifetime) == (record.marks, record.status, record.lifetime):
        return record
    # Who takes an exemption from expiry away does not want the session to be gone the same instant.
    begins_anew = (turned and status is Status.ACTIVE) or (record.marks.pinned and not marks.pinned)
    return _timed(
        dataclasses.replace(
            record,
            revision=record.revision + 1,
            status=status,
            marks=marks,
            lifetime=lifetime,
            written_ms=now_ms if begins_anew or marking.lifetime else record.written_ms,
        ),
        defaults,
    )


def wants_touch(record: Record | Session, now_ms: int, defaults: Lifetime) -> bool:
    """Return whether a read has to be written down for the session's idle time."""
    idle = record.lifetime.over(defaults).idle_ms
    last = max(record.written_ms, record.touched_ms)
    return bool(idle) and record.expires_ms is not None and now_ms - last >= (idle or 0) // TOUCH_SHARE


def check_expected(name: SessionKey, record: Record | None, expected: int | None) -> None:
    """Raise Conflict unless `expected` is the revision of the live `record` (0: there is none)."""
    have = record.revision if record else 0
    if expected is not None and expected != have:
        raise Conflict(f"session {name} is at revision {have}, not {expected}", session_of(name, record))


def check_begins(name: SessionKey, entry: Entry, lines: Sequence[bytes]) -> None:
    """Raise NoTranscript for lines of an entry that names none."""
    if lines and entry.transcript_id is None:
        raise NoTranscript(f"session {name} names no transcript (sessionFile, sessionId) that could have lines")


def check_lines(
    name: SessionKey, record: Record | None, position: int | None, generation: int | None
) -> TranscriptHead:
    """Return the current transcript's head. Raises: NoTranscript; Conflict."""
    head = record.transcript if record else None
    if head is None:
        why = "is absent" if record is None else "names no transcript (sessionFile, sessionId)"
        raise NoTranscript(f"session {name} {why}")
    if generation not in (None, head.generation):
        raise Conflict(
            f"session {name} has its transcript at generation {head.generation}, not {generation}",
            session_of(name, record),
        )
    if position not in (None, head.lines):
        raise Conflict(
            f"session {name} has a transcript of {head.lines} lines, not {position}", session_of(name, record)
        )
    return head


def repeats(head: TranscriptHead, count: int, position: int | None, generation: int | None) -> bool:
    """Return whether an append may be one that was stored already: then its lines are compared with those there."""
    return (
        position is not None
        and generation in (None, head.generation)
        and count > 0
        and position >= 0
        and position + count <= head.lines
    )


def session_of(name: SessionKey, record: Record | None) -> Session | None:
    """Return a live record as callers see it."""
    if record is None or record.entry is None:
        return None
    return Session(
        key=name,
        entry=record.entry,
        revision=record.revision,
        status=record.status,
        created_ms=record.created_ms,
        updated_ms=record.updated_ms,
        written_ms=record.written_ms,
        transcript=record.transcript,
        touched_ms=record.touched_ms,
        expires_ms=record.expires_ms,
        marks=record.marks,
        lifetime=record.lifetime,
    )


def info_of(name: SessionKey, record: Record) -> SessionInfo:
    """Return a live record's row."""
    entry = record.entry
    assert entry is not None
    told: Attributes = attributes_of(name, entry)
    head = record.transcript
    return SessionInfo(
        key=name,
        session_id=entry.session_id,
        status=record.status,
        lines=head.lines if head else 0,
        revision=record.revision,
        updated_ms=record.updated_ms,
        title=record.marks.title or told.title,
        tags=record.marks.tags,
        pinned=record.marks.pinned,
        channel=told.channel,
        sender=told.sender,
        expires_ms=record.expires_ms,
    )


def same_lines(stored: Sequence[bytes], given: Sequence[bytes]) -> bool:
    """Return whether two runs of lines are byte for byte the same."""
    return tuple(stored) == tuple(given)


def _moved(record: Record, transcript_id: str, span: Span, now_ms: int, defaults: Lifetime) -> Record:
    return _timed(
        dataclasses.replace(
            record,
            revision=record.revision + 1,
            updated_ms=max(record.updated_ms, now_ms),
            written_ms=now_ms,
            transcripts=dict(record.transcripts) | {transcript_id: span},
        ),
        defaults,
    )


def _timed(record: Record, defaults: Lifetime) -> Record:
    """Set when the record expires. A changed default counts from a session's next write or use."""
    exempt = record.status is not Status.ACTIVE or record.marks.pinned
    end = None if exempt else record.lifetime.over(defaults).end_ms(record.written_ms, record.touched_ms)
    return record if end == record.expires_ms else dataclasses.replace(record, expires_ms=end)


def _reason(record: Record, marking: Marking, status: Status) -> str | None:
    if status is Status.ACTIVE:
        return None
    return record.marks.reason if marking.reason is None else marking.reason or None
