"""The Store over a place that is read and written in Python: memory, OpenClaw's files, a directory.

`LocalStore` decides, by the pure transitions; a `Shelf` only keeps. While a `Room` is open for writing nobody else
changes that session, so every operation is: open, load, decide, save.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sessionstore.sessions import leases, paging, record, transitions
from sessionstore.sessions.common import CommonStore
from sessionstore.sessions.exceptions import Unavailable
from sessionstore.sessions.leases import LeaseState
from sessionstore.sessions.query import Query
from sessionstore.sessions.record import (
    Changes,
    Entry,
    EntryLike,
    Health,
    Lease,
    Lifetime,
    Operation,
    Page,
    Session,
    SessionInfo,
    SessionKey,
    Stats,
    Status,
    Transcript,
    TranscriptHead,
)
from sessionstore.sessions.store import Key
from sessionstore.sessions.threads import Threads
from sessionstore.sessions.transitions import Marking, Record

FEED_PAUSE_S = 0.02
Lines = tuple[bytes, ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change of one session, to be kept whole or not at all."""

    record: Record
    """As it will be; a tombstone's lines go."""
    operation: Operation | None
    """What the feed is told; None for what is no change (a use)."""
    transcript_id: str | None = None
    added: Sequence[bytes] = ()
    """Lines behind those that `transcript_id` has."""
    replaced: Sequence[bytes] | None = None
    """All lines of `transcript_id`, in place of those it had; with a `set`, of a session that is made with them."""


class Room(Protocol):
    """One session's place."""

    def load(self) -> Record | None:
        """Return what is kept, tombstones too. Raises: Unreadable."""

    def save(self, step: Step) -> None:
        """Keep a step: after a crash there is the old or the new, and readers see nothing between."""

    def lines(self, transcript_id: str, start: int, stop: int) -> Lines:
        """Return lines of a transcript; 0 <= start <= stop <= the number of its lines."""

    def lease(self) -> LeaseState | None:
        """Return what is kept of the session's leases."""

    def save_lease(self, state: LeaseState) -> None:
        """Keep that."""


class Shelf(Protocol):
    """A place that keeps records. Nothing in it is asynchronous."""

    def room(self, name: SessionKey, *, writing: bool) -> AbstractContextManager[Room | None]:
        """Open one session's place; None where there is none and nobody is going to write."""

    def rows(self, agent: str | None) -> Iterable[tuple[SessionKey, Record]]:
        """Go through all records of one agent, or of all; tombstones may be left out. Raises: Unreadable."""

    def count_archives(self) -> int:
        """Return how many archives there are."""

    def feed_end(self) -> str:
        """Return the cursor of now."""

    def feed_after(self, cursor: str, limit: int) -> Changes:
        """Return events behind the cursor. Raises: FeedLost; InvalidKey."""

    def health(self) -> Health:
        """Say whether the place can be read and written."""


