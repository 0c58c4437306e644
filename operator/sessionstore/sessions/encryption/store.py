"""The Store over another one that sees only what is encrypted."""

from __future__ import annotations

import builtins
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from sessionstore.sessions import paging, record, transitions
from sessionstore.sessions.common import CommonStore, outcome, told
from sessionstore.sessions.encryption.keyring import Keyring
from sessionstore.sessions.encryption.sealing import Sealing, archive, place_of
from sessionstore.sessions.exceptions import Conflict, SessionError
from sessionstore.sessions.query import Query
from sessionstore.sessions.record import (
    Entry,
    EntryLike,
    Health,
    Lifetime,
    NewSession,
    Page,
    Session,
    SessionKey,
    Status,
    Transcript,
    TranscriptHead,
)
from sessionstore.sessions.store import Key, Store
from sessionstore.sessions.wrapped import WrappedStore

_SEARCH_PAGE = 500


class EncryptedStore(WrappedStore):
    """Encrypts what it hands on to `inner`, and decrypts what it gets from there.

    A key that is missing, or is not the one, makes `Unreadable`, which names session and key. What is stored in plain
    is read as it is, unless `require` is set, and encrypted by its next write.
    """

    def __init__(self, inner: Store, keyring: Keyring, *, fields: Iterable[str] = (), require: bool = False) -> None:
        """Encrypt with the last key of `keyring`.

        Args:
            fields: encrypt these top-level fields of entries, and `transcript` and `title` where they are among them;
                none at all: everything.
            require: refuse what is stored in plain.
        Raises: ConfigurationError.
        """
        super().__init__(inner)
        self.sealing = Sealing(keyring, fields, require=require)

    async def get(self, key: Key) -> Session | None:
        return self._opened(await self.inner.get(key))

    async def get_many(self, keys: Sequence[Key]) -> builtins.list[Session | None]:
        return [self._opened(session) for session in await self.inner.get_many(keys)]

    async def set(
        self,
        key: Key,
        entry: EntryLike,
        *,
        expected: int | None = None,
        lifetime: Lifetime | None = None,
        fence: int | None = None,
    ) -> Session:
        name, given = SessionKey.of(key), Entry.of(entry)
        sealed = self.sealing.seal_entry(name, given)
        with self._conflicts():
            stored = await self.inner.set(name, sealed, expected=expected, lifetime=lifetime, fence=fence)
        return self.sealing.open_session(stored, given)

    async def create(
        self, key: Key, entry: EntryLike, lines: Sequence[bytes] = (), *, lifetime: Lifetime | None = None
    ) -> Session:
        [made] = await self.create_many([NewSession(SessionKey.of(key), Entry.of(entry), lines, lifetime)])
        return told(made)

    async def create_many(self, sessions: Sequence[NewSession]) -> builtins.list[Session | SessionError]:
        answers = [outcome(self._sealed, new) for new in sessions]
        made = iter(await self.inner.create_many([one for one in answers if isinstance(one, NewSession)]))
        return [
            self._made(new, next(made)) if isinstance(answer, NewSession) else answer
            for new, answer in zip(sessions, answers, strict=True)
        ]

    async def delete(self, key: Key, *, expected: int | None = None, fence: int | None = None) -> bool:
        with self._conflicts():
            return await self.inner.delete(key, expected=expected, fence=fence)

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
        name, given = SessionKey.of(key), tuple(record.check_lines(lines))
        sealed = self.sealing.seal_lines(place_of(name), given)
        while True:
            try:
                return await self.inner.append(name, sealed, position=position, generation=generation, fence=fence)
            except Conflict as error:
                head = error.current.transcript if error.current else None
                if head is None or position is None or not transitions.repeats(head, len(given), position, generation):
                    raise self._told(error) from error
                # The very lines may stand there already: each encryption of them is another, so only we can tell.
                found = await self.inner.read(name, position, position + len(given))
                if found is not None and (found.head.id, found.head.generation) == (head.id, head.generation):
                    if self.sealing.open_lines(place_of(name), found.lines) == given:
                        return found.head
                    raise self._told(error) from error

    async def rewrite(
        self,
        key: Key,
        lines: Sequence[bytes],
        *,
        expected: int | None = None,
        generation: int | None = None,
        fence: int | None = None,
    ) -> TranscriptHead:
        name = SessionKey.of(key)
        sealed = self.sealing.seal_lines(place_of(name), record.check_lines(lines))
        with self._conflicts():
            return await self.inner.rewrite(name, sealed, expected=expected, generation=generation, fence=fence)

    async def read(
        self, key: Key, start: int = 0, stop: int | None = None, *, reverse: bool = False
    ) -> Transcript | None:
        name = SessionKey.of(key)
        return self._read(name, await self.inner.read(name, start, stop, reverse=reverse))

    async def read_many(
        self, keys: Sequence[Key], start: int = 0, stop: int | None = None
    ) -> builtins.list[Transcript | None]:
        names = [SessionKey.of(key) for key in keys]
        found = await self.inner.read_many(names, start, stop)
        return [self._read(name, transcript) for name, transcript in zip(names, found, strict=True)]

    # -- many sessions --------------------------------------------------------------------------

    async def list(
        self,
        *,
        agent: str | None = None,
        status: Status | None = Status.ACTIVE,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        return self._page(await self.inner.list(agent=agent, status=status, limit=limit, cursor=cursor))

    async def search(self, query: Query, *, limit: int = 50, cursor: str | None = None) -> Page:
        """As the protocol has it; title, channel and sender are compared here, once they are decrypted."""
        known = dataclasses.replace(query, title=None, channel=None, sender=None)
        if known == query:
            return self._page(await self.inner.search(query, limit=limit, cursor=cursor))
        paging.check_limit(limit)
        found: builtins.list[record.SessionInfo] = []
        for _ in range(0, paging.SCAN_LIMIT, _SEARCH_PAGE):
            page = self._page(await self.inner.search(known, limit=_SEARCH_PAGE, cursor=cursor))
            found += [row for row in page.items if query.matches(row)]
            cursor = page.cursor
            if len(found) > limit:
                return Page(tuple(found[:limit]), paging.position_of(found[limit - 1]).encode())
            # A short page with a cursor: the store beneath has looked at as many rows as one call may.
            if cursor is None or len(found) == limit or len(page.items) < _SEARCH_PAGE:
                break
        return Page(tuple(found), cursor)

    async def invalidate(
        self, *, sender: str | None = None, channel: str | None = None, agent: str | None = None
    ) -> int:
        return await CommonStore.invalidate(self, sender=sender, channel=channel, agent=agent)

    # -- marks ----------------------------------------------------------------------------------

    async def archive(self, key: Key, *, reason: str | None = None, expected: int | None = None) -> Session | None:
        with self._conflicts():
            return self._opened(await self.inner.archive(key, reason=reason, expected=expected))

    async def restore(self, key: Key, *, expected: int | None = None) -> Session | None:
        with self._conflicts():
            return self._opened(await self.inner.restore(key, expected=expected))

    async def pin(self, key: Key, pinned: bool = True) -> Session | None:
        return self._opened(await self.inner.pin(key, pinned))

    async def tag(self, key: Key, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Session | None:
        return self._opened(await self.inner.tag(key, add=add, remove=remove))

    async def title(self, key: Key, title: str | None, *, expected: int | None = None) -> Session | None:
        name = SessionKey.of(key)
        if not title or not self.sealing.seals_title(record.check_text(title, "title")):
            with self._conflicts():
                return self._opened(await self.inner.title(name, title, expected=expected))
        sealed = self.sealing.seal_text(place_of(name), "title", title)
        while True:
            found = self._opened(await self.inner.get(name))
            revision = found.revision if found else 0
            if found is not None and found.marks.title == title and expected in (None, revision):
                return found
            if found is None and expected is None:
                return None
            try:
                # Each encryption of a title is another text, so it is compared here, and must not change in between.
                compared = revision if expected is None else expected
                return self._opened(await self.inner.title(name, sealed, expected=compared))
            except Conflict as error:
                if expected is not None:
                    raise self._told(error) from error

    # -- beside sessions ------------------------------------------------------------------------

    async def health(self) -> Health:
        health = await self.inner.health()
        kind = "whole" if self.sealing.whole else "by fields"
        told = f"AES-256-GCM, {kind}, key {self.sealing.keyring.last}"
        return dataclasses.replace(health, facts=(*health.facts, ("encryption", told)))

    async def put_archive(
        self, agent: str, name: str, lines: Sequence[bytes], *, position: int = 0, replace: bool = False
    ) -> int:
        sealed = self.sealing.seal_lines(archive(agent, name), record.check_lines(lines))
        with self._conflicts():
            return await self.inner.put_archive(agent, name, sealed, position=position, replace=replace)

    async def read_archive(
        self, agent: str, name: str, start: int = 0, stop: int | None = None
    ) -> tuple[bytes, ...] | None:
        found = await self.inner.read_archive(agent, name, start, stop)
        return None if found is None else self.sealing.open_lines(archive(agent, name), found)

    async def put_document(self, name: str, body: bytes) -> None:
        await self.inner.put_document(name, self.sealing.seal_document(record.check_document_name(name), body))

    async def get_document(self, name: str) -> bytes | None:
        found = await self.inner.get_document(name)
        return None if found is None else self.sealing.open_document(name, found)

    # -- encrypting and decrypting --------------------------------------------------------------

    def _sealed(self, new: NewSession) -> NewSession:
        sealed = self.sealing.seal_entry(new.key, new.entry)
        lines = self.sealing.seal_lines(place_of(new.key), record.check_lines(new.lines))
        return NewSession(new.key, sealed, lines, new.lifetime)

    def _made(self, new: NewSession, made: Session | SessionError) -> Session | SessionError:
        if isinstance(made, Conflict):
            return outcome(self._told, made)
        return made if isinstance(made, SessionError) else self.sealing.open_session(made, new.entry)

    def _read(self, name: SessionKey, found: Transcript | None) -> Transcript | None:
        if found is None:
            return None
        return dataclasses.replace(found, lines=self.sealing.open_lines(place_of(name), found.lines))

    def _opened(self, session: Session | None) -> Session | None:
        return None if session is None else self.sealing.open_session(session)

    def _page(self, page: Page) -> Page:
        return Page(tuple([self.sealing.open_info(row) for row in page.items]), page.cursor)

    def _told(self, error: Conflict) -> Conflict:
        return Conflict(str(error), self._opened(error.current))

    @contextmanager
    def _conflicts(self) -> Iterator[None]:
        """Tell of a lost race with the record as it was before it was encrypted."""
        try:
            yield
        except Conflict as error:
            raise self._told(error) from error
