"""What the phases of one run share, and how they answer the same questions: what is refused, what is known."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from sessionstore.migrate import archives, rows
from sessionstore.migrate.bounded import Room
from sessionstore.migrate.items import Item, SetAside, Source, SourceArchive, SourceSession
from sessionstore.migrate.journal import Journal
from sessionstore.migrate.keeper import Keeper
from sessionstore.migrate.ledger import HELD, Ledger
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.plan import Policy
from sessionstore.migrate.progress import Meter
from sessionstore.migrate.refusals import refusal
from sessionstore.migrate.report import Account, Accounts
from sessionstore.migrate.rows import Facts, Name, Row
from sessionstore.openclaw.problems import Problem
from sessionstore.sessions.exceptions import InvalidEntry, InvalidKey
from sessionstore.sessions.record import Session, SessionKey
from sessionstore.sessions.store import Capability, Store

Record = Session | InvalidKey | None
"""What a store has under a key; or that it can have none under this one."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run over one source into one store."""

    source: Source
    store: Store
    ledger: Ledger
    journal: Journal
    keeper: Keeper
    patience: Patience
    policy: Policy
    meter: Meter
    room: Room
    is_live: bool = False
    remembered: Callable[[SessionKey], bytes | None] = lambda key: None

    @property
    def has_archives(self) -> bool:
        """Whether the store has a place for archives."""
        return Capability.ARCHIVES in self.store.capabilities

    async def items(self) -> AsyncIterator[Item]:
        """Go through all that the source has. Raises: SourceError, Unavailable."""
        async for session in self.source.sessions():
            yield session
        async for found in self.source.archives():
            if not isinstance(found, Problem):
                yield found

    async def records(self, keys: Sequence[SessionKey]) -> Sequence[Record]:
        """Return what the store has under these keys, or how it refuses a key."""
        try:
            return await self.store.get_many(keys)
        except InvalidKey:
            return [await self._record(key) for key in keys]

    async def _record(self, key: SessionKey) -> Record:
        try:
            return await self.store.get(key)
        except InvalidKey as error:
            return error

    def left(self, name: Name) -> bytes | None:
        """Return the mark of what a follower or a copy of the source in use left; None where neither was.

        What the gateway has made of a session since is no other side of it, but a later state of the same.
        """
        followed = self.remembered(SessionKey(name.agent, name.name)) if name.kind == "session" else None
        return followed or (self.ledger.mark(name) if self.journal.follows_live else None)

    def known(self, facts: Facts) -> Row | None:
        """Return what an earlier run left about a thing, where that is still as Inspect found it."""
        row = self.ledger.known(facts.name)
        return row if row and row.holds_for(facts.entry, facts.stamp) else None

    def was_carried(self, facts: Facts) -> bool:
        """Tell whether an earlier run carried just this, so that what the store has not of it was deleted there."""
        row = self.ledger.known(facts.name)
        return row is not None and row.speaks_of(facts)

    async def is_as_left(self, row: Row, held: Session | None = None) -> bool:
        """Tell whether the store still has what the row says; `held` is a session that was looked up already."""
        if row.facts.name.kind == "session":
            return held is not None and rows.mark_of(held) == row.mark
        _, agent, name = row.facts.name
        return self.has_archives and await archives.mark(self.store, agent, name, row.facts.lines) == row.mark

    async def is_deleted(self, name: Name) -> bool:
        """Tell whether a session that the store had is deleted there, and not just lost.

        After a live copy it is not believed: no gateway reads the store yet, and who deleted may have been the run of
        another source that had the same session.
        """
        return (
            not self.journal.follows_live and await self.store.tombstone(SessionKey(name.agent, name.name)) is not None
        )

    async def held_items(self) -> AsyncIterator[SourceSession | SourceArchive]:
        """Go through what both sides have."""
        async for item in self.items():
            if not isinstance(item, SetAside) and self.ledger.has_flag(HELD, rows.name_of(item)):
                yield item

    def refuse(self, item: SourceSession | SourceArchive, error: InvalidKey | InvalidEntry) -> Problem:
        """Note that the store cannot hold something that the contract allows: each store has limits of its own."""
        problem = refusal(item, error)
        self.ledger.refuse(rows.name_of(item), problem)
        return problem


def size_of(item: Item) -> int:
    """Return how much memory an item takes, roughly, without its lines."""
    return len(item.entry.raw) if isinstance(item, SourceSession) else 0


def set_aside(item: SetAside) -> Accounts:
    """Return how something that cannot be carried is counted."""
    one = Account(quarantined=1)
    return Accounts(archives=one) if item.is_archive else Accounts(sessions=one)


def quarantined(name: Name, lines: int) -> Accounts:
    """Return how something that the store refuses is counted, with all of its lines."""
    one = Account(quarantined=1)
    return Accounts(archives=one) if name.kind == "archive" else Accounts(one, Account(quarantined=lines))
