"""What of a session is encrypted, and what the layout beneath needs in clear. No I/O.

Whole (the default): in place of the entry stands `{"$encrypted":{"v":1,"key":…,"data":…,"told":…},` and, bound to it,
what the layout needs in clear. By fields: the entry as it is but for the values of those fields, and in front of its
members a list of them. `told` has channel, sender and title for rows, where key and clear members do not tell them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sessionstore.openclaw import rawjson
from sessionstore.sessions import record
from sessionstore.sessions.attributes import attributes_of
from sessionstore.sessions.encryption import forms
from sessionstore.sessions.encryption.forms import LINE, MEMBER, TEXT
from sessionstore.sessions.encryption.keyring import ID_LENGTH, Keyring, Place
from sessionstore.sessions.exceptions import ConfigurationError, InvalidEntry, Unreadable
from sessionstore.sessions.record import Entry, Session, SessionInfo, SessionKey

TRANSCRIPT, TITLE = "transcript", "title"
"""Words among `fields`: the lines of transcripts and archives; the title that is set beside the entry."""
PLAIN, DAMAGED = "plain", "damaged"
"""In place of a key's id."""

_LAYOUT_MEMBERS = ("sessionId", "sessionFile", "updatedAt")
_MARK = b'"$encrypted":{"v":1,'
_BY_FIELDS = b'{"$encrypted":{"v":1,"fields":'
_END = b',"$end":"encrypted"}'
_MOST_ID_BYTES = 255
"""Of a `sessionId` in clear; a longer one names no transcript."""
_NOTHING = Entry(b"{}")

Found = tuple[str, bytes] | None
"""Key id and data of something encrypted; None where it is damaged."""


