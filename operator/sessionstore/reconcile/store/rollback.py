"""From the store back to files, decided from facts. Pure.

    RollingBack --fenced, no pod on the claim--> export Job: written beside, proven, put in place
    --exported--> our parts are taken out of the workload --> scaled back, a pod is ready on files --> RolledBack

Called by migration.py once a gateway reads the store. Until our parts are out of the workload,
whatever fails gives the gateway back on the store; from then on there is only forward, since the files
hold all that the store has. Only what can be told apart is rolled back: one gateway, one source, one keyspace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sessionstore.apis import conditions
from sessionstore.gateways import fence, injection
from sessionstore.reconcile.store import after_cutover, exporting, facts, preconditions, records, steps, told
from sessionstore.reconcile.store.source_plan import (
    Context,
    Phase,
    R,
    SourcePlan,
    is_ready,
    lift,
    replicas_of,
    retry_token,
    runtime,
    stamp,
)


def concerns(ctx: Context, record: records.Record) -> bool:
    """Return whether a rollback is under way, or wished for where a gateway reads the store."""
    reads_store = bool(ctx.workloads) and ctx.injected
    return record.rollback_at is not None or (ctx.is_rollback and (record.is_cut_over or reads_store))


def roll_back(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    """Decide the next step of a rollback."""
    if record.rollback_at is None:
        return _before(source, ctx, record)
    if record.exported is not None and not ctx.injected:
        return _come_back(source, ctx, record)
    if not ctx.is_rollback or _has_failed(ctx, record):
        return _give_back(source, ctx, record)
    return exporting.behind_fence(source, ctx, record)


# -- before the fence ---------------------------------------------------------------------------


def _before(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    if not ctx.workloads and ctx.obstacle is None:
        message = "no gateway in the spec mounts its claim, so there is nothing to roll back; the volume is as it was"
        return SourcePlan(Phase.ROLLED_BACK, told.progress(source, R.ROLLED_BACK, message), record)
    verdict = _find_obstacle(source, ctx, record)
    if verdict is not None:
        return SourcePlan(Phase.FAILED, verdict, record)
    if not ctx.store_ready:
        return exporting.rolling(source, record, "waiting for the store to come up")
    if record.awaits_delta:
        return after_cutover.delta(source, ctx, record)
    return _fence(source, ctx, record)


def _find_obstacle(source: facts.SourceFacts, ctx: Context, record: records.Record) -> conditions.Verdict | None:
    if _has_failed(ctx, record) and record.failure is not None:
        again = "edit the SessionStore, or set the annotation sessionstore.dev/retry to a new value, to try again"
        message = f"{record.failure.message}. The gateway is on the store as before; {again}"
        return told.refused(R(record.failure.reason), message)
    refusal = _refusal(source, ctx, record)
    if refusal is not None:
        message = f"not rolled back: {refusal}. The gateway is on the store as before"
        return told.progress(source, R.ROLLBACK_REFUSED, message)
    return (
        preconditions.check_claim(source)
        or preconditions.check_workloads(ctx)
        or preconditions.check_foreign_fence(source, ctx)
    )


def _refusal(source: facts.SourceFacts, ctx: Context, record: records.Record) -> str | None:
    """Say what a rollback would lose or mix up; None where it can be done."""
    if record.finalized_at is not None:
        return (
            "mode Finalize has dropped what a way back needs; `sessionstore export` still writes the sessions as files"
        )
    if not ctx.workloads and ctx.obstacle is not None:
        return ctx.obstacle.message
    if ctx.shared is not None:
        return f"{ctx.shared}; write them by hand, with `sessionstore export --agent`"
    (gateway,) = ctx.workloads
    assert gateway.live is not None
    others = injection.co_owners(gateway.live, ctx.store.metadata.name)
    if others:
        return f"{', '.join(others)} applied our parts of the workload as its own; take them out of its manifest first"
    return _misplaced(source, gateway.gateway.name, runtime(source, ctx, record).place, _state_dir(gateway))


def _state_dir(gateway: facts.GatewayFacts) -> str:
    return fence.state_dir(gateway.live or {}, gateway.gateway)


def _misplaced(source: facts.SourceFacts, gateway: str, place: str | None, state_dir: str) -> str | None:
    if place == state_dir:
        return None
    seen = f"is {place} in its container" if place else "is not mounted in its container"
    return (
        f"gateway {gateway!r} keeps its state in {state_dir}, and path {source.source.path!r} of claim "
        f"{source.source.persistent_volume_claim!r} {seen}, so it would not read what is written there; "
        "use `sessionstore export`"
    )


def _fence(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    (gateway,) = ctx.workloads
    assert gateway.live is not None
    now = stamp(ctx.now)
    record = replace(
        record,
        rollback_at=now,
        # It reads the store: that is a cutover, also where its end was not seen, or its record was lost.
        cut_over_at=record.cut_over_at or now,
        finished_at=record.finished_at or now,
        exported=None,
        failure=None,
        breaks=0,
    )
    mark = gateway.fence or fence.Fence.of(gateway.live, ctx.store, source=source.source.name, now=ctx.now)
    return exporting.rolling(source, record, "scaling its gateway to 0", steps.FenceWorkload(gateway.live, mark))


# -- back on files ------------------------------------------------------------------------------


def _come_back(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    """Our parts are out, and the files hold everything: scale back, and wait for a pod that is ready."""
    step = lift(ctx)
    if step is not None:
        # Several pods may share a store, and not a volume's files: no more of them than there were before.
        replicas = min(step.fence.replicas, record.replicas or step.fence.replicas)
        step = replace(step, fence=replace(step.fence, replicas=replicas))
        return exporting.rolling(source, record, "the gateway is scaled back and starts on its files", step)
    waiting = [g for g in ctx.workloads if replicas_of(g) and not any(_serves_files(pod) for pod in g.pods)]
    if waiting and ctx.is_rollback:
        trouble = next((f": {g.trouble.message}" for g in waiting if g.trouble), "")
        return exporting.rolling(source, record, f"the gateway starts on its files{trouble}")
    paused = after_cutover.seconds_since(record.rollback_at, ctx.now)
    record = record.after_rollback(stamp(ctx.now), paused)
    return SourcePlan(Phase.ROLLED_BACK, told.rolled_back(source, record), record)


def _serves_files(pod: Mapping[str, Any]) -> bool:
    return is_ready(pod) and not injection.mounts_binding(pod)


# -- giving back --------------------------------------------------------------------------------


def _give_back(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    """First the Job, which must not go on beside a gateway that runs; then the replicas, on the store."""
    record, text = replace(record, exported=None), "the gateway is given back on the store"
    job = exporting.find_job(source, ctx, record)
    if job is not None:
        return exporting.rolling(source, record, text, steps.DeleteJob(job.manifest))
    step = lift(ctx)
    if step is not None:
        return exporting.rolling(source, record, text, step)
    return exporting.rolling(source, replace(record, rollback_at=None, exports=record.exports + 1), text)


def _has_failed(ctx: Context, record: records.Record) -> bool:
    return record.failure is not None and record.failure.token == retry_token(ctx.store)
