"""How a session lies in a document, and back. Pure; docs/design/0009-mongodb.md is the contract."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bson import Binary, Int64

from sessionstore.sessions import layout
from sessionstore.sessions.attributes import Attributes, attributes_of
from sessionstore.sessions.exceptions import SessionError, Unreadable
from sessionstore.sessions.leases import LeaseState
from sessionstore.sessions.mongodb import strand
from sessionstore.sessions.mongodb.strand import Document, Strand
from sessionstore.sessions.record import (
    Entry,
    Lifetime,
    Marks,
    SessionInfo,
    SessionKey,
    Status,
    TranscriptHead,
)
from sessionstore.sessions.transitions import Record, Span

READABLE_ID_BYTES = 1024
"""A longer one is hashed: PostgreSQL, below FerretDB, indexes up to 2,704 bytes."""
TOKENS = 16
"""Attempts that a document remembers, the newest last."""
LIVE = ("active", "archived")
WITHOUT_LINES = {"cur.l": 0, "cur.q": 0, "old": 0, "at": 0, "pend": 0, "gc": 0, "lease": 0}
"""A projection: what `get` needs."""
WITHOUT_ENTRY = {"j": 0, "at": 0, "pend": 0, "gc": 0, "lease": 0}
"""A projection: what `read` needs."""
ROW = {"j": 0, "cur.l": 0, "cur.q": 0, "old": 0, "at": 0, "pend": 0, "gc": 0, "lease": 0}
"""A projection: what a row of `list` needs."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the server has of one session."""

    exists: bool = False
    record: Record | None = None
    """None where there are but leases."""
    version: int | None = None
    """Another one after each change of the document."""
    tokens: tuple[int, ...] = ()
    untold: tuple[str, ...] = ()
    """Notes of the last revisions, of which the feed may not know yet."""
    garbage: tuple[Sequence[str], ...] = ()
    """Ranges of chunks that nobody needs any more."""
    current: str | None = None
    strands: Mapping[str, Strand] = field(default_factory=dict)
    """Transcript id -> its lines."""
    lease: LeaseState | None = None


def document_id(keyspace: str, name: SessionKey) -> str:
    """Return a session's `_id`. An agent holds neither `:` nor `#`."""
    readable = f"{keyspace}/{name.agent}:{name.key}"
    if len(readable.encode()) <= READABLE_ID_BYTES:
        return readable
    return f"{keyspace}/{name.agent}#{hashlib.sha256(name.key.encode()).hexdigest()}"


def new_token(now_ms: int) -> int:
    """Return a number that names one attempt to change a document, and tells when it was made."""
    return Int64(now_ms << 20 | secrets.randbits(20))


def made_ms(token: int) -> int:
    """Return when a token was made."""
    return token >> 20


def kept_of(name: SessionKey, found: Document | None) -> Kept:
    """Read a whole document. Raises: Unreadable."""
    if found is None:
        return Kept()
    try:
        return _kept(found)
    except (KeyError, TypeError, ValueError, AttributeError, SessionError) as error:
        raise unreadable(f"session {name}", error) from error


def record_of(name: SessionKey, found: Document, *, entry: bool = True) -> Record | None:
    """Read a session's record. Raises: Unreadable.

    Args:
        entry: false where the entry was not asked for; the record is without it.
    """
    try:
        return _record(found, entry)
    except (KeyError, TypeError, ValueError, AttributeError, SessionError) as error:
        raise unreadable(f"session {name}", error) from error


def row_of(found: Document) -> SessionInfo:
    """Read a row. Raises: Unreadable."""
    try:
        agent, key = layout.split_member(found["m"])
        return SessionInfo(
            key=SessionKey(agent, key),
            session_id=found.get("sid"),
            status=Status(found["s"]),
            lines=int(found["cur"]["n"]) if found.get("cur") else 0,
            revision=int(found["r"]),
            updated_ms=int(found["u"]),
            title=found.get("tl") or found.get("te"),
            tags=tuple(found.get("tg", ())),
            pinned=bool(found.get("pn")),
            channel=found.get("ch"),
            sender=found.get("sn"),
            expires_ms=found.get("x"),
        )
    except (KeyError, TypeError, ValueError, AttributeError, SessionError) as error:
        raise unreadable(f"session {found.get('m', found.get('_id'))}", error) from error


def unreadable(what: str, error: Exception) -> Unreadable:
    """Make the error for a document that we did not write."""
    return Unreadable(f"{what}: its document in MongoDB is not one that this library writes ({_why(error)})")


