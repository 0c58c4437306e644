"""A Store over another one that passes every call on; the base of what adds to a Store without being one."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from typing import TypeVar

from sessionstore.sessions.common import CommonStore
from sessionstore.sessions.exceptions import SessionError
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
    Stats,
    Status,
    Transcript,
    TranscriptHead,
)
from sessionstore.sessions.store import Capability, Key, Store

T = TypeVar("T")


class WrappedStore(CommonStore):
    """Passes everything on to `inner`. Each asynchronous call goes through `_around`; `lease` is made of such calls."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    async def _around(self, operation: str, call: Awaitable[T]) -> T:
        """Do one call of `inner`; `operation` is the method's name."""
        return await call

    def _through(self, operation: str, items: AsyncIterator[T]) -> AsyncIterator[T]:
        """Go through items of `inner`."""
        return items

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self.inner.capabilities

    async def get(self, key: Key) -> Session | None:
        return await self._around("get", self.inner.get(key))

    async def get_many(self, keys: Sequence[Key]) -> builtins.list[Session | None]:
        return await self._around("get_many", self.inner.get_many(keys))

    async def set(
        self,
        key: Key,
        entry: EntryLike,
        *,
        expected: int | None = None,
        lifetime: Lifetime | None = None,
        fence: int | None = None,
    ) -> Session:
        return await self._around("set", self.inner.set(key, entry, expected=expected, lifetime=lifetime, fence=fence))

    async def create(
        self, key: Key, entry: EntryLike, lines: Sequence[bytes] = (), *, lifetime: Lifetime | None = None
    ) -> Session:
        return await self._around("create", self.inner.create(key, entry, lines, lifetime=lifetime))

    async def create_many(self, sessions: Sequence[NewSession]) -> builtins.list[Session | SessionError]:
        return await self._around("create_many", self.inner.create_many(sessions))

    async def delete(self, key: Key, *, expected: int | None = None, fence: int | None = None) -> bool:
        return await self._around("delete", self.inner.delete(key, expected=expected, fence=fence))

    async def exists(self, key: Key) -> bool:
        return await self._around("exists", self.inner.exists(key))

    async def tombstone(self, key: Key) -> int | None:
        return await self._around("tombstone", self.inner.tombstone(key))

    async def touch(self, key: Key, *, lifetime: Lifetime | None = None) -> bool:
        return await self._around("touch", self.inner.touch(key, lifetime=lifetime))

    async def append(
        self,
        key: Key,
        lines: Sequence[bytes],
        *,
        position: int | None = None,
        generation: int | None = None,
        fence: int | None = None,
    ) -> TranscriptHead:
        return await self._around(
            "append", self.inner.append(key, lines, position=position, generation=generation, fence=fence)
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
        return await self._around(
            "rewrite", self.inner.rewrite(key, lines, expected=expected, generation=generation, fence=fence)
        )

    async def read(
        self, key: Key, start: int = 0, stop: int | None = None, *, reverse: bool = False
    ) -> Transcript | None:
        return await self._around("read", self.inner.read(key, start, stop, reverse=reverse))

    async def read_many(
        self, keys: Sequence[Key], start: int = 0, stop: int | None = None
    ) -> builtins.list[Transcript | None]:
        return await self._around("read_many", self.inner.read_many(keys, start, stop))

    async def list(
        self,
        *,
        agent: str | None = None,
        status: Status | None = Status.ACTIVE,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        return await self._around("list", self.inner.list(agent=agent, status=status, limit=limit, cursor=cursor))

    async def search(self, query: Query, *, limit: int = 50, cursor: str | None = None) -> Page:
        return await self._around("search", self.inner.search(query, limit=limit, cursor=cursor))

    async def count(self, *, agent: str | None = None, status: Status | None = Status.ACTIVE) -> int:
        return await self._around("count", self.inner.count(agent=agent, status=status))

    async def stats(self) -> Stats:
        return await self._around("stats", self.inner.stats())

    async def invalidate(
        self, *, sender: str | None = None, channel: str | None = None, agent: str | None = None
    ) -> int:
        return await self._around("invalidate", self.inner.invalidate(sender=sender, channel=channel, agent=agent))

    async def archive(self, key: Key, *, reason: str | None = None, expected: int | None = None) -> Session | None:
        return await self._around("archive", self.inner.archive(key, reason=reason, expected=expected))

    async def restore(self, key: Key, *, expected: int | None = None) -> Session | None:
        return await self._around("restore", self.inner.restore(key, expected=expected))

    async def pin(self, key: Key, pinned: bool = True) -> Session | None:
        return await self._around("pin", self.inner.pin(key, pinned))

    async def tag(self, key: Key, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Session | None:
        return await self._around("tag", self.inner.tag(key, add=add, remove=remove))

    async def title(self, key: Key, title: str | None, *, expected: int | None = None) -> Session | None:
        return await self._around("title", self.inner.title(key, title, expected=expected))

    async def position(self) -> str:
        return await self._around("position", self.inner.position())

    async def changes(self, cursor: str, *, limit: int = 500, wait_s: float = 0.0) -> Changes:
        return await self._around("changes", self.inner.changes(cursor, limit=limit, wait_s=wait_s))

    async def acquire_lease(self, key: Key, holder: str, ttl_s: float) -> Lease:
        return await self._around("acquire_lease", self.inner.acquire_lease(key, holder, ttl_s))

    async def renew_lease(self, lease: Lease, ttl_s: float) -> Lease:
        return await self._around("renew_lease", self.inner.renew_lease(lease, ttl_s))

    async def release_lease(self, lease: Lease) -> bool:
        return await self._around("release_lease", self.inner.release_lease(lease))

    async def sweep(self, limit: int = 1000) -> int:
        return await self._around("sweep", self.inner.sweep(limit))

    async def health(self) -> Health:
        return await self._around("health", self.inner.health())

    async def close(self) -> None:
        return await self._around("close", self.inner.close())

    async def put_archive(
        self, agent: str, name: str, lines: Sequence[bytes], *, position: int = 0, replace: bool = False
    ) -> int:
        return await self._around(
            "put_archive", self.inner.put_archive(agent, name, lines, position=position, replace=replace)
        )

    async def read_archive(
        self, agent: str, name: str, start: int = 0, stop: int | None = None
    ) -> tuple[bytes, ...] | None:
        return await self._around("read_archive", self.inner.read_archive(agent, name, start, stop))

    def list_archives(self, *, agent: str | None = None) -> AsyncIterator[ArchiveInfo]:
        return self._through("list_archives", self.inner.list_archives(agent=agent))

    async def put_document(self, name: str, body: bytes) -> None:
        return await self._around("put_document", self.inner.put_document(name, body))

    async def get_document(self, name: str) -> bytes | None:
        return await self._around("get_document", self.inner.get_document(name))

    async def delete_document(self, name: str) -> bool:
        return await self._around("delete_document", self.inner.delete_document(name))

    def list_documents(self, prefix: str = "") -> AsyncIterator[str]:
        return self._through("list_documents", self.inner.list_documents(prefix))
