"""A migration whose gateway reads the store: give it back, copy what still came to files, finalize. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import injection
from sessionstore.reconcile.store import facts, jobs, records, steps, told
from sessionstore.reconcile.store.preconditions import on_files
from sessionstore.reconcile.store.source_plan import (
    Context,
    Phase,
    R,
    SourcePlan,
    is_ready,
    is_stale,
    lift,
    replicas_of,
    runtime,
    stamp,
)


def cut_over(ctx: Context, record: records.Record) -> SourcePlan:
    """The store is what counts now. Give the replicas back and wait until a pod serves from it."""
    verdict = told.refused(R.CUTTING_OVER, "the gateway is scaled back and starts on the store")
    step = lift(ctx)
    if step is not None:
        return SourcePlan(Phase.CUTTING_OVER, verdict, record, step)
    waiting = [g for g in ctx.workloads if replicas_of(g) and not any(_serves(pod) for pod in g.pods)]
    if waiting:
        trouble = next((g.trouble for g in waiting if g.trouble), None)
        if trouble is not None:
            verdict = told.refused(R.CUTTING_OVER, f"the gateway does not come up: {trouble.message}")
        return SourcePlan(Phase.CUTTING_OVER, verdict, record)
    record = replace(record, finished_at=stamp(ctx.now), pause_s=seconds_since(record.fenced_at, ctx.now))
    return SourcePlan(Phase.MIGRATED, told.migrated(record), record)


def settled(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    """The gateway serves from the store: copy what still comes to files, or drop what is kept for a way back."""
    if record.awaits_delta:
        return delta(source, ctx, record)
    if ctx.mode == api.MigrationMode.FINALIZE and record.finalized_at is None:
        return _finalizing(source, ctx, record)
    return _done(record)


def _done(record: records.Record) -> SourcePlan:
    phase = Phase.FINALIZED if record.finalized_at else Phase.MIGRATED
    return SourcePlan(phase, told.migrated(record), record)


def delta(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    """Copy once more what a gateway wrote to its files while it was not injected."""
    done = _done(record)
    if not ctx.injected or not ctx.store_ready or on_files(source):
        return done
    job = jobs.delta_job(ctx.store, source.source, runtime(source, ctx, record), record.delta_attempt)
    known = source.jobs.get(job["metadata"]["name"])
    if known is None:
        return replace(done, step=steps.CreateJob(job))
    if known.succeeded:
        return replace(done, record=replace(record, deltas_done=record.deltas))
    if known.failed_at:
        stale = steps.DeleteJob(known.manifest) if is_stale(known, ctx.now) else None
        return SourcePlan(done.phase, told.job_ended(source, known), record, stale)
    verdict = told.waiting(source, known, R.COPYING, "copying what was written to files")
    return SourcePlan(done.phase, verdict, record)


def _finalizing(source: facts.SourceFacts, ctx: Context, record: records.Record) -> SourcePlan:
    under_way = SourcePlan(Phase.FINALIZING, told.migrated(record), record)
    if not ctx.store_ready:
        return under_way
    job = jobs.finalize_job(ctx.store, source.source, runtime(source, ctx, record))
    known = source.jobs.get(job["metadata"]["name"])
    if known is None:
        return replace(under_way, step=steps.CreateJob(job))
    if known.succeeded:
        return _done(replace(record, finalized_at=stamp(ctx.now)))
    if known.failed_at:
        stale = steps.DeleteJob(known.manifest) if is_stale(known, ctx.now) else None
        return SourcePlan(Phase.FINALIZING, told.job_ended(source, known), record, stale)
    return under_way


def seconds_since(began: str | None, now: datetime) -> float | None:
    """Seconds since a fence went up; None where nothing was fenced."""
    return None if began is None else round((now - datetime.fromisoformat(began)).total_seconds(), 1)


def _serves(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod is ready and reads the store."""
    return is_ready(pod) and injection.mounts_binding(pod)
