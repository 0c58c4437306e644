"""The Store protocol: what every backend promises, and what only some do.

A gateway is written against this. One contract suite (tests/contract/) runs on every backend;
what a backend cannot do is missing from its `capabilities`, and the call raises `Unsupported`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from typing import Protocol, runtime_checkable

from sessionstore.sessions.record import (
    ArchiveInfo,
    EntryLike,
    Page,
    Session,
    SessionInfo,
    SessionKey,
    Status,
    Transcript,
    TranscriptHead,
)

Key = SessionKey | str


class Capability(StrEnum):
    """What a backend may declare beyond the core."""

    ARCHIVES = "archives"
    """`put_archive`, `read_archive`, `list_archives`."""
    DOCUMENTS = "documents"
    """`put_document`, `get_document`, `delete_document`, `list_documents`."""
    SHARED = "shared"
    """Several processes on several machines may use it at once."""


@runtime_checkable
class Store(Protocol):
    """A place that keeps sessions. All methods may raise `Unavailable`; none hides it.

    `key` is a `SessionKey`, or text as `SessionKey.of` reads it.
    """

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this backend does beyond the core."""

    # -- the core -------------------------------------------------------------------------------

    async def get(self, key: Key) -> Session | None:
        """Return the session, or None when it was never made or is deleted.

        Raises: Unreadable when something is there that is no session.
        """

    async def set(self, key: Key, entry: EntryLike, *, expected: int | None = None) -> Session:
        """Write the entry and return the record as it now is.

        Args:
            expected: the revision that must be the current one; 0 means "must not exist"; None
                writes whatever is there (an upsert).
        Raises: Conflict with the current record; InvalidEntry.
        """

    async def delete(self, key: Key, *, expected: int | None = None) -> bool:
        """Leave a tombstone; its transcripts go. Return whether there was a session.

        Raises: Conflict.
        """

    async def exists(self, key: Key) -> bool:
        """Return whether `get` would find a session."""

    async def append(
        self, key: Key, lines: Sequence[bytes], *, position: int | None = None, generation: int | None = None
    ) -> TranscriptHead:
        """Add raw lines (no line feed in them) behind the current transcript, all or none.

        Args:
            position: how many lines must be there already; None appends wherever the end is.
            generation: the generation the transcript must have; None takes any.
        Raises: Conflict; NoTranscript; InvalidEntry for a line that holds a line feed.
        """

    async def rewrite(self, key: Key, lines: Sequence[bytes], *, generation: int | None = None) -> TranscriptHead:
        """Replace the current transcript's lines; its generation grows by one. Raises as `append`."""

    async def read(self, key: Key, start: int = 0, stop: int | None = None) -> Transcript | None:
        """Return lines `start:stop` of the current transcript, with Python's slice rules.

        None where the session is absent or names no transcript; an empty slice where it names one
        that has no lines yet.
        """

    async def list(
        self, *, agent: str | None = None, status: Status | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page:
        """Return up to `limit` rows, newest first, tombstones left out. `cursor` goes on from a Page."""

    async def close(self) -> None:
        """Let go of connections. The store is not usable after that."""

    # -- archives -------------------------------------------------------------------------------

    async def put_archive(self, agent: str, name: str, lines: Sequence[bytes], *, position: int = 0) -> int:
        """Add lines to an archive that has `position` lines; return how many it has now. Raises: Conflict."""

    async def read_archive(
        self, agent: str, name: str, start: int = 0, stop: int | None = None
    ) -> tuple[bytes, ...] | None:
        """Return lines of an archive, or None."""

    def list_archives(self, *, agent: str | None = None) -> AsyncIterator[ArchiveInfo]:
        """Go through all archives, in no order."""

    # -- documents ------------------------------------------------------------------------------

    async def put_document(self, name: str, body: bytes) -> None:
        """Keep a small document beside the sessions: a report, a checkpoint, quarantined bytes."""

    async def get_document(self, name: str) -> bytes | None:
        """Return a document, or None."""

    async def delete_document(self, name: str) -> bool:
        """Forget a document; return whether there was one."""

    def list_documents(self, prefix: str = "") -> AsyncIterator[str]:
        """Go through the names that begin with `prefix`, in no order."""


async def iterate(
    store: Store, *, agent: str | None = None, status: Status | None = None, page: int = 500
) -> AsyncIterator[SessionInfo]:
    """Go through all sessions, newest first, `page` at a time."""
    cursor: str | None = None
    while True:
        found = await store.list(agent=agent, status=status, limit=page, cursor=cursor)
        for info in found.items:
            yield info
        cursor = found.cursor
        if cursor is None:
            return
