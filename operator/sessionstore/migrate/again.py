"""Tries again to carry what is kept: from quarantine by the rules of a migration, a side that lost against the rules.

Nothing is lost on the way: what is kept is dropped when the store has it, and what it takes the place of is kept
first. Two that retry the same thing at once come to the same end.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sessionstore.migrate import beside, carry, kept_items, shelves, stored
from sessionstore.migrate.archives import ArchiveCarrier
from sessionstore.migrate.bounded import Room
from sessionstore.migrate.carry import ATTEMPTS, Carried, Carrier
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.items import SourceArchive, SourceSession
from sessionstore.migrate.keeper import Keeper
from sessionstore.migrate.kept import Kind, Shelf
from sessionstore.migrate.kept_items import Wishes
from sessionstore.migrate.plan import Policy
from sessionstore.migrate.rows import CONFLICT, NEW
from sessionstore.migrate.shelves import Found, Place
from sessionstore.sessions.exceptions import Conflict, InvalidEntry, InvalidKey, Unreadable
from sessionstore.sessions.store import Store


class Outcome(StrEnum):
    """What became of a thing that was tried again."""

    CARRIED = "carried"
    """The store has it now; it is kept no more."""
    CONFLICT = "conflict"
    """The store's session won by the policy. What was in quarantine is kept as the side that lost."""
    GONE = "gone"
    """Somebody else carried or dropped it meanwhile."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Tried:
    """One thing that was tried again. `detail` says why it failed; `kept` are documents that were written."""

    place: Place
    outcome: Outcome
    detail: str = ""
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Retrier:
    """Tries again what is kept in one store."""

    store: Store
    policy: Policy
    room: Room

    async def retry(self, place: Place, wishes: Wishes) -> Tried:
        """Try again to carry one thing; it can be repeated. Raises: Unavailable."""
        try:
            found = await shelves.look_at(self.store, place)
            if found is None:
                return Tried(place, Outcome.GONE)
            if wishes.file is None:
                # All of it is looked at before the first line of it is carried.
                await shelves.check(self.store, found)
            outcome, kept = await self._carry(found, wishes)
        except (InvalidKey, InvalidEntry, MigrationError) as error:
            return Tried(place, Outcome.FAILED, str(error))
        except Unreadable as error:
            is_gone = await shelves.look_at(self.store, place) is None
            return Tried(place, Outcome.GONE) if is_gone else Tried(place, Outcome.FAILED, str(error))
        await shelves.drop(self.store, place)
        return Tried(place, outcome, kept=kept)

    async def _carry(self, found: Found, wishes: Wishes) -> tuple[Outcome, tuple[str, ...]]:
        item = await kept_items.item_of(self.store, found, wishes)
        keeper = Keeper(self.store, found.place.source_name)
        if found.place.shelf is Shelf.CONFLICTS:
            return Outcome.CARRIED, await self._put_in_place(found, item, keeper)
        carried = await self._by_the_rules(item, keeper, self.policy)
        return Outcome.CONFLICT if carried.intent == CONFLICT and carried.is_excused else Outcome.CARRIED, carried.kept

    async def _by_the_rules(self, item: SourceSession | SourceArchive, keeper: Keeper, policy: Policy) -> Carried:
        if isinstance(item, SourceArchive):
            return await ArchiveCarrier(self.store, keeper, policy, self.room).carry(item, NEW)
        return await self._carrier(keeper, policy).carry(item, NEW)

    def _carrier(self, keeper: Keeper, policy: Policy) -> Carrier:
        return Carrier(self.store, keeper, policy, self.room, claims=None)

    async def _put_in_place(self, found: Found, item: SourceSession | SourceArchive, keeper: Keeper) -> tuple[str, ...]:
        """Put what lost a conflict in the place of what won; that is kept first."""
        kept: list[str] = []
        for _ in range(ATTEMPTS):
            try:
                if isinstance(item, SourceArchive):
                    await self._replace_archive(item, keeper, kept)
                elif found.text("kind") == Kind.ENTRY:
                    await self._replace_entry(item, keeper, kept)
                else:
                    await self._replace_session(item, keeper, kept)
                return tuple(dict.fromkeys(kept))
            except Conflict:
                continue
        raise MigrationError("StoreBusy", "it keeps changing in the store; stop what writes to it")

    async def _replace_session(self, session: SourceSession, keeper: Keeper, kept: list[str]) -> None:
        look = await carry.look_at(self.store, session, self.room)
        carrier = self._carrier(keeper, Policy.KEEP_SOURCE)
        if look.held is None or look.sides is None:
            kept += (await carrier.carry(session, NEW)).kept
        elif look.sides.entry_same and look.sides.common == look.sides.there:
            # It is in place, as far as an interrupted attempt of ours came.
            kept += (await carrier.carry(session, NEW)).kept
        else:
            held = await carrier.replace(session, look, kept)
            await beside.put(self.store, session, held)

    async def _replace_entry(self, session: SourceSession, keeper: Keeper, kept: list[str]) -> None:
        """Put an entry in place of one that says something else; the lines stay as they are."""
        held = await self.store.get(session.key)
        if held is None:
            raise MigrationError("NotRetried", "the session is gone from the store, and this is only its entry")
        if held.entry.raw == session.entry.raw:
            return
        if held.entry.transcript_id != session.entry.transcript_id:
            raise MigrationError(
                "NotRetried", "the session has another transcript by now, and this is only the entry of the earlier one"
            )
        kept.append(await keeper.keep_entry("store", session.key, held.entry))
        await self.store.set(session.key, session.entry, expected=held.revision)

    async def _replace_archive(self, archive: SourceArchive, keeper: Keeper, kept: list[str]) -> None:
        read = stored.archive_reader(self.store, archive.agent, archive.name)
        walk = await stored.walk(stored.whole(archive.lines, self.room), read)
        there = sum([len(lines) async for lines in stored.slices(read)])
        if walk.common < there:
            present = kept_items.ArchivedLines(self.store, archive.agent, archive.name)
            kept.append(await keeper.keep_archive(SourceArchive(archive.agent, archive.name, present), side="store"))
            await self.store.put_archive(archive.agent, archive.name, [], position=there, replace=True)
        await self._by_the_rules(archive, keeper, Policy.KEEP_SOURCE)
