"""What lies in a record's hash, read into our values. Pure; docs/design/0001-identity.md names the fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sessionstore.sessions.exceptions import InvalidEntry, InvalidKey, Unreadable
from sessionstore.sessions.record import Entry, Session, SessionInfo, SessionKey, Status, TranscriptHead

ROW_FIELDS = ("r", "s", "u", "t", "sid")
"""What a row of `list` needs, beside the length of the transcript that `t` names."""

Fields = Mapping[bytes, bytes]


def unreadable(name: SessionKey, why: str) -> Unreadable:
    """Make the error for a record that is there and is not ours."""
    return Unreadable(f"session {name} cannot be read: {why}; look at it with redis-cli, nothing was changed")


def pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """Turn the field, value, field, value… of a script's answer into a mapping."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def session_of(name: SessionKey, fields: Fields, entry: Entry | None = None) -> Session | None:
    """Read a record; None for a tombstone or no fields at all.

    Args:
        entry: the entry where the caller just wrote it, so that it is not parsed again.
    Raises: Unreadable.
    """
    if not fields:
        return None
    status = _status(name, fields.get(b"s"))
    revision = _number(name, fields, b"r")
    if status is Status.DELETED:
        return None
    return Session(
        key=name,
        entry=_entry(name, fields) if entry is None else entry,
        revision=revision,
        status=status,
        created_ms=_number(name, fields, b"c"),
        updated_ms=_number(name, fields, b"u"),
        written_ms=_number(name, fields, b"w"),
        transcript=_transcript(name, fields),
    )


def transcript_id_of_row(values: Sequence[bytes | None]) -> bytes | None:
    """Return the current transcript of a row's ROW_FIELDS, where there is one."""
    return values[3] or None


def row_of(name: SessionKey, values: Sequence[bytes | None], lines: bytes | None) -> SessionInfo | None:
    """Read a row from its ROW_FIELDS and its transcript's length; None for a tombstone.

    Raises: Unreadable, also where an index names a session that has no record.
    """
    if not any(values):
        raise unreadable(name, "its record is lost; only its row in the index is left (`delete` removes that)")
    fields = {field.encode(): value for field, value in zip(ROW_FIELDS, values, strict=True) if value is not None}
    status = _status(name, fields.get(b"s"))
    if status is Status.DELETED:
        return None
    return SessionInfo(
        key=name,
        session_id=_text(name, fields[b"sid"]) if b"sid" in fields else None,
        status=status,
        lines=_number(name, {b"n": lines}, b"n") if lines is not None else 0,
        revision=_number(name, fields, b"r"),
        updated_ms=_number(name, fields, b"u"),
    )


def _entry(name: SessionKey, fields: Fields) -> Entry:
    if b"j" not in fields:
        raise unreadable(name, "it has no entry")
    try:
        return Entry(fields[b"j"])
    except InvalidEntry as error:
        raise unreadable(name, f"its entry is damaged: {error}") from error


def _transcript(name: SessionKey, fields: Fields) -> TranscriptHead | None:
    transcript_id = fields.get(b"t")
    if not transcript_id:
        return None
    generation = _number(name, fields, b"g:" + transcript_id)
    return TranscriptHead(_text(name, transcript_id), generation, _number(name, fields, b"n:" + transcript_id))


def _status(name: SessionKey, value: bytes | None) -> Status:
    try:
        return Status((value or b"").decode())
    except ValueError as error:
        raise unreadable(name, f"its status {value!r} is not known to this version") from error


def _number(name: SessionKey, fields: Fields, field: bytes) -> int:
    value = fields.get(field, b"")
    if not value.isdigit():
        raise unreadable(name, f"its field {field.decode(errors='replace')} is no number")
    return int(value)


def _text(name: SessionKey, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise unreadable(name, "it names something that is not UTF-8") from error


def session_key_of(agent: str, key: str) -> SessionKey:
    """Read a name that an index holds. Raises: Unreadable."""
    try:
        return SessionKey(agent, key)
    except InvalidKey as error:
        raise Unreadable(f"an index names an impossible session: {error}") from error
