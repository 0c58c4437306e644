"""Bring a whole store under the last key, while others write to it.

Each change compares what was read: a writer that came in between wins, and its session is looked at once more. What is
under the last key already is left alone, so a run that was interrupted is simply repeated.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from sessionstore.sessions import layout, retry
from sessionstore.sessions.encryption.forms import LINE, TEXT
from sessionstore.sessions.encryption.keyring import Place
from sessionstore.sessions.encryption.sealing import PLAIN, archive, document, key_of, place_of
from sessionstore.sessions.encryption.store import EncryptedStore
from sessionstore.sessions.exceptions import ConfigurationError, Conflict, FeedLost, InvalidEntry, Unreadable
from sessionstore.sessions.record import ArchiveInfo, Session, SessionKey
from sessionstore.sessions.store import Store, iterate, iterate_lines
from sessionstore.sessions.wrapped import WrappedStore

PATIENCE_S = 60.0
"""How long one session that is written all the time is tried."""
_FEW_EVENTS = 100
_EVENTS = _FEW_EVENTS * layout.BUCKETS
"""A backend may share a batch out to its buckets: one with fewer than `_FEW_EVENTS` has reached the feed's end."""


Count = Counter[str]


@dataclass(slots=True)
class Progress:
    """What was found so far, and done about it."""

    sessions: int = 0
    archives: int = 0
    documents: int = 0
    changed: int = 0
    """Sessions, archives and documents that were encrypted anew; in a dry run, that would be."""
    keys: Count = field(default_factory=Counter)
    """Entries, titles, lines and documents by the id of their key as they were found; `plain`, `damaged`."""
    problems: dict[str, str] = field(default_factory=dict)
    """What was left as it is -> why."""


async def rekey(
    store: Store, progress: Callable[[Progress], None] = lambda _: None, *, dry_run: bool = False
) -> Progress:
    """Encrypt with the last key all that is not: what is under older keys, and what is in plain.

    A transcript that no entry names cannot be reached, so an older key is done with only where none is needed any more.

    Args:
        progress: is told after each session, archive and document; the one object, as it grows.
        dry_run: only look.
    Raises: ConfigurationError where the store does not encrypt.
    """
    work = _Rekeying(_encrypted(store), progress, dry_run)
    await work.sessions()
    await work.beside()
    return work.progress


def _encrypted(store: Store) -> EncryptedStore:
    while isinstance(store, WrappedStore):
        if isinstance(store, EncryptedStore):
            return store
        store = store.inner
    raise ConfigurationError("the store is not encrypted: encryption_key_files names no key")


