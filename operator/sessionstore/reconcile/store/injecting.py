"""The gateways of one store, decided from facts: may this one be injected now, and is it? Pure.

What is added to a pod template is `sessionstore.gateways`' business; when, and what to say of it, is
decided here. A gateway whose volume is still to be migrated stays on its files until the copy is
proven; one that was injected and lost it, by `kubectl replace` say, is injected again at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sessionstore.apis import conditions
from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import binding, fence, injection
from sessionstore.reconcile.store import facts, jobs, migration, records

R = reasons.Reason


@dataclass(frozen=True, slots=True)
class Look:
    """One gateway, judged.

    Attributes:
        wanted: the injection, or why there can be none; None where there is no workload.
        obstacle: what stands in the way of injecting it, migration left out.
        claims: the claims its pods mount, or would.
        outside: pods that run without our parts, or with older ones.
    """

    facts: facts.GatewayFacts
    wanted: injection.Injection | injection.Refusal | None
    obstacle: conditions.Verdict | None
    claims: frozenset[str]
    is_injected: bool
    outside: tuple[Mapping[str, Any], ...]
    store_ready: bool


@dataclass(frozen=True, slots=True)
class Injecting:
    """One server-side apply to a gateway's workload."""

    gateway: str
    body: Mapping[str, Any]


def look(store: api.SessionStore, seen: facts.Observed, engine: binding.Bindable, *, ready: bool) -> tuple[Look, ...]:
    """Judge every gateway of the spec."""
    return tuple(_look(store, gateway, engine, ready) for gateway in seen.gateways)


def _look(store: api.SessionStore, gateway: facts.GatewayFacts, engine: binding.Bindable, ready: bool) -> Look:
    live = gateway.live
    if live is None:
        return Look(gateway, None, _missing(gateway), frozenset(), False, (), ready)
    config_hash = binding.config_hash(store, gateway.gateway, engine)
    wanted = injection.make_injection(store, gateway.gateway, live, config_hash)
    outside = tuple(
        pod
        for pod in gateway.pods
        if _runs(pod) and not injection.pod_is_injected(pod, store.metadata.name, config_hash)
    )
    return Look(
        facts=gateway,
        wanted=wanted,
        obstacle=_obstacle(gateway, wanted),
        claims=frozenset(fence.claims_of(live)) | _mounted(gateway.pods),
        is_injected=injection.is_injected(live, store.metadata.name),
        outside=outside,
        store_ready=ready,
    )


def _runs(pod: Mapping[str, Any]) -> bool:
    ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    return not ended and not pod["metadata"].get("deletionTimestamp")


def _mounted(pods: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    return frozenset(claim for pod in pods for claim in fence.claims_of_pod(pod["spec"]))


def _missing(gateway: facts.GatewayFacts) -> conditions.Verdict:
    name = gateway.gateway.name
    reference = gateway.gateway.workload_ref
    where = f"{reference.kind} {reference.name!r}" if reference else "its workload"
    if isinstance(gateway.workload, facts.Refused):
        return conditions.Verdict("False", R.FORBIDDEN, f"gateway {name!r}: {gateway.workload.message}")
    message = f"gateway {name!r}: there is no {where} in this namespace; correct workloadRef, or create it"
    return conditions.Verdict("False", R.GATEWAY_NOT_FOUND, message)


def _obstacle(
    gateway: facts.GatewayFacts, wanted: injection.Injection | injection.Refusal
) -> conditions.Verdict | None:
    name = gateway.gateway.name
    if isinstance(wanted, injection.Refusal):
        return conditions.Verdict("False", wanted.reason, f"gateway {name!r}: {wanted.message}")
    if gateway.rehearsal is not None:
        return refusal_verdict(name, gateway.rehearsal)
    return None


def refusal_verdict(name: str, refused: facts.Refused) -> conditions.Verdict:
    """Say who owns what we would have to take; it is reported and not fought."""
    if refused.managers:
        owners = "; ".join(f"{manager!r} owns {', '.join(fields)}" for manager, fields in refused.managers.items())
        message = f"gateway {name!r} is not changed: {owners}. Remove those fields there, or this gateway here"
        return conditions.Verdict("False", R.FIELD_CONFLICT, message)
    reason = R.FORBIDDEN if refused.forbidden else R.INJECTION_REFUSED
    return conditions.Verdict("False", reason, f"gateway {name!r}: {refused.message}")


# -- migration ----------------------------------------------------------------------------------


def with_delta(source: facts.SourceFacts, mounting: Sequence[Look]) -> facts.SourceFacts:
    """Count it when a gateway that was cut over is found on its files: what it writes there is copied later."""
    record = source.record
    if record is None or record.finished_at is None or record.exported is not None:
        return source
    if record.awaits_delta and not jobs.has_delta((job.manifest for job in source.jobs.values()), record.delta_attempt):
        return source
    if not any(bare(gateway) for gateway in mounting):
        return source
    return replace(source, record=replace(record, deltas=record.deltas + 1))


def bare(gateway: Look) -> list[Mapping[str, Any]]:
    """Return the pods that write to files. One that has an older configuration writes to the store all the same."""
    return [pod for pod in gateway.outside if not injection.mounts_binding(pod)]


def awaits(look_at: Look, sources: Mapping[str, migration.SourcePlan]) -> str | None:
    """Name the source that must be copied before this gateway may be injected."""
    for name, plan in sources.items():
        is_safe = plan.record.is_cut_over or plan.phase == migration.Phase.CUTTING_OVER
        if plan.record.claim in look_at.claims and not is_safe:
            return name
    return None


def _is_leaving(look_at: Look, sources: Mapping[str, migration.SourcePlan]) -> bool:
    """Return whether a gateway goes back to its files: everything is exported, and our parts are taken out."""
    return any(
        plan.record.claim in look_at.claims and plan.record.exported is not None and plan.record.is_cut_over
        for plan in sources.values()
    )


def left_on_files(
    look_at: Look, sources: Mapping[str, migration.SourcePlan], known: Mapping[str, records.Record]
) -> str | None:
    """Name the source that a gateway was rolled back to, and that left the spec: its files are ahead of the store."""
    named = {plan.record.claim for plan in sources.values()}
    for name, record in known.items():
        is_back = name not in sources and record.exported is not None
        if is_back and not look_at.is_injected and record.claim in look_at.claims - named:
            return name
    return None


def injections(
    looked_at: Sequence[Look], sources: Mapping[str, migration.SourcePlan], known: Mapping[str, records.Record]
) -> tuple[Injecting, ...]:
    """Choose the gateways to apply to in this pass. The apply stage writes the records first.

    Args:
        known: what is remembered of each source, also of those that left the spec.
    """
    chosen = []
    for gateway in looked_at:
        blocked = gateway.obstacle is not None and not gateway.is_injected
        if blocked or not isinstance(gateway.wanted, injection.Injection) or not gateway.store_ready:
            continue
        if _is_leaving(gateway, sources) or left_on_files(gateway, sources, known) is not None:
            continue
        if gateway.is_injected or awaits(gateway, sources) is None:
            chosen.append(Injecting(gateway.facts.gateway.name, gateway.wanted.patch))
    return tuple(chosen)
