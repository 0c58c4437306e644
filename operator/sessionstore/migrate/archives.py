"""Copies one archive into the store. Archives are written once: what is there is added to, never changed."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass

from sessionstore.migrate import plan, rows, stored
from sessionstore.migrate.bounded import Room
from sessionstore.migrate.carry import ATTEMPTS, Carried, behind
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.items import SourceArchive
from sessionstore.migrate.keeper import Keeper, torn_problem
from sessionstore.migrate.plan import Policy, Standing
from sessionstore.migrate.rows import CONFLICT, PRESENT, Intent
from sessionstore.migrate.stored import Taken
from sessionstore.openclaw.blob import Held
from sessionstore.openclaw.transcript import Line
from sessionstore.sessions.exceptions import Conflict
from sessionstore.sessions.store import Store


@dataclass(frozen=True, slots=True)
class Look:
    """An archive as both sides have it now; `common` is how many lines both begin with, `here` what the source has."""

    standing: Standing
    common: int
    here: int
    torn: Line | None = None


async def look_at(store: Store, archive: SourceArchive, room: Room) -> Look:
    """Compare both sides without changing anything."""
    exists = await store.read_archive(archive.agent, archive.name, 0, 0) is not None
    read = stored.archive_reader(store, archive.agent, archive.name) if exists else stored.nothing
    taken = Taken()
    async with aclosing(stored.whole(archive.lines, room, taken)) as here:
        walk = await stored.walk(here, read)
    is_longer = exists and bool(await read(walk.common, walk.common + 1))
    standing = plan.decide_archive(exists=exists, is_longer=is_longer, common=walk.common, here=walk.here)
    return Look(standing, walk.common, walk.here, taken.torn)


async def is_later_there(store: Store, archive: SourceArchive, room: Room) -> bool:
    """Tell whether the store has all lines of the source first."""
    return (await look_at(store, archive, room)).standing in (Standing.SAME, Standing.NEWER_THERE)


async def mark(store: Store, agent: str, name: str, lines: int) -> bytes | None:
    """Return what tells an archive of so many lines; None where the store has none, or one of another length."""
    last = await store.read_archive(agent, name, max(0, lines - 1), lines + 1)
    if last is None or len(last) != min(1, lines):
        return None
    return rows.mark_of_archive(lines, last[0] if last else b"")


@dataclass(frozen=True, slots=True)
class ArchiveCarrier:
    """Copies archives into one store."""

    store: Store
    keeper: Keeper
    policy: Policy
    room: Room

    async def carry(self, archive: SourceArchive, intent: Intent) -> Carried:
        """Bring an archive into the store. Raises: Unavailable, MigrationError, InvalidKey, InvalidEntry."""
        for _ in range(ATTEMPTS):
            look = await look_at(self.store, archive, self.room)
            try:
                kept = await self._act(archive, look)
            except Conflict:
                continue
            if look.torn:
                problem = torn_problem(archive.lines.path, look.torn, archive.agent, None)
                kept += (await self.keeper.keep_problem(problem, Held(look.torn.raw), is_archive=True),)
            is_excused = look.standing in (Standing.CONFLICT, Standing.NEWER_THERE)
            ending = _ending(look.standing, intent)
            return Carried(
                ending.accounts(rows.name_of(archive), look.here), is_excused, tuple(filter(None, kept)), ending
            )
        raise MigrationError("StoreBusy", f"archive {archive.agent}/{archive.name} keeps changing in the store")

    async def _act(self, archive: SourceArchive, look: Look) -> tuple[str, ...]:
        if look.standing is Standing.CONFLICT and self.policy is Policy.FAIL:
            raise MigrationError("ConflictsFound", f"archive {archive.agent}/{archive.name} differs in the store")
        if look.standing is Standing.CONFLICT:
            return (await self.keeper.keep_archive(archive),)
        if look.standing in (Standing.NEW, Standing.NEWER_HERE):
            await self._append(archive, look.common)
        return ()

    async def _append(self, archive: SourceArchive, position: int) -> None:
        if not position:
            # An archive without lines is an archive, too.
            position = await self.store.put_archive(archive.agent, archive.name, [], position=0)
        async with aclosing(stored.whole(archive.lines, self.room)) as batches:
            async for lines in behind(batches, position):
                position = await self.store.put_archive(archive.agent, archive.name, lines, position=position)


def _ending(standing: Standing, intent: Intent) -> Intent:
    """Tell how an archive is counted: as it was planned, unless somebody changed it since."""
    now = plan.archive_intent(standing)
    return now if now == CONFLICT or (intent == PRESENT and now != PRESENT) else intent
