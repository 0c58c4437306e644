"""What can be wrong with a state directory, as values: a reader reports, and goes on.

The migration counts these, shows them and keeps the bytes they speak of. Reasons are an API: docs/migration.md
lists each with what a person can do, and a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why something was not taken as it is, or was taken although it is broken."""

    INVALID_JSON = "InvalidJSON"
    """`sessions.json`, or one of its entries, is not JSON."""
    DUPLICATE_KEY = "DuplicateKey"
    """An object holds one key twice; in `sessions.json` itself the last entry counts, as for OpenClaw."""
    NOT_AN_OBJECT = "NotAnObject"
    """An array, text or number stands where an object belongs."""
    NO_SESSION_ID = "NoSessionId"
    """An entry without `sessionId`; OpenClaw itself cannot use it."""
    INVALID_TRANSCRIPT_NAME = "InvalidTranscriptName"
    """`sessionFile` or `sessionId` is no possible file name."""
    INVALID_KEY = "InvalidKey"
    """A session key, agent or file name that the identity contract refuses."""
    INVALID_UTF8 = "InvalidUTF8"
    """Bytes that are not UTF-8. A transcript's line is carried as it is all the same."""
    MISSING_TRANSCRIPT = "MissingTranscript"
    """The entry names a transcript file that is not there; the entry is carried with no lines."""
    MISSING_INDEX = "MissingIndex"
    """`session.store` names an index that is not there, and transcripts lie where it belongs; they are carried."""
    TORN_LAST_LINE = "TornLastLine"
    """A file ends within a line; its whole lines are carried."""
    NOT_JSON_LINE = "NotJSONLine"
    """A line within a transcript is not JSON; it is carried as it is."""
    TOO_LARGE = "TooLarge"
    """Larger than the limit; the bytes stay in the source."""
    SYMLINK = "Symlink"
    """A symbolic link, which is never followed: it may lead out of the volume."""
    SPECIAL_FILE = "SpecialFile"
    """A directory, pipe, socket or device where a file belongs, or a file where a directory does."""
    UNREADABLE = "Unreadable"
    """The file was gone when it was to be read. A volume that fails ends the run instead: see SourceError."""
    UNKNOWN_FILE = "UnknownFile"
    """A file among the sessions that OpenClaw 2026.7 does not write; it is not carried."""
    UNSUPPORTED_LAYOUT = "UnsupportedLayout"
    """Sessions may lie here in a form that this version does not read."""
    DAMAGED_DATABASE = "DamagedDatabase"
    """A database of OpenClaw 2026.8 or later is damaged; what can be read of it is carried, all of it is kept."""
    UNDECODABLE = "Undecodable"
    """Compressed bytes that are damaged, that are not what their record says, or that far too much comes out of."""
    INCOMPLETE = "Incomplete"
    """An entry in a directory that OpenClaw never finished writing; its own reader does not look there either."""
    NOT_KEPT_BY_STORE = "NotKeptByStore"
    """The store has no place for archives; they stay in the source."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that a person should look at.

    Attributes:
        path: of the file, relative to the state directory, always printable.
        key: the session key, where the problem is one entry's.
        offset: byte in the file where it begins, where that is known.
    """

    path: str
    reason: Reason
    detail: str
    agent: str | None = None
    key: str | None = None
    offset: int | None = None


class Refused(Exception):
    """One file or directory cannot be taken; its neighbours can.

    Attributes:
        reason: the Reason of the Problem to report.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

    def problem(self, path: str, agent: str | None = None, key: str | None = None) -> Problem:
        """Return what to report."""
        return Problem(path, self.reason, str(self), agent, key)


class SourceError(Exception):
    """The source as a whole cannot be read: going on would take missing rights for missing sessions.

    Attributes:
        reason: `PathNotFound`, `NotADirectory`, `NothingFound`, `PermissionDenied`, `SourceUnreadable`,
            `SourceChanged`, `ScratchFull`, `PackageMissing` or `SQLiteTooOld`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
