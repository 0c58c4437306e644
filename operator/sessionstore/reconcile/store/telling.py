"""What is said of the gateways: Injected, Degraded, Shared, ConfigurationWarning. Pure.

injecting.py judges each gateway; here is only how that is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sessionstore.apis import conditions
from sessionstore.apis.v1alpha1 import carried_out, reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import fence, injection
from sessionstore.reconcile.store import facts, injecting, migration, records

R = reasons.Reason


def verdicts(
    store: api.SessionStore,
    looked_at: Sequence[injecting.Look],
    sources: Mapping[str, migration.SourcePlan],
    seen: facts.Observed,
) -> dict[str, conditions.Verdict]:
    """Say where the gateways stand: Injected, Degraded, Shared, ConfigurationWarning."""
    return {
        "Injected": _injected(store, looked_at, sources, seen),
        "Degraded": _degraded(looked_at, sources),
        "Shared": conditions.Verdict("Unknown", R.NOT_PROBED, "this version has no probe across pods"),
        "ConfigurationWarning": _warning(store, looked_at, seen),
    }


def _injected(
    store: api.SessionStore,
    looked_at: Sequence[injecting.Look],
    sources: Mapping[str, migration.SourcePlan],
    seen: facts.Observed,
) -> conditions.Verdict:
    left = [name for workload in seen.released for name in injection.leftovers(workload, store.metadata.name)]
    if left:
        message = f"a removed gateway still has our parts, since {', '.join(sorted(set(left)))} applied them as its own"
        return conditions.Verdict("Unknown", R.LEFT_BEHIND, message)
    if not looked_at:
        return conditions.Verdict("True", R.NO_GATEWAYS, "no gateways are named")
    for gateway in looked_at:
        verdict = _gateway_verdict(gateway, sources, seen.records)
        if verdict is not None:
            return verdict
    return conditions.Verdict("True", R.INJECTED, f"all pods of {len(looked_at)} gateways have their configuration")


def _gateway_verdict(
    gateway: injecting.Look, sources: Mapping[str, migration.SourcePlan], known: Mapping[str, records.Record]
) -> conditions.Verdict | None:
    """Say what keeps one gateway from being injected; None where nothing does."""
    name = gateway.facts.gateway.name
    if gateway.obstacle is not None:
        return gateway.obstacle
    back = _rolled_back(gateway, sources)
    if back is not None and not gateway.is_injected:
        reason = R.ROLLED_BACK if back.phase is migration.Phase.ROLLED_BACK else R.ROLLING_BACK
        return conditions.Verdict("False", reason, f"gateway {name!r} is on its files: {back.verdict.message}")
    left = injecting.left_on_files(gateway, sources, known)
    if left is not None:
        message = f"gateway {name!r} is on its files, which are ahead of the store: source {left!r}, to which it was "
        message += "rolled back, is not in the spec any more; put it back with mode Run, or take the gateway out"
        return conditions.Verdict("False", R.ROLLED_BACK, message)
    source = injecting.awaits(gateway, sources)
    if source is not None and not gateway.is_injected:
        message = f"gateway {name!r} stays on its files until that is done: {sources[source].verdict.message}"
        return conditions.Verdict("False", R.AWAITING_MIGRATION, message)
    if not gateway.is_injected:
        return conditions.Verdict("False", R.ROLLOUT_PENDING, f"gateway {name!r} is injected when the store is ready")
    if gateway.outside:
        names = ", ".join(pod["metadata"]["name"] for pod in gateway.outside[:3])
        why = f": {gateway.facts.trouble.message}" if gateway.facts.trouble else ""
        message = f"gateway {name!r}: {len(gateway.outside)} pods run without the current configuration ({names}){why}"
        return conditions.Verdict("False", R.ROLLOUT_PENDING, message)
    trouble = gateway.facts.trouble
    if trouble is not None:
        # Creating is a word for the store's own pods; a gateway's that are not ready yet are a rollout.
        reason = R.ROLLOUT_PENDING if trouble.reason == R.CREATING else trouble.reason
        return conditions.Verdict("False", reason, f"gateway {name!r}: {trouble.message}")
    return None


def _rolled_back(look_at: injecting.Look, sources: Mapping[str, migration.SourcePlan]) -> migration.SourcePlan | None:
    """Return the source that a gateway was, or is being, rolled back to."""
    phases = (migration.Phase.ROLLING_BACK, migration.Phase.ROLLED_BACK)
    found = (plan for plan in sources.values() if plan.record.claim in look_at.claims and plan.phase in phases)
    return next(found, None)


def _degraded(looked_at: Sequence[injecting.Look], sources: Mapping[str, migration.SourcePlan]) -> conditions.Verdict:
    done = (plan.record for plan in sources.values() if plan.record.finished_at)
    finished = {record.claim for record in done if record.exported is None}
    for gateway in looked_at:
        bare = injecting.bare(gateway)
        if bare and gateway.claims & finished:
            names = ", ".join(pod["metadata"]["name"] for pod in bare[:3])
            message = f"{names} of gateway {gateway.facts.gateway.name!r} write to files, not to the store; "
            message += "they are being replaced, and what they wrote is copied after that"
            return conditions.Verdict("True", R.GATEWAY_ON_FILES, message)
    return conditions.Verdict("False", R.AS_EXPECTED, "")


def _warning(store: api.SessionStore, looked_at: Sequence[injecting.Look], seen: facts.Observed) -> conditions.Verdict:
    """Collect what the user wrote and should know more about. One condition, every sentence."""
    found: list[tuple[R, str]] = [(R.NOT_CARRIED_OUT, text) for text in carried_out.not_carried_out(store)]
    found += _left_behind(looked_at, seen)
    found += _shared_keyspaces(store)
    if not found:
        return conditions.Verdict("False", R.NO_WARNINGS, "")
    return conditions.Verdict("True", found[0][0], "; ".join(text for _, text in found))


def _left_behind(looked_at: Sequence[injecting.Look], seen: facts.Observed) -> list[tuple[R, str]]:
    """A gateway with a claim at its state directory, and nobody has said what becomes of what it holds."""
    named = {source.source.persistent_volume_claim for source in seen.sources}
    migrated = {record.claim for record in seen.records.values() if record.is_cut_over}
    return [
        (
            R.HISTORY_LEFT_BEHIND,
            f"gateway {gateway.facts.gateway.name!r} keeps its state on claim {claim!r}, no source of migration: "
            "the conversations on it are not in the store",
        )
        for gateway in looked_at
        if gateway.facts.live is not None
        for claim in sorted(fence.state_claims(gateway.facts.live, gateway.facts.gateway) - named - migrated)
    ]


def _shared_keyspaces(store: api.SessionStore) -> list[tuple[R, str]]:
    spaces: dict[str, list[str]] = {}
    for gateway in store.spec.gateways:
        spaces.setdefault(gateway.keyspace_or(store.metadata.name), []).append(gateway.name)
    return [
        (
            R.SHARED_KEYSPACE,
            f"gateways {', '.join(names)} share keyspace {space!r}: two OpenClaw workloads both have agent:main:main; "
            "give each its own keyspace unless they serve the same users",
        )
        for space, names in spaces.items()
        if len(names) > 1
    ]
