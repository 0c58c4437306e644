"""One source's migration, decided from facts. Pure: the clock is an argument.

    Planning --plan Job done--> Planned --mode: Run, gateways can be injected--> Fencing
    Fencing --no pod on the claim--> Copying --copied and verified--> CuttingOver
    CuttingOver --injected, scaled back, a pod is ready--> Migrated
    any of Fencing, Copying, CuttingOver --failure or fenceTimeout--> Failed: scaled back, on its files

The fence's annotation on the workload and the record in the ConfigMap are the memory; both are
written before the step that needs them, so an operator killed at any moment goes on from there.
docs/design/0006-fence.md has the reasons, each tried on a cluster; docs/migration.md tells users.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sessionstore.apis import conditions, quantities
from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import fence
from sessionstore.reconcile.store import facts, jobs, records, steps, told

MAX_BREAKS = 3
PLAN_RETRY_S = 30.0
"""A plan Job that failed is made again after this: its cause, a path or a permission, may have gone."""

R = reasons.Reason
Phase = api.MigrationPhase
UNDER_WAY = frozenset({Phase.PENDING, Phase.PLANNING, Phase.FENCING, Phase.COPYING, Phase.CUTTING_OVER})


@dataclass(frozen=True, slots=True)
class Context:
    """What a source's migration needs to know of the rest.

    Attributes:
        workloads: the gateways whose pods mount the source's claim.
        obstacle: why those gateways could not be injected, known before they are fenced.
        injected: whether all of those gateways' templates are injected.
        store_ready: whether the store answers, and has the users that the Jobs log in with.
    """

    store: api.SessionStore
    image: jobs.JobImage
    now: datetime
    workloads: tuple[facts.GatewayFacts, ...]
    obstacle: conditions.Verdict | None
    injected: bool
    store_ready: bool


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """What to say of one source, what to remember, and the one thing to do for it now."""

    phase: Phase
    verdict: conditions.Verdict
    record: records.Record
    step: steps.Step | None = None


def plan_source(source: facts.SourceFacts, ctx: Context) -> SourcePlan:
    """Decide one source's next step. `source.record` is what was persisted, or None."""
    record = _current_record(source)
    if record.finished_at is not None:
        return _delta(source, ctx, record)
    if record.cut_over_at is not None:
        return _cut_over(ctx, record)
    if _is_fenced(ctx):
        return _fenced(source, ctx, record)
    if ctx.workloads:
        # A proof holds for as long as its fence; where nobody mounts the claim there is nothing to fence.
        record = replace(record, copied=None, breaks=0, fenced_at=None)
    obstacle = _obstacle_before_fence(source, ctx, record)
    return obstacle or _unfenced(source, ctx, record)


def retry_token(store: api.SessionStore) -> str:
    """Tell one wish of the user from the next: an edit of the spec, or the retry annotation."""
    wish = store.metadata.annotations.get("sessionstore.dev/retry", "")
    return f"{store.metadata.generation}/{wish}"


def is_ours(gateway: facts.GatewayFacts, store: api.SessionStore) -> bool:
    """Return whether this gateway's workload is fenced by this very store."""
    return gateway.fence is not None and gateway.fence.store_uid == store.metadata.uid


def _current_record(source: facts.SourceFacts) -> records.Record:
    """Return what is remembered, unless it is of another claim or path under the same name."""
    wanted = records.Record(claim=source.source.persistent_volume_claim, path=source.source.path)
    known = source.record
    same = known is not None and (known.claim, known.path) == (wanted.claim, wanted.path)
    return known if known is not None and same else wanted


def _is_fenced(ctx: Context) -> bool:
    return bool(ctx.workloads) and any(is_ours(gateway, ctx.store) for gateway in ctx.workloads)


# -- before the fence ---------------------------------------------------------------------------


