"""Carries out what the desk wants done to the store, and tells it what came of it. Called by a room.

Each push is a compare-and-set: what another gateway wrote meanwhile refuses it, and the desk merges. A push that cannot
be done at all (an entry of 9 MiB, a key that no store takes) stays with this gateway and is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from sessionstore.bridge.desk import Desk, Held, Push
from sessionstore.bridge.follow import Seen, seen_of
from sessionstore.sessions.exceptions import Conflict, InvalidEntry, InvalidKey
from sessionstore.sessions.record import SessionKey
from sessionstore.sessions.store import Store

AT_ONCE = 16
"""Pushes under way: so that a burst is not one round trip after the other."""

_log = logging.getLogger(__name__)


class View(Protocol):
    """As `follow.Follower`."""

    async def seen(self, key: SessionKey) -> Seen:
        """Return what the store has of a session now."""

    def wrote(self, key: SessionKey, seen: Seen) -> None:
        """Take what the store has after a write of ours."""


class Host(Protocol):
    """The room."""

    def keep(self) -> None:
        """Put on the disk what the desk knows, before anything is sent."""

    def met(self, key: SessionKey, seen: Seen) -> None:
        """Take what a push met in the store."""


def held_of(seen: Seen) -> Held:
    """Return what the desk is told of a session."""
    return Held(seen.revision, seen.raw)


class Pusher:
    """The pushes of one agent's desk."""

    def __init__(self, store: Store, view: View, desk: Desk, agent: str, host: Host) -> None:
        """Take where to push, who is told of it, what wants it, whose sessions they are, and the room."""
        self._store, self._view, self._desk, self._agent, self._host = store, view, desk, agent, host

    async def push(self) -> bool:
        """Do everything that has to be done now; return whether there was anything. Raises: Unavailable."""
        await self._ask()
        pushes = self._desk.pushes()
        # A bridge that is killed while they are under way has to know afterwards what it had sent.
        self._host.keep()
        for start in range(0, len(pushes), AT_ONCE):
            await self._all(pushes[start : start + AT_ONCE])
        return bool(pushes)

    async def _ask(self) -> None:
        """Find out whether sessions that the store does not have were deleted there, or never were."""
        for text in self._desk.unknown():
            try:
                key = SessionKey(self._agent, text)
            except InvalidKey:
                self._desk.told(text, Held(0, None))
                continue
            seen = await self._view.seen(key)
            self._view.wrote(key, seen)
            self._desk.told(text, held_of(seen))

    async def _all(self, pushes: Sequence[Push]) -> None:
        for outcome in await asyncio.gather(*map(self._one, pushes), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _one(self, push: Push) -> None:
        try:
            key = SessionKey(self._agent, push.key)
            seen = await (self._delete(key, push) if push.want is None else self._set(key, push.want, push.expected))
        except Conflict as conflict:
            seen = seen_of(conflict.current) if conflict.current else await self._view.seen(key)
            self._host.met(key, seen)
            self._desk.refused(push, held_of(seen))
            return
        except (InvalidEntry, InvalidKey) as error:
            self._keep_here(push, error)
            return
        self._view.wrote(key, seen)
        self._desk.pushed(push, held_of(seen))

    async def _set(self, key: SessionKey, raw: bytes, expected: int) -> Seen:
        return seen_of(await self._store.set(key, raw, expected=expected))

    async def _delete(self, key: SessionKey, push: Push) -> Seen:
        await self._store.delete(key, expected=push.expected)
        return Seen(push.expected + 1, None)

    def _keep_here(self, push: Push, error: Exception) -> None:
        self._desk.unfit(push)
        _log.debug("%s/%s is refused by the store: %s", self._agent, push.key, error)
        _log.warning(
            "an entry of agent %s cannot be stored (%s) and stays with this gateway alone until it changes; "
            "log level debug names it",
            self._agent,
            type(error).__name__,
        )