@dataclass(slots=True)
class _Seen:
    """What one session, archive or document was found to be."""

    keys: Count = field(default_factory=Counter)
    changed: bool = False
    problem: str | None = None

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Take note of a part that has to stay as it is; the others go on."""
        try:
            yield
        except (Unreadable, InvalidEntry) as error:
            self.problem = str(error)


class _Rekeying:
    """One run."""

    def __init__(self, store: EncryptedStore, told: Callable[[Progress], None], dry_run: bool) -> None:
        self._inner, self._sealing, self._told, self._dry_run = store.inner, store.sealing, told, dry_run
        self._last = store.sealing.keyring.last
        self.progress = Progress()

    async def sessions(self) -> None:
        """Go through all sessions, and then through those that moved out of the walk's way."""
        first = True
        while True:
            cursor = await self._inner.position()
            async for info in iterate(self._inner):
                await self._session(info.key, first)
            if self._dry_run:
                return
            try:
                return await self._catch_up(cursor)
            except FeedLost:
                first = False

    async def beside(self) -> None:
        """Go through archives and documents."""
        async for info in self._inner.list_archives():
            self.progress.archives += 1
            await self._try(str(archive(info.agent, info.name)), partial(self._archive, info), count=True)
        async for name in self._inner.list_documents():
            self.progress.documents += 1
            await self._try(str(document(name)), partial(self._document, name), count=True)

    async def _catch_up(self, cursor: str) -> None:
        """Look at what was changed since `cursor`. Raises: FeedLost."""
        changed: set[SessionKey] = set()
        while True:
            found = await self._inner.changes(cursor, limit=_EVENTS)
            changed.update(change.key for change in found.items)
            cursor = found.cursor
            # First all names, and then the sessions: while one looks at these, busy writers make more events.
            if len(found.items) < _FEW_EVENTS:
                break
        for name in changed:
            await self._session(name, False)

    async def _session(self, name: SessionKey, first: bool) -> None:
        self.progress.sessions += first
        await self._try(str(place_of(name)), lambda seen: self._look_at(name, seen), count=first)

    async def _try(self, what: str, work: Callable[[_Seen], Awaitable[None]], *, count: bool) -> None:
        """Do `work` until nobody comes in between, and take note of what was seen."""
        clock = asyncio.get_running_loop().time
        waits = retry.pauses(clock() + PATIENCE_S, clock)
        while True:
            seen = _Seen()
            try:
                with seen.reporting():
                    await work(seen)
                break
            except Conflict:
                pause = next(waits, None)
            if pause is None:
                seen.problem = f"{what} was written all the time for {PATIENCE_S:g} s"
                break
            await asyncio.sleep(pause)
        self.progress.changed += seen.changed
        if seen.problem:
            self.progress.problems[what] = seen.problem
        if count:
            self.progress.keys.update(seen.keys)
        self._told(self.progress)

    async def _look_at(self, name: SessionKey, seen: _Seen) -> None:
        """Encrypt one session's parts anew. Raises: Conflict; Unreadable."""
        session = await self._inner.get(name)
        if session is None:
            return
        revision = session.revision
        with seen.reporting():
            revision = await self._transcript(session, seen)
        with seen.reporting():
            revision = await self._title(session, revision, seen)
        with seen.reporting():
            await self._entry(session, revision, seen)

    async def _transcript(self, session: Session, seen: _Seen) -> int:
        """Return the session's revision after it."""
        stored = [line async for line in iterate_lines(self._inner, session.key)]
        lines = self._lines(place_of(session.key), stored, seen)
        if lines is None:
            return session.revision
        await self._inner.rewrite(session.key, lines, expected=session.revision)
        return session.revision + 1

    async def _title(self, session: Session, revision: int, seen: _Seen) -> int:
        """Return the session's revision after it."""
        place, title = place_of(session.key), session.marks.title
        if title is None or not self._is_old(key_of(TEXT, title.encode()), self._sealing.covers_titles, seen):
            return revision
        sealed = self._sealing.seal_text(place, "title", self._sealing.open_title(session.key, title))
        if not self._may_write(seen):
            return revision
        await self._inner.title(session.key, sealed, expected=revision)
        return revision + 1

    async def _entry(self, session: Session, revision: int, seen: _Seen) -> None:
        keys = self._sealing.entry_keys(session.entry)
        seen.keys.update(keys)
        # A rewrite has moved the session to the front of lists: the entry puts it back.
        if keys <= {self._last} and revision == session.revision:
            return
        entry = self._sealing.open_entry(session.key, session.entry)
        sealed = self._sealing.seal_entry(session.key, entry, session.updated_ms)
        if self._may_write(seen):
            await self._inner.set(session.key, sealed, expected=revision)

    async def _archive(self, info: ArchiveInfo, seen: _Seen) -> None:
        stored = await self._inner.read_archive(info.agent, info.name) or ()
        lines = self._lines(archive(info.agent, info.name), stored, seen)
        if lines is not None:
            await self._inner.put_archive(info.agent, info.name, lines, position=len(stored), replace=True)

    async def _document(self, name: str, seen: _Seen) -> None:
        stored = await self._inner.get_document(name)
        if stored is None or not self._is_old(key_of(TEXT, stored), True, seen):
            return
        sealed = self._sealing.seal_document(name, self._sealing.open_document(name, stored))
        if self._may_write(seen):
            await self._inner.put_document(name, sealed)

    def _lines(self, place: Place, stored: Sequence[bytes], seen: _Seen) -> list[bytes] | None:
        """Return lines to be written in place of those that are stored; None where none are to be."""
        covered = self._sealing.covers_lines
        old = [self._is_old(key_of(LINE, line), covered, seen) for line in stored]
        if not any(old):
            return None
        lines = [self._anew(place, line) if is_old else line for line, is_old in zip(stored, old, strict=True)]
        return lines if self._may_write(seen) else None

    def _anew(self, place: Place, line: bytes) -> bytes:
        return self._sealing.seal_line(place, self._sealing.open_line(place, line))

    def _is_old(self, key_id: str, covered: bool, seen: _Seen) -> bool:
        seen.keys[key_id] += 1
        return key_id != self._last and (covered or key_id != PLAIN)

    def _may_write(self, seen: _Seen) -> bool:
        seen.changed = True
        return not self._dry_run
