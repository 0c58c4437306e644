"""Inspect, plan, copy, verify: always in this order, each by looking at the source afresh.

Kill it anywhere and run it again: the store ends the same, and so does the report. What a run needs to remember it
keeps on disk (`ledger`), what the next one needs, in the store (`journal`). The command line is the caller; the
operator's Job is that same command.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

from sessionstore.migrate import copying, planning, proving, survey
from sessionstore.migrate.bounded import Room
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.folder import Folder
from sessionstore.migrate.items import Source
from sessionstore.migrate.journal import Journal
from sessionstore.migrate.keeper import Keeper
from sessionstore.migrate.ledger import MOVING, Ledger
from sessionstore.migrate.pages import Pages
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.plan import Policy
from sessionstore.migrate.progress import Keep, Meter, Progress, Watch
from sessionstore.migrate.report import Plan, Proof, Report, Survey, problem_document
from sessionstore.migrate.run import Run
from sessionstore.openclaw.problems import Problem, Reason
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions import clock
from sessionstore.sessions.record import SessionKey
from sessionstore.sessions.store import Store

TOLD = 1000
"""Problems, rows of a plan and documents that a report names; there may be a million of each. It counts all."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person chooses.

    Attributes:
        source_name: names this source's documents in the store.
        patience: how long the store may stay away.
        is_dry_run: tell what would be done, and change no session.
        keeps_plan: leave the report and the rows of a dry run in the store.
        is_live: the source may change meanwhile.
        is_thorough: believe nothing that an earlier run left.
        origin: what tells the source from another one of the same name.
        folder: where what is set aside is kept besides the store.
        remembered: returns the mark of a session as a follower left it in the store.
    """

    source_name: str
    patience: Patience
    policy: Policy = Policy.NEWEST
    is_dry_run: bool = False
    keeps_plan: bool = False
    is_live: bool = False
    is_thorough: bool = False
    origin: str = ""
    folder: Folder | None = None
    remembered: Callable[[SessionKey], bytes | None] = lambda key: None

    @property
    def keeps(self) -> bool:
        """Whether documents are written."""
        return self.keeps_plan or not self.is_dry_run


async def inspect(source: Source, scratch: Scratch, watch: Watch, name: str = "") -> Report:
    """Tell what a source holds. Raises: SourceError, Unavailable."""
    ledger, meter = Ledger(scratch), Meter(name, watch)
    return _told(ledger, Report("Inspected", await survey.inspect(source, ledger, meter)))


async def prove(source: Source, store: Store, scratch: Scratch, options: Options, watch: Watch) -> Report:
    """Compare a source with a store that should hold all of it. Raises: SourceError, Unavailable, MigrationError."""
    run = _make_run(source, store, scratch, options, Meter(options.source_name, watch))
    seen = await survey.inspect(source, run.ledger, run.meter)
    await run.meter.enter("Verify")
    proof = await proving.prove(run, seen, is_strict=True)
    return _told(run.ledger, Report(_outcome(proof, run), seen, proof=proof))


async def migrate(source: Source, store: Store, scratch: Scratch, options: Options, watch: Watch) -> Report:
    """Bring a source into a store, and prove it; with `is_dry_run` tell what would be done.

    Raises: SourceError, Unavailable, MigrationError; what was copied until then stays.
    """
    keeper = Keeper(store, options.source_name, options.folder)
    keep = _keep(keeper, options) if options.keeps else None
    run = _make_run(source, store, scratch, options, Meter(options.source_name, watch, keep))
    async with run.meter.ticking():
        await run.meter.enter("Inspect")
        if not options.is_thorough:
            await run.journal.load(run.ledger)
        seen = await survey.inspect(source, run.ledger, run.meter)
        _check_layouts(seen)
        report = await (_plan if options.is_dry_run else _carry_out)(run, seen, options)
        await run.meter.enter("Done")
    return report


async def _plan(run: Run, seen: Survey, options: Options) -> Report:
    """Tell what would be done."""
    run.ledger.forget_intents()
    await run.meter.enter("Plan")
    planned = await planning.make(run, seen)
    _note_unkept(run, seen)
    rows = tuple(islice(run.ledger.decisions(), TOLD))
    report = _told(run.ledger, Report("Planned", seen, planned, plan=Plan(run.ledger.decision_counts(), rows)))
    if options.keeps:
        await _keep_pages(run, "plan", run.ledger.decisions())
        await _keep_report(run, report)
    return _balanced(report)


async def _carry_out(run: Run, seen: Survey, options: Options) -> Report:
    """Plan, copy and prove."""
    if not run.journal.goes_on or options.policy is Policy.FAIL:
        run.ledger.forget_intents()
        await run.meter.enter("Plan")
        planning.check_conflicts(run, await planning.make(run, seen))
    await run.journal.begin(run.ledger, is_live=run.is_live)
    await run.meter.enter("Copy")
    accounts = await copying.copy(run, seen)
    await run.meter.enter("Verify")
    proof = await proving.prove(run, seen)
    _note_unkept(run, seen)
    report = _told(run.ledger, Report(_outcome(proof, run), seen, accounts, proof, moving=_moving(run)))
    if not options.is_live:
        report = _balanced(report)
    await _end(run, report)
    return report


async def _end(run: Run, report: Report) -> None:
    """Leave what the next run needs, and what people and the operator read."""
    await run.journal.flush(run.ledger)
    # The report comes first: once the ledger says that all is done, a run finds it done, and says so.
    await _keep_report(run, report)
    if report.mismatches:
        # Something is not as a row says: the next run is to look at everything.
        await run.journal.drop()
    else:
        await run.journal.finish(run.ledger, is_live=run.is_live)


async def _keep_report(run: Run, report: Report) -> None:
    await _keep_pages(run, "problems", map(problem_document, run.ledger.problems()))
    await _put(run.keeper, run.patience, "report", report.document())


async def _keep_pages(run: Run, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    pages = Pages(run.keeper, name)
    await run.patience.of(pages.begin)
    for row in rows:
        await run.patience.of(partial(pages.add, row))
    await run.patience.of(pages.end)


def _make_run(source: Source, store: Store, scratch: Scratch, options: Options, meter: Meter) -> Run:
    ledger, keeper = Ledger(scratch), Keeper(store, options.source_name, options.folder)
    journal = Journal(keeper, options.patience, options.origin)
    return Run(
        source, store, ledger, journal, keeper, options.patience, options.policy, meter, Room(),
        options.is_live, options.remembered,
    )  # fmt: skip


def _told(ledger: Ledger, report: Report) -> Report:
    """Add what the ledger knows: as much of it as a report holds, and all of it counted."""
    return replace(
        report,
        problems=tuple(islice(ledger.problems(), TOLD)),
        problem_count=ledger.count_problems(),
        kept=tuple(islice(ledger.kept(), TOLD)),
        kept_count=ledger.count_kept(),
    )


def _keep(keeper: Keeper, options: Options) -> Keep:
    async def keep(seen: Progress) -> None:
        # The time says when a run ended, and tells one that works on something long from one that was killed.
        await _put(keeper, options.patience, "progress", {"at": clock.now_ms()} | seen.document())

    return keep


async def _put(keeper: Keeper, patience: Patience, rest: str, document: Mapping[str, Any]) -> None:
    body = json.dumps(document, ensure_ascii=False).encode()
    await patience.of(lambda: keeper.put(rest, body))


def _outcome(proof: Proof, run: Run) -> str:
    if proof.mismatch_count:
        return "Failed"
    return "PreCopied" if run.is_live else "Verified"


def _moving(run: Run) -> int | None:
    return run.ledger.count_flag(MOVING) if run.is_live else None


def _note_unkept(run: Run, seen: Survey) -> None:
    if not run.has_archives and seen.archives:
        detail = f"{seen.archives} archives stay in the source: this store keeps none"
        run.ledger.add_problem(Problem(".", Reason.NOT_KEPT_BY_STORE, detail))


def _check_layouts(seen: Survey) -> None:
    """Refuse a source that also keeps sessions where we cannot read: to switch over without them would lose them."""
    problem = seen.unsupported
    if problem:
        raise MigrationError(
            "UnsupportedLayout",
            f"{problem.path}: {problem.detail}; nothing was written. If it is not in use, move it out of the way",
        )


def _balanced(report: Report) -> Report:
    wrong = report.imbalance()
    if wrong:
        raise MigrationError("CountsDoNotAddUp", f"{wrong}; stop what writes to the source, and run again")
    return report
