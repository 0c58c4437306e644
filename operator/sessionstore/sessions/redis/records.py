"""What lies in a record's hash, read into our values. Pure; docs/design/0001-identity.md names the fields."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

from sessionstore.sessions.attributes import attributes_of
from sessionstore.sessions.exceptions import InvalidEntry, InvalidKey, Unreadable
from sessionstore.sessions.record import (
    INHERITED,
    NO_MARKS,
    Entry,
    Lifetime,
    Marks,
    Session,
    SessionInfo,
    SessionKey,
    Status,
    TranscriptHead,
)

SESSION_FIELDS = ("h", "j", "m")
"""What a session is read from: head, entry, marks."""
ROW_FIELDS = ("h", "m", "a")
"""What a row of `list` is read from: head, marks, attributes."""

Values = Sequence[bytes | None]

# Revision, status, created, updated, written, touched, expires, pinned, time to live, idle time, the entry's checksum,
# and the current transcript's generation, lines and id. Numbers have at most 16 digits, as far as Lua counts exactly.
_NUMBER = rb"(\d{1,16})"
_HEAD = re.compile(
    rb" ".join(
        [_NUMBER, rb"(active|archived|deleted)", *[_NUMBER] * 5, rb"([01])"]
        + [rb"(-|\d{1,16})"] * 2
        + [rb"(-|[0-9a-f]{8})", _NUMBER, _NUMBER, rb"(.*)"]
    ),
    re.DOTALL,
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_STATUS = {status.encode(): status for status in Status}


def unreadable(name: SessionKey, why: str) -> Unreadable:
    """Make the error for a record that is there and is not ours."""
    return Unreadable(f"session {name} cannot be read: {why}; look at it with redis-cli, nothing was changed")


def checksum(raw: bytes) -> str:
    """Return what a head says of its entry's bytes. It tells damage; against intent there is encryption."""
    return f"{zlib.crc32(raw):08x}"


def session_of(name: SessionKey, values: Values, entry: Entry | None = None) -> Session | None:
    """Read a record from its SESSION_FIELDS; None for a tombstone, or where nothing is.

    Args:
        entry: the entry where the caller just wrote it, so that it is not looked at again.
    Raises: Unreadable.
    """
    head, raw, marks = values
    if head is None:
        if raw is None and marks is None:
            return None
        raise unreadable(name, "it has no head")
    found = _HEAD.fullmatch(head)
    if found is None:
        raise _no_head(name, head)
    (
        revision,
        status,
        created,
        updated,
        written,
        touched,
        expires,
        pinned,
        ttl,
        idle,
        crc,
        generation,
        lines,
        current,
    ) = found.groups()
    if status == b"deleted":
        return None
    # By position: this is run for every session that is read.
    return Session(
        name,
        _entry(name, raw, crc) if entry is None else entry,
        int(revision),
        _STATUS[status],
        int(created),
        int(updated),
        int(written),
        TranscriptHead(_text(name, current), int(generation), int(lines)) if current else None,
        int(touched),
        int(expires) or None,
        _marks(name, marks, pinned),
        INHERITED if ttl == idle == b"-" else Lifetime(_optional(ttl), _optional(idle)),
    )


def is_live(name: SessionKey, head: bytes | None, now_ms: int) -> bool:
    """Return whether there is a session to serve. Raises: Unreadable."""
    if head is None:
        return False
    found = _parts(name, head)
    return found[2] != b"deleted" and not 0 < int(found[7]) <= now_ms


def tombstone_of(name: SessionKey, head: bytes | None, now_ms: int) -> int | None:
    """Return the revision of a tombstone, also of one that an expired record is about to become. Raises: Unreadable."""
    if head is None or is_live(name, head, now_ms):
        return None
    found = _parts(name, head)
    return int(found[1]) + (found[2] != b"deleted")


def row_of(name: SessionKey, values: Values) -> SessionInfo | None:
    """Read a row from its ROW_FIELDS; None for a tombstone.

    Raises: Unreadable, also where an index names a session that has no record.
    """
    head, marks, attributes = values
    if head is None:
        raise unreadable(name, "its record is lost; only its row in the index is left (`delete` removes that)")
    found = _parts(name, head)
    if found[2] == b"deleted":
        return None
    channel, sender, own_title, session_id = _attributes(name, attributes)
    title, tags = _title_and_tags(name, marks)
    return SessionInfo(
        key=name,
        session_id=session_id,
        status=_STATUS[found[2]],
        lines=int(found[13]),
        revision=int(found[1]),
        updated_ms=int(found[4]),
        title=title or own_title,
        tags=tags,
        pinned=found[8] == b"1",
        channel=channel,
        sender=sender,
        expires_ms=int(found[7]) or None,
    )


def attributes_text(name: SessionKey, entry: Entry) -> str:
    """Return what rows need to know of the entry: channel, sender, title, sessionId; a line each."""
    told = attributes_of(name, entry)
    return f"{told.channel or ''}\n{told.sender or ''}\n{told.title or ''}\n{_plain(entry.session_id)}"


def session_key_of(agent: str, key: str) -> SessionKey:
    """Read a name that an index or a feed holds. Raises: Unreadable."""
    try:
        return SessionKey(agent, key)
    except InvalidKey as error:
        raise Unreadable(f"an index names an impossible session: {error}") from error


def _entry(name: SessionKey, raw: bytes | None, crc: bytes) -> Entry:
    if raw is None:
        raise unreadable(name, "it has no entry")
    if crc == b"-":
        try:
            return Entry(raw)
        except InvalidEntry as error:
            raise unreadable(name, f"its entry is damaged: {error}") from error
    if crc != b"%08x" % zlib.crc32(raw):
        raise unreadable(name, "its entry is damaged: it is not what was written")
    return Entry.known(raw)


def _marks(name: SessionKey, marks: bytes | None, pinned: bytes) -> Marks:
    if not marks:
        return NO_MARKS if pinned == b"0" else Marks(pinned=True)
    title, reason, *tags = _text(name, marks).split("\n")
    return Marks(title or None, tuple(sorted(tags)), pinned == b"1", reason or None)


def _title_and_tags(name: SessionKey, marks: bytes | None) -> tuple[str, tuple[str, ...]]:
    if not marks:
        return "", ()
    title, _, *tags = _text(name, marks).split("\n")
    return title, tuple(sorted(tags))


def _attributes(name: SessionKey, attributes: bytes | None) -> list[str | None]:
    parts = _text(name, attributes or b"").split("\n", 3)
    if len(parts) != 4:
        raise unreadable(name, "its field a is none: channel, sender, title and sessionId, a line each")
    return [part or None for part in parts]


def _parts(name: SessionKey, head: bytes) -> re.Match[bytes]:
    found = _HEAD.fullmatch(head)
    if found is None:
        raise _no_head(name, head)
    return found


def _no_head(name: SessionKey, head: bytes) -> Unreadable:
    parts = head.split(b" ", 2)
    if not parts[0].isdigit():
        return unreadable(name, "its revision is no number")
    if len(parts) > 1 and parts[1] not in _STATUS:
        return unreadable(name, f"its status {parts[1]!r} is not known to this version")
    return unreadable(name, "its field h is none: revision, status, times, checksum and transcript")


def _optional(value: bytes) -> int | None:
    return None if value == b"-" else int(value)


def _text(name: SessionKey, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise unreadable(name, "it names something that is not UTF-8") from error


def _plain(text: str | None) -> str:
    # A sessionId with half a character in it is legal JSON and no UTF-8; rows then go without, the entry keeps it.
    return "" if text is None or _SURROGATE.search(text) else text
