"""Reads a store for an export: sessions in groups, their lines in slices that are bounded by size.

A session is read in several calls, and may change between them. That is noticed by whoever compares revisions later;
only lines of two transcripts are never mixed here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from sessionstore.migrate.patience import Patience
from sessionstore.sessions.record import ArchiveInfo, Changes, Session, SessionInfo, SessionKey, Transcript
from sessionstore.sessions.store import Capability, Store, iterate

GROUP = 32
"""Sessions that are read at a time; of each of them a first slice of lines is held."""
GROUP_BYTES = 8 * 1024 * 1024
"""About what those slices may hold together."""
SLICE_BYTES = 1024 * 1024
SLICE_LINES = 1000
_FIRST_GUESS_BYTES = 32 * 1024
"""Of a line, before any was seen. So the first slices are short: some transcripts hold images."""


Loaded = list[tuple[Session, Transcript | None]]


class Moved(Exception):
    """The session was deleted, or its transcript replaced, while it was read."""


@dataclass
class _Pace:
    """How long the lines are, as far as they were seen; long ones are remembered for a while."""

    line_bytes: float = _FIRST_GUESS_BYTES

    def count(self, size: int = SLICE_BYTES) -> int:
        """Return how many lines to ask for, so that they have about `size` bytes."""
        return max(1, min(SLICE_LINES, int(size / self.line_bytes)))

    def saw(self, lines: Sequence[bytes]) -> None:
        """Take note of lines that were read."""
        if lines:
            self.line_bytes = max(sum(map(len, lines)) / len(lines) + 1, self.line_bytes * 0.9)


class Reading:
    """A store, read with patience."""

    def __init__(self, store: Store, patience: Patience, agents: Sequence[str] = ()) -> None:
        """Read the sessions of `agents`, or of all."""
        self.store = store
        self._patience = patience
        self._agents = agents
        self._pace = _Pace()

    def concerns(self, agent: str) -> bool:
        """Tell whether this agent's sessions are asked for."""
        return not self._agents or agent in self._agents

    async def position(self) -> str:
        """Return the feed's cursor of now."""
        return await self._patience.of(self.store.position)

    async def changes(self, cursor: str) -> Changes:
        """Return what changed since `cursor`. Raises: FeedLost."""
        return await self._patience.of(lambda: self.store.changes(cursor))

    async def keys(self) -> AsyncIterator[SessionInfo]:
        """Go through the rows of all sessions."""
        for agent in self._agents or (None,):
            # A page that fails is asked for again by the next run, not here: a walk cannot be taken up in its middle.
            async for info in iterate(self.store, agent=agent):
                yield info

    async def groups(self) -> AsyncIterator[list[Session]]:
        """Go through all sessions, some at a time. One that is gone by then is left out."""
        group: list[SessionKey] = []
        async for info in self.keys():
            group.append(info.key)
            if len(group) == GROUP:
                yield await self.sessions(group)
                group = []
        if group:
            yield await self.sessions(group)

    async def loaded(self) -> AsyncIterator[Loaded]:
        """Go through all sessions with their first lines; the next ones are asked for while these are dealt with."""
        ahead: asyncio.Task[Loaded] | None = None
        try:
            async for group in self.groups():
                behind, ahead = ahead, asyncio.create_task(self.load(group))
                if behind is not None:
                    yield await behind
            if ahead is not None:
                yield await ahead
        finally:
            if ahead is not None:
                ahead.cancel()

    async def load(self, group: Sequence[Session]) -> Loaded:
        """Return sessions with their first lines."""
        return list(zip(group, await self.first_lines(group), strict=True))

    async def sessions(self, keys: Sequence[SessionKey]) -> list[Session]:
        """Return those sessions that are there."""
        found = await self._patience.of(lambda: self.store.get_many(keys))
        return [session for session in found if session is not None]

    async def first_lines(self, sessions: Sequence[Session]) -> list[Transcript | None]:
        """Return the beginning of each session's transcript."""
        count = self._pace.count(GROUP_BYTES // GROUP)
        found = await asyncio.gather(*(self._slice(session, 0, count) for session in sessions))
        for part in found:
            self._pace.saw(part.lines if part else ())
        return found

    async def lines(self, session: Session, first: Transcript | None) -> AsyncIterator[Sequence[bytes]]:
        """Go through a session's lines, of which `first` are here already. Raises: Moved."""
        part = first
        while part is not None and part.lines:
            yield part.lines
            stop = part.start + len(part.lines)
            if stop >= part.head.lines:
                return
            head = part.head
            part = await self._slice(session, stop, stop + self._pace.count())
            if part is None or (part.head.id, part.head.generation) != (head.id, head.generation):
                raise Moved
            self._pace.saw(part.lines)

    async def archives(self) -> AsyncIterator[ArchiveInfo]:
        """Go through the archives."""
        if Capability.ARCHIVES not in self.store.capabilities:
            return
        for agent in self._agents or (None,):
            async for info in self.store.list_archives(agent=agent):
                yield info

    async def archive_lines(self, agent: str, name: str) -> AsyncIterator[Sequence[bytes]]:
        """Go through an archive's lines."""
        start = 0
        while lines := await self._archive_slice(agent, name, start):
            yield lines
            start += len(lines)
            self._pace.saw(lines)

    async def _slice(self, session: Session, start: int, stop: int) -> Transcript | None:
        if session.transcript is None or not session.transcript.lines:
            return None
        return await self._patience.of(lambda: self.store.read(session.key, start, stop))

    async def _archive_slice(self, agent: str, name: str, start: int) -> Sequence[bytes]:
        stop = start + self._pace.count()
        return await self._patience.of(lambda: self.store.read_archive(agent, name, start, stop)) or ()
