"""What OpenClaw's files have no place for: revisions, marks, lifetimes, and what they are judged by. Pure.

A Row says how a session was when this library last saw it. A session that another program changed meanwhile is told
by comparing its Row with what the files hold now, and counts as one more revision.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from sessionstore.sessions import transitions
from sessionstore.sessions.record import INHERITED, NO_MARKS, Entry, Lifetime, Marks, Operation, Status
from sessionstore.sessions.transitions import Record, Span


@dataclass(frozen=True, slots=True)
class Extent:
    """What tells one state of a transcript's file from another."""

    size: int = 0
    mtime_ns: int = 0
    """Nanoseconds since the epoch; 0 where it was not known yet when the row was written."""
    inode: int = 0
    check: str = ""
    """Digest of how the first `size` bytes begin and end."""


@dataclass(frozen=True, slots=True)
class Row:
    """A session as it was last seen."""

    record: Record
    """Without the entry: that is in `sessions.json`."""
    digest: str | None
    """Of the entry without white space; None for a tombstone."""
    extents: Mapping[str, Extent] = field(default_factory=dict)
    """Transcript id -> its file; of a tombstone as it was before."""
    begins: bytes = b""
    """How the bytes begin that an append adds: what a killed writer left of them is told from another program's."""

    @property
    def is_live(self) -> bool:
        """Whether there is a session, expired or not."""
        return self.digest is not None

    def span(self, transcript_id: str | None) -> Span:
        """Return a transcript's generation and length."""
        return self.record.transcripts.get(transcript_id or "", Span())


class Fate(Enum):
    """What became of a transcript's file since its Extent was taken."""

    SAME = auto()
    NEW = auto()
    """It was not known."""
    GROWN = auto()
    REPLACED = auto()


@dataclass(frozen=True, slots=True)
class Seen:
    """A transcript's file as it is now."""

    fate: Fate
    extent: Extent
    lines: int


NOTHING = Seen(Fate.SAME, Extent(), 0)
"""What is seen of the transcript of an entry that names none."""


@dataclass(frozen=True, slots=True)
class Item:
    """An entry of `sessions.json`."""

    entry: Entry
    """Without white space."""
    digest: str


def adopted(item: Item, seen: Seen, now_ms: int, defaults: Lifetime) -> Row:
    """Return the Row of a session that another program made. Its time to live counts from now, when it was found."""
    moved_ms = _moved_ms(item, seen)
    named = item.entry.transcript_id
    record = Record(
        revision=1,
        status=Status.ACTIVE,
        entry=None,
        created_ms=moved_ms,
        updated_ms=moved_ms,
        written_ms=now_ms,
        transcripts={named: Span(0, seen.lines)} if named else {},
    )
    return Row(_timed(record, defaults), item.digest, {named: seen.extent} if named else {})