def _obstacle_before_fence(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan | None:
    verdict = _check_claim(source) or _check_retention(ctx) or _check_failure(ctx, record)
    if verdict is None:
        return None
    return SourcePlan(Phase.FAILED, verdict, record)


def _check_claim(source: facts.SourceFacts) -> conditions.Verdict | None:
    name = source.source.persistent_volume_claim
    if source.claim is None:
        return told.refused(
            R.SOURCE_NOT_FOUND,
            f"source {source.source.name!r}: there is no PersistentVolumeClaim {name!r} in this namespace; "
            "correct persistentVolumeClaim, or create it",
        )
    if source.claim["metadata"].get("deletionTimestamp"):
        return told.refused(R.SOURCE_NOT_FOUND, f"source {source.source.name!r}: claim {name!r} is being deleted")
    return None


def _check_retention(ctx: Context) -> conditions.Verdict | None:
    for gateway in ctx.workloads:
        if gateway.live and fence.would_delete_source(gateway.live):
            return told.refused(
                R.SOURCE_WOULD_BE_DELETED,
                f"StatefulSet {gateway.live['metadata']['name']!r} has "
                "persistentVolumeClaimRetentionPolicy.whenScaled: Delete; scaling it to 0 for the copy would "
                "delete the source. Set it to Retain first",
            )
    return None


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
        verdict = told.refused(R.PLANNING, f"source {source.source.name!r}: waiting for the store to come up")
        return SourcePlan(Phase.PENDING, verdict, record)
    if record.planned is None and not _is_exclusive(source):
        return _planning(source, ctx, record)
    if ctx.store.spec.migration is None or ctx.store.spec.migration.mode != api.MigrationMode.RUN:
        return SourcePlan(Phase.PLANNED, told.planned(source, ctx.store, record), record)
    if ctx.obstacle is not None:
        message = f"not fenced, since its gateway cannot be injected: {ctx.obstacle.message}"
        return SourcePlan(Phase.PLANNED, told.refused(R.PLANNED, message), record)
    return _next_fence(source, ctx, record)


def _is_exclusive(source: facts.SourceFacts) -> bool:
    """ReadWriteOncePod: no second pod may mount it, so nothing can be inspected before the fence."""
    modes = (source.claim or {}).get("spec", {}).get("accessModes", [])
    return "ReadWriteOncePod" in modes and bool(source.users)


def _planning(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    record = replace(record, node=_node_of(source) or record.node)
    job = jobs.plan_job(ctx.store, source.source, _runtime(source, ctx, record))
    known = source.jobs.get(job["metadata"]["name"])
    if known is None:
        return SourcePlan(Phase.PLANNING, told.progress(source, R.PLANNING, "inspecting"), record, steps.CreateJob(job))
    if known.succeeded and known.outcome is not None:
        record = replace(record, planned=known.outcome)
        return SourcePlan(Phase.PLANNED, told.planned(source, ctx.store, record), record)
    if known.succeeded or _is_stale(known, ctx.now):
        return SourcePlan(Phase.PLANNING, told.job_ended(source, known), record, steps.DeleteJob(known.manifest))
    if known.failed_at:
        return SourcePlan(Phase.FAILED, told.job_ended(source, known), record)
    return SourcePlan(Phase.PLANNING, told.waiting(source, known, R.PLANNING, "inspecting"), record)


def _is_stale(job: facts.JobFacts, now: datetime) -> bool:
    if job.failed_at is None:
        return False
    return now - datetime.fromisoformat(job.failed_at) > timedelta(seconds=PLAN_RETRY_S)


def _next_fence(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    verdict = told.progress(source, R.FENCING, "scaling its gateway to 0")
    loose = next((gateway for gateway in ctx.workloads if not is_ours(gateway, ctx.store)), None)
    if loose is None or loose.live is None:
        # Nobody in this spec mounts the claim, so there is nothing to scale; a stray pod still counts.
        return _copying(source, ctx, record) if not source.users else _in_use(source, record)
    body = fence.Fence.of(loose.live, ctx.store, source=source.source.name, now=ctx.now)
    return SourcePlan(Phase.FENCING, verdict, replace(record, failure=None), steps.FenceWorkload(loose.live, body))


def _in_use(source: facts.SourceFacts, record: records.Record) -> SourcePlan:
    message = (
        f"claim {source.source.persistent_volume_claim!r} is mounted by {told.names(source.users)}, which is of no "
        "gateway in spec.gateways; add its workload there, or stop it"
    )
    return SourcePlan(Phase.FAILED, told.progress(source, R.SOURCE_IN_USE, message), record)


# -- behind the fence ---------------------------------------------------------------------------


def _fenced(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    record = replace(record, fenced_at=record.fenced_at or _fenced_since(ctx))
    ours = next(g for g in ctx.workloads if is_ours(g, ctx.store))
    if record.failure is not None and record.failure.token == retry_token(ctx.store):
        return _give_back(ours, record)
    migration = ctx.store.spec.migration
    if migration is None or migration.mode != api.MigrationMode.RUN:
        return _fail(source, ctx, record, R.PLANNED, "the migration was called off by an edit of the spec")
    limit = timedelta(seconds=quantities.parse_duration_s(migration.fence_timeout))
    if record.fenced_at and ctx.now - datetime.fromisoformat(record.fenced_at) > limit:
        return _timed_out(source, ctx, record)
    obstacle = _check_claim(source)
    if obstacle is not None:
        return _fail(source, ctx, record, R.SOURCE_NOT_FOUND, obstacle.message)
    loose = next(
        (g for g in ctx.workloads if g.live and (not is_ours(g, ctx.store) or fence.replicas_of(g.live))), None
    )
    if loose is not None and loose.live is not None:
        body = fence.Fence.of(loose.live, ctx.store, source=source.source.name, now=ctx.now)
        step = steps.FenceWorkload(loose.live, loose.fence if is_ours(loose, ctx.store) and loose.fence else body)
        return SourcePlan(Phase.FENCING, told.progress(source, R.FENCING, "scaling its gateway to 0"), record, step)
    return _quiet(source, ctx, record)


def _quiet(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    """The gateway is scaled to 0: wait for its pods, then copy; a pod that comes back starts it over."""
    job = _copy_job(source, ctx, record)
    if not source.users:
        return _copying(source, ctx, record)
    if job is None and record.copied is None:
        return SourcePlan(
            Phase.FENCING, told.progress(source, R.FENCING, f"waiting for {told.names(source.users)} to end"), record
        )
    if record.breaks + 1 >= MAX_BREAKS:
        message = (
            f"the fence was broken {MAX_BREAKS} times, last by {told.names(source.users)}; find and stop what starts it"
        )
        return _fail(source, ctx, record, R.FENCE_BROKEN, message)
    record = replace(record, breaks=record.breaks + 1, attempt=record.attempt + 1, copied=None)
    step = steps.DeleteJob(job.manifest) if job else None
    return SourcePlan(
        Phase.FENCING, told.progress(source, R.FENCING, f"fence broken by {told.names(source.users)}"), record, step
    )


def _copying(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    if record.copied is not None:
        return _cutting_over(source, ctx, record)
    known = _copy_job(source, ctx, record)
    if known is None:
        job = jobs.copy_job(ctx.store, source.source, _runtime(source, ctx, record), record.attempt)
        return SourcePlan(Phase.COPYING, told.progress(source, R.COPYING, "copying"), record, steps.CreateJob(job))
    if known.succeeded and known.outcome is not None:
        # The proof is in the record before anything relies on it: injection waits for the next pass.
        record = replace(record, copied=known.outcome)
        return SourcePlan(Phase.CUTTING_OVER, told.progress(source, R.CUTTING_OVER, "verified; injecting"), record)
    if known.succeeded:
        return SourcePlan(Phase.COPYING, told.job_ended(source, known), record, steps.DeleteJob(known.manifest))
    if known.failed_at:
        verdict = told.job_ended(source, known)
        return _fail(source, ctx, record, R(verdict.reason), verdict.message)
    return SourcePlan(Phase.COPYING, told.waiting(source, known, R.COPYING, "copying"), record)


def _cutting_over(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    if ctx.obstacle is not None:
        return _fail(source, ctx, record, R.FENCE_TIMEOUT, f"its gateway cannot be injected: {ctx.obstacle.message}")
    if ctx.workloads and not ctx.injected:
        return SourcePlan(Phase.CUTTING_OVER, told.progress(source, R.CUTTING_OVER, "verified; injecting"), record)
    record = replace(record, cut_over_at=_stamp(ctx.now), failure=None)
    return SourcePlan(Phase.CUTTING_OVER, told.progress(source, R.CUTTING_OVER, "injected; scaling back"), record)


def _cut_over(ctx: Context, record: records.Record) -> SourcePlan:
    """The store is what counts now. Give the replicas back and wait until a pod serves again."""
    ours = next((g for g in ctx.workloads if is_ours(g, ctx.store)), None)
    verdict = conditions.Verdict("False", R.CUTTING_OVER, "the gateway is scaled back and starts on the store")
    if ours is not None and ours.live is not None and ours.fence is not None:
        return SourcePlan(Phase.CUTTING_OVER, verdict, record, steps.LiftFence(ours.live, ours.fence))
    waiting = [g for g in ctx.workloads if g.live and fence.replicas_of(g.live) and not _ready(g.live)]
    if waiting:
        trouble = next((g.trouble for g in waiting if g.trouble), None)
        if trouble is not None:
            verdict = conditions.Verdict("False", R.CUTTING_OVER, f"the gateway does not come up: {trouble.message}")
        return SourcePlan(Phase.CUTTING_OVER, verdict, record)
    record = replace(record, finished_at=_stamp(ctx.now), pause_s=_pause_s(record, ctx.now))
    return SourcePlan(Phase.MIGRATED, told.migrated(record), record)


def _delta(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    """After the cutover: copy once more what a gateway wrote to its files while it was not injected."""
    if record.deltas <= record.deltas_done or not ctx.injected or not ctx.store_ready:
        return SourcePlan(Phase.MIGRATED, told.migrated(record), record)
    job = jobs.copy_job(ctx.store, source.source, _runtime(source, ctx, record), record.attempt + record.deltas)
    known = source.jobs.get(job["metadata"]["name"])
    if known is None:
        return SourcePlan(Phase.MIGRATED, told.migrated(record), record, steps.CreateJob(job))
    if known.succeeded:
        record = replace(record, deltas_done=record.deltas)
        return SourcePlan(Phase.MIGRATED, told.migrated(record), record)
    if known.failed_at:
        stale = steps.DeleteJob(known.manifest) if _is_stale(known, ctx.now) else None
        return SourcePlan(Phase.MIGRATED, told.job_ended(source, known), record, stale)
    return SourcePlan(
        Phase.MIGRATED, told.waiting(source, known, R.COPYING, "copying what was written to files"), record
    )


# -- failing, and giving back -------------------------------------------------------------------


def _timed_out(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    job = _copy_job(source, ctx, record)
    cause = f"waiting for {told.names(source.users)} to end" if source.users else "the copy was not done"
    if job is not None and job.trouble is not None:
        cause = f"{job.trouble.reason}: {job.trouble.message}"
    limit = ctx.store.spec.migration.fence_timeout if ctx.store.spec.migration else ""
    return _fail(source, ctx, record, R.FENCE_TIMEOUT, f"not done within fenceTimeout {limit}: {cause}")


def _fail(source: facts.SourceFacts, ctx: Context, record: records.Record, reason: R, message: str) -> SourcePlan:
    """Remember the failure. The next pass, which finds it persisted, lifts the fence."""
    text = f"source {source.source.name!r}: {message.removeprefix(f'source {source.source.name!r}: ')}"
    failure = records.Failure(reason, text, retry_token(ctx.store))
    record = replace(record, failure=failure, copied=None, attempt=record.attempt + 1)
    return SourcePlan(Phase.FAILED, told.refused(reason, text), record)


def _give_back(ours: facts.GatewayFacts, record: records.Record) -> SourcePlan:
    assert ours.live is not None and ours.fence is not None and record.failure is not None
    verdict = told.refused(R(record.failure.reason), record.failure.message)
    return SourcePlan(Phase.FAILED, verdict, record, steps.LiftFence(ours.live, ours.fence))


# -- small facts -------------------------------------------------------------------------------


def _copy_job(source: facts.SourceFacts, ctx: Context, record: records.Record) -> facts.JobFacts | None:
    job = jobs.copy_job(ctx.store, source.source, _runtime(source, ctx, record), record.attempt)
    return source.jobs.get(job["metadata"]["name"])


def _runtime(source: facts.SourceFacts, ctx: Context, record: records.Record) -> jobs.JobRuntime:
    gateway = ctx.workloads[0] if ctx.workloads else None
    return jobs.JobRuntime.of(
        ctx.image, gateway.gateway if gateway else None, gateway.live if gateway else None, record.node
    )


def _node_of(source: facts.SourceFacts) -> str | None:
    return next((pod["spec"]["nodeName"] for pod in source.users if pod["spec"].get("nodeName")), None)


def _fenced_since(ctx: Context) -> str | None:
    return min((g.fence.at for g in ctx.workloads if g.fence is not None and is_ours(g, ctx.store)), default=None)


def _ready(workload: Mapping[str, Any]) -> bool:
    return bool(workload.get("status", {}).get("readyReplicas"))


def _pause_s(record: records.Record, now: datetime) -> float | None:
    """Seconds from the first fence to the first pod that was ready again; None where nothing was fenced."""
    if record.fenced_at is None:
        return None
    return round((now - datetime.fromisoformat(record.fenced_at)).total_seconds(), 1)


def _stamp(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
