"""The copy that is made while the gateway runs, so that the one behind the fence is short. Pure.

Called by migration.py before a gateway is fenced. Nothing is at stake here: a Job that fails is made again.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sessionstore.reconcile.store import facts, jobs, records, steps, told
from sessionstore.reconcile.store.source_plan import (
    Context,
    Phase,
    R,
    SourcePlan,
    is_stale,
    runtime,
    stamp,
    unfinished,
)

LONG_S = 120.0
"""A pre-copy that took longer is followed by another: what was written meanwhile would have to wait for the fence."""

MAX_ROUNDS = 3
"""In a row. Each reads only what changed during the one before; one that stays long will not get shorter."""

FRESH_S = 600.0
"""How long a pre-copy is worth something where the fence has to wait, for another source say."""


def next_precopy(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan | None:
    """Decide about a pre-copy; None where there is none to wait for, and the fence may go up."""
    enough = _is_fresh(ctx, record) or (ctx.waits_for is not None and record.precopied is not None)
    if enough or not ctx.workloads or ctx.injected:
        return None
    job = jobs.precopy_job(ctx.store, source.source, runtime(source, ctx, record), record.precopies + 1)
    known = source.jobs.get(job["metadata"]["name"])
    other = unfinished(source, "precopy")
    if known is None and other is not None:
        # The gateway has moved: this Job would keep its volume on another node.
        return _waiting(source, record, steps.DeleteJob(other.manifest))
    if known is None:
        return _waiting(source, record, steps.CreateJob(job))
    if known.succeeded and known.outcome is not None:
        return _waiting(source, _remember(known, ctx, record), None)
    if known.succeeded or is_stale(known, ctx.now):
        verdict = told.job_ended(source, known)
        return SourcePlan(Phase.PRE_COPYING, verdict, record, steps.DeleteJob(known.manifest))
    if known.failed_at:
        return SourcePlan(Phase.FAILED, told.job_ended(source, known), record)
    verdict = told.waiting(source, known, R.PRE_COPYING, "copying while its gateway runs")
    return SourcePlan(Phase.PRE_COPYING, verdict, record)


def called_off(source: facts.SourceFacts) -> steps.DeleteJob | None:
    """End a pre-copy that nobody wants any more."""
    running = unfinished(source, "precopy")
    return steps.DeleteJob(running.manifest) if running is not None else None


def _waiting(source: facts.SourceFacts, record: records.Record, step: steps.Step | None) -> SourcePlan:
    verdict = told.progress(source, R.PRE_COPYING, "copying while its gateway runs")
    return SourcePlan(Phase.PRE_COPYING, verdict, record, step)


def _remember(job: facts.JobFacts, ctx: Context, record: records.Record) -> records.Record:
    assert job.outcome is not None
    rounds = record.precopy_round + 1
    is_enough = float(job.outcome.get("seconds") or 0.0) <= LONG_S or rounds >= MAX_ROUNDS
    return replace(
        record,
        precopies=record.precopies + 1,
        precopied=job.outcome,
        precopied_at=(job.completed_at or stamp(ctx.now)) if is_enough else None,
        precopy_round=0 if is_enough else rounds,
    )


def _is_fresh(ctx: Context, record: records.Record) -> bool:
    if record.precopied_at is None:
        return False
    return ctx.now - datetime.fromisoformat(record.precopied_at) < timedelta(seconds=FRESH_S)