class LocalStore(CommonStore):
    """The operations on sessions. The backends add archives, documents and their capabilities."""

    def __init__(
        self,
        shelf: Shelf,
        now_ms: Callable[[], int],
        defaults: Lifetime,
        *,
        threads: bool,
        count_uses: bool = True,
    ) -> None:
        """Work on `shelf`; in threads where it does I/O, in the event loop's own where it does not."""
        self._shelf = shelf
        self._now_ms = now_ms
        self._defaults = defaults
        self._count_uses = count_uses
        self._threads = Threads() if threads else None

    async def get(self, key: Key) -> Session | None:
        name = SessionKey.of(key)
        found, wants_touch = await self._do(lambda: self._look(name))
        if found is not None and wants_touch and self._count_uses:
            await self._do(lambda: self._use(name), writes=True)
        return transitions.session_of(name, found)

    async def set(
        self,
        key: Key,
        entry: EntryLike,
        *,
        expected: int | None = None,
        lifetime: Lifetime | None = None,
        fence: int | None = None,
    ) -> Session:
        name, made = SessionKey.of(key), Entry.of(entry)
        return await self._do(lambda: self._set(name, made, expected, lifetime, fence), writes=True)

    async def create(
        self, key: Key, entry: EntryLike, lines: Sequence[bytes] = (), *, lifetime: Lifetime | None = None
    ) -> Session:
        name, made, first = SessionKey.of(key), Entry.of(entry), tuple(record.check_lines(lines))
        transitions.check_begins(name, made, first)
        return await self._do(lambda: self._create(name, made, first, lifetime), writes=True)

    async def delete(self, key: Key, *, expected: int | None = None, fence: int | None = None) -> bool:
        name = SessionKey.of(key)
        return await self._do(lambda: self._delete(name, expected, fence), writes=True)

    async def exists(self, key: Key) -> bool:
        name = SessionKey.of(key)
        return (await self._do(lambda: self._look(name)))[0] is not None

    async def tombstone(self, key: Key) -> int | None:
        name = SessionKey.of(key)
        return await self._do(lambda: self._tombstone(name))

    async def touch(self, key: Key, *, lifetime: Lifetime | None = None) -> bool:
        name = SessionKey.of(key)
        if lifetime is not None:
            there = await self._mark(name, Marking(lifetime=lifetime)) is not None
            # The session was there, however short its new life may be.
            return await self._do(lambda: self._touch(name), writes=True) or there
        return await self._do(lambda: self._touch(name), writes=True)

    async def append(
        self,
        key: Key,
        lines: Sequence[bytes],
        *,
        position: int | None = None,
        generation: int | None = None,
        fence: int | None = None,
    ) -> TranscriptHead:
        name, added = SessionKey.of(key), tuple(record.check_lines(lines))
        return await self._do(lambda: self._append(name, added, position, generation, fence), writes=True)

    async def rewrite(
        self,
        key: Key,
        lines: Sequence[bytes],
        *,
        expected: int | None = None,
        generation: int | None = None,
        fence: int | None = None,
    ) -> TranscriptHead:
        name, new = SessionKey.of(key), tuple(record.check_lines(lines))
        return await self._do(lambda: self._rewrite(name, new, expected, generation, fence), writes=True)

    async def read(
        self, key: Key, start: int = 0, stop: int | None = None, *, reverse: bool = False
    ) -> Transcript | None:
        name = SessionKey.of(key)
        found, wants_touch = await self._do(lambda: self._read(name, start, stop))
        if wants_touch and self._count_uses:
            await self._do(lambda: self._use(name), writes=True)
        if found is None or not reverse:
            return found
        return Transcript(found.head, found.start, found.lines[::-1])

    async def search(self, query: Query, *, limit: int = 50, cursor: str | None = None) -> Page:
        return await self._do(lambda: paging.page(filter(query.matches, self._rows(query.agent)), limit, cursor))

    async def count(self, *, agent: str | None = None, status: Status | None = Status.ACTIVE) -> int:
        query = Query(agent=agent, status=status)
        rows = await self._do(lambda: self._rows(agent))
        return sum(map(query.matches, rows))

    async def stats(self) -> Stats:
        return await self._do(self._stats)

    async def position(self) -> str:
        return await self._do(self._shelf.feed_end)

    async def changes(self, cursor: str, *, limit: int = 500, wait_s: float = 0.0) -> Changes:
        paging.check_limit(limit)
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_s
        while True:
            found = await self._do(lambda: self._shelf.feed_after(cursor, limit))
            if found.items or loop.time() >= end:
                return found
            await asyncio.sleep(min(FEED_PAUSE_S, wait_s))

    async def acquire_lease(self, key: Key, holder: str, ttl_s: float) -> Lease:
        name = SessionKey.of(key)
        return await self._do(
            lambda: self._lease(name, lambda state, now: leases.acquire(name, state, holder, now, ttl_s)), writes=True
        )

    async def renew_lease(self, lease: Lease, ttl_s: float) -> Lease:
        return await self._do(
            lambda: self._lease(lease.key, lambda state, now: leases.renew(lease, state, now, ttl_s)), writes=True
        )

    async def release_lease(self, lease: Lease) -> bool:
        return await self._do(lambda: self._release(lease), writes=True)

    async def sweep(self, limit: int = 1000) -> int:
        return await self._do(lambda: self._sweep(limit), writes=True)

    async def health(self) -> Health:
        return await self._do(self._shelf.health)

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    async def _mark(self, key: Key, marking: Marking, expected: int | None = None) -> Session | None:
        name = SessionKey.of(key)
        return await self._do(lambda: self._marked(name, marking, expected), writes=True)

    async def _do(self, work: Callable[[], T], *, writes: bool = False) -> T:
        """Do a piece of work. `writes` says whether it waits for who else writes."""
        return await self._threads.do(work, writes=writes) if self._threads else work()

    def _look(self, name: SessionKey) -> tuple[Record | None, bool]:
        now = self._now_ms()
        with self._shelf.room(name, writing=False) as room:
            found = transitions.current(room.load(), now) if room else None
        return found, found is not None and transitions.wants_touch(found, now, self._defaults)

    def _tombstone(self, name: SessionKey) -> int | None:
        with self._shelf.room(name, writing=False) as room:
            return transitions.tombstone_of(room.load(), self._now_ms()) if room else None

    def _set(
        self, name: SessionKey, entry: Entry, expected: int | None, lifetime: Lifetime | None, fence: int | None
    ) -> Session:
        now = self._now_ms()
        with self._shelf.room(name, writing=True) as room:
            assert room is not None
            past = self._settled(room, now)
            leases.check_fence(name, room.lease(), fence, now)
            transitions.check_expected(name, transitions.current(past, now), expected)
            made = self._fitted(room, transitions.written(past, entry, now, self._defaults, lifetime))
            room.save(Step(record=made, operation=Operation.SET))
        session = transitions.session_of(name, made)
        assert session is not None
        return session

    def _create(self, name: SessionKey, entry: Entry, lines: Lines, lifetime: Lifetime | None) -> Session:
        now = self._now_ms()
        with self._shelf.room(name, writing=True) as room:
            assert room is not None
            past = self._settled(room, now)
            transitions.check_expected(name, transitions.current(past, now), 0)
            made = self._fitted(room, transitions.written(past, entry, now, self._defaults, lifetime))
            head = made.transcript
            if head is None or not lines or self._has_begun(room, name, head, lines):
                step = Step(record=made, operation=Operation.SET)
            else:
                made = transitions.begun(made, len(lines))
                step = Step(record=made, operation=Operation.SET, transcript_id=head.id, replaced=lines)
            room.save(step)
        session = transitions.session_of(name, made)
        assert session is not None
        return session

    def _has_begun(self, room: Room, name: SessionKey, head: TranscriptHead, lines: Lines) -> bool:
        """Return whether all `lines` are there of a transcript whose session is not; `_fitted` may have found some.

        Raises: Conflict where those are others.
        """
        return False

    def _delete(self, name: SessionKey, expected: int | None, fence: int | None) -> bool:
        now = self._now_ms()
        with self._shelf.room(name, writing=True) as room:
            assert room is not None
            leases.check_fence(name, room.lease(), fence, now)
            found = transitions.current(self._settled(room, now), now)
            transitions.check_expected(name, found, expected)
            if found is None:
                return False
            room.save(Step(record=transitions.buried(found, now), operation=Operation.DELETE))
            return True

    def _fitted(self, room: Room, made: Record) -> Record:
        """Return the record of an entry as it will be kept: its transcript may have lines that nobody here wrote."""
        return made

    def _use(self, name: SessionKey) -> None:
        """Write a read down. It may be all that is allowed here, and is not refused for that."""
        try:
            self._touch(name)
        except Unavailable as error:
            if error.reason not in ("readonly", "permission"):
                raise

    def _touch(self, name: SessionKey) -> bool:
        now = self._now_ms()
        with self._shelf.room(name, writing=True) as room:
            found = transitions.current(room.load(), now) if room else None
            if room is None or found is None:
                return False
            room.save(Step(record=transitions.touched(found, now, self._defaults), operation=None))
            return True

    def _append(
        self, name: SessionKey, lines: Lines, position: int | None, generation: int | None, fence: int | None
    ) -> TranscriptHead:
        now = self._now_ms()
        with self._shelf.room(name, writing=True) as room:
            assert room is not None
            leases.check_fence(name, room.lease(), fence, now)
            found = transitions.current(self._settled(room, now), now)
            if self._is_repeated(room, found, lines, position, generation):
                return transitions.check_lines(name, found, None, generation)
            head = transitions.check_lines(name, found, position, generation)
            assert found is not None
            if lines:
                grown = transitions.extended(found, len(lines), now, self._defaults)
                room.save(Step(record=grown, operation=Operation.APPEND, transcript_id=head.id, added=lines))
            return TranscriptHead(head.id, head.generation, head.lines + len(lines))

    def _rewrite(
        self, name: SessionKey, lines: Lines, expected: int | None, generation: int | None, fence: int | None
    ) -> TranscriptHead:
        now = self._now_ms()
        with self._shelf.room(name, writing=True) as room:
            assert room is not None
            leases.check_fence(name, room.lease(), fence, now)
            found = transitions.current(self._settled(room, now), now)
            transitions.check_expected(name, found, expected)
            head = transitions.check_lines(name, found, None, generation)
            assert found is not None
            new = transitions.rewritten(found, len(lines), now, self._defaults)
            room.save(Step(record=new, operation=Operation.REWRITE, transcript_id=head.id, replaced=lines))
            return TranscriptHead(head.id, head.generation + 1, len(lines))

    def _read(self, name: SessionKey, start: int, stop: int | None) -> tuple[Transcript | None, bool]:
        now = self._now_ms()
        with self._shelf.room(name, writing=False) as room:
            found = transitions.current(room.load(), now) if room else None
            head = found.transcript if found else None
            if room is None or found is None or head is None:
                return None, False
            first, last, _ = slice(start, stop).indices(head.lines)
            lines = room.lines(head.id, first, last) if first < last else ()
            return Transcript(head, first, lines), transitions.wants_touch(found, now, self._defaults)

    def _marked(self, name: SessionKey, marking: Marking, expected: int | None) -> Session | None:
        now = self._now_ms()
        with self._shelf.room(name, writing=True) as room:
            assert room is not None
            found = transitions.current(self._settled(room, now), now)
            transitions.check_expected(name, found, expected)
            if found is None:
                return None
            made = transitions.marked(found, marking, now, self._defaults)
            if made is not found:
                room.save(Step(record=made, operation=marking.operation))
            return transitions.session_of(name, made)

    def _lease(self, name: SessionKey, decide: Callable[[LeaseState | None, int], LeaseState]) -> Lease:
        with self._shelf.room(name, writing=True) as room:
            assert room is not None
            state = decide(room.lease(), self._now_ms())
            room.save_lease(state)
            return leases.lease_of(name, state)

    def _release(self, lease: Lease) -> bool:
        with self._shelf.room(lease.key, writing=True) as room:
            assert room is not None
            state = leases.released(lease, room.lease(), self._now_ms())
            if state is not None:
                room.save_lease(state)
            return state is not None

    def _rows(self, agent: str | None) -> builtins.list[SessionInfo]:
        now = self._now_ms()
        return [transitions.info_of(name, kept) for name, kept in self._shelf.rows(agent) if kept.is_live(now)]

    def _stats(self) -> Stats:
        now = self._now_ms()
        kept = [kept for _, kept in self._shelf.rows(None) if kept.status is not Status.DELETED]
        live = [one.status for one in kept if one.is_live(now)]
        archived = live.count(Status.ARCHIVED)
        return Stats(len(live) - archived, archived, len(kept) - len(live), self._shelf.count_archives())

    def _sweep(self, limit: int) -> int:
        now = self._now_ms()
        expired = [name for name, kept in self._shelf.rows(None) if kept.is_expired(now)][:limit]
        return sum(self._expire(name) for name in expired)

    def _expire(self, name: SessionKey) -> bool:
        now = self._now_ms()
        with self._shelf.room(name, writing=True) as room:
            assert room is not None
            found = room.load()
            return found is not None and self._settled(room, now) is not found

    def _settled(self, room: Room, now_ms: int) -> Record | None:
        """Return the record; one that expired is first turned into its tombstone, for which the feed has an event."""
        found = room.load()
        if found is None or not found.is_expired(now_ms):
            return found
        tombstone = transitions.buried(found, now_ms)
        room.save(Step(record=tombstone, operation=Operation.EXPIRE))
        return tombstone

    @staticmethod
    def _is_repeated(
        room: Room, found: Record | None, lines: Lines, position: int | None, generation: int | None
    ) -> bool:
        head = found.transcript if found else None
        if head is None or position is None or not transitions.repeats(head, len(lines), position, generation):
            return False
        return room.lines(head.id, position, position + len(lines)) == lines
