"""Inspect, plan, copy, verify: always in this order, each by reading the source afresh.

Nothing has to be remembered between two runs. What a run left in the store is looked at session by session, so
kill it anywhere and run it again: the store ends the same. The command line is the caller; the operator's Job is
that same command.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sessionstore.migrate import archives, bounded, carry, plan, survey, verify
from sessionstore.migrate import source as sources
from sessionstore.migrate.archives import ArchiveCarrier
from sessionstore.migrate.carry import Carried, Carrier
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.keeper import Keeper
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.plan import Policy
from sessionstore.migrate.report import Account, Accounts, Proof, Report, Survey
from sessionstore.migrate.source import SetAside, Source, SourceArchive, SourceSession
from sessionstore.openclaw.blob import Held
from sessionstore.openclaw.problems import Problem, Reason
from sessionstore.sessions.exceptions import InvalidEntry, InvalidKey
from sessionstore.sessions.store import Capability, Store

Item = SourceSession | SourceArchive | SetAside


@dataclass(frozen=True, slots=True)
class Options:
    """What a person chooses.

    Attributes:
        source_name: names this source's documents in the store.
        patience: how long the store may stay away.
    """

    source_name: str
    patience: Patience
    policy: Policy = Policy.NEWEST
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands. `total` is 0 while it is not known (Inspect finds it out)."""

    phase: str
    done: int
    total: int


Watch = Callable[[Progress], None]
"""Told after every session and archive; must not block."""


def inspect(source: Source, watch: Watch) -> Report:
    """Tell what a source holds. Raises: SourceError."""
    return Report("Inspected", survey.inspect(source, _steps(watch, "Inspect", 0)))


async def prove(source: Source, store: Store, patience: Patience, watch: Watch) -> Report:
    """Compare a source with a store that should hold all of it. Raises: SourceError, Unavailable."""
    seen = survey.inspect(source, _steps(watch, "Inspect", 0))
    proof = await verify.prove(source, store, patience, advance=_steps(watch, "Verify", _total(seen)))
    return Report("Failed" if proof.mismatches else "Verified", seen, proof=proof)


async def migrate(source: Source, store: Store, options: Options, watch: Watch) -> Report:
    """Bring a source into a store, and prove it; with `is_dry_run` tell what would be done.

    Raises: SourceError, Unavailable, MigrationError; what was copied until then stays.
    """
    return await _Run(source, store, options, watch).run()


