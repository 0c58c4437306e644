"""What every backend does in the same way, over the operations that it does in its own."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from sessionstore.sessions import leases
from sessionstore.sessions.exceptions import InvalidKey, SessionError, Unavailable
from sessionstore.sessions.query import Query
from sessionstore.sessions.record import (
    EntryLike,
    Lease,
    Lifetime,
    NewSession,
    Page,
    Session,
    SessionKey,
    Status,
    Transcript,
)
from sessionstore.sessions.store import Key
from sessionstore.sessions.transitions import Marking

_INVALIDATE_PAGE = 100
"""Deletes that are under way at once."""

T = TypeVar("T")


class CommonStore:
    """The base of the backends; the methods that raise NotImplementedError are theirs."""

    async def get(self, key: Key) -> Session | None:
        raise NotImplementedError

    async def create(
        self, key: Key, entry: EntryLike, lines: Sequence[bytes] = (), *, lifetime: Lifetime | None = None
    ) -> Session:
        raise NotImplementedError

    async def read(
        self, key: Key, start: int = 0, stop: int | None = None, *, reverse: bool = False
    ) -> Transcript | None:
        raise NotImplementedError

    async def delete(self, key: Key, *, expected: int | None = None, fence: int | None = None) -> bool:
        raise NotImplementedError

    async def search(self, query: Query, *, limit: int = 50, cursor: str | None = None) -> Page:
        raise NotImplementedError

    async def acquire_lease(self, key: Key, holder: str, ttl_s: float) -> Lease:
        raise NotImplementedError

    async def renew_lease(self, lease: Lease, ttl_s: float) -> Lease:
        raise NotImplementedError

    async def release_lease(self, lease: Lease) -> bool:
        raise NotImplementedError

    async def _mark(self, key: Key, marking: Marking, expected: int | None = None) -> Session | None:
        """Carry out a marking that is `checked`; None where there is no session. Raises: Conflict."""
        raise NotImplementedError

    async def get_many(self, keys: Sequence[Key]) -> builtins.list[Session | None]:
        return builtins.list(await asyncio.gather(*(self.get(key) for key in keys)))

    async def create_many(self, sessions: Sequence[NewSession]) -> builtins.list[Session | SessionError]:
        # All of them come to their end before the first error is told: none is left to go on by itself.
        made = await asyncio.gather(*map(self._create_one, sessions), return_exceptions=True)
        return [_session_or_error(one) for one in made]

    async def read_many(
        self, keys: Sequence[Key], start: int = 0, stop: int | None = None
    ) -> builtins.list[Transcript | None]:
        return builtins.list(await asyncio.gather(*(self.read(key, start, stop) for key in keys)))

    async def list(
        self,
        *,
        agent: str | None = None,
        status: Status | None = Status.ACTIVE,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        return await self.search(Query(agent=agent, status=status), limit=limit, cursor=cursor)

    async def archive(self, key: Key, *, reason: str | None = None, expected: int | None = None) -> Session | None:
        return await self._mark(key, Marking(status=Status.ARCHIVED, reason=reason).checked(), expected)

    async def restore(self, key: Key, *, expected: int | None = None) -> Session | None:
        return await self._mark(key, Marking(status=Status.ACTIVE), expected)

    async def pin(self, key: Key, pinned: bool = True) -> Session | None:
        return await self._mark(key, Marking(pinned=pinned))

    async def tag(self, key: Key, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Session | None:
        return await self._mark(key, Marking(add=frozenset(add), remove=frozenset(remove)).checked())

    async def title(self, key: Key, title: str | None, *, expected: int | None = None) -> Session | None:
        return await self._mark(key, Marking(title=title or "").checked(), expected)

    async def invalidate(
        self, *, sender: str | None = None, channel: str | None = None, agent: str | None = None
    ) -> int:
        if sender is channel is agent is None:
            raise InvalidKey("invalidate needs a sender, a channel or an agent; it will not end every session there is")
        query = Query(agent=agent, channel=channel, sender=sender, status=None)
        ended, cursor = 0, None
        while True:
            page = await self.search(query, limit=_INVALIDATE_PAGE, cursor=cursor)
            ended += sum(await asyncio.gather(*(self.delete(info.key) for info in page.items)))
            cursor = page.cursor
            if cursor is None:
                return ended

    def lease(
        self, key: Key, *, ttl_s: float = 15.0, wait_s: float = 0.0, holder: str | None = None
    ) -> AbstractAsyncContextManager[Lease]:
        return leases.Holding(self, SessionKey.of(key), ttl_s=ttl_s, wait_s=wait_s, holder=holder)

    async def _create_one(self, new: NewSession) -> Session:
        return await self.create(new.key, new.entry, new.lines, lifetime=new.lifetime)


def outcome(work: Callable[..., T], *arguments: Any) -> T | SessionError:
    """Return what `work` gives, or what it raises. It is about one of many, concerns no other, and asks no store."""
    try:
        return work(*arguments)
    except SessionError as error:
        return error


def told(made: Session | SessionError) -> Session:
    """Return the one session that `create_many` was asked for. Raises: what stands in its place."""
    if isinstance(made, SessionError):
        raise made
    return made


def _session_or_error(made: Session | BaseException) -> Session | SessionError:
    """Return what one of `create_many` came to. Raises: what is not about this one alone."""
    if isinstance(made, Unavailable) or not isinstance(made, Session | SessionError):
        raise made
    return made
