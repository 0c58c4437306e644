"""The Store on Redis. One round trip for every call that is about one session; each mutation is one script of a bucket.

The scripts (lua/) do what `transitions` does in Python, on the server's clock; the contract suite compares the two.
Reads are plain commands, and what has expired is left out here.
"""

from __future__ import annotations

import asyncio
import builtins
import dataclasses
import logging
from collections.abc import AsyncIterator, Sequence

from sessionstore.sessions import layout, leases, paging, record, transitions
from sessionstore.sessions.common import CommonStore, outcome, told
from sessionstore.sessions.config import SessionStorage
from sessionstore.sessions.exceptions import InvalidEntry, SessionError, Unavailable, Unreadable
from sessionstore.sessions.leases import LeaseState
from sessionstore.sessions.query import Query
from sessionstore.sessions.record import (
    ArchiveInfo,
    Changes,
    Entry,
    EntryLike,
    Health,
    Lease,
    Lifetime,
    NewSession,
    Page,
    Session,
    SessionKey,
    Stats,
    Status,
    Transcript,
    TranscriptHead,
)
from sessionstore.sessions.redis import limits, places, records, scripts
from sessionstore.sessions.redis.archives import Archives
from sessionstore.sessions.redis.changes import FeedReader
from sessionstore.sessions.redis.client import Argument, Client
from sessionstore.sessions.redis.keyspace import Keyspace
from sessionstore.sessions.redis.places import Place
from sessionstore.sessions.redis.script import Script
from sessionstore.sessions.redis.scripts import Answer
from sessionstore.sessions.redis.searching import Searcher
from sessionstore.sessions.store import Capability, Key
from sessionstore.sessions.transitions import Marking

logger = logging.getLogger(__name__)

_SWEEP_STEP = 100
"""Sessions that one script makes tombstones; the server does nothing else meanwhile."""
_USE = Marking()