class Sealing:
    """Encrypts and decrypts what a store keeps. All that opens raises Unreadable for what cannot be decrypted."""

    def __init__(self, keyring: Keyring, fields: Iterable[str] = (), *, require: bool = False) -> None:
        """Encrypt whole, or these top-level fields of entries alone.

        Args:
            fields: also the words `transcript` and `title`.
            require: refuse what lies in the store in plain.
        Raises: ConfigurationError for a field that the layout needs in clear.
        """
        self.keyring, self.fields, self.require = keyring, frozenset(fields), require
        needed = self.fields.intersection(_LAYOUT_MEMBERS)
        if needed:
            raise ConfigurationError(f"encryption_fields names {min(needed)}, which the layout needs in clear")
        self.whole = not self.fields
        self.covers_lines = self.whole or TRANSCRIPT in self.fields
        self.covers_titles = self.whole or TITLE in self.fields

    # -- sessions -------------------------------------------------------------------------------

    def open_session(self, stored: Session, entry: Entry | None = None) -> Session:
        """Return the session as it was before it was encrypted.

        Args:
            entry: its entry, where that is at hand.
        """
        marks = stored.marks
        if marks.title is not None:
            marks = dataclasses.replace(marks, title=self.open_title(stored.key, marks.title))
        entry = self.open_entry(stored.key, stored.entry) if entry is None else entry
        return dataclasses.replace(stored, entry=entry, marks=marks)

    def open_info(self, row: SessionInfo) -> SessionInfo:
        """Return the row with its texts as they were."""
        title, channel, sender = (self._open_told(row, what) for what in ("title", "channel", "sender"))
        return dataclasses.replace(row, title=title, channel=channel, sender=sender)

    def _open_told(self, row: SessionInfo, what: str) -> str | None:
        stored: str | None = getattr(row, what)
        # What the session's key tells stands in plain, whatever it looks like.
        if stored is None or stored == getattr(attributes_of(row.key, _NOTHING), what):
            return stored
        text = self._open_text(place_of(row.key), what, stored)
        if self.whole and self.require and text == stored:
            self._check_plain(place_of(row.key), what)
        return text

    # -- entries --------------------------------------------------------------------------------

    def seal_entry(self, name: SessionKey, entry: Entry, updated_ms: int | None = None) -> Entry:
        """Return what is stored in place of `entry`. Raises: InvalidEntry.

        Args:
            updated_ms: the time that the layout is told, where it is not to be the entry's own; of whole entries only.
        """
        if len(entry.raw) > record.MAX_ENTRY_BYTES:
            raise InvalidEntry(f"entry has {len(entry.raw)} bytes; at most {record.MAX_ENTRY_BYTES} are allowed")
        return self._seal_whole(name, entry, updated_ms) if self.whole else self._seal_fields(name, entry)

    def open_entry(self, name: SessionKey, stored: Entry) -> Entry:
        """Return the entry; one that was stored in plain as it is."""
        place, raw = place_of(name), stored.raw
        try:
            if raw.startswith(MEMBER.head):
                return Entry.known(self._open_whole(place, raw))
            if raw.startswith(_BY_FIELDS):
                return Entry(self._open_fields(place, raw))
        except (InvalidEntry, rawjson.RawJSONError) as error:
            raise damage(place, "entry") from error
        if _MARK in raw or raw.endswith(_END):
            raise damage(place, "entry")
        self._check_plain(place, "entry")
        return stored

    def entry_keys(self, stored: Entry) -> set[str]:
        """Return the ids of the keys it is encrypted with; `PLAIN` among them where it is not as it is written now."""
        raw = stored.raw
        if raw.startswith(MEMBER.head):
            found = raw[len(MEMBER.head) :][:ID_LENGTH].decode("ascii", "replace")
            return {found} if self.whole else {found, PLAIN}
        if not raw.startswith(_BY_FIELDS):
            return {DAMAGED if _MARK in raw or raw.endswith(_END) else PLAIN}
        try:
            listed, members = _split_mark(raw)
            values = dict(rawjson.members(members))
        except rawjson.RawJSONError:
            return {DAMAGED}
        keys = {key_of(MEMBER, values.get(field, b"")) for field in listed}
        return keys if set(listed) == self.fields & values.keys() and not self.whole else keys | {PLAIN}

    def _seal_whole(self, name: SessionKey, entry: Entry, updated_ms: int | None) -> Entry:
        place = place_of(name)
        members = _clear_members(entry, updated_ms)
        told = self._told(name, entry, _NOTHING)
        clear = rawjson.dump(members)[1:-1]
        bound = b"".join((b'"', _member(told), b"}", b"," if clear else b"", clear, _END))
        data = forms.to_text(self.keyring.encrypt(place, b"entry", entry.raw, bound))
        # What the store beneath looks at is at hand, and needs no parsing of the whole.
        mark = {"v": 1, "key": self.keyring.last, "data": data.decode()} | ({"told": told} if told else {})
        raw = b"".join((MEMBER.head, self.keyring.last.encode(), MEMBER.middle, data, bound))
        return Entry.known(raw, {"$encrypted": mark, **members, "$end": "encrypted"})

    def _open_whole(self, place: Place, raw: bytes) -> bytes:
        end = raw.find(b'"', len(MEMBER.head) + ID_LENGTH + len(MEMBER.middle))
        return self._open(place, b"entry", _text_of(MEMBER.read(raw[:end] + MEMBER.tail)), raw[end:])

    def _seal_fields(self, name: SessionKey, entry: Entry) -> Entry:
        if _MARK in entry.raw:
            raise InvalidEntry("entry holds $encrypted as encryption by fields writes it; call that member otherwise")
        place = place_of(name)
        plain = {key: value for key, value in rawjson.members(entry.raw) if key in self.fields}
        sealed = {key: self._seal_text(MEMBER, place, b"field", value, key.encode()) for key, value in plain.items()}
        listed = json.dumps(list(sealed), separators=(",", ":")).encode()
        members = (b"," if len(entry) else b"") + rawjson.replace_values(entry.raw, sealed).lstrip()[1:]
        shown = Entry(b"".join((_BY_FIELDS, listed, b"}", members)))
        return Entry(b"".join((_BY_FIELDS, listed, _member(self._told(name, entry, shown)), b"}", members)))

    def _open_fields(self, place: Place, raw: bytes) -> bytes:
        listed, members = _split_mark(raw)
        stored = {key: value for key, value in rawjson.members(members) if key in listed}
        return rawjson.replace_values(
            members,
            {
                key: self._open(place, b"field", _text_of(MEMBER.read(value)), key.encode())
                for key, value in stored.items()
            },
        )

    def _told(self, name: SessionKey, entry: Entry, shown: Entry) -> dict[str, str]:
        """Return what rows are to tell and `shown` does not, encrypted."""
        plain, known = attributes_of(name, entry), attributes_of(name, shown)
        texts = {
            what: text
            for what, text in (("channel", plain.channel), ("sender", plain.sender), ("title", plain.title))
            if text is not None and (text != getattr(known, what) or TEXT.is_met(text.encode()))
        }
        return {what: self.seal_text(place_of(name), what, text) for what, text in texts.items()}

    # -- titles, lines, documents ---------------------------------------------------------------

    def seal_text(self, place: Place, what: str, text: str) -> str:
        """Encrypt a short text; `what` it is: `title`, `channel`, `sender`."""
        return self._seal_text(TEXT, place, what.encode(), text.encode()).decode()

    def open_title(self, name: SessionKey, stored: str) -> str:
        """Return a title as it was."""
        text = self._open_text(place_of(name), "title", stored)
        if text == stored and self.covers_titles:
            self._check_plain(place_of(name), "title")
        return text

    def seals_title(self, title: str) -> bool:
        """Return whether a title is to be encrypted; one that looks so is in any case, or it would count as damaged."""
        return self.covers_titles or TEXT.is_met(title.encode())

    def seal_lines(self, place: Place, lines: Sequence[bytes]) -> Sequence[bytes]:
        """Encrypt lines, where lines are to be; those that look encrypted in any case."""
        return [self.seal_line(place, line) if self.covers_lines or LINE.is_met(line) else line for line in lines]

    def seal_line(self, place: Place, line: bytes) -> bytes:
        """Encrypt one line."""
        return self._seal_text(LINE, place, b"line", line)

    def open_lines(self, place: Place, stored: Iterable[bytes]) -> tuple[bytes, ...]:
        """Return lines as they were."""
        return tuple([self.open_line(place, line) for line in stored])

    def open_line(self, place: Place, stored: bytes) -> bytes:
        """Return one line as it was."""
        if LINE.is_met(stored):
            return self._open(place, b"line", _text_of(LINE.read(stored)))
        if self.covers_lines:
            self._check_plain(place, "line")
        return stored

    def seal_document(self, name: str, body: bytes) -> bytes:
        """Encrypt a document."""
        return TEXT.write(self.keyring.last, self.keyring.encrypt(document(name), b"document", body))

    def open_document(self, name: str, stored: bytes) -> bytes:
        """Return a document as it was."""
        if TEXT.is_met(stored):
            return self._open(document(name), b"document", TEXT.read(stored))
        self._check_plain(document(name), "document")
        return stored

    def _open_text(self, place: Place, what: str, stored: str) -> str:
        raw = stored.encode()
        return self._open(place, what.encode(), _text_of(TEXT.read(raw))).decode() if TEXT.is_met(raw) else stored

    def _seal_text(self, form: forms.Form, place: Place, purpose: bytes, plain: bytes, bound: bytes = b"") -> bytes:
        return form.write(self.keyring.last, forms.to_text(self.keyring.encrypt(place, purpose, plain, bound)))

    def _open(self, place: Place, purpose: bytes, found: Found, bound: bytes = b"") -> bytes:
        if found is None:
            raise damage(place, purpose.decode())
        return self.keyring.decrypt(place, purpose, *found, bound)

    def _check_plain(self, place: Place, what: str) -> None:
        if self.require:
            raise Unreadable(
                f"{place} cannot be read: its {what} is not encrypted and encryption_require is set; "
                "`sessionstore rekey` without encryption_require encrypts what is plain"
            )


