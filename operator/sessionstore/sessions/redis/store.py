"""The Store on Redis. One round trip for every call that is about one session; each mutation is one script of a bucket.

The scripts (lua/) do what `transitions` does in Python, on the server's clock; the contract suite compares the two.
Reads are plain commands, and what has expired is left out here.
"""

from __future__ import annotations

import builtins
import dataclasses
from collections.abc import AsyncIterator, Sequence
from typing import Any, NoReturn

from sessionstore.sessions import layout, leases, paging, record, transitions
from sessionstore.sessions.common import CommonStore
from sessionstore.sessions.config import SessionStorage
from sessionstore.sessions.exceptions import Conflict, InvalidEntry, NoTranscript, Unreadable
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
    Page,
    Session,
    Stats,
    Status,
    Transcript,
    TranscriptHead,
)
from sessionstore.sessions.redis import limits, places, records
from sessionstore.sessions.redis.archives import Archives
from sessionstore.sessions.redis.changes import FeedReader
from sessionstore.sessions.redis.client import Argument, Client, Script
from sessionstore.sessions.redis.keyspace import Keyspace
from sessionstore.sessions.redis.places import Place
from sessionstore.sessions.redis.searching import Searcher
from sessionstore.sessions.store import Capability, Key
from sessionstore.sessions.transitions import Marking

Answer = list[Any]

_SWEEP_STEP = 100
"""Sessions that one script makes tombstones; the server does nothing else meanwhile."""
_SET = Script.load("shared", "set")
_DELETE = Script.load("shared", "delete")
_MARK = Script.load("shared", "mark")
_APPEND = Script.load("shared", "transcript", "append")
_REWRITE = Script.load("shared", "transcript", "rewrite")
_READ = Script.load("shared", "transcript", "read")
_SWEEP = Script.load("shared", "sweep")
_ACQUIRE = Script.load("acquire")
_RENEW = Script.load("renew")
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
            session = records.session_of(place.name, answer)
            found.append(session and await self._used(place, session))
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
        raw, updated_ms = entry.raw, entry.updated_ms
        said = "-" if updated_ms is None else updated_ms
        arguments = (
            raw,
            records.attributes_text(place.name, entry),
            f"{said} {records.checksum(raw)} {entry.transcript_id or ''}",
        )
        terms = f"{_optional(expected)} {_spelled(lifetime)}"
        answer = await self._change(_SET, place, terms, arguments, fence)
        if answer[0] != b"ok":
            _refuse_revision(place, answer, expected)
        session = records.session_of(place.name, (answer[1], raw, answer[2]), entry)
        assert session is not None
        return session

    async def delete(self, key: Key, *, expected: int | None = None, fence: int | None = None) -> bool:
        place = self._find(key)
        answer = await self._change(_DELETE, place, f"{_optional(expected)} - -", (), fence)
        if answer[0] == b"conflict":
            _refuse_revision(place, answer, expected)
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
        terms = f"{_optional(position)} {_optional(generation)} -"
        # With a position, what was stored already is known again.
        answer = await self._change(
            _APPEND, place, terms, limits.checked_lines(lines), fence, again=position is not None
        )
        if answer[0] != b"ok":
            _refuse_lines(place, answer, position, generation)
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
        terms = f"{_optional(expected)} {_optional(generation)} -"
        answer = await self._change(_REWRITE, place, terms, limits.checked_lines(lines), fence)
        if answer[0] != b"ok":
            _refuse_lines(place, answer, None, generation, expected)
        return TranscriptHead(answer[1].decode(), answer[2], answer[3])

    async def read(
        self, key: Key, start: int = 0, stop: int | None = None, *, reverse: bool = False
    ) -> Transcript | None:
        place = self._find(key)
        await self._keyspace.check(writing=False)
        arguments = (limits.clamped(start), "" if stop is None else limits.clamped(stop))
        try:
            answer = await self._client.run(_READ, place.keys, (f"- {self._ages} - - -", *arguments), writes=False)
        except Unreadable as error:
            raise records.unreadable(place.name, str(error)) from error
        if answer[0] == b"unreadable":
            raise records.unreadable(place.name, answer[1].decode())
        if answer[0] != b"ok":
            return None
        if answer[6]:
            await self._touch(place, _USE)
        head = TranscriptHead(answer[1].decode(), answer[2], answer[3])
        return Transcript(head, answer[4], tuple(answer[5][::-1] if reverse else answer[5]))

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
        await self._keyspace.check(writing=False)
        return await self._searcher.count(agent, status)

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
        answer = await self._lease(_ACQUIRE, place, arguments, again=True)
        state = LeaseState(answer[3].decode(), answer[1], answer[2])
        if answer[0] == b"held":
            raise leases.held(leases.lease_of(place.name, state), answer[4])
        return leases.lease_of(place.name, state)

    async def renew_lease(self, lease: Lease, ttl_s: float) -> Lease:
        place = self._find(lease.key)
        answer = await self._lease(_RENEW, place, (lease.token, leases.duration_ms(ttl_s)), again=True)
        if answer[0] != b"ok":
            raise leases.lost(lease.key, lease.token)
        return dataclasses.replace(lease, until_ms=answer[1])

    async def release_lease(self, lease: Lease) -> bool:
        answer = await self._lease(_RENEW, self._find(lease.key), (lease.token, 0), again=False)
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
                    _SWEEP, (keys[0], *keys), (f"- {self._ages} {most} - -",), writes=True, again=True
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
            _refuse_revision(place, answer, expected)
        if answer[0] == b"full":
            raise InvalidEntry(f"a session has at most {record.MAX_TAGS} tags; this would make {answer[1]}")
        return records.session_of(place.name, answer[1:]) if answer[0] == b"ok" else None

    async def _touch(self, place: Place, marking: Marking) -> bool:
        return bool((await self._marked(place, marking, None, use=True))[0] == b"ok")

    async def _marked(self, place: Place, marking: Marking, expected: int | None, *, use: bool) -> Answer:
        pinned = "" if marking.pinned is None else int(marking.pinned)
        arguments: tuple[Argument, ...] = (
            marking.status or "",
            pinned,
            _given(marking.title),
            _given(marking.reason),
            int(use),
            record.MAX_TAGS,
            len(marking.add),
            *marking.add,
            *marking.remove,
        )
        terms = f"{_optional(expected)} {_spelled(marking.lifetime)}"
        return await self._change(_MARK, place, terms, arguments, None, again=expected is None)

    async def _used(self, place: Place, session: Session) -> Session | None:
        """Return a session that was read, unless it has expired; write the use down where its idle time wants it."""
        now = self._client.now_ms()
        if session.expires_ms is not None and session.expires_ms <= now:
            return None
        if transitions.wants_touch(session, now, self._defaults):
            await self._touch(place, _USE)
        return session

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
        if answer[0] == b"unreadable":
            raise records.unreadable(place.name, answer[1].decode())
        if answer[0] == b"lost":
            assert fence is not None
            raise leases.lost(place.name, fence)
        return answer

    async def _lease(self, script: Script, place: Place, arguments: tuple[Argument, ...], *, again: bool) -> Answer:
        await self._keyspace.check(writing=True)
        try:
            answer = await self._client.run(script, (place.lease,), arguments, writes=True, again=again)
        except Unreadable as error:
            raise records.unreadable(place.name, f"its lease: {error}") from error
        if answer[0] == b"unreadable":
            raise records.unreadable(place.name, answer[1].decode())
        return answer


