"""The Store protocol: what every backend promises, and what only some do.

A gateway is written against this. One contract suite (tests/contract/) runs on every backend;
what a backend cannot do is missing from its `capabilities`, and the call raises `Unsupported`.
docs/design/0007-protocol.md tells what each operation changes, and why.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Protocol, runtime_checkable

from sessionstore.sessions.exceptions import Conflict, SessionError
from sessionstore.sessions.query import Query
from sessionstore.sessions.record import (
    ArchiveInfo,
    Changes,
    EntryLike,
    Health,
    Lease,
    Lifetime,
    NewSession,
    Page,
    Session,
    SessionInfo,
    SessionKey,
    Stats,
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
    FEED = "feed"
    """`position`, `changes`."""
    LEASES = "leases"
    """`lease`, `acquire_lease`, `renew_lease`, `release_lease`, and `fence=`."""
    SHARED = "shared"
    """Several processes on several machines may use it at once."""


@runtime_checkable
class Store(Protocol):
    """A place that keeps sessions. All methods may raise `Unavailable`; none hides it.

    `key` is a `SessionKey`, or text as `SessionKey.of` reads it. `fence` is a lease's token: the call changes nothing
    and raises `LeaseLost` unless that lease is still held. A session that expired is absent for every method.
    """

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this backend does beyond the core."""

    # -- the core -------------------------------------------------------------------------------

    async def get(self, key: Key) -> Session | None:
        """Return the session, or None when it was never made, is deleted or expired. Counts as a use (`touch`).

        Raises: Unreadable when something is there that is no session.
        """

    async def get_many(self, keys: Sequence[Key]) -> list[Session | None]:
        """Return what `get` would, in the order of `keys`, in as few round trips as the backend can."""

    async def set(
        self,
        key: Key,
        entry: EntryLike,
        *,
        expected: int | None = None,
        lifetime: Lifetime | None = None,
        fence: int | None = None,
    ) -> Session:
        """Write the entry and return the record as it now is.

        Args:
            expected: the revision that must be the current one; 0 means "must not exist"; None
                writes whatever is there (an upsert).
            lifetime: replaces the session's own; None leaves it (a new session has the store's).
        Raises: Conflict with the current record; InvalidEntry; LeaseLost.
        """

    async def create(
        self, key: Key, entry: EntryLike, lines: Sequence[bytes] = (), *, lifetime: Lifetime | None = None
    ) -> Session:
        """Make a session that is not there, its entry and the first lines of its transcript in one step, and return it.

        One change of one revision, a `set` in the feed. `updated_ms` is the entry's `updatedAt`; lines do not move it.
        A tombstone counts on, as with `set`. Done twice, the second raises Conflict with what the first one made.

        Args:
            lines: as for `append`, all or none. Where a transcript is longer than some megabytes, give its beginning
                here and append the rest with `position`.
            lifetime: the session's own; None leaves the store's.
        Raises: Conflict with the current record where there is one; its `current` is None where there is none, but the
            transcript has other lines already, as files may (`set` takes those over). NoTranscript for lines of an
            entry that names no transcript; InvalidEntry.
        """

    async def create_many(self, sessions: Sequence[NewSession]) -> list[Session | SessionError]:
        """Do what `create` would for each, in as few round trips as the backend can.

        Each is made in one step of its own, and what is wrong with one concerns no other: it stands in its place, as
        the error that `create` would raise. Only `Unavailable` is raised. Some may be made then: done again, those are
        a `Conflict`.
        """

    async def delete(self, key: Key, *, expected: int | None = None, fence: int | None = None) -> bool:
        """Leave a tombstone; its transcripts go. Return whether there was a session.

        Raises: Conflict; LeaseLost.
        """

    async def exists(self, key: Key) -> bool:
        """Return whether `get` would find a session. Does not count as a use."""

    async def tombstone(self, key: Key) -> int | None:
        """Return the revision of a deletion or an expiry; None where there is a session, or never was one.

        So "deleted" is told from "lost by the store", and from "not seen yet".
        """

    async def touch(self, key: Key, *, lifetime: Lifetime | None = None) -> bool:
        """Count as a use: a session's idle time begins anew. Return whether there is a session.

        Args:
            lifetime: replaces the session's own, and is a change (a revision, an event); counting a use is none.
        """

    # -- transcripts ----------------------------------------------------------------------------

    async def append(
        self,
        key: Key,
        lines: Sequence[bytes],
        *,
        position: int | None = None,
        generation: int | None = None,
        fence: int | None = None,
    ) -> TranscriptHead:
        """Add raw lines (no line feed in them) behind the current transcript, all or none.

        Args:
            position: how many lines must be there already; None appends wherever the end is. Where the very same
                lines stand at `position` already, nothing is done and the present head returned: what was sent
                twice is stored once.
            generation: the generation the transcript must have; None takes any.
        Raises: Conflict; NoTranscript; InvalidEntry for a line that holds a line feed; LeaseLost.
        """

    async def rewrite(
        self,
        key: Key,
        lines: Sequence[bytes],
        *,
        expected: int | None = None,
        generation: int | None = None,
        fence: int | None = None,
    ) -> TranscriptHead:
        """Replace the current transcript's lines; its generation grows by one. Raises as `append`.

        Args:
            expected: the revision that must be the current one, as for `set`: what was appended meanwhile is not lost.
        """

    async def read(
        self, key: Key, start: int = 0, stop: int | None = None, *, reverse: bool = False
    ) -> Transcript | None:
        """Return lines `start:stop` of the current transcript, with Python's slice rules. Counts as a use.

        None where the session is absent or names no transcript; an empty slice where it names one
        that has no lines yet. `read(key, -20)` is the tail.

        Args:
            reverse: give the same lines, the last one first; `start` of the answer still is their lowest index.
        """

    async def read_many(self, keys: Sequence[Key], start: int = 0, stop: int | None = None) -> list[Transcript | None]:
        """Return what `read` would, in the order of `keys`, in as few round trips as the backend can.

        All of them are in memory at once: it is for short transcripts.
        """

    # -- many sessions --------------------------------------------------------------------------

    async def list(
        self,
        *,
        agent: str | None = None,
        status: Status | None = Status.ACTIVE,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Return up to `limit` rows, newest first, tombstones left out. `cursor` goes on from a Page.

        Args:
            status: None gives active and archived ones.
        """

    async def search(self, query: Query, *, limit: int = 50, cursor: str | None = None) -> Page:
        """Return rows that match, newest first. A page may be short, even empty, and still have a cursor.

        One call looks at a bounded number of rows (`paging.SCAN_LIMIT`): go on until the cursor is None.
        """

    async def count(self, *, agent: str | None = None, status: Status | None = Status.ACTIVE) -> int:
        """Return how many rows `list` has in all."""

    async def stats(self) -> Stats:
        """Return what the keyspace holds."""

    async def invalidate(
        self, *, sender: str | None = None, channel: str | None = None, agent: str | None = None
    ) -> int:
        """Delete every session, archived ones too, for which all that is given holds; return how many.

        For a logout or a leaked token. What is made for the same sender meanwhile may be met or not.

        Raises: InvalidKey when nothing is given.
        """

    # -- marks: None where the session is absent; no change, no revision, where all is so already --

    async def archive(self, key: Key, *, reason: str | None = None, expected: int | None = None) -> Session | None:
        """Take the session out of the active ones; entry, transcript and all stay. It does not expire any more.

        Raises: Conflict.
        """

    async def restore(self, key: Key, *, expected: int | None = None) -> Session | None:
        """Make an archived session active; its time to live begins anew. Raises: Conflict."""

    async def pin(self, key: Key, pinned: bool = True) -> Session | None:
        """Exempt the session from expiry, or, with False, not any longer; its time to live then begins anew."""

    async def tag(self, key: Key, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Session | None:
        """Add tags, and take others away. Raises: InvalidEntry beyond `record.MAX_TAGS`."""

    async def title(self, key: Key, title: str | None, *, expected: int | None = None) -> Session | None:
        """Give the session a title, or take it away. Raises: Conflict."""

    # -- the feed -------------------------------------------------------------------------------

    async def position(self) -> str:
        """Return the cursor of now. Taken before a walk with `list`, and then followed, it misses nothing."""

    async def changes(self, cursor: str, *, limit: int = 500, wait_s: float = 0.0) -> Changes:
        """Return events behind `cursor`, at most about `limit`, and where to go on.

        Args:
            wait_s: where there are none, wait for the first for up to this many seconds.
        Raises: FeedLost; InvalidKey for a cursor that this feed did not give out.
        """

    # -- leases ---------------------------------------------------------------------------------

    def lease(
        self, key: Key, *, ttl_s: float = 15.0, wait_s: float = 0.0, holder: str | None = None
    ) -> AbstractAsyncContextManager[Lease]:
        """Hold the session's lease while in the block, renewed in the background. It needs no session.

        Where it is lost meanwhile, the block is cancelled at its next await and `LeaseLost` raised.

        Args:
            ttl_s: how long others wait when we vanish.
            wait_s: how long to wait for another holder.
            holder: shown to who meets it; the host, the process and a random part by default.
        Raises: LeaseHeld.
        """

    async def acquire_lease(self, key: Key, holder: str, ttl_s: float) -> Lease:
        """Take the lease, or extend it where `holder` has it (the token stays). Raises: LeaseHeld."""

    async def renew_lease(self, lease: Lease, ttl_s: float) -> Lease:
        """Extend a lease from now. Raises: LeaseLost."""

    async def release_lease(self, lease: Lease) -> bool:
        """Give a lease back; return whether it was still held."""

    # -- upkeep ---------------------------------------------------------------------------------

    async def sweep(self, limit: int = 1000) -> int:
        """Turn up to `limit` expired sessions into tombstones; return how many. Writes do a little of it themselves."""

    async def health(self) -> Health:
        """Say whether the store can be used, in words. Does not raise `Unavailable`."""

    async def close(self) -> None:
        """Let go of connections. The store is not usable after that."""

    # -- archives -------------------------------------------------------------------------------

    async def put_archive(
        self, agent: str, name: str, lines: Sequence[bytes], *, position: int = 0, replace: bool = False
    ) -> int:
        """Add lines to an archive that has `position` lines; return how many it has now. Raises: Conflict.

        Args:
            replace: put them in place of those lines, all or none.
        """

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
    """Go through all sessions, archived ones too unless `status` says otherwise, newest first, `page` at a time."""
    cursor: str | None = None
    while True:
        found = await store.list(agent=agent, status=status, limit=page, cursor=cursor)
        for info in found.items:
            yield info
        cursor = found.cursor
        if cursor is None:
            return


async def iterate_lines(store: Store, key: Key, *, page: int = 1000) -> AsyncIterator[bytes]:
    """Go through the lines of the current transcript, `page` at a time, so that a long one need not fit into memory.

    Raises: Conflict when the transcript is rewritten, or another one becomes the current, meanwhile.
    """
    start, head = 0, None
    while (part := await store.read(key, start, start + page)) is not None:
        if head is not None and (part.head.id, part.head.generation) != (head.id, head.generation):
            raise Conflict(f"the transcript of session {SessionKey.of(key)} was rewritten while it was read", None)
        for line in part.lines:
            yield line
        head, start = part.head, part.start + len(part.lines)
        if not part.lines or start >= head.lines:
            return


async def follow(store: Store, cursor: str, *, wait_s: float = 5.0) -> AsyncIterator[Changes]:
    """Go on with `changes` for ever, one batch at a time. Keep the cursor of each batch that was dealt with."""
    while True:
        found = await store.changes(cursor, wait_s=wait_s)
        cursor = found.cursor
        if found.items:
            yield found
