"""What a session is: frozen values, no I/O. docs/design/0001-identity.md is the contract.

Every backend and every reader makes these; nothing here knows where they are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sessionstore.openclaw import rawjson
from sessionstore.sessions.exceptions import InvalidEntry, InvalidKey

MAX_KEY_BYTES = 4096
MAX_ENTRY_BYTES = 8 * 1024 * 1024
MAX_LIFETIME_MS = 100 * 365 * 24 * 3600 * 1000
MAX_TEXT_BYTES = 1024
"""Of a title, a reason, a tag, a lease's holder."""
MAX_TAGS = 64
SEALED_ENTRY, SEALED_TEXT = b'{"$encrypted":', "$encrypted:"
"""How an encrypted entry begins, and an encrypted text (sessions/encryption/)."""
MAX_SEALED_ENTRY_BYTES = 12 * 1024 * 1024
MAX_SEALED_TEXT_BYTES = 2048
"""Encryption makes longer by a third and a little: what may be kept in plain may be kept encrypted."""
DEFAULT_AGENT = "main"

_AGENT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NOT_IN_A_STEM = re.compile("[/:\x00]")
_CONTROL = re.compile("[\x00-\x1f]")
_PATH = re.compile(r"[/\\]")
_TEXT = frozenset({str})
_SCALARS = frozenset({str, int, float, bool, type(None)})
_AGENT_PREFIX = re.compile(r"agent:([A-Za-z0-9._-]{1,64}):")


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidKey(f"{what} holds a lone surrogate at position {error.start}") from error


def check_agent(agent: str) -> str:
    """Return `agent`, or raise InvalidKey."""
    if not _AGENT.fullmatch(agent) or agent in (".", ".."):
        raise InvalidKey(f"agent {agent!r} is not 1-64 characters of A-Z a-z 0-9 . _ - (and not . or ..)")
    return agent


@dataclass(frozen=True, slots=True, order=True)
class SessionKey:
    """Names one session: the agent it belongs to, and its key text.

    Raises: InvalidKey for an agent or key that the contract refuses.
    """

    agent: str
    key: str

    def __post_init__(self) -> None:
        check_agent(self.agent)
        size = len(_utf8(self.key, "session key"))
        if not 1 <= size <= MAX_KEY_BYTES:
            raise InvalidKey(f"session key has {size} bytes; 1 to {MAX_KEY_BYTES} are allowed")
        if "\0" in self.key:
            raise InvalidKey(f"session key holds NUL at position {self.key.index(chr(0))}")

    @classmethod
    def of(cls, name: SessionKey | str) -> SessionKey:
        """Read a name as callers give it: `agent:<id>:…` names its agent, the rest is `main`'s."""
        if isinstance(name, SessionKey):
            return name
        match = _AGENT_PREFIX.match(name)
        return cls(match.group(1) if match else DEFAULT_AGENT, name)

    def __str__(self) -> str:
        return f"{self.agent}/{self.key}"


def check_transcript_id(transcript_id: str) -> str:
    """Return `transcript_id`, or raise InvalidKey."""
    size = len(_utf8(transcript_id, "transcript id"))
    if not 1 <= size <= 255 or _NOT_IN_A_STEM.search(transcript_id):
        raise InvalidKey(f"transcript id {transcript_id!r} is not 1-255 bytes without / : NUL")
    return transcript_id


def check_archive_name(name: str) -> str:
    """Return an archive's `name` (OpenClaw's file name), or raise InvalidKey."""
    size = len(_utf8(name, "archive name"))
    if not 1 <= size <= 255 or any(c in name for c in "/\0"):
        raise InvalidKey(f"archive name {name!r} is not 1-255 bytes without / NUL")
    return name


def check_document_name(name: str) -> str:
    """Return a document's `name`, or raise InvalidKey."""
    size = len(_utf8(name, "document name"))
    if not 1 <= size <= 1024 or "\0" in name:
        raise InvalidKey(f"document name has {size} bytes; 1 to 1024 without NUL are allowed")
    return name


def check_lines(lines: Sequence[bytes]) -> Sequence[bytes]:
    """Return `lines`, or raise InvalidEntry for one that holds a line feed: it would come back as two."""
    for index, line in enumerate(lines):
        if b"\n" in line:
            raise InvalidEntry(f"line {index} holds a line feed at byte {line.index(10)}; split it into lines first")
    return lines


