"""The rows of all sessions in this process's memory, so that a list need not read every file each time.

The first use reads all records. From then on the journal tells which sessions changed, in this process or another, and
those alone are read again: every call sees what was finished before it.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from sessionstore.sessions import paging, transitions
from sessionstore.sessions.directory import names
from sessionstore.sessions.directory.journal import Journal, Note
from sessionstore.sessions.directory.root import Root
from sessionstore.sessions.directory.shelf import DirectoryShelf
from sessionstore.sessions.exceptions import Unreadable
from sessionstore.sessions.paging import Position
from sessionstore.sessions.query import Query
from sessionstore.sessions.record import Page, SessionInfo, SessionKey, Status
from sessionstore.sessions.transitions import Record

Rank = tuple[int, bytes]


class Rows:
    """Rows by key, and in the order of their rank, the newest last."""

    def __init__(self) -> None:
        self._by_key: dict[SessionKey, SessionInfo] = {}
        self._ordered: list[SessionInfo] = []

    def __len__(self) -> int:
        return len(self._ordered)

    def __iter__(self) -> Iterator[SessionInfo]:
        return iter(self._ordered)

    def get(self, name: SessionKey) -> SessionInfo | None:
        """Return a row."""
        return self._by_key.get(name)

    def fill(self, rows: Mapping[SessionKey, SessionInfo]) -> None:
        """Have these rows and no others."""
        self._by_key = dict(rows)
        self._ordered = sorted(rows.values(), key=_rank)

    def put(self, row: SessionInfo) -> None:
        """Have this row, in place of the one that its session had."""
        self.drop(row.key)
        self._by_key[row.key] = row
        bisect.insort(self._ordered, row, key=_rank)

    def drop(self, name: SessionKey) -> None:
        """Forget a session's row, if there is one."""
        row = self._by_key.pop(name, None)
        if row is not None:
            del self._ordered[bisect.bisect_left(self._ordered, _rank(row), key=_rank)]

    def behind(self, cursor: str | None) -> Iterator[SessionInfo]:
        """Go through the rows, newest first, from behind a cursor."""
        end = len(self._ordered)
        if cursor is not None:
            end = bisect.bisect_left(self._ordered, Position.decode(cursor).rank, key=_rank)
        return (self._ordered[at] for at in range(end - 1, -1, -1))


@dataclass(slots=True)
class _News:
    """What the journal tells of one session."""

    revision: int
    """The highest there is going to be."""
    place: int
    """Where that was told."""
    used: bool = False
    """Whether there was a change that has no revision."""


@dataclass(slots=True)
class _Seen:
    """What is known of a store, up to where in its journal."""

    store_id: str
    place: int
    before: bytes
    """What stands before that place."""
    buried: dict[SessionKey, int] = field(default_factory=dict)
    """Revisions of tombstones, of use only while the journal from before the walk is gone through."""


