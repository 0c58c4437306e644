"""Copy: bring each thing into the store, as it was planned, and note what was done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from sessionstore.migrate import bounded, rows, vanished
from sessionstore.migrate import run as runs
from sessionstore.migrate.archives import ArchiveCarrier, mark
from sessionstore.migrate.carry import Carried, Carrier, Made
from sessionstore.migrate.claims import Claims
from sessionstore.migrate.items import Item, SetAside, SourceArchive, SourceSession
from sessionstore.migrate.ledger import EXCUSED, MOVING
from sessionstore.migrate.report import Account, Accounts, Survey
from sessionstore.migrate.rows import NEW, PRESENT, Facts, Intent, Row, name_of
from sessionstore.migrate.run import Run
from sessionstore.sessions.exceptions import InvalidEntry, InvalidKey
from sessionstore.sessions.record import Session

Known = dict[rows.Name, tuple[Row | None, Session | None]]
"""What an earlier run left of things, and what the store has of them."""


async def copy(run: Run, seen: Survey) -> Accounts:
    """Copy all of a source. Raises: Unavailable, SourceError, MigrationError; what was copied until then stays."""
    copier = _Copier(run)
    await bounded.for_each(bounded.groups(run.items(), runs.size_of), copier.copy)
    if run.journal.follows_live and not run.is_live and not (seen.quarantined or seen.unread):
        await vanished.drop(run)
    await run.journal.flush(run.ledger)
    return copier.accounts


@dataclass(frozen=True, slots=True)
class _Task:
    """One thing that is to be copied.

    Attributes:
        facts: what Inspect found; None for what came later.
        stamp: of its lines, before they are read.
        intent: what was planned, before this or an interrupted run wrote anything.
    """

    item: SourceSession | SourceArchive
    name: rows.Name
    facts: Facts | None
    stamp: str | None
    intent: Intent


class _Copier:
    """Copies for one run; sums up as it goes."""

    def __init__(self, run: Run) -> None:
        self._run = run
        claims = Claims(run.store, run.keeper.source_name, run.ledger)
        self._sessions = Carrier(run.store, run.keeper, run.policy, run.room, claims)
        self._archives = ArchiveCarrier(run.store, run.keeper, run.policy, run.room)
        self.accounts = Accounts()

    async def copy(self, group: list[Item]) -> None:
        """Copy some things: those that are new and short in a few round trips, then one after another."""
        known = await self._known(group)
        tasks: list[_Task] = []
        for item in group:
            task = await self._begin(item, known)
            if isinstance(task, _Task):
                tasks.append(task)
            else:
                await self._step(task)
        made = await self._create_short(tasks)
        for task in tasks:
            await self._end(task, made.get(task.name))
            await self._step(task.facts.bytes if task.facts else 0)

    async def _step(self, size: int) -> None:
        self._run.meter.settle(self.accounts)
        await self._run.meter.step(size)

    async def _known(self, group: Sequence[Item]) -> Known:
        """Return what the source has as an earlier run carried it, with the store's side of it.

        There is no row where only reading it told so: then it may be missing in the store, and nothing more is known.
        """
        found = {
            name_of(item): row
            for item in group
            if not isinstance(item, SetAside) and ((row := self._run.ledger.unchanged(item)) or self._was_carried(item))
        }
        keys = [item.key for item in group if isinstance(item, SourceSession) and name_of(item) in found]
        held = await self._run.patience.of(lambda: self._run.records(keys)) if keys else ()
        sessions = {
            rows.Name("session", key.agent, key.key): session
            for key, session in zip(keys, held, strict=True)
            if isinstance(session, Session)
        }
        return {name: (row, sessions.get(name)) for name, row in found.items()}

    def _was_carried(self, item: SourceSession | SourceArchive) -> bool:
        ledger, name = self._run.ledger, name_of(item)
        row = ledger.known(name)
        facts = ledger.facts(name) if row else None
        return row is not None and facts is not None and row.speaks_of(facts)

    async def _begin(self, item: Item, known: Known) -> _Task | int:
        """Return what is to be done for one thing; its size where all is done."""
        if isinstance(item, SetAside):
            return await self._set_aside(item)
        name = name_of(item)
        row, held = known.get(name, (None, None))
        if row and await self._is_done(row, held):
            return row.facts.bytes
        facts = self._run.ledger.facts(name)
        if facts and held is None and name in known and await self._is_deleted(facts):
            return facts.bytes
        stamp = item.lines.stamp if item.lines else None
        return _Task(item, name, facts, stamp, self._intent(name, row))

    async def _create_short(self, tasks: Sequence[_Task]) -> dict[rows.Name, Made | None]:
        """Make what is new and has few lines; return what came of each."""
        new = [task.item for task in tasks if task.intent is NEW and isinstance(task.item, SourceSession)]
        made = await self._run.patience.of(lambda: self._sessions.create_short(new)) if new else ()
        return {name_of(item): one for item, one in zip(new, made, strict=True)}

    async def _end(self, task: _Task, made: Made | None) -> None:
        """Copy one thing that was not `made` yet, and note what became of it."""
        carried = await self._run.patience.of(lambda: self._carry(task, made))
        self._take(carried)
        if carried.is_excused:
            self._run.ledger.flag(EXCUSED, task.name)
        await self._note(task, carried)

    async def _set_aside(self, item: SetAside) -> int:
        kept = await self._run.patience.of(
            lambda: self._run.keeper.keep_problem(item.problem, item.blob, is_archive=item.is_archive)
        )
        self._take(Carried(runs.set_aside(item), kept=(kept,) if kept else ()))
        return item.blob.size

    async def _is_done(self, row: Row, held: Session | None) -> bool:
        """Count what an earlier run, or this one before it was killed, has done; tell whether it still holds."""
        run, facts = self._run, row.facts
        if not await run.patience.of(lambda: run.is_as_left(row, held)):
            return False
        intent = row.intent if row.run == run.journal.run else PRESENT
        self.accounts += intent.accounts(facts.name, facts.lines)
        return True

    async def _is_deleted(self, facts: Facts) -> bool:
        """Count a session that was carried and was deleted in the store since; tell whether it is one."""
        run = self._run
        if facts.name.kind != "session" or not await run.patience.of(lambda: run.is_deleted(facts.name)):
            return False
        self.accounts += PRESENT.accounts(facts.name, facts.lines)
        self.accounts += Accounts(lines=Account(quarantined=int(facts.is_torn)))
        run.ledger.flag(EXCUSED, facts.name)
        return True

    def _intent(self, name: rows.Name, row: Row | None) -> Intent:
        return self._run.ledger.intent(name) or (PRESENT if row else NEW)

    async def _carry(self, task: _Task, made: Made | None) -> Carried:
        item = task.item
        try:
            if isinstance(item, SourceSession):
                return await self._sessions.carry(item, task.intent, self._run.left(task.name), made)
            if not self._run.has_archives:
                return Carried(Accounts(archives=Account(quarantined=1)), is_excused=True)
            return await self._archives.carry(item, task.intent)
        except (InvalidKey, InvalidEntry) as error:
            problem = self._run.refuse(item, error)
            kept = await self._run.keeper.keep_refused(item, problem)
            accounts = runs.quarantined(task.name, task.facts.found if task.facts else 0)
            return Carried(accounts, is_excused=True, kept=(kept,) if kept else ())

    def _take(self, carried: Carried) -> None:
        self.accounts += carried.accounts
        if carried.kept:
            self._run.ledger.keep(carried.kept)

    async def _note(self, task: _Task, carried: Carried) -> None:
        """Leave a row: what is whole on both sides and as Inspect found it may be skipped by the next run.

        Of any other session it says what the store was given: what becomes of that in the source is no conflict.
        """
        run, item, name, facts = self._run, task.item, task.name, task.facts
        if facts is None or facts.stamp != task.stamp or facts.entry != rows.entry_hash(item):
            run.ledger.flag(MOVING, name)
            facts = Facts(name, b"", None, b"", 0, 0)
        elif not facts.is_clean:
            facts = replace(facts, stamp=None)
        if carried.is_excused or (facts.stamp is None and isinstance(item, SourceArchive)):
            return
        if isinstance(item, SourceArchive):
            marked = await run.patience.of(partial(mark, run.store, item.agent, item.name, facts.lines))
        else:
            marked = rows.mark_of(carried.held) if carried.held else None
        if marked:
            await run.journal.add(run.ledger, Row(facts, marked, carried.intent, run.journal.run))
