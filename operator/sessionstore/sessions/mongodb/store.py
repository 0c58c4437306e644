"""`MongoStore`: a session is one document, and each operation one atomic change of it.

The operations are those of `LocalStore`, on a desk (desk.py); writing.py carries what they decide to the server.
docs/design/0009-mongodb.md has the layout, and the reasons.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
from collections.abc import AsyncIterator, Sequence

from sessionstore.sessions import layout, paging, record, transitions
from sessionstore.sessions.common import CommonStore
from sessionstore.sessions.config import SessionStorage
from sessionstore.sessions.exceptions import Unavailable, Unreadable
from sessionstore.sessions.mongodb import documents, strand
from sessionstore.sessions.mongodb.beside import Archives, Documents
from sessionstore.sessions.mongodb.changes import PAUSE_S, Feed
from sessionstore.sessions.mongodb.chunks import Chunks, Gone
from sessionstore.sessions.mongodb.client import Client, Database, find_one
from sessionstore.sessions.mongodb.keyspace import Keyspace
from sessionstore.sessions.mongodb.rows import Rows
from sessionstore.sessions.mongodb.strand import Document, Lines
from sessionstore.sessions.mongodb.writing import Writer
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
    SessionKey,
    Stats,
    Status,
    Transcript,
    TranscriptHead,
)
from sessionstore.sessions.store import Capability, Key
from sessionstore.sessions.transitions import Marking

MANY = 500
"""Sessions of one request of `get_many`."""
UPKEEP_S, UPKEEP_COUNT = 1.0, 20
"""Who writes looks after the keyspace this often, and after so many sessions of it."""
ABANDONED_MS = 5_000
"""Events that were not told for so long are told by whoever finds them."""


class MongoStore(CommonStore):
    """Sessions of one keyspace of one database."""

    def __init__(self, config: SessionStorage) -> None:
        """Prepare; the server is spoken to by the first call. Raises: ConfigurationError."""
        self._client = Client(config)
        self._chunks = Chunks(self._client)
        self._feed = Feed(self._client, config.keyspace)
        self._keyspace = Keyspace(self._client, config.keyspace)
        self._writer = Writer(self._client, self._chunks, self._feed, config.keyspace, config.lifetime)
        self._rows = Rows(self._client, config.keyspace)
        self._archives = Archives(self._client, self._chunks, config.keyspace)
        self._documents = Documents(self._client, self._chunks, config.keyspace)
        self._name = config.keyspace
        self._defaults = config.lifetime
        self._count_uses = config.count_uses
        self._upkeep: asyncio.Task[None] | None = None
        self._looked_after = float("-inf")

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset(Capability)

    async def get(self, key: Key) -> Session | None:
        name = SessionKey.of(key)
        return await self._served(name, await self._find(name, documents.WITHOUT_LINES))

    async def get_many(self, keys: Sequence[Key]) -> builtins.list[Session | None]:
        names = [SessionKey.of(key) for key in keys]
        found: dict[str, Document] = {}
        for at in range(0, len(names), MANY):
            ids = [self._writer.id_of(name) for name in names[at : at + MANY]]
            found |= {one["_id"]: one for one in await self._find_all({"_id": {"$in": ids}}, documents.WITHOUT_LINES)}
        return [await self._served(name, found.get(self._writer.id_of(name))) for name in names]

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
        await self._look_after()
        return await self._writer.change(
            name,
            lambda clerk: clerk.set(name, made, expected=expected, lifetime=lifetime, fence=fence),
            absent=expected == 0 and fence is None,
        )

    async def create(
        self, key: Key, entry: EntryLike, lines: Sequence[bytes] = (), *, lifetime: Lifetime | None = None
    ) -> Session:
        name, made, first = SessionKey.of(key), Entry.of(entry), tuple(record.check_lines(lines))
        transitions.check_begins(name, made, first)
        await self._look_after()
        return await self._writer.change(
            name, lambda clerk: clerk.create(name, made, first, lifetime=lifetime), absent=True
        )

    async def delete(self, key: Key, *, expected: int | None = None, fence: int | None = None) -> bool:
        name = SessionKey.of(key)
        await self._look_after()
        return await self._writer.change(name, lambda clerk: clerk.delete(name, expected=expected, fence=fence))

    async def exists(self, key: Key) -> bool:
        found = await self._find(SessionKey.of(key), {"s": 1, "x": 1})
        if found is None or found.get("s") not in documents.LIVE:
            return False
        return found.get("x") is None or found["x"] > await self._now_ms()

    async def tombstone(self, key: Key) -> int | None:
        name = SessionKey.of(key)
        found = await self._find(name, documents.WITHOUT_ENTRY)
        kept = documents.record_of(name, found, entry=False) if found is not None else None
        return transitions.tombstone_of(kept, await self._now_ms())

    async def touch(self, key: Key, *, lifetime: Lifetime | None = None) -> bool:
        name = SessionKey.of(key)
        return await self._writer.change(name, lambda clerk: clerk.touch(name, lifetime=lifetime))

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
        await self._look_after()
        return await self._writer.append(
            name,
            added,
            lambda clerk: clerk.append(name, added, position=position, generation=generation, fence=fence),
            {f"cur.{part}": value for part, value in (("n", position), ("g", generation)) if value is not None},
            fence,
        )

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
        await self._look_after()
        return await self._writer.change(
            name, lambda clerk: clerk.rewrite(name, new, expected=expected, generation=generation, fence=fence)
        )

    async def read(
        self, key: Key, start: int = 0, stop: int | None = None, *, reverse: bool = False
    ) -> Transcript | None:
        name = SessionKey.of(key)
        missing = None
        while (found := await self._find(name, documents.WITHOUT_ENTRY)) is not None:
            kept = documents.record_of(name, found, entry=False)
            now = await self._now_ms()
            live = transitions.current(kept, now)
            head = documents.head_of(found)
            if live is None or head is None:
                return None
            first, last, _ = slice(start, stop).indices(head.lines)
            try:
                lines = await self._lines(name, found, first, max(first, last))
            except Gone as error:
                # Rewritten or deleted since the document was read: then it is another one now.
                if found["v"] == missing:
                    raise documents.unreadable(f"session {name}", ValueError("lines are missing")) from error
                missing = found["v"]
                continue
            if self._count_uses and transitions.wants_touch(live, now, self._defaults):
                await self.touch(name)
            return Transcript(head, first, lines[::-1] if reverse else lines)
        return None

    async def search(self, query: Query, *, limit: int = 50, cursor: str | None = None) -> Page:
        now = await self._now_ms()
        return await self._rows.page(query, limit, cursor, now, ordered=await self._client.orders())

    async def count(self, *, agent: str | None = None, status: Status | None = Status.ACTIVE) -> int:
        query = Query(agent=agent, status=status)
        return (await self._rows.count(query.agent, query.status, await self._now_ms()))[0]

    async def stats(self) -> Stats:
        now = await self._now_ms()
        active, expired = await self._rows.count(None, Status.ACTIVE, now)
        archived, _ = await self._rows.count(None, Status.ARCHIVED, now)
        return Stats(active, archived, expired, await self._archives.count())

    async def position(self) -> str:
        await self._look_after()
        return await self._feed.position(await self._keyspace.id())

    async def changes(self, cursor: str, *, limit: int = 500, wait_s: float = 0.0) -> Changes:
        paging.check_limit(limit)
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_s
        while True:
            await self._look_after()
            found = await self._feed.after(cursor, await self._keyspace.id(), limit)
            if found.items or loop.time() >= end:
                return found
            await asyncio.sleep(min(PAUSE_S, max(end - loop.time(), 0)))

    async def acquire_lease(self, key: Key, holder: str, ttl_s: float) -> Lease:
        name = SessionKey.of(key)
        await self._look_after()
        return await self._writer.change(name, lambda clerk: clerk.acquire_lease(name, holder, ttl_s))

    async def renew_lease(self, lease: Lease, ttl_s: float) -> Lease:
        return await self._writer.change(lease.key, lambda clerk: clerk.renew_lease(lease, ttl_s))

    async def release_lease(self, lease: Lease) -> bool:
        return await self._writer.change(lease.key, lambda clerk: clerk.release_lease(lease))

    async def sweep(self, limit: int = 1000) -> int:
        now = await self._now_ms()
        due = {"k": self._name, "z": {"$lte": now}, "x": {"$lte": now}}
        found = await self._find_all(due, {"m": 1}, limit=limit)
        return sum([await self._expire(SessionKey(*layout.split_member(one["m"]))) for one in found])

    async def health(self) -> Health:
        return await self._client.health()

    async def close(self) -> None:
        """Let go of connections. What was written and is not told to followers yet is told before."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)
        await self._writer.close()
        await self._client.close()

    async def put_archive(
        self, agent: str, name: str, lines: Sequence[bytes], *, position: int = 0, replace: bool = False
    ) -> int:
        await self._keyspace.id()
        return await self._archives.put(agent, name, lines, position, replace=replace)

    async def read_archive(self, agent: str, name: str, start: int = 0, stop: int | None = None) -> Lines | None:
        return await self._archives.read(agent, name, start, stop)

    async def list_archives(self, *, agent: str | None = None) -> AsyncIterator[ArchiveInfo]:
        async for info in self._archives.every(agent):
            yield info

    async def put_document(self, name: str, body: bytes) -> None:
        await self._keyspace.id()
        await self._documents.put(name, body)

    async def get_document(self, name: str) -> bytes | None:
        return await self._documents.get(name)

    async def delete_document(self, name: str) -> bool:
        return await self._documents.delete(name)

    async def list_documents(self, prefix: str = "") -> AsyncIterator[str]:
        async for name in self._documents.every(prefix):
            yield name

    async def _mark(self, key: Key, marking: Marking, expected: int | None = None) -> Session | None:
        name = SessionKey.of(key)
        await self._look_after()
        return await self._writer.change(name, lambda clerk: clerk.mark(name, marking, expected))

    async def _served(self, name: SessionKey, found: Document | None) -> Session | None:
        """Return a session that was read; it counts as used."""
        kept = documents.record_of(name, found) if found is not None else None
        if kept is None:
            return None
        now = await self._now_ms()
        live = transitions.current(kept, now)
        if self._count_uses and live is not None and transitions.wants_touch(live, now, self._defaults):
            await self.touch(name)
        return transitions.session_of(name, live)

    async def _lines(self, name: SessionKey, found: Document, first: int, last: int) -> Lines:
        try:
            kept = strand.decoded(found["cur"])
        except (KeyError, TypeError, ValueError) as error:
            raise documents.unreadable(f"session {name}", error) from error
        return await self._chunks.read(kept, strand.owner_of(found["_id"]), first, last)

    async def _find(self, name: SessionKey, fields: Document) -> Document | None:
        document_id = self._writer.id_of(name)
        return await self._client.again(lambda database: find_one(database, "sessions", document_id, fields))

    async def _find_all(self, chosen: Document, fields: Document | None, limit: int = 0) -> builtins.list[Document]:
        async def find(database: Database) -> builtins.list[Document]:
            return await database.sessions.find(chosen, fields).limit(limit).to_list()

        return await self._client.again(find)

    async def _now_ms(self) -> int:
        return await self._client.now_ms(self._client.deadline())

    async def _expire(self, name: SessionKey) -> int:
        try:
            return await self._writer.change(name, lambda clerk: clerk.sweep(1))
        except Unreadable:
            return 0  # Whoever asks for it is told; the others are not kept for it.

    async def _look_after(self) -> None:
        """Make the keyspace where it is not there yet; look after it in the background now and then."""
        await self._keyspace.id()
        now = asyncio.get_running_loop().time()
        if now - self._looked_after > UPKEEP_S and (self._upkeep is None or self._upkeep.done()):
            self._looked_after = now
            self._upkeep = asyncio.create_task(self._tend())

    async def _tend(self) -> None:
        """Do some of what nobody does otherwise: end sessions that expired, finish what others left undone."""
        with contextlib.suppress(Unavailable):
            await self.sweep(UPKEEP_COUNT)
            before = await self._now_ms() - ABANDONED_MS
            left = {"k": self._name, "z": {"$lte": before}, "pend": {"$exists": True}}
            for found in await self._find_all(left, None, limit=UPKEEP_COUNT):
                with contextlib.suppress(Unreadable):
                    await self._writer.settle(SessionKey(*layout.split_member(found["m"])), found)