class Index:
    """The rows of one store. Safe to use from several threads."""

    def __init__(self, shelf: DirectoryShelf, now_ms: Callable[[], int]) -> None:
        """Know nothing yet."""
        self._shelf, self._now_ms = shelf, now_ms
        self._lock = threading.Lock()
        self._all = Rows()
        self._of_agent: dict[str, Rows] = {}
        self._seen: _Seen | None = None

    def page(self, query: Query, limit: int, cursor: str | None, scan_limit: int | None) -> Page:
        """Return a page of the rows that match, of `scan_limit` rows looked at."""
        paging.check_limit(limit)
        found: list[SessionInfo] = []
        with self._fresh(query.agent) as (rows, now):
            for looked_at, row in enumerate(rows.behind(cursor), start=1):
                if _is_live(row, now) and query.matches(row):
                    if len(found) == limit:
                        return Page(tuple(found), paging.position_of(found[-1]).encode())
                    found.append(row)
                if looked_at == scan_limit and looked_at < len(rows):
                    return Page(tuple(found), paging.position_of(row).encode())
        return Page(tuple(found), None)

    def live(self, agent: str | None) -> list[SessionInfo]:
        """Return all rows that can be served."""
        with self._fresh(agent) as (rows, now):
            return [row for row in rows if _is_live(row, now)]

    def expired(self) -> list[SessionKey]:
        """Return which sessions ought to be tombstones, and are none yet."""
        with self._fresh(None) as (rows, now):
            return [row.key for row in rows if not _is_live(row, now)]

    @contextmanager
    def _fresh(self, agent: str | None) -> Iterator[tuple[Rows, int]]:
        with self._lock:
            self._refresh()
            yield self._all if agent is None else self._of_agent.get(agent, Rows()), self._now_ms()

    def _refresh(self) -> None:
        with self._shelf.opened(create=False) as root:
            if root is None:
                self._seen = None
                self._fill({})
                return
            with root.journal(create=False) as journal:
                if not self._goes_on(root, journal):
                    self._seen = self._walked(root, journal)
                if journal is not None:
                    self._follow(root, journal)

    def _goes_on(self, root: Root, journal: Journal | None) -> bool:
        """Return whether the journal tells all that happened since it was last looked at."""
        seen = self._seen
        if seen is None or seen.store_id != root.store_id:
            return False
        if journal is None:
            return seen.place == 0
        # A backup that was brought back, and written to since, has other lines there.
        return journal.first <= seen.place <= journal.end and journal.before(seen.place) == seen.before

    def _walked(self, root: Root, journal: Journal | None) -> _Seen:
        # From its beginning: a change that was told before the walk may have been made behind the walk's back.
        place = journal.first if journal else 0
        seen = _Seen(root.store_id, place, journal.before(place) if journal else b"")
        self._shelf.oddities.forget_all()
        rows: dict[SessionKey, SessionInfo] = {}
        for name, record in self._shelf.rows(None):
            if record.status is Status.DELETED:
                seen.buried[name] = record.revision
            else:
                rows[name] = transitions.info_of(name, record)
        self._fill(rows)
        return seen

    def _follow(self, root: Root, journal: Journal) -> None:
        """Read what changed. What is being carried out right now is looked at again next time."""
        assert self._seen is not None
        news, end = _news(journal, self._seen.place)
        for name, told in news.items():
            if told.used or self._revision(name) < told.revision:
                # In this order: a writer that finishes between the two has its record read.
                is_locked = root.is_locked(name)
                if self._read(root, name) < told.revision and is_locked:
                    end = min(end, told.place)
        self._seen = _Seen(self._seen.store_id, end, journal.before(end))

    def _revision(self, name: SessionKey) -> int:
        assert self._seen is not None
        row = self._all.get(name)
        return row.revision if row else self._seen.buried.get(name, 0)

    def _read(self, root: Root, name: SessionKey) -> int:
        """Read a session's record anew; return its revision."""
        path = self._shelf.path.joinpath(*names.place_of(name).directories, names.place_of(name).record)
        try:
            kept = root.kept(name)
            self._shelf.oddities.forget(path)
        except Unreadable as error:
            self._shelf.oddities.note(path, str(error))
            self._put(name, None)
            return 0
        self._put(name, kept.record if kept else None)
        return kept.record.revision if kept else 0

    def _put(self, name: SessionKey, record: Record | None) -> None:
        own = self._of_agent.setdefault(name.agent, Rows())
        for rows in (self._all, own):
            if record is None or record.status is Status.DELETED:
                rows.drop(name)
            else:
                rows.put(transitions.info_of(name, record))

    def _fill(self, rows: Mapping[SessionKey, SessionInfo]) -> None:
        self._all.fill(rows)
        self._of_agent = {}
        of_agent: dict[str, dict[SessionKey, SessionInfo]] = {}
        for name, row in rows.items():
            of_agent.setdefault(name.agent, {})[name] = row
        for agent, own in of_agent.items():
            self._of_agent.setdefault(agent, Rows()).fill(own)


def _news(journal: Journal, place: int) -> tuple[dict[SessionKey, _News], int]:
    """Return what the journal tells from a place on, and where it ends."""
    found: dict[SessionKey, _News] = {}
    while True:
        notes, end = journal.read(place)
        for note in notes:
            _add(found, note)
        if end == place:
            return found, end
        place = end


def _add(found: dict[SessionKey, _News], note: Note) -> None:
    known = found.get(note.key)
    if known is None:
        found[note.key] = _News(note.revision, note.place, note.operation is None)
        return
    known.used |= note.operation is None
    if note.revision >= known.revision:
        known.revision, known.place = note.revision, note.place


def _rank(row: SessionInfo) -> Rank:
    return paging.position_of(row).rank


def _is_live(row: SessionInfo, now_ms: int) -> bool:
    return row.expires_ms is None or row.expires_ms > now_ms