def check_text(text: str, what: str) -> str:
    """Return a title, a reason, a tag or a holder, or raise InvalidEntry."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InvalidEntry(f"{what} holds a lone surrogate at position {error.start}") from error
    most = MAX_SEALED_TEXT_BYTES if text.startswith(SEALED_TEXT) else MAX_TEXT_BYTES
    if not 1 <= size <= most or _CONTROL.search(text):
        raise InvalidEntry(f"{what} is not 1-{MAX_TEXT_BYTES} bytes without control characters")
    return text


def _check_size(raw: bytes) -> bytes:
    most = MAX_SEALED_ENTRY_BYTES if raw.startswith(SEALED_ENTRY) else MAX_ENTRY_BYTES
    if len(raw) > most:
        raise InvalidEntry(f"entry has {len(raw)} bytes; at most {most} are allowed")
    return raw


class Status(StrEnum):
    """Where a session stands. `deleted` is a tombstone and is never handed out as a session."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    DELETED = "deleted"


class Entry(Mapping[str, Any]):
    """A session's metadata: a JSON object, read as a mapping, kept as the bytes that were given.

    `Entry.of(b'{"n":1e2}').raw` gives those bytes back; so do unknown fields and big integers.
    """

    __slots__ = ("_parsed", "raw")

    def __init__(self, raw: bytes) -> None:
        """Take `raw`, the UTF-8 bytes of one JSON object. Raises: InvalidEntry."""
        _check_size(raw)
        try:
            self._parsed: dict[str, Any] | None = rawjson.parse_object(raw)
        except rawjson.RawJSONError as error:
            raise InvalidEntry(str(error)) from error
        self.raw = raw

    @classmethod
    def known(cls, raw: bytes, parsed: dict[str, Any] | None = None) -> Entry:
        """Take bytes that are known to be an entry's; they are parsed when they are first looked into.

        Args:
            parsed: what they say, where that is at hand.
        """
        entry = cls.__new__(cls)
        entry._parsed, entry.raw = parsed, raw
        return entry

    @classmethod
    def of(cls, value: EntryLike) -> Entry:
        """Make an entry of raw bytes, of text, or of a mapping (written without white space)."""
        if isinstance(value, Entry):
            return value
        if isinstance(value, bytes):
            return cls(value)
        if isinstance(value, str):
            try:
                return cls(value.encode("utf-8"))
            except UnicodeEncodeError as error:
                raise InvalidEntry(f"entry holds a lone surrogate at position {error.start}; escape it") from error
        try:
            fields = dict(value)
            raw = rawjson.dump(fields)
        except (TypeError, ValueError) as error:
            raise InvalidEntry(f"entry cannot be written as JSON: {error}") from error
        _check_size(raw)
        try:
            # Two halves of a character that were escaped come back as one character.
            return cls(raw) if b"\\ud" in raw else cls.known(raw, _copied(fields, rawjson.MAX_DEPTH))
        except _Other:
            return cls(raw)

    def with_fields(self, fields: Mapping[str, Any]) -> Entry:
        """Return this entry with top-level `fields` set; all others keep their bytes."""
        return Entry(rawjson.replace_members(self.raw, fields))

    @property
    def _data(self) -> dict[str, Any]:
        if self._parsed is None:
            self._parsed = rawjson.parse_object(self.raw)
        return self._parsed

    @property
    def session_id(self) -> str | None:
        """The entry's `sessionId`, where it is text."""
        value = self._data.get("sessionId")
        return value if isinstance(value, str) and value else None

    @property
    def updated_ms(self) -> int | None:
        """The entry's `updatedAt` in milliseconds, where it is a whole number that makes sense."""
        value = self._data.get("updatedAt")
        return value if type(value) is int and 0 <= value < 2**53 else None

    @property
    def transcript_id(self) -> str | None:
        """The stem of the transcript that this entry names: of `sessionFile`, else `sessionId`."""
        file = self._data.get("sessionFile")
        name = _PATH.split(file)[-1] if isinstance(file, str) else ""
        named = name.removesuffix(".jsonl") if name.endswith(".jsonl") else self.session_id
        if not named:
            return None
        try:
            return check_transcript_id(named)
        except InvalidKey as error:
            raise InvalidEntry(f"entry names an impossible transcript: {error}") from error

    def __getitem__(self, name: str) -> Any:
        return self._data[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a top-level key, or `default`."""
        return self._data.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        # The content is a conversation's; it has no place in a log line.
        return f"Entry({len(self.raw)} bytes)"


class _Other(Exception):
    """A value that JSON gives back otherwise than it was written, or that nests too deeply."""


def _copied(value: Any, depth: int) -> Any:
    """Return what reading back the JSON of a dict or a list would give. Raises: _Other, where only that would tell."""
    if depth == 0 or type(value) not in (dict, list):
        raise _Other
    if type(value) is list:
        if _SCALARS.issuperset(map(type, value)):
            return value.copy()
        return [item if type(item) in _SCALARS else _copied(item, depth - 1) for item in value]
    # Two keys that are not text, 1 and "1", may be one in JSON.
    if not _TEXT.issuperset(map(type, value)):
        raise _Other
    if _SCALARS.issuperset(map(type, value.values())):
        return value.copy()
    return {name: item if type(item) in _SCALARS else _copied(item, depth - 1) for name, item in value.items()}


EntryLike = Entry | bytes | str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TranscriptHead:
    """What is known of a transcript without reading it."""

    id: str
    generation: int
    lines: int


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a session lives. Milliseconds; None is what the store is configured for, 0 is for ever."""

    ttl_ms: int | None = None
    """From the last write."""
    idle_ms: int | None = None
    """From the last read or write."""

    def __post_init__(self) -> None:
        for name in ("ttl_ms", "idle_ms"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= MAX_LIFETIME_MS:
                raise InvalidEntry(f"{name} {value} is not 0 (for ever) to {MAX_LIFETIME_MS} milliseconds")

    def over(self, defaults: Lifetime) -> Lifetime:
        """Return this lifetime with what it leaves open taken from `defaults`."""
        return Lifetime(
            defaults.ttl_ms if self.ttl_ms is None else self.ttl_ms,
            defaults.idle_ms if self.idle_ms is None else self.idle_ms,
        )

    def end_ms(self, written_ms: int, touched_ms: int) -> int | None:
        """Return when a session that was last written and read at these times expires; None is never."""
        ends = [written_ms + self.ttl_ms] if self.ttl_ms else []
        ends += [max(written_ms, touched_ms) + self.idle_ms] if self.idle_ms else []
        return min(ends, default=None)


@dataclass(frozen=True, slots=True)
class Marks:
    """What people set on a session beside its entry; none of it moves `updated_ms`."""

    title: str | None = None
    tags: tuple[str, ...] = ()
    """Sorted, each once."""
    pinned: bool = False
    """A pinned session never expires."""
    reason: str | None = None
    """Why it was archived."""


NO_MARKS = Marks()
INHERITED = Lifetime()
"""What a session has that says nothing itself: the store's."""


@dataclass(frozen=True, slots=True)
class Session:
    """One session as the store has it. Times are milliseconds since the epoch."""

    key: SessionKey
    entry: Entry
    revision: int
    status: Status
    created_ms: int
    updated_ms: int
    written_ms: int
    transcript: TranscriptHead | None
    touched_ms: int = 0
    """When it was last read, to within a sixteenth of its idle time; kept only where it has one."""
    expires_ms: int | None = None
    """When it expires if nobody uses it until then; None is never."""
    marks: Marks = NO_MARKS
    lifetime: Lifetime = INHERITED


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that is to be made with the first lines of its transcript, as `create` takes one."""

    key: SessionKey
    entry: Entry
    lines: Sequence[bytes] = ()
    lifetime: Lifetime | None = None


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A row of `list` and `search`: a session without its entry."""

    key: SessionKey
    session_id: str | None
    status: Status
    lines: int
    revision: int
    updated_ms: int
    title: str | None = None
    """The one that was set with `title`, else the entry's own."""
    tags: tuple[str, ...] = ()
    pinned: bool = False
    channel: str | None = None
    sender: str | None = None
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, newest first, and where to go on: `cursor` is `None` at the end."""

    items: tuple[SessionInfo, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Transcript:
    """A slice of a transcript: `lines` begin at index `start` of the `head.lines` there are."""

    head: TranscriptHead
    start: int
    lines: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, order=True)
class ArchiveInfo:
    """A transcript without a session: `name` is OpenClaw's file name, `<stem>.jsonl.reset.<ts>`."""

    agent: str
    name: str
    lines: int


class Operation(StrEnum):
    """What a change was, as the feed tells it."""

    SET = "set"
    APPEND = "append"
    REWRITE = "rewrite"
    DELETE = "delete"
    EXPIRE = "expire"
    ARCHIVE = "archive"
    RESTORE = "restore"
    MARK = "mark"
    """Title, tags, pin or lifetime."""


@dataclass(frozen=True, slots=True)
class Change:
    """One event of the feed: what became of a session. Its present state is the store's to tell."""

    key: SessionKey
    revision: int
    operation: Operation


@dataclass(frozen=True, slots=True)
class Changes:
    """Events in order (of one session; those of several may be interleaved otherwise), and where to go on."""

    items: tuple[Change, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to be a session's only writer until `until_ms`, on the store's clock."""

    key: SessionKey
    holder: str
    token: int
    """The fencing token: grows with each lease that is given out for the session; `set` and `append` carry it."""
    until_ms: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What a keyspace holds."""

    active: int
    archived: int
    expired: int
    """Past their time and not yet swept; in neither of the two above."""
    archives: int


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the store can be used now, and what is wrong where it cannot."""

    ok: bool
    message: str
    """For people: one sentence, with what to do where `ok` is false."""
    reason: str | None = None
    """For machines: as `Unavailable.reason`."""
    latency_ms: float | None = None
    facts: tuple[tuple[str, str], ...] = ()
    """What else is known, name and value: topology, primary, version, directory…"""
