"""What the store holds, told as it changes: a snapshot, then the feed, and what a store lost that it had confirmed.

`bridge.py` calls this, and hands what it tells to the rooms. Reading counts as no use where the store is opened with
`count_uses` off. An event of the feed names a session and not its content, so what is told is what the store has at
that moment; several events may be told as one, and what we wrote ourselves is not read again.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sessionstore.openclaw import rawjson
from sessionstore.sessions.exceptions import FeedLost, Unreadable
from sessionstore.sessions.record import Page, Session, SessionKey, TranscriptHead
from sessionstore.sessions.store import Store

PAGE = 500
GROUP = 50
"""Sessions that are read in one request: some 300 KB where entries have 6 KB."""
LOOKS = 5
"""At a session that is neither there nor deleted, before it is believed that the store never had it."""
_LEVEL = 1
"""How deep an entry lies in a sheet."""
_LAID_OUT = b"{\n    "

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """A session as the store has it.

    Attributes:
        revision: 0 where the store knows nothing of it, not even that it was deleted.
        raw: the entry, laid out as in a sheet; None where there is none.
        transcript: what is known of the lines; None where the entry names no transcript.
    """

    revision: int
    raw: bytes | None
    transcript: TranscriptHead | None = None


class Listener(Protocol):
    """Who is told. Neither call may await: what is told is known from then on."""

    def told(self, key: SessionKey, seen: Seen) -> None:
        """Take what the store has now."""

    def lost(self, key: SessionKey, seen: Seen) -> None:
        """Take what the store went back to; it had confirmed something later."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the store was last seen to have: enough to tell that it went back."""

    revision: int
    digest: int | None

    @classmethod
    def of(cls, seen: Seen) -> _Known:
        return cls(seen.revision, None if seen.raw is None else hash(seen.raw))


_NOTHING = _Known(0, None)


def seen_of(session: Session) -> Seen:
    """Return what is told of a session. What was not laid out by OpenClaw is laid out as OpenClaw would."""
    raw = session.entry.raw
    laid_out = raw if raw.startswith(_LAID_OUT) else rawjson.indent(raw, _LEVEL)
    return Seen(session.revision, laid_out, session.transcript)


class Follower:
    """One store, followed from a snapshot on. A store that is away raises Unavailable: call again what was called."""

    def __init__(self, store: Store, listener: Listener) -> None:
        self._store, self._listener = store, listener
        self._known: dict[SessionKey, _Known] = {}
        self._cursor: str | None = None
        self._unreadable: set[SessionKey] = set()

    async def step(self, wait_s: float) -> None:
        """Tell what changed; wait for it for up to `wait_s`. Begins with everything. Raises: Unavailable."""
        if self._cursor is None:
            await self._begin()
            return
        try:
            found = await self._store.changes(self._cursor, wait_s=wait_s)
        except FeedLost as error:
            _log.warning("%s; reading everything anew", error)
            self._cursor = None
            await self._begin()
            return
        # What is no newer than we know was written by us, or was met already.
        news = {change.key: None for change in found.items if change.revision > self._of(change.key).revision}
        await self.look(tuple(news))
        self._cursor = found.cursor

    async def look(self, keys: Sequence[SessionKey]) -> None:
        """Tell how some sessions stand now, ahead of the feed. Raises: Unavailable."""
        for start in range(0, len(keys), GROUP):
            await self._look(keys[start : start + GROUP])

    async def seen(self, key: SessionKey) -> Seen:
        """Return what the store has of a session now. Raises: Unavailable, Unreadable.

        Its absence and its tombstone are two questions, and what is made or deleted between them has neither.
        """
        for _ in range(LOOKS):
            session = await self._store.get(key)
            if session is not None:
                return seen_of(session)
            revision = await self._store.tombstone(key)
            if revision is not None:
                return Seen(revision, None)
        return Seen(0, None)

    def wrote(self, key: SessionKey, seen: Seen) -> None:
        """Take what the store has after a write of ours, so that it need not be read again."""
        if seen.revision >= self._of(key).revision:
            self._known[key] = _Known.of(seen)

    def _of(self, key: SessionKey) -> _Known:
        return self._known.get(key, _NOTHING)

    async def _begin(self) -> None:
        """Tell everything, and then what the store does not have any more."""
        position = await self._store.position()
        had = {key for key, known in self._known.items() if known.digest is not None}
        async for keys in self._keys():
            had.difference_update(keys)
            await self.look(keys)
        await self.look(tuple(had))
        self._cursor = position

    async def _keys(self) -> AsyncIterator[tuple[SessionKey, ...]]:
        """Go through the keys of all sessions, archived ones too: a gateway does not know that mark."""
        cursor: str | None = None
        while True:
            page = await self._page(cursor)
            yield tuple(info.key for info in page.items)
            cursor = page.cursor
            if cursor is None:
                return

    async def _page(self, cursor: str | None) -> Page:
        try:
            return await self._store.list(status=None, limit=PAGE, cursor=cursor)
        except Unreadable as error:
            if error.page is None:
                raise
            self._pass_over(error.keys, error)
            return error.page

    async def _look(self, keys: Sequence[SessionKey]) -> None:
        before = {key: self._of(key) for key in keys}
        for key, seen in (await self._read(keys)).items():
            self._tell(key, before[key], seen)

    async def _read(self, keys: Sequence[SessionKey]) -> dict[SessionKey, Seen]:
        """Return what the store has of some sessions, without those that cannot be read."""
        try:
            sessions = await self._store.get_many(keys) if keys else []
            pairs = zip(keys, sessions, strict=True)
            return {key: seen_of(session) if session else await self.seen(key) for key, session in pairs}
        except Unreadable as error:
            if len(keys) > 1:
                return {key: seen for one in keys for key, seen in (await self._read([one])).items()}
            self._pass_over(keys, error)
            return {}

    def _tell(self, key: SessionKey, before: _Known, seen: Seen) -> None:
        """Tell of a session, unless something newer has been told meanwhile.

        Args:
            before: what was known when the store was asked: only less than that is a step back.
        """
        found = _Known.of(seen)
        if found.revision < before.revision or (found.revision == before.revision and found != before):
            self._known[key] = found
            self._listener.lost(key, seen)
        elif found.revision > self._of(key).revision:
            self._known[key] = found
            self._listener.told(key, seen)

    def _pass_over(self, keys: Iterable[SessionKey], error: Unreadable) -> None:
        """Leave out what cannot be read, and say so once. The error names the session, so it is told at debug alone."""
        fresh = set(keys) - self._unreadable
        self._unreadable |= fresh
        for key in fresh:
            _log.debug("%s cannot be read: %s", key, error)
        if fresh:
            _log.warning(
                "%d sessions of the store cannot be read, and the gateway does not see them; "
                "`sessionstore list` tells which, `sessionstore get` why",
                len(fresh),
            )
