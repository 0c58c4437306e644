"""Reads a store into a target: everything once, then what changed meanwhile, until nothing does."""

from __future__ import annotations

from collections.abc import Callable, Collection

from sessionstore.migrate.export.catalogue import ARCHIVE, SESSION, Catalogue, Row
from sessionstore.migrate.export.reading import GROUP, Loaded, Moved, Reading
from sessionstore.migrate.export.target import Lines, Target
from sessionstore.sessions.digest import SessionDigest
from sessionstore.sessions.exceptions import FeedLost
from sessionstore.sessions.record import Change, Session, SessionKey, Transcript

LEFT_OUT = "left out"
"""The kind of a row for a session that the format has no place for."""
ROUNDS = 1000
"""Batches of changes that are followed before a store is taken for one that is never quiet."""


class Writer:
    """Writes one export. `catalogue` is empty at first."""

    def __init__(self, reading: Reading, target: Target, catalogue: Catalogue, watch: Callable[[], None]) -> None:
        self._reading = reading
        self._target = target
        self._catalogue = catalogue
        self._watch = watch
        self._cursor = ""

    async def write(self) -> None:
        """Write everything but what is written at the end. Raises: Unavailable, Unreadable, OSError."""
        self._cursor = await self._reading.position()
        async for loaded in self._reading.loaded():
            await self._put_all(loaded)
        async for info in self._reading.archives():
            await self._put_archive(info.agent, info.name)
        await self._settle()

    async def count_moving(self) -> int:
        """Count the sessions that changed since they were written."""
        moving: set[SessionKey] = set()
        try:
            for _ in range(ROUNDS):
                news, is_end = await self._news()
                moving |= news
                if is_end:
                    break
        except FeedLost:
            # So many changes that the feed did not keep them: at least one of them is of a session.
            moving = moving or {SessionKey("unknown", "unknown")}
        return len(moving)

    async def _settle(self) -> None:
        """Write again what changed since it was written, until nothing does any more."""
        for _ in range(ROUNDS):
            try:
                news, is_end = await self._news()
            except FeedLost:
                await self._compare_all()
                continue
            await self._again(news)
            if is_end:
                return

    async def _news(self) -> tuple[set[SessionKey], bool]:
        """Return what changed, of the next batch of changes, and whether there was none."""
        found = await self._reading.changes(self._cursor)
        self._cursor = found.cursor
        return {change.key for change in found.items if self._is_news(change)}, not found.items

    def _is_news(self, change: Change) -> bool:
        if not self._reading.concerns(change.key.agent):
            return False
        row = self._row(change.key)
        return row is None or change.revision > row.revision

    async def _compare_all(self) -> None:
        """Compare all revisions: the feed does not reach back."""
        self._cursor = await self._reading.position()
        async for info in self._reading.keys():
            row = self._row(info.key)
            if row is None or row.revision != info.revision:
                await self._again([info.key])
        for row in self._catalogue.rows(SESSION):
            key = SessionKey(row.agent, row.name)
            if not await self._reading.sessions([key]):
                self._drop(key)

    async def _again(self, keys: Collection[SessionKey]) -> None:
        left = sorted(keys)
        while left:
            group, left = left[:GROUP], left[GROUP:]
            found = await self._reading.sessions(group)
            for key in set(group) - {session.key for session in found}:
                self._drop(key)
            await self._put_all(await self._reading.load(found))

    async def _put_all(self, loaded: Loaded) -> None:
        for session, first in loaded:
            await self._put(session, first)
            self._watch()

    async def _put(self, session: Session, first: Transcript | None) -> None:
        key = session.key
        if self._target.entry_of(session) is None:
            self._drop(key)
            self._catalogue.put(Row(LEFT_OUT, key.agent, key.key, session.revision, 0, 0, ""))
            return
        counter = _Counter(SessionDigest.of_session(key, session.entry.raw), len(session.entry.raw))
        try:
            await self._target.put_session(session, counter.passing(self._reading.lines(session, first)))
        except Moved:
            # The feed tells of that change as well, and it is written again then.
            self._drop(key)
            return
        self._catalogue.drop(LEFT_OUT, key.agent, key.key)
        self._catalogue.put(counter.row(SESSION, key.agent, key.key, session.revision))

    async def _put_archive(self, agent: str, name: str) -> None:
        counter = _Counter(SessionDigest.of_archive(agent, name), 0)
        await self._target.put_archive(agent, name, counter.passing(self._reading.archive_lines(agent, name)))
        self._catalogue.put(counter.row(ARCHIVE, agent, name, 0))

    def _drop(self, key: SessionKey) -> None:
        self._catalogue.drop(LEFT_OUT, key.agent, key.key)
        if self._catalogue.drop(SESSION, key.agent, key.key):
            self._target.drop_session(key)

    def _row(self, key: SessionKey) -> Row | None:
        return self._catalogue.session(key) or self._catalogue.get(LEFT_OUT, key.agent, key.key)


class _Counter:
    """Counts and digests lines that pass."""

    def __init__(self, seen: SessionDigest, size: int) -> None:
        self._seen = seen
        self._bytes = size
        self._lines = 0

    async def passing(self, lines: Lines) -> Lines:
        """Hand on the lines."""
        async for batch in lines:
            for line in batch:
                self._seen.line(line)
            self._lines += len(batch)
            self._bytes += sum(map(len, batch)) + len(batch)
            yield batch

    def row(self, kind: str, agent: str, name: str, revision: int) -> Row:
        """Return what passed."""
        return Row(kind, agent, name, revision, self._lines, self._bytes, self._seen.hexdigest())
