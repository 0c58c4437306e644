"""A rollback behind its fence, while the gateway still belongs to the store: quiet, export, release. Pure.

Called by rollback.py alone. Whatever fails here gives the gateway back on the store, where nothing was lost: the
files that an export has put in place by then are of nobody's use, and the older ones lie beside them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sessionstore.gateways import fence, injection
from sessionstore.reconcile.store import after_cutover, facts, jobs, preconditions, records, steps, told
from sessionstore.reconcile.store.source_plan import (
    Context,
    Phase,
    R,
    SourcePlan,
    generations,
    is_ours,
    is_over_time,
    replicas_of,
    retry_token,
    runtime,
    unfinished,
    why_so_long,
)

MAX_BREAKS = 3


def behind_fence(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    """Decide while the gateway is held at 0 replicas, and our parts are in its workload."""
    if is_over_time(ctx, record.rollback_at):
        return _fail(source, ctx, record, (R.FENCE_TIMEOUT, why_so_long(source, ctx, find_job(source, ctx, record))))
    obstacle = preconditions.check_claim(source)
    if obstacle is not None:
        return _fail(source, ctx, record, (R(obstacle.reason), obstacle.message))
    if ctx.shared is not None:
        return _fail(source, ctx, record, (R.ROLLBACK_REFUSED, ctx.shared))
    if not ctx.workloads or not ctx.injected:
        return rolling(source, record, "waiting for its gateway's workload, which is to be injected again")
    return _hold(source, ctx, record) or _quiet(source, ctx, record) or _export(source, ctx, record)


def _hold(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan | None:
    """Scale to 0 what is not, or not any more."""
    (gateway,) = ctx.workloads
    assert gateway.live is not None
    if is_ours(gateway, ctx.store) and not replicas_of(gateway):
        return None
    if _has_begun(source, ctx, record):
        return _broken(source, ctx, record, f"the replicas of {gateway.live['metadata']['name']} being set back")
    mark = gateway.fence or fence.Fence.of(gateway.live, ctx.store, source=source.source.name, now=ctx.now)
    return rolling(source, record, "scaling its gateway to 0", steps.FenceWorkload(gateway.live, mark))


def _quiet(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan | None:
    """Wait for the pods to end; one that may have written to the store since the export began starts it over."""
    begun = _has_begun(source, ctx, record)
    if source.users and not begun:
        return rolling(source, record, f"waiting for {told.names(source.users)} to end")
    if source.users:
        return _broken(source, ctx, record, told.names(source.users))
    if begun and record.generations != generations(ctx):
        return _broken(source, ctx, record, "a change of the gateway's workload, which may have run")
    return None


def _has_begun(source: facts.SourceFacts, ctx: Context, record: records.Record) -> bool:
    return record.exported is not None or find_job(source, ctx, record) is not None


def _broken(source: facts.SourceFacts, ctx: Context, record: records.Record, by: str) -> SourcePlan:
    """What was exported is behind the store by now. Export again; the third time, give up."""
    if record.breaks + 1 >= MAX_BREAKS:
        message = f"the fence was broken {MAX_BREAKS} times, last by {by}; find and stop what does that"
        return _fail(source, ctx, record, (R.FENCE_BROKEN, message))
    job = find_job(source, ctx, record)
    record = replace(record, breaks=record.breaks + 1, exports=record.exports + 1, exported=None)
    step = steps.DeleteJob(job.manifest) if job else None
    return rolling(source, record, f"fence broken by {by}; exporting again", step)


def _export(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    if record.awaits_delta:
        plan = after_cutover.delta(source, ctx, record)
        return replace(plan, phase=Phase.ROLLING_BACK)
    if record.exported is not None:
        return _release(source, ctx, record)
    known = find_job(source, ctx, record)
    if known is None:
        record = replace(record, generations=generations(ctx))
        return rolling(source, record, "writing its sessions as files", steps.CreateJob(_make(source, ctx, record)))
    if known.succeeded and (known.outcome or {}).get("outcome") == "Exported":
        # The apply stage writes this record before the next pass takes anything out of the workload.
        return rolling(source, replace(record, exported=known.outcome), "exported and proven; releasing the gateway")
    if known.succeeded:
        return replace(rolling(source, record, "exporting again"), step=steps.DeleteJob(known.manifest))
    if known.failed_at:
        verdict = told.job_ended(source, known)
        return _fail(source, ctx, record, (R(verdict.reason), verdict.message))
    return SourcePlan(
        Phase.ROLLING_BACK,
        told.waiting(source, known, R.ROLLING_BACK, "writing its sessions as files"),
        record,
    )


def _release(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    (gateway,) = ctx.workloads
    assert gateway.live is not None
    name = ctx.store.metadata.name
    if not injection.holds_parts(gateway.live, name):
        others = ", ".join(injection.co_owners(gateway.live, name)) or "another manager"
        return _fail(source, ctx, record, (R.LEFT_BEHIND, f"the gateway still has our parts, since {others} owns them"))
    step = steps.ReleaseWorkload(gateway.live, name)
    return rolling(source, record, "exported and proven; releasing the gateway", step)


def _fail(source: facts.SourceFacts, ctx: Context, record: records.Record, why: tuple[R, str]) -> SourcePlan:
    """Remember the failure. The next pass, which finds it persisted, gives the gateway back on the store."""
    reason, message = why
    verdict = told.progress(source, reason, message.removeprefix(f"source {source.source.name!r}: "))
    failure = records.Failure(reason, verdict.message, retry_token(ctx.store))
    # That it failed is said once, when the gateway is back: what a person reads then is how it stands.
    text = f"given up, and the gateway is given back on the store: {message}"
    return rolling(source, replace(record, failure=failure, exported=None), text)


def rolling(source: facts.SourceFacts, record: records.Record, text: str, step: steps.Step | None = None) -> SourcePlan:
    """Say what a rollback is at."""
    return SourcePlan(Phase.ROLLING_BACK, told.progress(source, R.ROLLING_BACK, text), record, step)


def _make(source: facts.SourceFacts, ctx: Context, record: records.Record) -> dict[str, Any]:
    return jobs.export_job(ctx.store, source.source, runtime(source, ctx, record), record.exports)


def find_job(source: facts.SourceFacts, ctx: Context, record: records.Record) -> facts.JobFacts | None:
    """Return the export's Job, also one that an earlier version of the operator has started."""
    return source.jobs.get(_make(source, ctx, record)["metadata"]["name"]) or unfinished(source, "export")
