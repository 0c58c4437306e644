"""Verify: go through source and store once more, compare all that can be carried, and sum up the digests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sessionstore.migrate import archives, bounded, carry, rows, survey, verify
from sessionstore.migrate import run as runs
from sessionstore.migrate.claims import Claims
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.items import SetAside, SourceArchive, SourceSession
from sessionstore.migrate.ledger import EXCUSED, MOVING
from sessionstore.migrate.report import Mismatch, Proof, Survey
from sessionstore.migrate.rows import Facts, Row, name_of
from sessionstore.migrate.run import Run
from sessionstore.migrate.verify import Checked
from sessionstore.sessions.exceptions import InvalidEntry, InvalidKey
from sessionstore.sessions.record import Session

_LOOKS, _LOOK_AGAIN_S = 50, 0.2
"""For a session that another source is just putting in place: a claim comes first, then the entry, then the lines."""
MISMATCHES_KEPT = 100
"""That are named; the others are counted."""

Carried = SourceSession | SourceArchive


@dataclass(frozen=True, slots=True)
class _Task:
    """One thing that is to be proven: what the store's record says, and the stamp of the lines before they are read."""

    item: Carried
    held: Session | None
    stamp: str | None


async def prove(run: Run, seen: Survey, *, is_strict: bool = False) -> Proof:
    """Compare all that can be carried.

    Args:
        is_strict: nothing is excused, and no row of an earlier run is believed.
    Raises: Unavailable, SourceError; MigrationError where the source is not any more what Inspect saw.
    """
    prover = _Prover(run, is_strict)
    await bounded.for_each(bounded.groups(_carried(run), runs.size_of), prover.prove)
    proof = Proof(
        run.ledger.proven_digest("source"),
        run.ledger.proven_digest("store"),
        tuple(sorted(prover.mismatches, key=lambda found: (found.kind, found.agent, found.name))),
        prover.mismatch_count,
        prover.session_mismatches,
    )
    if proof.source_digest != seen.digest and not run.is_live:
        what = f": {prover.changed}, for one" if prover.changed else ""
        raise MigrationError(
            "SourceChanged", f"the source changed while it was copied{what}; stop what writes to it, and run again"
        )
    return proof


