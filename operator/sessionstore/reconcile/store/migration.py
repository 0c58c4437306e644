"""One source's migration, decided from facts. Pure: the clock is an argument.

    Planning --plan Job done--> Planned --mode: Run, gateways can be injected--> PreCopying (precopy.py)
    PreCopying --copied while the gateway ran--> Fencing
    Fencing --no pod on the claim--> Copying --the rest copied, all verified--> CuttingOver (behind_fence.py)
    CuttingOver --injected, scaled back, a pod is ready--> Migrated (after_cutover.py)
    any of Fencing, Copying, CuttingOver --failure or fenceTimeout--> Failed: scaled back, on its files
    Migrated --mode: Rollback--> RollingBack --exported, proven, released--> RolledBack (rollback.py)
    Migrated --mode: Finalize--> Finalizing --> Finalized

The fence's annotation on the workload and the record in the ConfigMap are the memory; both are
written before the step that needs them, so an operator killed at any moment goes on from there.
docs/design/0006-fence.md has the reasons; docs/migration.md tells users. Here is what comes before
the fence.
"""

from __future__ import annotations

from dataclasses import replace

from sessionstore.apis import conditions
from sessionstore.gateways import fence
from sessionstore.reconcile.store import (
    after_cutover,
    behind_fence,
    facts,
    jobs,
    preconditions,
    precopy,
    records,
    rollback,
    steps,
    told,
)
from sessionstore.reconcile.store.source_plan import (
    NOT_READY,
    UNDER_WAY,
    Context,
    Phase,
    R,
    SourcePlan,
    is_fenced,
    is_ours,
    is_stale,
    retry_token,
    runtime,
)

__all__ = ["NOT_READY", "UNDER_WAY", "Context", "Phase", "SourcePlan", "plan_source"]


def plan_source(source: facts.SourceFacts, ctx: Context) -> SourcePlan:
    """Decide one source's next step. `source.record` is what was persisted, or None."""
    record = _current_record(source)
    if rollback.concerns(ctx, record):
        return rollback.roll_back(source, ctx, record)
    if record.finished_at is not None:
        return after_cutover.settled(source, ctx, record)
    if record.cut_over_at is not None:
        return after_cutover.cut_over(ctx, record)
    if record.copied is not None and ctx.injected and ctx.workloads:
        # The gateway reads the store already, whatever else has changed: going back would lose what it wrote there.
        return behind_fence.cutting_over(source, ctx, record)
    if is_fenced(ctx):
        return behind_fence.fenced(source, ctx, record)
    if ctx.workloads and not ctx.injected:
        # A proof holds for as long as its fence.
        record = replace(record, copied=None, breaks=0, fenced_at=None)
    obstacle = _find_obstacle(source, ctx, record)
    return obstacle or _unfenced(source, ctx, record)


def _current_record(source: facts.SourceFacts) -> records.Record:
    """Return what is remembered, unless it is of another claim or path under the same name.

    What begins anew takes no Job's word that has ended: its source may have changed since.
    """
    ended = jobs.last_copy(job.manifest for job in source.jobs.values() if job.has_ended)
    wanted = records.Record(source.source.persistent_volume_claim, source.source.path, attempt=ended + 1)
    known = source.record
    same = known is not None and (known.claim, known.path) == (wanted.claim, wanted.path)
    return known if known is not None and same else wanted


