"""Sessions in this process alone: for tests, and as the shortest reading of what a shelf has to do.

Nothing awaits between reading and writing, so each operation is atomic within its event loop.
"""

from __future__ import annotations

import builtins
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from sessionstore.sessions import clock, feed, layout, record
from sessionstore.sessions.exceptions import Conflict
from sessionstore.sessions.leases import LeaseState
from sessionstore.sessions.local import Lines, LocalStore, Step
from sessionstore.sessions.record import INHERITED, ArchiveInfo, Change, Changes, Health, Lifetime, SessionKey, Status
from sessionstore.sessions.store import Capability
from sessionstore.sessions.transitions import Record


class _Room:
    """One session's part of the dictionaries."""

    def __init__(self, shelf: _Shelf, name: SessionKey) -> None:
        self._shelf, self._name = shelf, name

    def load(self) -> Record | None:
        return self._shelf.records.get(self._name)

    def save(self, step: Step) -> None:
        lines = self._shelf.lines.setdefault(self._name, {})
        if step.record.status is Status.DELETED:
            lines.clear()
        if step.transcript_id is not None:
            kept = lines.get(step.transcript_id, ()) if step.replaced is None else tuple(step.replaced)
            lines[step.transcript_id] = (*kept, *step.added)
        self._shelf.records[self._name] = step.record
        if step.operation is not None:
            self._shelf.tell(Change(self._name, step.record.revision, step.operation))

    def lines(self, transcript_id: str, start: int, stop: int) -> Lines:
        return self._shelf.lines[self._name][transcript_id][start:stop]

    def lease(self) -> LeaseState | None:
        return self._shelf.leases.get(self._name)

    def save_lease(self, state: LeaseState) -> None:
        self._shelf.leases[self._name] = state


class _Shelf:
    """The dictionaries."""

    def __init__(self) -> None:
        self.records: dict[SessionKey, Record] = {}
        self.lines: dict[SessionKey, dict[str, Lines]] = {}
        self.leases: dict[SessionKey, LeaseState] = {}
        self.archives: dict[tuple[str, str], Lines] = {}
        self._id = feed.new_id()
        self._told: deque[Change] = deque(maxlen=layout.FEED_LENGTH)
        self._count = 0

    @contextmanager
    def room(self, name: SessionKey, *, writing: bool) -> Iterator[_Room | None]:
        yield _Room(self, name) if writing or name in self.records else None

    def rows(self, agent: str | None) -> Iterable[tuple[SessionKey, Record]]:
        return [(name, kept) for name, kept in self.records.items() if agent in (None, name.agent)]

    def count_archives(self) -> int:
        return len(self.archives)

    def tell(self, change: Change) -> None:
        self._told.append(change)
        self._count += 1

    def feed_end(self) -> str:
        return feed.encode(self._id, [self._count])

    def feed_after(self, cursor: str, limit: int) -> Changes:
        first = self._count - len(self._told)
        seen = feed.check_reach(first, feed.decode(cursor, self._id, 1)[0], self._count)
        items = builtins.list(self._told)[seen - first :][:limit]
        return Changes(tuple(items), feed.encode(self._id, [seen + len(items)]))

    def health(self) -> Health:
        return Health(ok=True, message="kept in this process's memory, and gone with it", latency_ms=0.0)


class MemoryStore(LocalStore):
    """A Store that is gone with the process."""

    def __init__(
        self,
        now_ms: Callable[[], int] = clock.now_ms,
        defaults: Lifetime = INHERITED,
        *,
        count_uses: bool = True,
    ) -> None:
        """Start empty. `now_ms` gives milliseconds since the epoch."""
        self._kept = _Shelf()
        self._documents: dict[str, bytes] = {}
        super().__init__(self._kept, now_ms, defaults, threads=False, count_uses=count_uses)

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.ARCHIVES, Capability.DOCUMENTS, Capability.FEED, Capability.LEASES})

    async def put_archive(
        self, agent: str, name: str, lines: Sequence[bytes], *, position: int = 0, replace: bool = False
    ) -> int:
        key = (record.check_agent(agent), record.check_archive_name(name))
        old = self._kept.archives.get(key, ())
        if len(old) != position:
            raise Conflict(f"archive {agent}/{name} has {len(old)} lines, not {position}", None)
        self._kept.archives[key] = (() if replace else old) + tuple(record.check_lines(lines))
        return len(self._kept.archives[key])

    async def read_archive(self, agent: str, name: str, start: int = 0, stop: int | None = None) -> Lines | None:
        lines = self._kept.archives.get((agent, name))
        return None if lines is None else lines[start:stop]

    async def list_archives(self, *, agent: str | None = None) -> AsyncIterator[ArchiveInfo]:
        for (owner, name), lines in builtins.list(self._kept.archives.items()):
            if agent in (None, owner):
                yield ArchiveInfo(owner, name, len(lines))

    async def put_document(self, name: str, body: bytes) -> None:
        self._documents[record.check_document_name(name)] = body

    async def get_document(self, name: str) -> bytes | None:
        return self._documents.get(name)

    async def delete_document(self, name: str) -> bool:
        return self._documents.pop(name, None) is not None

    async def list_documents(self, prefix: str = "") -> AsyncIterator[str]:
        for name in builtins.list(self._documents):
            if name.startswith(prefix):
                yield name