def _optional(number: int | None) -> str:
    return "-" if number is None else str(number)


def _spelled(lifetime: Lifetime | None) -> str:
    return "= =" if lifetime is None else f"{_optional(lifetime.ttl_ms)} {_optional(lifetime.idle_ms)}"


def _given(text: str | None) -> str:
    return "" if text is None else f"={text}"


def _refuse_revision(place: Place, answer: Answer, expected: int | None) -> NoReturn:
    current = records.session_of(place.name, answer[1:])
    have = current.revision if current else 0
    raise Conflict(f"session {place.name} is at revision {have}, not {expected}", current)


def _refuse_lines(
    place: Place, answer: Answer, position: int | None, generation: int | None, expected: int | None = None
) -> NoReturn:
    if answer[0] != b"conflict":
        why = "is absent" if answer[0] == b"absent" else "names no transcript (sessionFile, sessionId)"
        raise NoTranscript(f"session {place.name} {why}")
    current = records.session_of(place.name, answer[1:])
    if current is None or expected not in (None, current.revision):
        _refuse_revision(place, answer, expected)
    assert current.transcript is not None
    if generation not in (None, current.transcript.generation):
        why = f"has its transcript at generation {current.transcript.generation}, not {generation}"
    else:
        why = f"has a transcript of {current.transcript.lines} lines, not {position}"
    raise Conflict(f"session {place.name} {why}", current)
