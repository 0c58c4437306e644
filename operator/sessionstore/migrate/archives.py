"""Copies one archive into the store. Archives are written once: what is there is added to, never changed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from sessionstore.migrate import plan, stored
from sessionstore.migrate.carry import ATTEMPTS, Carried
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.keeper import Keeper, torn_problem
from sessionstore.migrate.plan import Policy, Standing
from sessionstore.migrate.source import SourceArchive
from sessionstore.openclaw.blob import Held
from sessionstore.sessions.exceptions import Conflict
from sessionstore.sessions.store import Store


@dataclass(frozen=True, slots=True)
class Look:
    """An archive as both sides have it now; `common` is how many lines both begin with."""

    standing: Standing
    common: int


async def look_at(store: Store, archive: SourceArchive) -> Look:
    """Compare both sides without changing anything."""
    exists = await store.read_archive(archive.agent, archive.name, 0, 0) is not None
    there = stored.of_archive(store, archive.agent, archive.name)
    common, here = await stored.count_common(archive.lines.whole(), there)
    is_longer = bool(await store.read_archive(archive.agent, archive.name, common, common + 1))
    return Look(plan.decide_archive(exists=exists, is_longer=is_longer, common=common, here=here), common)


async def is_later_there(store: Store, archive: SourceArchive) -> bool:
    """Tell whether the store has all lines of the source first."""
    return (await look_at(store, archive)).standing in (Standing.SAME, Standing.NEWER_THERE)


@dataclass(frozen=True, slots=True)
class ArchiveCarrier:
    """Copies archives into one store."""

    store: Store
    keeper: Keeper
    policy: Policy

    async def carry(self, archive: SourceArchive) -> Carried:
        """Bring an archive into the store. Raises: Unavailable, MigrationError."""
        for _ in range(ATTEMPTS):
            look = await look_at(self.store, archive)
            try:
                kept = await self._act(archive, look)
            except Conflict:
                continue
            torn = archive.lines.torn()
            if torn:
                problem = torn_problem(archive.lines.path, torn, archive.agent, None)
                kept += (await self.keeper.keep_problem(problem, Held(torn.raw)),)
            is_excused = look.standing in (Standing.CONFLICT, Standing.NEWER_THERE)
            return Carried(plan.account_archive(look.standing), is_excused, tuple(filter(None, kept)))
        raise MigrationError("StoreBusy", f"archive {archive.agent}/{archive.name} keeps changing in the store")

    async def _act(self, archive: SourceArchive, look: Look) -> tuple[str, ...]:
        if look.standing is Standing.CONFLICT and self.policy is Policy.FAIL:
            raise MigrationError("ConflictsFound", f"archive {archive.agent}/{archive.name} differs in the store")
        if look.standing is Standing.CONFLICT:
            return (await self.keeper.keep_archive(archive.item()),)
        if look.standing in (Standing.NEW, Standing.NEWER_HERE):
            await self._append(archive, look.common)
        return ()

    async def _append(self, archive: SourceArchive, position: int) -> None:
        if not position:
            # An archive without lines is an archive, too.
            position = await self.store.put_archive(archive.agent, archive.name, [], position=0)
        for batch in stored.batches(islice(archive.lines.whole(), position, None)):
            position = await self.store.put_archive(archive.agent, archive.name, batch, position=position)
