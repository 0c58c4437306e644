"""The session library that a gateway imports: `open_store`, the records, the errors.

Opening a store imports its driver; importing this package imports neither a driver nor yaml.
"""

from sessionstore.sessions.config import SessionStorage, open_store
from sessionstore.sessions.exceptions import (
    ConfigurationError,
    Conflict,
    InvalidEntry,
    InvalidKey,
    NoTranscript,
    SessionError,
    Unavailable,
    Unreadable,
    Unsupported,
)
from sessionstore.sessions.record import (
    ArchiveInfo,
    Entry,
    Page,
    Session,
    SessionInfo,
    SessionKey,
    Status,
    Transcript,
    TranscriptHead,
)
from sessionstore.sessions.store import Capability, Store, iterate

__all__ = [
    "ArchiveInfo",
    "Capability",
    "ConfigurationError",
    "Conflict",
    "Entry",
    "InvalidEntry",
    "InvalidKey",
    "NoTranscript",
    "Page",
    "Session",
    "SessionError",
    "SessionInfo",
    "SessionKey",
    "SessionStorage",
    "Status",
    "Store",
    "Transcript",
    "TranscriptHead",
    "Unavailable",
    "Unreadable",
    "Unsupported",
    "iterate",
    "open_store",
]
