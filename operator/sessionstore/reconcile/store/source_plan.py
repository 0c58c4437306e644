"""What is decided of one migration source, and from what: shared by the modules that decide it. Pure.

migration.py comes first and calls the others: precopy.py, behind_fence.py, after_cutover.py, rollback.py.
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
from sessionstore.reconcile.store import facts, job_pods, jobs, records, steps, told

R = reasons.Reason
Phase = api.MigrationPhase
UNDER_WAY = frozenset(
    {
        Phase.PENDING,
        Phase.PLANNING,
        Phase.PRE_COPYING,
        Phase.FENCING,
        Phase.COPYING,
        Phase.CUTTING_OVER,
        Phase.ROLLING_BACK,
        Phase.FINALIZING,
    }
)

NOT_READY = frozenset({Phase.PENDING, Phase.PLANNING, Phase.PRE_COPYING, Phase.FAILED})
"""What a source's peers under the same gateway wait for."""

RETRY_S = 30.0
"""A Job that failed with nothing at stake is made again after this: its cause, a path say, may have gone."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a source's migration needs to know of the rest.

    Attributes:
        workloads: the gateways whose pods mount the source's claim.
        obstacle: why a gateway could not be injected, or is not there; known before anything is fenced.
        injected: whether all of those gateways' templates are injected.
        store_ready: whether the store answers, and has the users that the Jobs log in with.
        waits_for: another source of the same gateways that cannot be migrated now; one fence serves all of them.
        shared: why the sessions of this source's gateway cannot be told from others in the store; None where they can.
    """

    store: api.SessionStore
    image: job_pods.JobImage
    now: datetime
    workloads: tuple[facts.GatewayFacts, ...]
    obstacle: conditions.Verdict | None
    injected: bool
    store_ready: bool
    waits_for: str | None = None
    shared: str | None = None

    @property
    def mode(self) -> api.MigrationMode:
        """What the user wants; without a block, to be told and no more."""
        migration = self.store.spec.migration
        return migration.mode if migration is not None else api.MigrationMode.PLAN

    @property
    def is_run(self) -> bool:
        """Whether the user wants the migration carried out."""
        return self.mode == api.MigrationMode.RUN

    @property
    def is_rollback(self) -> bool:
        """Whether the user wants the gateways back on their files."""
        return self.mode == api.MigrationMode.ROLLBACK


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """What to say of one source, what to remember, and the one thing to do for it now."""

    phase: Phase
    verdict: conditions.Verdict
    record: records.Record
    step: steps.Step | None = None


def retry_token(store: api.SessionStore) -> str:
    """Tell one wish of the user from the next: an edit of the spec, or the retry annotation."""
    wish = store.metadata.annotations.get("sessionstore.dev/retry", "")
    return f"{store.metadata.generation}/{wish}"


def is_ours(gateway: facts.GatewayFacts, store: api.SessionStore) -> bool:
    """Return whether this gateway's workload is fenced by this very store."""
    return gateway.fence is not None and gateway.fence.store_uid == store.metadata.uid


def is_fenced(ctx: Context) -> bool:
    """Return whether any of the workloads is."""
    return any(is_ours(gateway, ctx.store) for gateway in ctx.workloads)


def generations(ctx: Context) -> str:
    """Sum up which version of each workload was seen: scaling one up and down again leaves another."""
    seen = (g.live["metadata"] for g in ctx.workloads if g.live is not None)
    return " ".join(sorted(f"{meta['uid']}:{meta.get('generation', 0)}" for meta in seen))


def runtime(source: facts.SourceFacts, ctx: Context, record: records.Record) -> job_pods.JobRuntime:
    """Say as whom and where the source's Jobs run."""
    gateway = ctx.workloads[0] if ctx.workloads else None
    spec, live = (gateway.gateway, gateway.live) if gateway else (None, None)
    place = None
    if spec is not None and live is not None:
        wanted = source.source
        place = fence.place_in_container(live, spec, wanted.persistent_volume_claim, wanted.path)
    volume = source.claim["metadata"].get("uid", "") if source.claim else ""
    return replace(job_pods.JobRuntime.of(ctx.image, spec, live, record.node, place), volume=volume)


def unfinished(source: facts.SourceFacts, purpose: str) -> facts.JobFacts | None:
    """Return a Job for this purpose that has not ended, whatever its template."""
    wanted = (job for job in source.jobs.values() if jobs.purpose_of(job.manifest) == purpose)
    return next((job for job in wanted if not job.has_ended), None)


def is_over_time(ctx: Context, since: str | None) -> bool:
    """Return whether a gateway has been held for longer than `fenceTimeout`."""
    migration = ctx.store.spec.migration
    if migration is None or since is None:
        return False
    limit = timedelta(seconds=quantities.parse_duration_s(migration.fence_timeout))
    return ctx.now - datetime.fromisoformat(since) > limit


def why_so_long(source: facts.SourceFacts, ctx: Context, job: facts.JobFacts | None) -> str:
    """Say what was waited for when `fenceTimeout` passed."""
    cause = f"waiting for {told.names(source.users)} to end" if source.users else "its Job was not done"
    if job is not None and job.trouble is not None:
        cause = f"{job.trouble.reason}: {job.trouble.message}"
    limit = ctx.store.spec.migration.fence_timeout if ctx.store.spec.migration else ""
    return f"not done within fenceTimeout {limit}: {cause}"


def lift(ctx: Context) -> steps.LiftFence | None:
    """Give back what this store holds at 0; None where it holds nothing."""
    for gateway in ctx.workloads:
        if gateway.live is not None and gateway.fence is not None and is_ours(gateway, ctx.store):
            return steps.LiftFence(gateway.live, gateway.fence)
    return None


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod's condition says so."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def is_stale(job: facts.JobFacts, now: datetime) -> bool:
    """Return whether a Job failed long enough ago to be tried again."""
    return job.failed_at is not None and now - datetime.fromisoformat(job.failed_at) > timedelta(seconds=RETRY_S)


def replicas_of(gateway: facts.GatewayFacts) -> int:
    """Return the replicas that a gateway's workload wants; 0 where there is none."""
    return fence.replicas_of(gateway.live) if gateway.live is not None else 0


def stamp(now: datetime) -> str:
    """Write a time as Kubernetes does."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
