"""What must hold of a source's claim and its gateways before, and while, they are fenced. Pure.

Each check returns a verdict where it does not hold, and None where it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sessionstore.apis import conditions
from sessionstore.gateways import fence, injection
from sessionstore.reconcile.store import facts, told
from sessionstore.reconcile.store.source_plan import Context, R, is_ours


def check_claim(source: facts.SourceFacts) -> conditions.Verdict | None:
    """Return what is wrong with the source's claim."""
    name = source.source.persistent_volume_claim
    if source.claim is None:
        return told.progress(
            source,
            R.SOURCE_NOT_FOUND,
            f"there is no PersistentVolumeClaim {name!r} in this namespace; create it, or correct the name",
        )
    if source.claim["metadata"].get("deletionTimestamp"):
        return told.progress(source, R.SOURCE_NOT_FOUND, f"claim {name!r} is being deleted")
    return None


def check_workloads(ctx: Context) -> conditions.Verdict | None:
    """Return why the gateways must not be scaled to 0."""
    return _check_retention(ctx) or _check_rollout(ctx)


def _check_retention(ctx: Context) -> conditions.Verdict | None:
    for gateway in ctx.workloads:
        if gateway.live and fence.would_delete_source(gateway.live):
            return told.refused(
                R.SOURCE_WOULD_BE_DELETED,
                f"StatefulSet {gateway.live['metadata']['name']!r} has "
                "persistentVolumeClaimRetentionPolicy.whenScaled: Delete; scaling it to 0 would delete the "
                "volume. Set it to Retain first",
            )
    return None


def _check_rollout(ctx: Context) -> conditions.Verdict | None:
    """A workload that would come back with its old template would be where it was before, without a fence."""
    for gateway in ctx.workloads:
        spec = gateway.live["spec"] if gateway.live else {}
        update = (spec.get("updateStrategy") or {}).get("rollingUpdate") or {}
        holds = "paused: true" if spec.get("paused") else "a rollingUpdate.partition" if update.get("partition") else ""
        if holds and gateway.live:
            where = f"{gateway.live['kind']} {gateway.live['metadata']['name']!r}"
            return told.refused(
                R.ROLLOUT_PENDING, f"{where} has {holds}, so its pods would come back as they are; take it away first"
            )
    return None


def check_foreign_fence(source: facts.SourceFacts, ctx: Context) -> conditions.Verdict | None:
    """Return which other store holds one of the gateways: its mark is never replaced."""
    for gateway in ctx.workloads:
        if gateway.fence is not None and not is_ours(gateway, ctx.store):
            held = f"store {gateway.fence.store_name!r} holds gateway {gateway.gateway.name!r} at 0 replicas for itself"
            return told.progress(source, R.GATEWAY_TAKEN, held)
    return None


def on_files(source: facts.SourceFacts) -> tuple[Mapping[str, Any], ...]:
    """Return the pods on the claim that may write to it, terminating ones included: those without a store's files."""
    return tuple(pod for pod in source.users if not injection.mounts_binding(pod))
