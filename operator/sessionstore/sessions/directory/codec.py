"""What the files of a directory store hold. Pure: bytes in, values out.

A record is one JSON object, and the entry in it the bytes that were given: it stands between two line feeds of ours,
and everything before the first of them is written by us without any.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sessionstore.openclaw import rawjson
from sessionstore.sessions.exceptions import SessionError
from sessionstore.sessions.leases import LeaseState
from sessionstore.sessions.record import MAX_ENTRY_BYTES, Entry, Lifetime, Marks, SessionKey, Status
from sessionstore.sessions.transitions import Record, Span

LAYOUT = 1
MAX_BYTES = 2 * MAX_ENTRY_BYTES
"""Of a record's file, or a smaller one's: the largest entry, and as much again for what is kept beside it."""

_BEFORE, _AFTER = b',\n"entry":', b"\n}\n"


class Damaged(ValueError):
    """Bytes that this layout does not hold."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A record, and what the files beside it must hold."""

    record: Record
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Transcript id -> bytes of its lines, of those that have any."""


def dump_record(name: SessionKey, kept: Kept) -> bytes:
    """Write a record."""
    record, marks, lifetime = kept.record, kept.record.marks, kept.record.lifetime
    head = {
        "layout": LAYOUT,
        "agent": name.agent,
        "key": name.key,
        "revision": record.revision,
        "status": record.status,
        "created_ms": record.created_ms,
        "updated_ms": record.updated_ms,
        "written_ms": record.written_ms,
        "touched_ms": record.touched_ms,
        "expires_ms": record.expires_ms,
        "marks": [marks.title, list(marks.tags), marks.pinned, marks.reason],
        "lifetime": [lifetime.ttl_ms, lifetime.idle_ms],
        "transcripts": {
            transcript_id: [span.generation, span.lines, kept.sizes.get(transcript_id, 0)]
            for transcript_id, span in record.transcripts.items()
        },
    }
    entry = b"null" if record.entry is None else record.entry.raw
    return _json(head)[:-1] + _BEFORE + entry + _AFTER


def parse_record(data: bytes) -> tuple[SessionKey, Kept]:
    """Read a record, and whose it is. Raises: Damaged."""
    first, _, rest = data.partition(b"\n")
    before = _BEFORE[2:]
    if not first.endswith(b",") or not rest.startswith(before) or not rest.endswith(_AFTER):
        raise Damaged("it is cut off, or was never a record")
    raw = rest[len(before) : -len(_AFTER)]
    head = _object(first[:-1] + b"}")
    try:
        return SessionKey(head["agent"], head["key"]), _kept(head, None if raw == b"null" else Entry(raw))
    except (SessionError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"it is malformed: {error}") from error


def dump_lease(name: SessionKey, state: LeaseState) -> bytes:
    """Write what is kept of a session's leases."""
    return _json(
        {
            "layout": LAYOUT,
            "agent": name.agent,
            "key": name.key,
            "holder": state.holder,
            "token": state.token,
            "until_ms": state.until_ms,
        }
    )


def parse_lease(data: bytes) -> tuple[SessionKey, LeaseState]:
    """Read that. Raises: Damaged."""
    head = _object(data)
    try:
        name = SessionKey(head["agent"], head["key"])
        return name, LeaseState(_text(head["holder"]), _number(head["token"]), _number(head["until_ms"]))
    except (SessionError, KeyError, TypeError) as error:
        raise Damaged(f"it is malformed: {error}") from error


@dataclass(frozen=True, slots=True)
class ArchiveHead:
    """An archive: its lines are in a file beside this."""

    agent: str
    name: str
    generation: int = 0
    """How often its lines were replaced."""
    lines: int = 0
    size: int = 0


def dump_archive(head: ArchiveHead) -> bytes:
    """Write an archive's head."""
    return _json(
        {
            "layout": LAYOUT,
            "agent": head.agent,
            "name": head.name,
            "generation": head.generation,
            "lines": head.lines,
            "bytes": head.size,
        }
    )


def parse_archive(data: bytes) -> ArchiveHead:
    """Read an archive's head. Raises: Damaged."""
    head = _object(data)
    try:
        agent, name = _text(head["agent"]), _text(head["name"])
        return ArchiveHead(agent, name, *(_number(head[what]) for what in ("generation", "lines", "bytes")))
    except (KeyError, TypeError) as error:
        raise Damaged(f"it is malformed: {error}") from error


def dump_document(name: str, body: bytes) -> bytes:
    """Write a document: a line that names it, and the bytes."""
    return _json({"layout": LAYOUT, "name": name, "bytes": len(body)}) + b"\n" + body


def parse_document(data: bytes) -> tuple[str, bytes]:
    """Read a document. Raises: Damaged."""
    first, _, body = data.partition(b"\n")
    head = _object(first)
    if head.get("bytes") != len(body) or not isinstance(head.get("name"), str):
        raise Damaged("it is cut off, or was never a document")
    return head["name"], body


def dump_store(store_id: str) -> bytes:
    """Write what makes a directory a store."""
    return _json({"layout": LAYOUT, "id": store_id}) + b"\n"


def parse_store(data: bytes) -> str:
    """Return the store's id. Raises: Damaged."""
    try:
        return _text(_object(data)["id"])
    except (KeyError, TypeError) as error:
        raise Damaged("it names no store") from error


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _object(data: bytes) -> dict[str, Any]:
    try:
        head = rawjson.parse_object(data)
    except ValueError as error:
        raise Damaged(f"it is cut off, or was never ours: {error}") from error
    if head.get("layout") != LAYOUT:
        raise Damaged(f"it has layout {head.get('layout')!r}, and this library reads {LAYOUT}")
    return head


def _kept(head: Mapping[str, Any], entry: Entry | None) -> Kept:
    title, tags, pinned, reason = head["marks"]
    spans = {transcript_id: _span(values) for transcript_id, values in head["transcripts"].items()}
    status = Status(head["status"])
    if (status is Status.DELETED) is not (entry is None):
        raise TypeError("its status and its entry do not fit")
    expires_ms = head["expires_ms"]
    record = Record(
        revision=_number(head["revision"]),
        status=status,
        entry=entry,
        created_ms=_number(head["created_ms"]),
        updated_ms=_number(head["updated_ms"]),
        written_ms=_number(head["written_ms"]),
        touched_ms=_number(head["touched_ms"]),
        expires_ms=None if expires_ms is None else _number(expires_ms),
        marks=Marks(title, tuple(map(_text, tags)), bool(pinned), reason),
        lifetime=Lifetime(*head["lifetime"]),
        transcripts={transcript_id: span for transcript_id, (span, _) in spans.items()},
    )
    # Asked for here, so that an entry that names a path as its transcript is damage like any other.
    _ = record.transcript
    return Kept(record, {transcript_id: size for transcript_id, (_, size) in spans.items() if size})


def _span(values: Any) -> tuple[Span, int]:
    generation, lines, size = map(_number, values)
    return Span(generation, lines), size


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("a number is none")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is none")
    return value
