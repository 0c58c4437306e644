"""What the session library raises. Callers choose their depth.

SessionError
├── InvalidKey            a session key, agent or transcript id that the contract refuses
├── InvalidEntry          an entry that is no JSON object, holds a key twice, or is too large
├── ConfigurationError    `session_storage` is set but cannot be used; never answered with a fallback
├── NoTranscript          lines for a session that is absent or whose entry names no transcript
├── Conflict              a lost race; carries the current record
├── LeaseHeld             another holder has the session's lease; carries that lease
├── LeaseLost             our lease ran out or went to another holder; what was to be written was not
├── FeedLost              the feed does not reach back to the cursor; take a snapshot and a new position
├── Unreadable            something is stored, but it is not what we wrote; names the key
├── Unavailable           the store did not answer in time, or refused us
└── Unsupported           the backend does not do this; see `Store.capabilities`

Absent is not an error: it is `None`. An empty session never stands in for any of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sessionstore.sessions.record import Lease, Page, Session, SessionKey


class SessionError(Exception):
    """Anything this library raises on purpose."""


class InvalidKey(SessionError, ValueError):
    """A name that the identity contract (docs/design/0001-identity.md) refuses."""


class InvalidEntry(SessionError, ValueError):
    """Bytes that are no JSON object, hold a key twice, or exceed `record.MAX_ENTRY_BYTES`."""


class ConfigurationError(SessionError):
    """`session_storage` cannot be used as it is written."""


class NoTranscript(SessionError):
    """The session is absent, or its entry names neither `sessionFile` nor `sessionId`."""


class Conflict(SessionError):
    """A compare-and-set or a positioned append lost its race.

    Attributes:
        current: the record as it is now; `None` when there is none.
    """

    def __init__(self, message: str, current: Session | None) -> None:
        super().__init__(message)
        self.current = current


class LeaseHeld(SessionError):
    """Another holder has the lease.

    Attributes:
        lease: theirs. Its token fences nothing for whoever reads it here.
    """

    def __init__(self, message: str, lease: Lease) -> None:
        super().__init__(message)
        self.lease = lease


class LeaseLost(SessionError):
    """The lease is not ours any more: it ran out, was released, or another holder has it."""


class FeedLost(SessionError):
    """Changes between the cursor and now are not known any more; `position`, then a walk with `list`, begins anew."""


class Unreadable(SessionError):
    """A record is there, but is not what this library wrote, or is a later version of it.

    Attributes:
        keys: the sessions, where a backend's `list` goes on all the same.
        page: what it found beside them; its cursor goes on behind them.
    """

    def __init__(self, message: str, *, keys: Sequence[SessionKey] = (), page: Page | None = None) -> None:
        super().__init__(message)
        self.keys, self.page = tuple(keys), page


class Unavailable(SessionError):
    """The store did not answer within its deadline, or refused to serve us.

    Attributes:
        reason: one word for machines: `timeout`, `connection`, `auth`, `permission`, `readonly`,
            `full`, `loading`.
    """

    def __init__(self, message: str, reason: str = "connection") -> None:
        super().__init__(message)
        self.reason = reason


class Unsupported(SessionError):
    """This backend does not declare the capability that the call needs."""