class RedisStore(CommonStore):
    """Sessions of one keyspace of one Redis."""

    def __init__(self, config: SessionStorage) -> None:
        """Prepare; the server is spoken to by the first call. Raises: ConfigurationError."""
        self._names = layout.KeyNames(config.keyspace)
        self._client = Client(config)
        self._keyspace = Keyspace(self._client, self._names)
        self._find = places.finder(self._names)
        self._searcher = Searcher(self._client, self._names)
        self._feed = FeedReader(self._client, self._names)
        self._archives = Archives(self._client, self._names, self._keyspace)
        self._defaults = config.lifetime
        self._count_uses = config.count_uses
        self._ages = f"{self._defaults.ttl_ms} {self._defaults.idle_ms}"

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset(Capability)

    # -- the core -------------------------------------------------------------------------------

    async def get(self, key: Key) -> Session | None:
        place = self._find(key)
        if not self._keyspace.is_right(writing=False):
            await self._keyspace.check(writing=False)
        try:
            values = await self._client.read("HMGET", place.record, *records.SESSION_FIELDS)
        except Unreadable as error:
            raise records.unreadable(place.name, str(error)) from error
        session = records.session_of(place.name, values)
        if session is None or session.expires_ms is None:
            return session
        return await self._used(place, session)

    async def get_many(self, keys: Sequence[Key]) -> builtins.list[Session | None]:
        await self._keyspace.check(writing=False)
        found_places = [self._find(key) for key in keys]
        answers = await self._client.read_many(
            [("HMGET", place.record, *records.SESSION_FIELDS) for place in found_places]
        )
        found: builtins.list[Session | None] = []
        for place, answer in zip(found_places, answers, strict=True):
            if isinstance(answer, Unreadable):
                raise records.unreadable(place.name, str(answer))
            found.append(records.session_of(place.name, answer))
        aging = {i: session for i, session in enumerate(found) if session and session.expires_ms is not None}
        used = await asyncio.gather(*(self._used(found_places[i], session) for i, session in aging.items()))
        for i, session in zip(aging, used, strict=True):
            found[i] = session
        return found

    async def set(
        self,
        key: Key,
        entry: EntryLike,
        *,
        expected: int | None = None,
        lifetime: Lifetime | None = None,
        fence: int | None = None,
    ) -> Session:
        place, entry = self._find(key), Entry.of(entry)
        terms = f"{scripts.term(expected)} {scripts.lifetime_terms(lifetime)}"
        answer = await self._change(scripts.SET, place, terms, scripts.set_arguments(place, entry), fence)
        if answer[0] != b"ok":
            scripts.refuse_revision(place, answer, expected)
        session = records.session_of(place.name, (answer[1], entry.raw, answer[2]), entry)
        assert session is not None
        return session

    async def create(
        self, key: Key, entry: EntryLike, lines: Sequence[bytes] = (), *, lifetime: Lifetime | None = None
    ) -> Session:
        [made] = await self.create_many([NewSession(SessionKey.of(key), Entry.of(entry), lines, lifetime)])
        return told(made)

    async def create_many(self, sessions: Sequence[NewSession]) -> builtins.list[Session | SessionError]:
        if not self._keyspace.is_right(writing=True):
            await self._keyspace.check(writing=True)
        places = [self._find(new.key) for new in sessions]
        asked = [
            outcome(scripts.create_arguments, self._ages, place, new)
            for place, new in zip(places, sessions, strict=True)
        ]
        calls = [
            (place.keys, args) for place, args in zip(places, asked, strict=True) if not isinstance(args, SessionError)
        ]
        answers = iter(await self._client.run_many(scripts.CREATE, calls, writes=True))
        return [
            args if isinstance(args, SessionError) else outcome(scripts.created, place, new, next(answers))
            for place, new, args in zip(places, sessions, asked, strict=True)
        ]

    async def delete(self, key: Key, *, expected: int | None = None, fence: int | None = None) -> bool:
        place = self._find(key)
        answer = await self._change(scripts.DELETE, place, f"{scripts.term(expected)} - -", (), fence)
        if answer[0] == b"conflict":
            scripts.refuse_revision(place, answer, expected)
        return bool(answer[0] == b"ok")

    async def exists(self, key: Key) -> bool:
        place, head = await self._head(key)
        return records.is_live(place.name, head, self._client.now_ms())

    async def tombstone(self, key: Key) -> int | None:
        place, head = await self._head(key)
        return records.tombstone_of(place.name, head, self._client.now_ms())

    async def touch(self, key: Key, *, lifetime: Lifetime | None = None) -> bool:
        return await self._touch(self._find(key), Marking(lifetime=lifetime))

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
        place = self._find(key)
        terms = f"{scripts.term(position)} {scripts.term(generation)} -"
        # With a position, what was stored already is known again.
        answer = await self._change(
            scripts.APPEND, place, terms, limits.checked_lines(lines), fence, again=position is not None
        )
        if answer[0] != b"ok":
            scripts.refuse_lines(place, answer, position, generation)
        return TranscriptHead(answer[1].decode(), answer[2], answer[3])

    async def rewrite(
        self,
        key: Key,
        lines: Sequence[bytes],
        *,
        expected: int | None = None,
        generation: int | None = None,
        fence: int | None = None,
    ) -> TranscriptHead:
        place = self._find(key)
        terms = f"{scripts.term(expected)} {scripts.term(generation)} -"
        answer = await self._change(scripts.REWRITE, place, terms, limits.checked_lines(lines), fence)
        if answer[0] != b"ok":
            scripts.refuse_lines(place, answer, None, generation, expected)
        return TranscriptHead(answer[1].decode(), answer[2], answer[3])

    async def read(
        self, key: Key, start: int = 0, stop: int | None = None, *, reverse: bool = False
    ) -> Transcript | None:
        place = self._find(key)
        await self._keyspace.check(writing=False)
        try:
            answer = await self._client.run(
                scripts.READ, place.keys, scripts.read_arguments(self._ages, start, stop), writes=False
            )
        except Unreadable as error:
            raise records.unreadable(place.name, str(error)) from error
        return await self._used_transcript(place, answer, reverse=reverse)

    async def read_many(
        self, keys: Sequence[Key], start: int = 0, stop: int | None = None
    ) -> builtins.list[Transcript | None]:
        await self._keyspace.check(writing=False)
        found_places, arguments = [self._find(key) for key in keys], scripts.read_arguments(self._ages, start, stop)
        answers = await self._client.run_many(
            scripts.READ, [(place.keys, arguments) for place in found_places], writes=False
        )
        return [await self._used_transcript(*pair) for pair in zip(found_places, answers, strict=True)]

    # -- many sessions --------------------------------------------------------------------------

    async def list(
        self,
        *,
        agent: str | None = None,
        status: Status | None = Status.ACTIVE,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        await self._keyspace.check(writing=False)
        return await self._searcher.page(Query(agent=agent, status=status), limit, cursor, None)

    async def search(self, query: Query, *, limit: int = 50, cursor: str | None = None) -> Page:
        await self._keyspace.check(writing=False)
        return await self._searcher.page(query, limit, cursor, paging.SCAN_LIMIT)

    async def count(self, *, agent: str | None = None, status: Status | None = Status.ACTIVE) -> int:
        query = Query(agent=agent, status=status)
        await self._keyspace.check(writing=False)
        return await self._searcher.count(query.agent, query.status)

    async def stats(self) -> Stats:
        await self._keyspace.check(writing=False)
        return await self._searcher.stats()

    # -- the feed -------------------------------------------------------------------------------

    async def position(self) -> str:
        await self._keyspace.check(writing=False)
        return await self._feed.position()

    async def changes(self, cursor: str, *, limit: int = 500, wait_s: float = 0.0) -> Changes:
        paging.check_limit(limit)
        await self._keyspace.check(writing=False)
        return await self._feed.read(cursor, limit, wait_s)

    # -- leases ---------------------------------------------------------------------------------

    async def acquire_lease(self, key: Key, holder: str, ttl_s: float) -> Lease:
        place = self._find(key)
        arguments = (record.check_text(holder, "holder"), leases.duration_ms(ttl_s))
        answer = await self._lease(scripts.ACQUIRE, place, arguments, again=True)
        state = LeaseState(answer[3].decode(), answer[1], answer[2])
        if answer[0] == b"held":
            raise leases.held(leases.lease_of(place.name, state), answer[4])
        return leases.lease_of(place.name, state)

    async def renew_lease(self, lease: Lease, ttl_s: float) -> Lease:
        place = self._find(lease.key)
        answer = await self._lease(scripts.RENEW, place, (lease.token, leases.duration_ms(ttl_s)), again=True)
        if answer[0] != b"ok":
            raise leases.lost(lease.key, lease.token)
        return dataclasses.replace(lease, until_ms=answer[1])

    async def release_lease(self, lease: Lease) -> bool:
        answer = await self._lease(scripts.RENEW, self._find(lease.key), (lease.token, 0), again=False)
        return bool(answer[0] == b"ok")

    # -- upkeep ---------------------------------------------------------------------------------

    async def sweep(self, limit: int = 1000) -> int:
        await self._keyspace.check(writing=False)
        swept = 0
        for bucket, due in enumerate(await self._searcher.expired_counts()):
            for step in range(0, min(due, limit - swept), _SWEEP_STEP):
                keys = places.bucket_keys(self._names, bucket)
                most = min(_SWEEP_STEP, due - step, limit - swept)
                answer = await self._client.run(
                    scripts.SWEEP, (keys[0], *keys), (f"- {self._ages} {most} - -",), writes=True, again=True
                )
                swept += answer[1]
        return swept

    async def health(self) -> Health:
        found = await self._client.health()
        facts = (*found.facts, ("keyspace", self._names.keyspace))
        try:
            if found.ok:
                await self._keyspace.check(writing=False)
        except Unreadable as error:
            return Health(False, str(error), None, found.latency_ms, facts)
        if self._keyspace.lost:
            facts = (*facts, ("lost", self._keyspace.lost))
        return dataclasses.replace(found, facts=facts)

    async def close(self) -> None:
        await self._client.close()

    # -- archives and documents -----------------------------------------------------------------

    async def put_archive(
        self, agent: str, name: str, lines: Sequence[bytes], *, position: int = 0, replace: bool = False
    ) -> int:
        return await self._archives.put_archive(agent, name, lines, position=position, replace=replace)

    async def read_archive(
        self, agent: str, name: str, start: int = 0, stop: int | None = None
    ) -> tuple[bytes, ...] | None:
        return await self._archives.read_archive(agent, name, start, stop)

    def list_archives(self, *, agent: str | None = None) -> AsyncIterator[ArchiveInfo]:
        return self._archives.list_archives(agent=agent)

    async def put_document(self, name: str, body: bytes) -> None:
        await self._archives.put_document(name, body)

    async def get_document(self, name: str) -> bytes | None:
        return await self._archives.get_document(name)

    async def delete_document(self, name: str) -> bool:
        return await self._archives.delete_document(name)

    def list_documents(self, prefix: str = "") -> AsyncIterator[str]:
        return self._archives.list_documents(prefix)

    # -- the inner workings ---------------------------------------------------------------------

    async def _head(self, key: Key) -> tuple[Place, bytes | None]:
        place = self._find(key)
        await self._keyspace.check(writing=False)
        try:
            return place, await self._client.read("HGET", place.record, "h")
        except Unreadable as error:
            raise records.unreadable(place.name, str(error)) from error

    async def _mark(self, key: Key, marking: Marking, expected: int | None = None) -> Session | None:
        place = self._find(key)
        answer = await self._marked(place, marking, expected, use=False)
        if answer[0] == b"conflict":
            scripts.refuse_revision(place, answer, expected)
        if answer[0] == b"full":
            raise InvalidEntry(f"a session has at most {record.MAX_TAGS} tags; this would make {answer[1]}")
        return records.session_of(place.name, answer[1:]) if answer[0] == b"ok" else None

    async def _touch(self, place: Place, marking: Marking) -> bool:
        return bool((await self._marked(place, marking, None, use=True))[0] == b"ok")

    async def _marked(self, place: Place, marking: Marking, expected: int | None, *, use: bool) -> Answer:
        terms = f"{scripts.term(expected)} {scripts.lifetime_terms(marking.lifetime)}"
        arguments = scripts.mark_arguments(marking, use=use)
        # Repeated, it finds all as it is to be.
        return await self._change(scripts.MARK, place, terms, arguments, None, again=expected is None)

    async def _used(self, place: Place, session: Session) -> Session | None:
        """Return a session that was read, unless it has expired; write the use down where its idle time wants it."""
        now = self._client.now_ms()
        if session.expires_ms is not None and session.expires_ms <= now:
            return None
        if self._count_uses and transitions.wants_touch(session, now, self._defaults):
            await self._note_use(place)
        return session

    async def _used_transcript(self, place: Place, answer: Answer, *, reverse: bool = False) -> Transcript | None:
        """Return what was read; write the use down where its idle time wants it."""
        found = scripts.transcript_of(place, answer, reverse=reverse)
        if found is not None and answer[6] and self._count_uses:
            await self._note_use(place)
        return found

    async def _note_use(self, place: Place) -> None:
        """Write a use down, where that can be done: who takes no writes, or is full, still serves what was read."""
        try:
            await self._touch(place, _USE)
        except Unavailable as error:
            logger.debug("a use of session %s was not written down: %s", place.name, error)

    async def _change(
        self,
        script: Script,
        place: Place,
        terms: str,
        arguments: Sequence[Argument],
        fence: int | None,
        *,
        again: bool = False,
    ) -> Answer:
        if not self._keyspace.is_right(writing=True):
            await self._keyspace.check(writing=True)
        keys, token = (place.keys, "-") if fence is None else (place.fenced_keys, fence)
        try:
            answer = await self._client.run(
                script, keys, (f"{token} {self._ages} {terms}", *arguments), writes=True, again=again
            )
        except Unreadable as error:
            raise records.unreadable(place.name, str(error)) from error
        return scripts.believed(place, answer, fence)

    async def _lease(self, script: Script, place: Place, arguments: tuple[Argument, ...], *, again: bool) -> Answer:
        await self._keyspace.check(writing=True)
        try:
            answer = await self._client.run(script, (place.lease,), arguments, writes=True, again=again)
        except Unreadable as error:
            raise records.unreadable(place.name, f"its lease: {error}") from error
        return scripts.believed(place, answer)
