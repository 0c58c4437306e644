"""A conversation kept through the session library, as any gateway would keep one.

Nothing here knows where sessions are: OpenClaw's files on this pod's volume, or a store that many pods
share. What makes it safe to share is in `take_turn`: every write says what it expects to find.
"""

from __future__ import annotations

import datetime
import json
import secrets
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sessionstore.sessions import Conflict, Entry, NoTranscript, Session, SessionKey, Store, Transcript

MAX_TRIES = 100
"""Each lost race means that another turn was written, so this many would have to pass in front of ours."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn that is in the store. `lines` is how many the transcript has with the `added` ones."""

    session_id: str
    number: int
    reply: str
    added: int
    lines: int


async def take_turn(store: Store, name: SessionKey, text: str) -> Turn:
    """Answer, and keep both sides. What is remembered is read anew when another pod was faster.

    Raises: Conflict when that happened `MAX_TRIES` times; Unavailable, Unreadable: never a new conversation instead.
    """
    for _ in range(MAX_TRIES - 1):
        try:
            return await _try_turn(store, name, text)
        except Conflict:
            continue
    return await _try_turn(store, name, text)


async def _try_turn(store: Store, name: SessionKey, text: str) -> Turn:
    now_ms = time.time_ns() // 1_000_000
    session = await _claim(store, name, now_ms)
    known = await store.read(name)
    if known is None:
        raise Conflict(f"session {name} was deleted between two calls", None)
    number = sum(_role(line) == "user" for line in known.lines) + 1
    reply = f"turn {number}; you said {text!r}; I remember {len(known.lines)} lines"
    added = _turn_lines(session, known, reply, text, now_ms)
    # All lines or none, and only behind what the answer was made from.
    try:
        head = await store.append(name, added, position=len(known.lines), generation=known.head.generation)
    except NoTranscript as error:
        raise Conflict(f"session {name} was deleted, or lost its sessionId, between two calls", None) from error
    return Turn(_session_id(session.entry), number, reply, len(added), head.lines)


async def _claim(store: Store, name: SessionKey, now_ms: int) -> Session:
    """Make the session, or move the one there is to now. The revision says whether anyone else did meanwhile."""
    session = await store.get(name)
    if session is None:
        entry: dict[str, Any] = {"sessionId": str(uuid.uuid4()), "updatedAt": now_ms}
        return await store.set(name, entry, expected=0)
    moved: dict[str, Any] = {"updatedAt": max(now_ms, session.entry.updated_ms or 0)}
    if session.entry.transcript_id is None:
        moved["sessionId"] = str(uuid.uuid4())
    # Fields that only other programs know stay in the entry, byte for byte.
    return await store.set(name, session.entry.with_fields(moved), expected=session.revision)


def _turn_lines(session: Session, known: Transcript, reply: str, text: str, now_ms: int) -> list[bytes]:
    """Build the lines of one turn as OpenClaw writes them: a header first, then messages that name their parent."""
    header = {"type": "session", "version": 3, "id": _session_id(session.entry), "timestamp": _iso(now_ms)}
    user = _message("user", text, _last_id(known.lines), now_ms)
    assistant = _message("assistant", [{"type": "text", "text": reply}], user["id"], now_ms)
    messages = [user, assistant]
    return [_line(part) for part in (messages if known.lines else [header, *messages])]


def _message(role: str, content: Any, parent: str | None, now_ms: int) -> dict[str, Any]:
    message = {"role": role, "content": content, "timestamp": now_ms}
    head = {"type": "message", "id": secrets.token_hex(4), "parentId": parent, "timestamp": _iso(now_ms)}
    return {**head, "message": message}


def _session_id(entry: Entry) -> str:
    return entry.session_id or entry.transcript_id or ""


def _last_id(lines: Sequence[bytes]) -> str | None:
    ids = (_parsed(line).get("id") for line in reversed(lines) if _parsed(line).get("type") != "session")
    return next((found for found in ids if isinstance(found, str)), None)


def _role(line: bytes) -> Any:
    message = _parsed(line).get("message")
    return message.get("role") if isinstance(message, dict) else None


def _parsed(line: bytes) -> dict[str, Any]:
    """Read a line; what another program wrote and this one cannot read is kept, and says nothing here."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _line(part: dict[str, Any]) -> bytes:
    return json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode()


def _iso(now_ms: int) -> str:
    at = datetime.datetime.fromtimestamp(now_ms / 1000, datetime.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