def _find_obstacle(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan | None:
    if ctx.is_rollback:
        return _nothing_to_roll_back(source, record)
    verdict = preconditions.check_claim(source) or preconditions.check_workloads(ctx) or _check_failure(ctx, record)
    return SourcePlan(Phase.FAILED, verdict, record) if verdict is not None else None


def _nothing_to_roll_back(source: facts.SourceFacts, record: records.Record) -> SourcePlan:
    if record.rolled_back_at is not None:
        return SourcePlan(Phase.ROLLED_BACK, told.rolled_back(source, record), record, precopy.called_off(source))
    message = "nothing to roll back: it was not cut over, and its gateway is on its files"
    verdict = told.progress(source, R.PLANNED, message)
    return SourcePlan(Phase.PLANNED, verdict, record, precopy.called_off(source))


def _check_failure(ctx: Context, record: records.Record) -> conditions.Verdict | None:
    """A migration that was given up behind its fence is not tried again by itself: each try is a pause."""
    failure = record.failure
    if failure is None or failure.token != retry_token(ctx.store):
        return None
    return told.refused(
        R(failure.reason),
        f"{failure.message}. The gateway is on its files as before; edit the SessionStore, or set the annotation "
        "sessionstore.dev/retry to a new value, to try again",
    )


def _unfenced(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    if not ctx.store_ready:
        return SourcePlan(Phase.PENDING, told.progress(source, R.PLANNING, "waiting for the store to come up"), record)
    # A pod that moved takes the volume along: the Jobs follow it for as long as there is one to follow.
    record = replace(record, node=_node_of(source) or record.node)
    if record.planned is None and not _is_exclusive(source):
        return _planning(source, ctx, record)
    if not ctx.is_run:
        verdict = told.planned(source, ctx.store, record)
        return SourcePlan(Phase.PLANNED, verdict, record, precopy.called_off(source))
    if ctx.obstacle is not None:
        message = f"not fenced, since its gateway cannot be injected: {ctx.obstacle.message}"
        return SourcePlan(Phase.PLANNED, told.refused(R.PLANNED, message), record)
    # What one pod alone may mount cannot be copied beside it.
    copying = None if _is_exclusive(source) else precopy.next_precopy(source, ctx, record)
    if copying is not None:
        return copying
    if ctx.waits_for is not None:
        message = f"not fenced, since source {ctx.waits_for!r} of the same gateway cannot be migrated yet"
        return SourcePlan(Phase.PLANNED, told.progress(source, R.PLANNED, message), record)
    return _next_fence(source, ctx, record)


def _is_exclusive(source: facts.SourceFacts) -> bool:
    """ReadWriteOncePod: no second pod may mount it, so nothing can be inspected before the fence."""
    modes = (source.claim or {}).get("spec", {}).get("accessModes", [])
    return "ReadWriteOncePod" in modes and bool(source.users)


def _planning(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    job = jobs.plan_job(ctx.store, source.source, runtime(source, ctx, record), record.rollbacks)
    known = source.jobs.get(job["metadata"]["name"])
    if known is None:
        return SourcePlan(Phase.PLANNING, told.progress(source, R.PLANNING, "inspecting"), record, steps.CreateJob(job))
    if known.succeeded and known.outcome is not None:
        record = replace(record, planned=known.outcome)
        return SourcePlan(Phase.PLANNED, told.planned(source, ctx.store, record), record)
    if known.succeeded or is_stale(known, ctx.now):
        return SourcePlan(Phase.PLANNING, told.job_ended(source, known), record, steps.DeleteJob(known.manifest))
    if known.failed_at:
        return SourcePlan(Phase.FAILED, told.job_ended(source, known), record)
    return SourcePlan(Phase.PLANNING, told.waiting(source, known, R.PLANNING, "inspecting"), record)


def _next_fence(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    if not ctx.workloads or ctx.injected:
        # Nobody writes to the claim, or nobody should any more: nothing to scale, but a stray pod counts.
        stray = preconditions.on_files(source)
        return _in_use(source, record) if stray else behind_fence.copying(source, ctx, record)
    held = preconditions.check_foreign_fence(source, ctx)
    if held is not None:
        return SourcePlan(Phase.FAILED, held, record)
    loose = next(g.live for g in ctx.workloads if g.live is not None and not is_ours(g, ctx.store))
    mark = fence.Fence.of(loose, ctx.store, source=source.source.name, now=ctx.now)
    verdict = told.progress(source, R.FENCING, "scaling its gateway to 0")
    return SourcePlan(Phase.FENCING, verdict, replace(record, failure=None), steps.FenceWorkload(loose, mark))


def _in_use(source: facts.SourceFacts, record: records.Record) -> SourcePlan:
    claim, strangers = source.source.persistent_volume_claim, told.names(preconditions.on_files(source))
    message = (
        f"claim {claim!r} is mounted by {strangers}, of no gateway in the spec; add its workload there, or stop it"
    )
    return SourcePlan(Phase.FAILED, told.progress(source, R.SOURCE_IN_USE, message), record)


def _node_of(source: facts.SourceFacts) -> str | None:
    return next((pod["spec"]["nodeName"] for pod in source.users if pod["spec"].get("nodeName")), None)