def place_of(name: SessionKey) -> Place:
    """Return where the parts of a session belong."""
    return Place("session", name.agent, name.key)


def archive(agent: str, name: str) -> Place:
    """Return where the lines of an archive belong."""
    return Place("archive", agent, name)


def document(name: str) -> Place:
    """Return where a document belongs."""
    return Place("document", "", name)


def damage(place: Place, what: str) -> Unreadable:
    """Make the error for what was encrypted once and is not whole any more."""
    return Unreadable(f"{place} cannot be read: its {what} was encrypted, and is damaged")


def key_of(form: forms.Form, stored: bytes) -> str:
    """Return the id of the key that something is encrypted with; `PLAIN`, `DAMAGED`."""
    found = form.read(stored)
    return found[0] if found else DAMAGED if form.is_met(stored) else PLAIN


def _member(told: Mapping[str, str]) -> bytes:
    """Write what rows are to tell, behind the other members of a mark."""
    return b',"told":' + rawjson.dump(told) if told else b""


def _clear_members(entry: Entry, updated_ms: int | None) -> dict[str, Any]:
    """Return what the layout reads of an entry, in few words. Raises: InvalidEntry."""
    session_id, transcript_id = entry.session_id, entry.transcript_id
    updated_ms = entry.updated_ms if updated_ms is None else updated_ms
    clear: dict[str, Any] = {}
    if session_id is not None and len(session_id.encode("utf-8", "surrogatepass")) <= _MOST_ID_BYTES:
        clear["sessionId"] = session_id
    if transcript_id not in (None, session_id):
        clear["sessionFile"] = f"{transcript_id}.jsonl"
    return clear if updated_ms is None else clear | {"updatedAt": updated_ms}


def _split_mark(raw: bytes) -> tuple[list[str], bytes]:
    """Return the fields that are encrypted, and the entry without that list. Raises: RawJSONError."""
    key, value = next(rawjson.members(raw))
    listed = rawjson.parse_object(value).get("fields")
    if not isinstance(listed, list):
        raise rawjson.RawJSONError("its list of fields is none")
    members = raw[len(f'{{"{key}":') + len(value) :]
    return [str(field) for field in listed], b"{" + members.removeprefix(b",")


def _text_of(found: Found) -> Found:
    data = forms.from_text(found[1]) if found else None
    return None if found is None or data is None else (found[0], data)