def changed(row: Row, item: Item, seen: Seen, now_ms: int, defaults: Lifetime) -> Row:
    """Return the Row of a session that another program changed: one more revision. Its lifetime begins anew."""
    same_entry, moved_ms = item.digest == row.digest, _moved_ms(item, seen)
    named = item.entry.transcript_id
    old = row.record
    record = dataclasses.replace(
        old,
        revision=old.revision + 1,
        status=old.status if row.is_live else Status.ACTIVE,
        created_ms=old.created_ms if row.is_live else moved_ms,
        updated_ms=max(old.updated_ms, seen.extent.mtime_ns // 1_000_000) if same_entry else moved_ms,
        written_ms=now_ms,
        transcripts={**old.transcripts, **({named: grown(row, named, seen)} if named else {})},
    )
    extents = {**(row.extents if row.is_live else {}), **({named: seen.extent} if named else {})}
    return Row(_timed(record, defaults), item.digest, extents)


def grown(row: Row | None, transcript_id: str, seen: Seen) -> Span:
    """Return what a transcript is now: another generation where its lines were replaced."""
    generation = row.span(transcript_id).generation if row else 0
    return Span(generation + (seen.fate is Fate.REPLACED), seen.lines)


def buried(row: Row, now_ms: int) -> Row:
    """Return the tombstone of a session that another program deleted."""
    return Row(transitions.buried(row.record, now_ms), None, row.extents)


def undone(before: Row, after: Row) -> Row:
    """Return `before`, where the change that led to `after` was not carried out, under a revision that none had."""
    return dataclasses.replace(
        before, record=dataclasses.replace(before.record, revision=after.record.revision + 1), begins=b""
    )


def without(row: Row, names: Collection[str]) -> Row:
    """Return the Row without some of its transcripts."""
    record = row.record
    spans = {name: span for name, span in record.transcripts.items() if name not in names}
    extents = {name: extent for name, extent in row.extents.items() if name not in names}
    return dataclasses.replace(row, record=dataclasses.replace(record, transcripts=spans), extents=extents)


def operation_of(row: Row | None, item: Item | None, seen: Seen) -> Operation:
    """Tell what another program did, in the feed's words."""
    if item is None:
        return Operation.DELETE
    if row is None or item.digest != row.digest:
        return Operation.SET
    return Operation.APPEND if seen.fate is Fate.GROWN else Operation.REWRITE


def _moved_ms(item: Item, seen: Seen) -> int:
    """Return when the conversation last moved, as far as files tell."""
    return seen.extent.mtime_ns // 1_000_000 if item.entry.updated_ms is None else item.entry.updated_ms


def _timed(record: Record, defaults: Lifetime) -> Record:
    # Counting a use that is counted already changes nothing but the time at which the session expires.
    return transitions.touched(record, record.touched_ms, defaults)


def to_values(row: Row) -> dict[str, Any]:
    """Return a Row as JSON has it; what has its default is left out. Names are those of Redis' records."""
    record = row.record
    values = {
        "r": record.revision,
        "s": record.status.value if record.status is not Status.ACTIVE else None,
        "d": row.digest,
        "c": record.created_ms,
        "u": record.updated_ms,
        "w": record.written_ms,
        "p": record.touched_ms or None,
        "x": record.expires_ms,
        "lt": record.lifetime.ttl_ms,
        "li": record.lifetime.idle_ms,
        "tl": record.marks.title,
        "tg": list(record.marks.tags) or None,
        "pn": record.marks.pinned or None,
        "ar": record.marks.reason,
        "f": _files(row) or None,
        "b": row.begins.hex() or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def from_values(values: dict[str, Any]) -> Row:
    """Read what `to_values` gave. Raises: ValueError, KeyError, TypeError, AttributeError for anything else."""
    files = values.get("f", {})
    marks = Marks(values.get("tl"), tuple(values.get("tg", ())), values.get("pn", False), values.get("ar"))
    lifetime = Lifetime(values.get("lt"), values.get("li"))
    record = Record(
        revision=_whole(values["r"]),
        status=Status(values.get("s", "active")),
        entry=None,
        created_ms=_whole(values["c"]),
        updated_ms=_whole(values["u"]),
        written_ms=_whole(values["w"]),
        touched_ms=_whole(values.get("p", 0)),
        expires_ms=_whole(values["x"]) if "x" in values else None,
        marks=NO_MARKS if marks == NO_MARKS else marks,
        lifetime=INHERITED if lifetime == INHERITED else lifetime,
        transcripts={name: Span(_whole(known[0]), _whole(known[1])) for name, known in files.items()},
    )
    extents = {name: _extent(*known[2:]) for name, known in files.items()}
    return Row(record, values.get("d"), extents, bytes.fromhex(values.get("b", "")))


def _extent(size: object = 0, mtime_ns: object = 0, inode: object = 0, check: object = "") -> Extent:
    return Extent(_whole(size), _whole(mtime_ns), _whole(inode), str(check))


def _files(row: Row) -> dict[str, list[Any]]:
    return {name: [span.generation, span.lines, *_known(row, name)] for name, span in row.record.transcripts.items()}


def _known(row: Row, name: str) -> list[Any]:
    extent = row.extents.get(name, Extent())
    return [] if extent == Extent() else [extent.size, extent.mtime_ns, extent.inode, extent.check]


def _whole(value: object) -> int:
    if type(value) is not int:
        raise ValueError("a number is none")
    return value