class _Prover:
    """Proves for one run; sums up as it goes."""

    def __init__(self, run: Run, is_strict: bool) -> None:
        self._run, self._is_strict = run, is_strict
        self._claims = Claims(run.store, run.keeper.source_name, run.ledger)
        self.mismatches: list[Mismatch] = []
        self.mismatch_count = self.session_mismatches = 0
        self.changed: rows.Name | None = None

    async def prove(self, group: Sequence[Carried]) -> None:
        """Compare some things, one after another."""
        found = zip(group, await self._records(group), strict=True)
        # A stamp comes before the lines: what is written between the two shows in the next one.
        left = [
            _Task(item, session, item.lines.stamp if item.lines else None)
            for item, session in found
            if not await self._is_proven(item, session)
        ]
        checked = await self._check_short(left)
        for task in left:
            await self._run.meter.step(await self._prove(task, checked.get(name_of(task.item))))

    async def _is_proven(self, item: Carried, held: Session | None) -> bool:
        """Take over what an earlier run has proven; tell whether that still holds."""
        run = self._run
        row = None if self._is_strict else run.ledger.unchanged(item)
        if row is None or not run.journal.is_proven(row):
            return False
        if not await run.patience.of(lambda: run.is_as_left(row, held)):
            return False
        self._add_digests(row.facts.digest, row.facts.digest)
        await run.meter.step(row.facts.bytes)
        return True

    async def _check_short(self, tasks: Sequence[_Task]) -> dict[rows.Name, Checked]:
        """Return what is the same on both sides, of what can be compared many at a time."""
        run = self._run
        short = [(task.item, task.held) for task in tasks if isinstance(task.item, SourceSession)]
        checked = await run.patience.of(lambda: verify.check_short(run.store, short, run.room)) if short else ()
        return {name_of(item): one for (item, _), one in zip(short, checked, strict=True) if one}

    async def _records(self, group: Sequence[Carried]) -> list[Session | None]:
        keys = [item.key for item in group if isinstance(item, SourceSession)]
        found = await self._run.patience.of(lambda: self._run.records(keys)) if keys else []
        sessions = iter([None if isinstance(session, InvalidKey) else session for session in found])
        return [next(sessions) if isinstance(item, SourceSession) else None for item in group]

    async def _prove(self, task: _Task, same: Checked | None) -> int:
        """Compare one thing that is not known to be the `same`; return its size."""
        run, item, held = self._run, task.item, task.held
        name = name_of(item)
        facts = run.ledger.facts(name)
        checked = same if same else await run.patience.of(lambda: self._check(item, held))
        # The hash also speaks of marks and lifetimes, which are in no digest.
        is_moving = facts is None or (facts.digest, facts.entry) != (checked.source, rows.entry_hash(item))
        if is_moving:
            self.changed = self.changed or name
            run.ledger.flag(MOVING, name)
        self._add_digests(checked.source, checked.store)
        if checked.mismatch and not await self._is_excused(item, checked, is_moving=is_moving):
            self._add_mismatch(checked.mismatch)
        elif facts and not checked.mismatch and not is_moving:
            await self._note(item, facts, task.stamp, held)
        return facts.bytes if facts else 0

    async def _check(self, item: Carried, held: Session | None) -> Checked:
        run = self._run
        try:
            if isinstance(item, SourceSession):
                return await verify.check_session(run.store, item, held, run.room)
            return await verify.check_archive(run.store, item, run.room)
        except (InvalidKey, InvalidEntry) as error:
            return await verify.absent(item, run.room, f"not in the store, which refuses it: {error}")

    async def _is_excused(self, item: Carried, checked: Checked, *, is_moving: bool) -> bool:
        """Tell whether a difference is none of the copy's: others may write to both sides meanwhile."""
        run, name = self._run, name_of(item)
        if self._is_strict:
            return False
        if run.ledger.has_flag(EXCUSED, name):
            return checked.store is not None or await self._is_rightly_absent(name)
        if run.is_live and is_moving:
            return True
        if await self._is_won_by_another(item, checked):
            return True
        if run.is_live and (await survey.facts_of(item)).digest != checked.source:
            run.ledger.flag(MOVING, name)
            return True
        return await run.patience.of(lambda: self._is_later_there(item))

    async def _is_rightly_absent(self, name: rows.Name) -> bool:
        """Tell whether the store refused a thing, has no place for it, or was told to delete it: or has lost it."""
        run = self._run
        if run.ledger.is_refused(name) or name.kind == "archive":
            return run.ledger.is_refused(name) or not run.has_archives
        return await run.patience.of(lambda: run.is_deleted(name))

    async def _is_won_by_another(self, item: Carried, checked: Checked) -> bool:
        """Tell whether the store has what another source rightly put there, or has it when that source is done."""
        run, name = self._run, name_of(item)
        for _ in range(_LOOKS):
            winner = await run.patience.of(partial(self._claims.winner, name))
            if winner is None or winner == checked.store:
                return winner is not None
            await asyncio.sleep(_LOOK_AGAIN_S)
            held = await self._records([item])
            checked = await run.patience.of(partial(self._check, item, held[0]))
        return False

    async def _is_later_there(self, item: Carried) -> bool:
        """Tell whether a gateway went on with something after it was copied: that is no fault of the copy."""
        if isinstance(item, SourceSession):
            held = await self._run.store.get(item.key)
            if held and rows.mark_of(held) == self._run.ledger.mark(name_of(item)):
                return False  # Nobody has touched it since, so what is too much in it came with the copy.
            return await carry.is_later_there(self._run.store, item, self._run.room)
        return await archives.is_later_there(self._run.store, item, self._run.room)

    async def _note(self, item: Carried, facts: Facts, stamp: str | None, held: Session | None) -> None:
        """Leave a row where the copy could not: its stamp said nothing yet, so soon after the file was written."""
        run = self._run
        if self._is_strict or facts.stamp is not None or stamp is None or not facts.is_clean:
            return
        if isinstance(item, SourceArchive):
            marked = await run.patience.of(lambda: archives.mark(run.store, item.agent, item.name, facts.lines))
        else:
            marked = rows.mark_of(held) if held else None
        if marked:
            intent = run.ledger.intent(facts.name) or rows.NEW
            await run.journal.add(run.ledger, Row(replace(facts, stamp=stamp), marked, intent, run.journal.run))

    def _add_digests(self, source: bytes, store: bytes | None) -> None:
        self._run.ledger.add_digest("source", source)
        if store:
            self._run.ledger.add_digest("store", store)

    def _add_mismatch(self, mismatch: Mismatch) -> None:
        self.mismatch_count += 1
        self.session_mismatches += mismatch.kind == "session"
        if len(self.mismatches) < MISMATCHES_KEPT:
            self.mismatches.append(mismatch)


async def _carried(run: Run) -> AsyncIterator[Carried]:
    async for item in run.items():
        if not isinstance(item, SetAside):
            yield item
