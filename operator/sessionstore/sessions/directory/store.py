"""The Store on a directory of its own: one file per session, for the processes of one machine.

Every call opens what it needs and closes it again: a directory that was replaced, or a volume that went away, is seen
by the next one. docs/design/0011-directory.md has the layout and what happens when a writer is killed.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from sessionstore.sessions import clock, paging, record
from sessionstore.sessions.directory import archives, documents, leftovers
from sessionstore.sessions.directory.index import Index
from sessionstore.sessions.directory.lines import Gone, LineReader
from sessionstore.sessions.directory.oddities import Oddities
from sessionstore.sessions.directory.shelf import DirectoryShelf
from sessionstore.sessions.local import Lines, LocalStore
from sessionstore.sessions.query import Query
from sessionstore.sessions.record import (
    INHERITED,
    ArchiveInfo,
    Health,
    Lifetime,
    Page,
    SessionInfo,
    SessionKey,
    Stats,
    Status,
    Transcript,
)
from sessionstore.sessions.store import Capability

LEFTOVERS_PAUSE_S = 3600.0
"""Between two looks for what killed writers left: each goes through all names there are."""
_TRIES = 5

T = TypeVar("T")


class DirectoryStore(LocalStore):
    """Sessions in a directory."""

    def __init__(
        self,
        path: Path,
        now_ms: Callable[[], int] = clock.now_ms,
        defaults: Lifetime = INHERITED,
        *,
        count_uses: bool = True,
    ) -> None:
        """Prepare; the directory is made by the first write. `now_ms` gives milliseconds since the epoch."""
        self._kept = DirectoryShelf(path)
        self._index = Index(self._kept, now_ms)
        self._archive_reader = LineReader()
        self._looked_for_leftovers = -LEFTOVERS_PAUSE_S
        super().__init__(self._kept, now_ms, defaults, threads=True, count_uses=count_uses)

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.ARCHIVES, Capability.DOCUMENTS, Capability.FEED, Capability.LEASES})

    @property
    def oddities(self) -> Oddities:
        """What was met until now that is left out of lists."""
        return self._kept.oddities

    async def list(
        self,
        *,
        agent: str | None = None,
        status: Status | None = Status.ACTIVE,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        query = Query(agent=agent, status=status)
        return await self._do(lambda: self._index.page(query, limit, cursor, None))

    async def search(self, query: Query, *, limit: int = 50, cursor: str | None = None) -> Page:
        return await self._do(lambda: self._index.page(query, limit, cursor, paging.SCAN_LIMIT))

    async def health(self) -> Health:
        """Say whether the directory can be read and written. Goes through it as a list does, to tell what is odd."""
        return await self._do(self._health)

    async def put_archive(
        self, agent: str, name: str, lines: Sequence[bytes], *, position: int = 0, replace: bool = False
    ) -> int:
        record.check_agent(agent)
        record.check_archive_name(name)
        added = record.check_lines(lines)
        return await self._do(
            lambda: archives.put(self._kept, agent, name, added, position=position, replace=replace), writes=True
        )

    async def read_archive(self, agent: str, name: str, start: int = 0, stop: int | None = None) -> Lines | None:
        part, reader = slice(start, stop), self._archive_reader
        return await self._do(lambda: _again(lambda: archives.read(self._kept, reader, agent, name, part)))

    async def list_archives(self, *, agent: str | None = None) -> AsyncIterator[ArchiveInfo]:
        for info in await self._do(lambda: archives.infos(self._kept, agent)):
            yield info

    async def put_document(self, name: str, body: bytes) -> None:
        record.check_document_name(name)
        await self._do(lambda: documents.put(self._kept, name, body), writes=True)

    async def get_document(self, name: str) -> bytes | None:
        return await self._do(lambda: documents.get(self._kept, name))

    async def delete_document(self, name: str) -> bool:
        return await self._do(lambda: documents.delete(self._kept, name), writes=True)

    async def list_documents(self, prefix: str = "") -> AsyncIterator[str]:
        for name in await self._do(lambda: documents.names_of(self._kept)):
            if name.startswith(prefix):
                yield name

    def _read(self, name: SessionKey, start: int, stop: int | None) -> tuple[Transcript | None, bool]:
        return _again(lambda: super(DirectoryStore, self)._read(name, start, stop))

    def _rows(self, agent: str | None) -> builtins.list[SessionInfo]:
        return self._index.live(agent)

    def _stats(self) -> Stats:
        live = [row.status for row in self._index.live(None)]
        archived = live.count(Status.ARCHIVED)
        expired = len(self._index.expired())
        return Stats(len(live) - archived, archived, expired, self._kept.count_archives())

    def _sweep(self, limit: int) -> int:
        if time.monotonic() - self._looked_for_leftovers >= LEFTOVERS_PAUSE_S:
            self._looked_for_leftovers = time.monotonic()
            leftovers.remove(self._kept, {row.key: row for row in self._index.live(None)}, self._now_ms())
        return sum(self._expire(name) for name in self._index.expired()[:limit])

    def _health(self) -> Health:
        found = self._kept.health()
        if not found.ok:
            return found
        self._index.live(None)
        return self._kept.health()


def _again(read: Callable[[], T]) -> T:
    """Read, once more where lines were replaced after it was read which they are."""
    for _ in range(_TRIES - 1):
        try:
            return read()
        except Gone:
            continue
    return read()