def head_of(found: Document) -> TranscriptHead | None:
    """Return the current transcript's head."""
    current = found.get("cur")
    return TranscriptHead(current["i"], current["g"], current["n"]) if current else None


def fields_of(record: Record) -> Document:
    """Return all fields that a record fills, but for its lines; None is a field that is not there."""
    marks, lifetime = record.marks, record.lifetime
    return {
        "r": record.revision,
        "s": record.status.value,
        "c": record.created_ms,
        "u": record.updated_ms,
        "w": record.written_ms,
        "p": record.touched_ms or None,
        "x": record.expires_ms,
        "lt": lifetime.ttl_ms,
        "li": lifetime.idle_ms,
        "tl": marks.title,
        "tg": list(marks.tags) or None,
        "pn": marks.pinned or None,
        "ar": marks.reason,
    }


def entry_fields_of(name: SessionKey, entry: Entry | None) -> Document:
    """Return the fields that an entry fills, and what is derived from it."""
    told = attributes_of(name, entry) if entry is not None else Attributes()
    return {
        "j": Binary(entry.raw) if entry is not None else None,
        "sid": entry.session_id if entry is not None else None,
        "ch": told.channel,
        "sn": told.sender,
        "te": told.title,
    }


def transcript_fields_of(record: Record, current: str | None, strands: Mapping[str, Strand]) -> Document:
    """Return the fields `cur` and `old`."""
    spans = record.transcripts
    others = [
        {"i": name, "g": span.generation} | _without_lines(strands.get(name, Strand()))
        for name, span in spans.items()
        if name != current
    ]
    kept = (
        {"i": current, "g": spans[current].generation} | strand.encoded(strands.get(current, Strand()))
        if current is not None
        else None
    )
    return {"cur": kept, "old": others or None}


def lease_fields_of(state: LeaseState) -> Document:
    """Return a lease as a document has it."""
    return {"lease": {"h": state.holder, "t": state.token, "u": state.until_ms}}


def note_of(operation: str, token: int) -> str:
    """Return how a document notes a change that the feed may not know yet: as no other change is noted."""
    return f"{operation}:{token:x}"


def untold(notes: Sequence[str], revision: int) -> list[tuple[int, str]]:
    """Return (revision, operation) of notes, of which the last one is of `revision`.

    Notes are struck out from the first on, so that those that are left are of consecutive revisions.
    """
    operations = [note.partition(":")[0] for note in notes]
    return list(zip(range(revision - len(notes) + 1, revision + 1), operations, strict=True))


def _without_lines(one: Strand) -> Document:
    """A transcript that is not the current one has all of its lines in chunks."""
    return {"n": one.count, "q": [[segment.start, segment.nonce] for segment in one.segments]}


def _kept(found: Document) -> Kept:
    current = found.get("cur")
    strands = {one["i"]: strand.decoded(one) for one in [current, *found.get("old", ())] if one}
    strands |= {
        one["i"]: Strand(int(one["n"]), int(one["n"]), 0, strands[one["i"]].segments) for one in found.get("old", ())
    }
    lease = found.get("lease")
    return Kept(
        exists=True,
        record=_record(found, True),
        version=found.get("v"),
        tokens=tuple(found.get("at", ())),
        untold=tuple(found.get("pend", ())),
        garbage=tuple(found.get("gc", ())),
        current=current["i"] if current else None,
        strands=strands,
        lease=LeaseState(str(lease["h"]), int(lease["t"]), int(lease["u"])) if lease else None,
    )


def _record(found: Document, entry: bool) -> Record | None:
    if "r" not in found:
        return None
    status = Status(found["s"])
    raw = found["j"] if entry and status is not Status.DELETED else None
    every = [*([found["cur"]] if found.get("cur") else []), *found.get("old", ())]
    return Record(
        revision=_integer(found["r"]),
        status=status,
        entry=Entry(bytes(raw)) if raw is not None else None,
        created_ms=_integer(found["c"]),
        updated_ms=_integer(found["u"]),
        written_ms=_integer(found["w"]),
        touched_ms=_integer(found.get("p", 0)),
        expires_ms=found.get("x"),
        marks=Marks(found.get("tl"), tuple(found.get("tg", ())), bool(found.get("pn")), found.get("ar")),
        lifetime=Lifetime(found.get("lt"), found.get("li")),
        transcripts={one["i"]: Span(_integer(one["g"]), _integer(one["n"])) for one in every},
    )


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"a {type(value).__name__} where a whole number ought to be")
    return int(value)


def _why(error: Exception) -> str:
    """The content of a document is a conversation's; only what is missing, or of which type, is told."""
    return f"no field {error}" if isinstance(error, KeyError) else str(error).partition(":")[0]
