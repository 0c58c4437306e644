"""A store as the source of a migration: its sessions with all that is set on them, and its archives.

Reading changes nothing there and counts as no use: open such a store with `count_uses` off. What is encrypted under a
key that was not given is set aside as it lies there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.items import SetAside, SourceArchive, SourceSession
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.store_lines import ArchiveLines, SessionLines, Slices
from sessionstore.openclaw.blob import Held
from sessionstore.openclaw.names import FileKind, kind_of
from sessionstore.openclaw.problems import Problem, Reason, SourceError
from sessionstore.openclaw.scratch import Names, Scratch
from sessionstore.openclaw.tree import printable
from sessionstore.sessions.directory import DirectoryStore
from sessionstore.sessions.exceptions import Unreadable
from sessionstore.sessions.feed import new_id
from sessionstore.sessions.record import Session, SessionKey
from sessionstore.sessions.store import Capability, Store
from sessionstore.sessions.wrapped import WrappedStore

PAGE = 500
"""Rows of a page of the walk."""
GROUP_BYTES = 4 * 1024 * 1024
"""About so many bytes of entries are read at once."""
FIRST_GROUP, MOST = 16, 500
KEPT_BYTES = 16 * 1024 * 1024
"""Of one session that cannot be decrypted, so much is kept."""

_Found = SourceSession | SetAside
_SEPARATOR = b"\0"


class StoreSource:
    """All that a store holds, as a `Source`. Sessions come newest first."""

    def __init__(self, store: Store, scratch: Scratch, patience: Patience, *, where: str) -> None:
        """Prepare.

        Args:
            where: names the store in messages.
        """
        self.store, self._bare = store, _beneath(store)
        self._scratch, self._patience, self._where = scratch, patience, where
        self._group = FIRST_GROUP
        self._documents = 0
        self._damaged: frozenset[SessionKey] = frozenset()

    @property
    def layouts(self) -> tuple[str, ...]:
        return ("store",)

    async def sessions(self) -> AsyncIterator[_Found]:
        """Go through all sessions. One that is written meanwhile may be missed: the feed tells of it."""
        seen = self._scratch.names()
        async for keys in self._keys():
            # One whose time was set back while we walk is met twice.
            fresh = [key for key in keys if seen.add(str(key).encode())]
            while fresh:
                group, fresh = fresh[: self._group], fresh[self._group :]
                for found in await self._patience.of(partial(self._get, group)):
                    yield found

    async def archives(self) -> AsyncIterator[SourceArchive | SetAside | Problem]:
        """Go through the archives, and tell of what the store itself leaves out when it is gone through."""
        async for archive in self._archives():
            yield archive
        if isinstance(self._bare, DirectoryStore) and self._bare.oddities:
            yield Problem(self._where, Reason.UNREADABLE, printable(self._bare.oddities.sentence))

    def beside(self) -> int:
        """Count the documents: reports of earlier migrations, and what these set aside. They stay where they are."""
        return self._documents

    def superseded(self) -> int:
        return 0

    async def check_holds(self) -> None:
        """Refuse a store without anything in it. Raises: SourceError; Unavailable."""
        await check_holds(self.store, self._where)

    async def session(self, key: SessionKey) -> SourceSession | SetAside | None:
        """Return one session as it is now; None where it is absent. Raises: Unavailable."""
        return next(iter(await self._patience.of(lambda: self._get([key]))), None)

    # -- the inner workings ---------------------------------------------------------------------

    async def _archives(self) -> AsyncIterator[SourceArchive]:
        if Capability.DOCUMENTS in self.store.capabilities:
            self._documents = await self._patience.of(self._count_documents)
        if Capability.ARCHIVES not in self.store.capabilities:
            return
        for name in await self._patience.of(self._archive_names):
            agent, lines, archive = (part.decode() for part in name.split(_SEPARATOR, 2))
            kept = ArchiveLines(self.store, self._patience, agent, archive, int(lines))
            yield SourceArchive(agent, archive, kept, orphan=kind_of(archive) is FileKind.TRANSCRIPT)

    async def _keys(self) -> AsyncIterator[list[SessionKey]]:
        cursor: str | None = None
        while True:
            # The rows of what lies beneath: names are needed, and not what cannot be decrypted.
            list_page = partial(self._bare.list, status=None, limit=PAGE, cursor=cursor)
            try:
                page, self._damaged = await self._patience.of(list_page), frozenset()
            except Unreadable as error:
                if error.page is None:
                    raise
                page, self._damaged = error.page, frozenset(error.keys)
            yield [*(row.key for row in page.items), *self._damaged]
            cursor = page.cursor
            if cursor is None:
                return

    async def _get(self, keys: Sequence[SessionKey]) -> list[_Found]:
        try:
            sessions = [session for session in await self.store.get_many(keys) if session is not None]
        except Unreadable as error:
            if len(keys) == 1:
                return [await self._refused(keys[0], error)]
            return [found for key in keys for found in await self._get([key])]
        lost = [await self._lost(key) for key in self._damaged.intersection(keys) - {one.key for one in sessions}]
        size = sum(len(session.entry.raw) for session in sessions)
        self._group = max(1, min(MOST, 2 * self._group, GROUP_BYTES // (size // max(len(sessions), 1) + 1)))
        return [*map(self._found, sessions), *filter(None, lost)]

    async def _lost(self, key: SessionKey) -> SetAside | None:
        """Tell of a session that is in the list and is not there; None where it was deleted since."""
        if await self._bare.tombstone(key) is not None:
            return None
        why = f"session {key} is lost: the store lists it, and has no record of it"
        return SetAside(_problem(key, printable(why)), Held(b""))

    def _found(self, session: Session) -> SourceSession:
        lines = SessionLines(self.store, self._patience, session.key, session.transcript, stamp_of(session))
        return SourceSession(
            session.key,
            session.entry,
            lines,
            status=session.status,
            marks=session.marks,
            lifetime=session.lifetime,
        )

    async def _refused(self, key: SessionKey, error: Unreadable) -> SetAside:
        raw, is_whole = await _sealed(self._bare, key) if self._bare is not self.store else (b"", True)
        detail = f"{error}{'' if is_whole else '; of its bytes only the first are kept'}"
        return SetAside(_problem(key, printable(detail)), Held(raw))

    async def _archive_names(self) -> Names:
        names = self._scratch.names()
        async for info in self.store.list_archives():
            names.add(_SEPARATOR.join([info.agent.encode(), b"%d" % info.lines, info.name.encode()]))
        return names

    async def _count_documents(self) -> int:
        return sum([1 async for _ in self._bare.list_documents()])


def stamp_of(session: Session) -> str:
    """Return what changes with every change of a session: its revision.

    The time of the last write tells a store that was emptied, and came to the same revision again.
    """
    head = session.transcript
    lines = f"{head.generation}:{head.lines}:{head.id}" if head else "-"
    return f"{session.revision}:{session.written_ms}:{lines}"


async def check_apart(source: Store, target: Store) -> None:
    """Refuse a target that is the source under another name, by writing something that only then the source has.

    Raises: MigrationError; Unavailable.
    """
    if not all(Capability.DOCUMENTS in store.capabilities for store in (source, target)):
        return
    name = f"migration/.apart/{new_id()}"
    await target.put_document(name, b"")
    try:
        if name in [found async for found in _beneath(source).list_documents(name)]:
            raise MigrationError("SameStore", "the source and the target are one store; name another --to")
    finally:
        await target.delete_document(name)


async def check_holds(store: Store, where: str) -> None:
    """Refuse a store without anything in it: more often than not its name is misspelt. Raises: SourceError."""
    found = await store.stats()
    if not (found.active or found.archived or found.archives):
        raise SourceError("NothingFound", f"{where} holds no session and no archive; check address and keyspace")


def _beneath(store: Store) -> Store:
    """Return what lies beneath encryption."""
    while isinstance(store, WrappedStore):
        store = store.inner
    return store


def _problem(key: SessionKey, detail: str) -> Problem:
    return Problem(printable(str(key)), Reason.UNREADABLE, detail, printable(key.agent), printable(key.key))


async def _sealed(store: Store, key: SessionKey) -> tuple[bytes, bool]:
    """Return entry and lines as they lie beneath encryption, and whether that is all of it."""
    try:
        session = await store.get(key)
    except Unreadable:
        return b"", True
    if session is None:
        return b"", True
    parts = [session.entry.raw]
    slices = Slices(session.transcript.lines if session.transcript else 0)
    for start, stop in slices:
        found = await store.read(key, start, stop)
        if found is None or not found.lines:
            break
        parts += found.lines
        if slices.batch(found.lines).offset > KEPT_BYTES:
            return b"\n".join(parts), False
    return b"\n".join(parts), True
