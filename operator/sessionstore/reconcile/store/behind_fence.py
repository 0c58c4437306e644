"""A migration behind its fence: quiet, copy, inject; or give back. Pure.

Called by migration.py alone. Whatever happens here, the gateway gets its replicas back: on
the store when the copy is proven and it is injected, on its files as before in every other case.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sessionstore.gateways import fence
from sessionstore.reconcile.store import facts, jobs, records, steps, told
from sessionstore.reconcile.store.preconditions import check_claim
from sessionstore.reconcile.store.source_plan import (
    Context,
    Phase,
    R,
    SourcePlan,
    generations,
    is_ours,
    is_over_time,
    lift,
    replicas_of,
    retry_token,
    runtime,
    stamp,
    why_so_long,
)

MAX_BREAKS = 3


def fenced(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    """Decide while the gateway is held at 0 replicas, and is not injected yet."""
    record = replace(record, fenced_at=record.fenced_at or _fenced_since(ctx), replicas=_held(ctx))
    if record.failure is not None and record.failure.token == retry_token(ctx.store):
        return _give_back(source, ctx, record)
    if not ctx.is_run:
        return _fail(source, ctx, record, (R.PLANNED, "the migration was called off by an edit of the spec"))
    if is_over_time(ctx, record.fenced_at):
        why = why_so_long(source, ctx, _copy_job(source, ctx, record))
        return _fail(source, ctx, record, (R.FENCE_TIMEOUT, why))
    obstacle = check_claim(source)
    if obstacle is not None:
        return _fail(source, ctx, record, (R.SOURCE_NOT_FOUND, obstacle.message))
    return _hold(source, ctx, record) or _quiet(source, ctx, record)


def _hold(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan | None:
    """Scale to 0 what is not: a second workload on the claim, or one whose replicas someone has set back."""
    loose = next((g for g in ctx.workloads if g.live and (not is_ours(g, ctx.store) or replicas_of(g))), None)
    if loose is None or loose.live is None:
        return None
    mark = loose.fence or fence.Fence.of(loose.live, ctx.store, source=source.source.name, now=ctx.now)
    if _copy_job(source, ctx, record) is not None or record.copied is not None:
        # Pods may have come and gone since the copy began, seen or not.
        return _broken(source, ctx, record, f"the replicas of {loose.live['metadata']['name']} being set back")
    verdict = told.progress(source, R.FENCING, "scaling its gateway to 0")
    return SourcePlan(Phase.FENCING, verdict, record, steps.FenceWorkload(loose.live, mark))


def _quiet(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    """The gateway is at 0: wait for its pods, then copy; what may have written since the copy began starts it over."""
    begun = _copy_job(source, ctx, record) is not None or record.copied is not None
    if source.users and not begun:
        waiting = told.progress(source, R.FENCING, f"waiting for {told.names(source.users)} to end")
        return SourcePlan(Phase.FENCING, waiting, record)
    if source.users:
        return _broken(source, ctx, record, told.names(source.users))
    if begun and record.generations != generations(ctx):
        return _broken(source, ctx, record, "a change of the gateway's workload, which may have run")
    return copying(source, ctx, record)


def _broken(source: facts.SourceFacts, ctx: Context, record: records.Record, by: str) -> SourcePlan:
    """What was copied proves nothing any more. Copy again; the third time, give up."""
    if record.breaks + 1 >= MAX_BREAKS:
        message = f"the fence was broken {MAX_BREAKS} times, last by {by}; find and stop what does that"
        return _fail(source, ctx, record, (R.FENCE_BROKEN, message))
    job = _copy_job(source, ctx, record)
    record = replace(record, breaks=record.breaks + 1, attempt=record.attempt + 1, copied=None)
    verdict = told.progress(source, R.FENCING, f"fence broken by {by}; copying again")
    return SourcePlan(Phase.FENCING, verdict, record, steps.DeleteJob(job.manifest) if job else None)


def copying(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    """Nothing writes to the source: copy it, and prove the copy."""
    if record.copied is not None:
        return cutting_over(source, ctx, record)
    known = _copy_job(source, ctx, record)
    if known is None:
        job = _make_copy(source, ctx, record, record.attempt)
        record = replace(record, generations=generations(ctx))
        return SourcePlan(Phase.COPYING, told.progress(source, R.COPYING, "copying"), record, steps.CreateJob(job))
    if known.succeeded and known.outcome is not None:
        # The apply stage writes this record before it injects anything.
        record = replace(record, copied=known.outcome)
        return SourcePlan(Phase.CUTTING_OVER, told.progress(source, R.CUTTING_OVER, "verified; injecting"), record)
    if known.succeeded:
        return SourcePlan(Phase.COPYING, told.job_ended(source, known), record, steps.DeleteJob(known.manifest))
    if known.failed_at:
        verdict = told.job_ended(source, known)
        return _fail(source, ctx, record, (R(verdict.reason), verdict.message))
    return SourcePlan(Phase.COPYING, told.waiting(source, known, R.COPYING, "copying"), record)


def cutting_over(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    """The copy is proven: have the gateway injected; once it is, there is no way back to the files."""
    if ctx.injected or not ctx.workloads:
        record = replace(record, cut_over_at=stamp(ctx.now), failure=None)
        # What an earlier rollback left is no longer true.
        record = replace(record, exported=None, rolled_back_at=None, pause_s=None)
        return SourcePlan(Phase.CUTTING_OVER, told.progress(source, R.CUTTING_OVER, "injected; scaling back"), record)
    if ctx.obstacle is not None:
        message = f"its gateway cannot be injected: {ctx.obstacle.message}"
        return _fail(source, ctx, record, (R.INJECTION_REFUSED, message))
    return SourcePlan(Phase.CUTTING_OVER, told.progress(source, R.CUTTING_OVER, "verified; injecting"), record)


# -- failing, and giving back -------------------------------------------------------------------


def _fail(source: facts.SourceFacts, ctx: Context, record: records.Record, why: tuple[R, str]) -> SourcePlan:
    """Remember the failure. The next pass, which finds it persisted, gives the gateway back."""
    reason, message = why
    verdict = told.progress(source, reason, message.removeprefix(f"source {source.source.name!r}: "))
    failure = records.Failure(reason, verdict.message, retry_token(ctx.store))
    return SourcePlan(Phase.FAILED, verdict, replace(record, failure=failure, copied=None))


def _give_back(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    """First the Job, which must not copy from under a gateway that writes again; then the replicas."""
    assert record.failure is not None
    verdict = told.refused(R(record.failure.reason), record.failure.message)
    job = _copy_job(source, ctx, record)
    if job is not None:
        return SourcePlan(Phase.FAILED, verdict, record, steps.DeleteJob(job.manifest))
    return SourcePlan(Phase.FAILED, verdict, replace(record, attempt=record.attempt + 1), lift(ctx))


# -- small facts --------------------------------------------------------------------------------


def _copy_job(source: facts.SourceFacts, ctx: Context, record: records.Record) -> facts.JobFacts | None:
    job = _make_copy(source, ctx, record, record.attempt)
    return source.jobs.get(job["metadata"]["name"])


def _make_copy(source: facts.SourceFacts, ctx: Context, record: records.Record, attempt: int) -> dict[str, Any]:
    """Build a copy Job. Where the gateway reads the store already, what is there is the later state."""
    make = jobs.delta_job if ctx.workloads and ctx.injected else jobs.copy_job
    return make(ctx.store, source.source, runtime(source, ctx, record), attempt)


def _held(ctx: Context) -> int | None:
    return max((g.fence.replicas for g in ctx.workloads if g.fence is not None and is_ours(g, ctx.store)), default=None)


def _fenced_since(ctx: Context) -> str | None:
    return min((g.fence.at for g in ctx.workloads if g.fence is not None and is_ours(g, ctx.store)), default=None)