class _Run:
    """One run, and what it has done so far."""

    def __init__(self, source: Source, store: Store, options: Options, watch: Watch) -> None:
        self._source, self._store, self._options, self._watch = source, store, options, watch
        self._keeper = Keeper(store, options.source_name)
        self._sessions = Carrier(store, self._keeper, options.policy)
        self._archives = ArchiveCarrier(store, self._keeper, options.policy)
        self._has_archives = Capability.ARCHIVES in store.capabilities
        self._excused: set[verify.Name] = set()
        self._kept: set[str] = set()
        self._refused: dict[verify.Name, Problem] = {}

    async def run(self) -> Report:
        seen = survey.inspect(self._source, _steps(self._watch, "Inspect", 0))
        _check_layouts(self._source)
        planned = await self._plan(seen)
        if self._options.is_dry_run:
            return _balanced(Report("Planned", seen, planned, extra_problems=self._extra_problems(seen)))
        done = await self._copy(seen)
        await self._tell("Verify", seen)
        proof = await self._prove(seen)
        outcome = "Failed" if proof.mismatches else "Verified"
        report = Report(outcome, seen, done, proof, self._extra_problems(seen), tuple(sorted(self._kept)))
        await self._put("report", _balanced(report).document())
        await self._tell("Done", seen)
        return report

    async def _plan(self, seen: Survey) -> Accounts:
        """Look at everything and change nothing; so a policy of Fail fails before the first write."""
        await self._tell("Plan", seen, is_kept=not self._options.is_dry_run)
        conflicts: list[str] = []
        accounts = Accounts()
        step = _steps(self._watch, "Plan", _total(seen))

        async def look(item: Item) -> None:
            nonlocal accounts
            found = await self._options.patience.of(lambda: self._look(item))
            if found.sessions.conflicts or found.archives.conflicts:
                conflicts.append(_name(item))
            accounts += found
            step()

        await bounded.for_each(_items(self._source), look)
        if conflicts and self._options.policy is Policy.FAIL and not self._options.is_dry_run:
            raise MigrationError(
                "ConflictsFound",
                f"{len(conflicts)} differ in the store, {min(conflicts)} among them; nothing was written. "
                "See them with --dry-run, or choose another --conflicts",
            )
        return accounts

    async def _look(self, item: Item) -> Accounts:
        if isinstance(item, SetAside):
            return _set_aside(item)
        try:
            return await self._look_at(item)
        except (InvalidKey, InvalidEntry) as error:
            self._refused[verify.name_of(item)] = sources.refusal(item, error)
            return _quarantined(item)

    async def _look_at(self, item: SourceSession | SourceArchive) -> Accounts:
        if isinstance(item, SourceArchive):
            if not self._has_archives:
                return Accounts(archives=Account(quarantined=1))
            return plan.account_archive((await archives.look_at(self._store, item)).standing)
        look = await carry.look_at(self._store, item)
        decision = plan.decide(look.sides, self._options.policy)
        torn = Account(quarantined=1 if item.lines and item.lines.torn() else 0)
        return plan.account(decision, common=look.common, here=look.here) + Accounts(lines=torn)

    async def _copy(self, seen: Survey) -> Accounts:
        await self._tell("Copy", seen)
        accounts = Accounts()
        step = _steps(self._watch, "Copy", _total(seen))

        async def copy(item: Item) -> None:
            nonlocal accounts
            carried = await self._options.patience.of(lambda: self._carry(item))
            accounts += carried.accounts
            self._kept.update(carried.kept)
            if carried.is_excused and not isinstance(item, SetAside):
                self._excused.add(verify.name_of(item))
            step()

        await bounded.for_each(_items(self._source), copy)
        return accounts

    async def _carry(self, item: Item) -> Carried:
        if isinstance(item, SetAside):
            kept = await self._keeper.keep_problem(item.problem, Held(item.raw), is_archive=item.is_archive)
            return Carried(_set_aside(item), kept=(kept,) if kept else ())
        try:
            return await self._carry_whole(item)
        except (InvalidKey, InvalidEntry) as error:
            problem = self._refused[verify.name_of(item)] = sources.refusal(item, error)
            kept = await self._keeper.keep_refused(item.item(), problem)
            return Carried(_quarantined(item), is_excused=True, kept=(kept,) if kept else ())

    async def _carry_whole(self, item: SourceSession | SourceArchive) -> Carried:
        if isinstance(item, SourceSession):
            return await self._sessions.carry(item)
        if not self._has_archives:
            return Carried(Accounts(archives=Account(quarantined=1)), is_excused=True)
        return await self._archives.carry(item)

    async def _prove(self, seen: Survey) -> Proof:
        step = _steps(self._watch, "Verify", _total(seen))
        proof = await verify.prove(
            self._source,
            self._store,
            self._options.patience,
            excused=frozenset(self._excused),
            excuses=self._is_later_there,
            advance=step,
        )
        if proof.source_digest != seen.digest:
            raise MigrationError("SourceChanged", "the source changed while it was copied; stop what writes to it")
        return proof

    async def _is_later_there(self, item: SourceSession | SourceArchive) -> bool:
        """Tell whether a gateway went on with something after it was copied: that is no fault of the copy."""
        if isinstance(item, SourceSession):
            return await carry.is_later_there(self._store, item)
        return await archives.is_later_there(self._store, item)

    def _extra_problems(self, seen: Survey) -> tuple[Problem, ...]:
        refused = sorted(self._refused.values(), key=lambda problem: (problem.path, problem.key or ""))
        return (*refused, *self._unkept(seen))

    def _unkept(self, seen: Survey) -> tuple[Problem, ...]:
        if self._has_archives or not seen.archives:
            return ()
        detail = f"{seen.archives} archives stay in the source: this store keeps none"
        return (Problem(".", Reason.NOT_KEPT_BY_STORE, detail),)

    async def _tell(self, phase: str, seen: Survey, *, is_kept: bool = True) -> None:
        self._watch(Progress(phase, 0, _total(seen)))
        if is_kept:
            await self._put("progress", {"phase": phase, "total": _total(seen)})

    async def _put(self, rest: str, document: Mapping[str, Any]) -> None:
        body = json.dumps(document, ensure_ascii=False).encode()
        await self._options.patience.of(lambda: self._keeper.put(rest, body))


def _items(source: Source) -> Iterator[Item]:
    yield from source.sessions()
    yield from source.archives()


def _name(item: Item) -> str:
    if isinstance(item, SetAside):
        return item.problem.path
    return str(item.key) if isinstance(item, SourceSession) else f"{item.agent}/{item.name}"


def _set_aside(item: SetAside) -> Accounts:
    one = Account(quarantined=1)
    return Accounts(archives=one) if item.is_archive else Accounts(sessions=one)


def _quarantined(item: SourceSession | SourceArchive) -> Accounts:
    """Return how something that the store refuses is counted, with all of its lines."""
    if isinstance(item, SourceArchive):
        return Accounts(archives=Account(quarantined=1))
    torn = bool(item.lines and item.lines.torn())
    return Accounts(Account(quarantined=1), Account(quarantined=sum(1 for _ in item.whole()) + torn))


def _total(seen: Survey) -> int:
    return seen.sessions + seen.archives


def _steps(watch: Watch, phase: str, total: int) -> Callable[[], None]:
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        watch(Progress(phase, done, total))

    return step


def _check_layouts(source: Source) -> None:
    """Refuse a source that also keeps sessions where we cannot read: to switch over without them would lose them."""
    for problem in source.findings.problems:
        if problem.reason is Reason.UNSUPPORTED_LAYOUT:
            raise MigrationError(
                "UnsupportedLayout",
                f"{problem.path}: {problem.detail}; nothing was written. If it is not in use, move it out of the way",
            )


def _balanced(report: Report) -> Report:
    wrong = report.imbalance()
    if wrong:
        raise MigrationError("CountsDoNotAddUp", f"{wrong}; stop what writes to the source, and run again")
    return report
