"""Plan: tell what is to become of each thing, and change nothing. So a policy of Fail fails before the first write.

What the store does not have is told from its records alone, asked for many at a time; lines are read only where both
sides have a session.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sessionstore.migrate import archives, bounded, carry, plan
from sessionstore.migrate import run as runs
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.items import SourceArchive, SourceSession
from sessionstore.migrate.ledger import HELD
from sessionstore.migrate.plan import Policy, Standing
from sessionstore.migrate.report import Account, Accounts, Survey
from sessionstore.migrate.rows import NEW, PRESENT, Facts, Intent, name_of
from sessionstore.migrate.run import Record, Run
from sessionstore.sessions.exceptions import InvalidEntry, InvalidKey
from sessionstore.sessions.record import SessionKey

ASKED_AT_ONCE = 500
QUARANTINE = "Quarantine"


async def make(run: Run, seen: Survey) -> Accounts:
    """Plan all of a source, into the ledger; return how it would be counted. Raises: Unavailable, SourceError."""
    planner = _Planner(run, seen)
    await bounded.for_each(bounded.of(run.ledger.groups("session", ASKED_AT_ONCE)), planner.ask_for_sessions)
    await bounded.for_each(bounded.of(run.ledger.groups("archive", ASKED_AT_ONCE)), planner.ask_for_archives)
    if run.ledger.count_flag(HELD):
        await bounded.for_each(bounded.groups(run.held_items(), runs.size_of), planner.compare)
    return planner.accounts


def check_conflicts(run: Run, accounts: Accounts) -> None:
    """End a run under a policy of Fail before it writes, where there are conflicts. Raises: MigrationError."""
    conflicts = accounts.sessions.conflicts + accounts.archives.conflicts
    if not conflicts or run.policy is not Policy.FAIL:
        return
    raise MigrationError(
        "ConflictsFound",
        f"{conflicts} differ in the store, {run.ledger.first_decided(Standing.CONFLICT)} among them; nothing was "
        "written. See them with --dry-run, or choose another --conflicts",
    )


class _Planner:
    """Plans for one run; sums up as it goes."""

    def __init__(self, run: Run, seen: Survey) -> None:
        self._run = run
        aside = Accounts(Account(quarantined=seen.quarantined), archives=Account(quarantined=seen.archives_aside))
        self.accounts = aside

    async def ask_for_sessions(self, group: list[Facts]) -> None:
        """Plan what the records tell: what the store has not, and what is as an earlier run left it."""
        held = await self._run.patience.of(lambda: self._records(group))
        for facts, session in zip(group, held, strict=True):
            if await self._is_settled(facts, session):
                await self._run.meter.step(facts.bytes)

    async def ask_for_archives(self, group: list[Facts]) -> None:
        """Plan what can be told without reading archives."""
        for facts in group:
            if not self._run.has_archives:
                self._quarantine(facts)
                await self._run.meter.step(facts.bytes)
                continue
            if await self._run.patience.of(partial(self._is_settled_archive, facts)):
                await self._run.meter.step(facts.bytes)

    async def compare(self, group: list[SourceSession | SourceArchive]) -> None:
        """Plan what both sides have, by reading it on both."""
        for item in group:
            await self._run.patience.of(partial(self._compare, item))
            await self._run.meter.step(0)

    # -- the inner workings ---------------------------------------------------------------------

    async def _records(self, group: Sequence[Facts]) -> Sequence[Record]:
        return await self._run.records([SessionKey(facts.name.agent, facts.name.name) for facts in group])

    async def _is_settled(self, facts: Facts, held: Record) -> bool:
        run, row = self._run, self._run.known(facts)
        if isinstance(held, InvalidKey):
            # The pass over the source, which has the path, says why.
            run.ledger.flag(HELD, facts.name)
            return False
        if held is None:
            is_deleted = run.was_carried(facts) and await run.patience.of(partial(run.is_deleted, facts.name))
            self._note(facts, Standing.NEWER_THERE if is_deleted else Standing.NEW, PRESENT if is_deleted else NEW)
        elif row and await run.is_as_left(row, held):
            self._note(facts, Standing.SAME, PRESENT)
        else:
            run.ledger.flag(HELD, facts.name)
            return False
        return True

    async def _is_settled_archive(self, facts: Facts) -> bool:
        run, row, name = self._run, self._run.known(facts), facts.name
        try:
            if row and await run.is_as_left(row):
                self._note(facts, Standing.SAME, PRESENT)
            elif await run.store.read_archive(name.agent, name.name, 0, 0) is None:
                self._note(facts, Standing.NEW, NEW)
            else:
                run.ledger.flag(HELD, name)
                return False
        except InvalidKey:
            run.ledger.flag(HELD, name)
            return False
        return True

    async def _compare(self, item: SourceSession | SourceArchive) -> None:
        facts = self._run.ledger.facts(name_of(item))
        if facts is None:
            return
        try:
            standing, intent = await self._look(item)
        except (InvalidKey, InvalidEntry) as error:
            self._run.refuse(item, error)
            self._quarantine(facts)
            return
        self._note(facts, standing, intent)

    async def _look(self, item: SourceSession | SourceArchive) -> tuple[Standing, Intent]:
        run = self._run
        if isinstance(item, SourceArchive):
            standing = (await archives.look_at(run.store, item, run.room)).standing
            return standing, plan.archive_intent(standing)
        look = await carry.look_at(run.store, item, run.room)
        is_ours = run.keeper.can_keep and look.is_as_left(item, run.left(name_of(item)), NEW)
        decision = plan.decide(look.sides, run.policy, is_ours=is_ours)
        return decision.standing, plan.intent(decision, look.common)

    def _note(self, facts: Facts, standing: Standing, intent: Intent) -> None:
        ledger = self._run.ledger
        self.accounts += intent.accounts(facts.name, facts.lines)
        if facts.is_torn and facts.name.kind == "session":
            self.accounts += Accounts(lines=Account(quarantined=1))
        ledger.decide(facts.name, standing.value, facts.lines)
        # What is new is not worth a note, unless a row of an earlier run has it otherwise.
        if intent != NEW or ledger.known(facts.name):
            ledger.intend(facts.name, intent)

    def _quarantine(self, facts: Facts) -> None:
        self.accounts += runs.quarantined(facts.name, facts.found)
        self._run.ledger.decide(facts.name, QUARANTINE, facts.lines)
