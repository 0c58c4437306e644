"""What is decided of one migration source, and from what: shared by migration.py and behind_fence.py. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sessionstore.apis import conditions
from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import fence
from sessionstore.reconcile.store import facts, jobs, records, steps

R = reasons.Reason
Phase = api.MigrationPhase
UNDER_WAY = frozenset({Phase.PENDING, Phase.PLANNING, Phase.FENCING, Phase.COPYING, Phase.CUTTING_OVER})

NOT_READY = frozenset({Phase.PENDING, Phase.PLANNING, Phase.FAILED})
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
    """

    store: api.SessionStore
    image: jobs.JobImage
    now: datetime
    workloads: tuple[facts.GatewayFacts, ...]
    obstacle: conditions.Verdict | None
    injected: bool
    store_ready: bool
    waits_for: str | None = None

    @property
    def is_run(self) -> bool:
        """Whether the user wants the migration carried out."""
        migration = self.store.spec.migration
        return migration is not None and migration.mode == api.MigrationMode.RUN


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


def runtime(source: facts.SourceFacts, ctx: Context, record: records.Record) -> jobs.JobRuntime:
    """Say as whom and where the source's Jobs run."""
    gateway = ctx.workloads[0] if ctx.workloads else None
    spec, live = (gateway.gateway, gateway.live) if gateway else (None, None)
    return jobs.JobRuntime.of(ctx.image, spec, live, record.node)


def is_stale(job: facts.JobFacts, now: datetime) -> bool:
    """Return whether a Job failed long enough ago to be tried again."""
    return job.failed_at is not None and now - datetime.fromisoformat(job.failed_at) > timedelta(seconds=RETRY_S)


def replicas_of(gateway: facts.GatewayFacts) -> int:
    """Return the replicas that a gateway's workload wants; 0 where there is none."""
    return fence.replicas_of(gateway.live) if gateway.live is not None else 0


def stamp(now: datetime) -> str:
    """Write a time as Kubernetes does."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
