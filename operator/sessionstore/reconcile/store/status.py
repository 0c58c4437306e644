"""Stage five: from spec, facts, plan and what was applied to `status` and events. Pure.

It sees the same values as the plan. What was refused while applying overrides what was planned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sessionstore.apis import conditions
from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.engines import engine
from sessionstore.gateways import fence, injection
from sessionstore.kube import events
from sessionstore.reconcile.store import facts, injecting
from sessionstore.reconcile.store.perform import Applied
from sessionstore.reconcile.store.plan import Plan

R = reasons.Reason


def make_status(
    store: api.SessionStore, seen: facts.Observed, plan: Plan, applied: Applied, now: datetime
) -> dict[str, Any]:
    """Build the whole status; the caller writes it only where it differs."""
    verdicts = {**plan.verdicts, **_refusals(plan, applied)}
    before = store.status.conditions
    shown = conditions.fold(verdicts, before, generation=store.metadata.generation, now=now)
    previous = seen.live.get("status", {})
    return {
        "observedGeneration": store.metadata.generation,
        "binding": {"name": f"{store.metadata.name}-binding"},
        "conditions": [condition.model_dump(by_alias=True, exclude_none=True, mode="json") for condition in shown],
        "topology": store.topology,
        **_engine_status(seen, previous),
        **_gateway_status(store, seen, previous),
        **_migration_status(seen, plan, previous),
    }


def _refusals(plan: Plan, applied: Applied) -> dict[str, conditions.Verdict]:
    found: dict[str, conditions.Verdict] = {}
    for name, refused in applied.children.items():
        reason = R.FORBIDDEN if refused.forbidden else R.CHILD_CONFLICT
        found["Provisioned"] = conditions.Verdict("False", reason, f"{name} cannot be applied: {refused.message}")
    for name, refused in applied.gateways.items():
        found["Injected"] = injecting.refusal_verdict(name, refused)
    if applied.step is not None:
        kind = type(plan.step).__name__
        condition, reason = _OF_STEP.get(kind, ("Migrated", R.JOB_FAILED))
        # The API server says 403 as well where a StorageClass does not allow growth.
        reason = R.FORBIDDEN if applied.step.forbidden and kind != "GrowClaim" else reason
        found[condition] = conditions.Verdict("False", reason, f"{kind} was refused: {applied.step.message}")
    return found


_OF_STEP = {
    "GrowClaim": ("Provisioned", R.STORAGE_GROWTH_REFUSED),
    "ReleaseWorkload": ("Injected", R.INJECTION_REFUSED),
}
"""Which condition tells of a step that was refused, where it is not a step of a migration."""


def _engine_status(seen: facts.Observed, previous: Mapping[str, Any]) -> dict[str, Any]:
    answer = seen.engine
    if not isinstance(answer, engine.EngineFacts):
        # What was known last is still the best there is; Provisioned says that nobody answers now.
        return {"engine": previous["engine"]} if "engine" in previous else {}
    used = _steady(answer.used_bytes, previous.get("engine", {}).get("usedBytes"), answer.limit_bytes)
    pod = f"{seen.live['metadata']['name']}-redis-0"
    shown: dict[str, Any] = {
        "version": answer.version,
        "primary": pod if answer.role == "primary" else "",
        "usedBytes": used,
        "sessions": sum(answer.sessions.values()),
        "members": [{"name": pod, "role": answer.role, "ready": True}],
    }
    if answer.limit_bytes:
        shown |= {"limitBytes": answer.limit_bytes, "usedPercent": used * 100 // answer.limit_bytes}
    return {"engine": shown}


def _steady(used: int, shown: int | None, limit: int) -> int:
    """Keep the figure that is shown until it is off by 1 % of the limit: an idle server's memory breathes,
    and a status that moves with it would never be in sync.
    """
    if shown is not None and abs(used - shown) <= max(limit // 100, 64 * 1024):
        return shown
    return used


def _gateway_status(store: api.SessionStore, seen: facts.Observed, previous: Mapping[str, Any]) -> dict[str, Any]:
    if not seen.gateways:
        return {}
    shown = [_one_gateway(store, gateway) for gateway in seen.gateways]
    ready = sum(1 for gateway in shown if gateway["injected"])
    return {"gateways": shown, "gatewaysReady": f"{ready}/{len(shown)}"}


def _one_gateway(store: api.SessionStore, gateway: facts.GatewayFacts) -> dict[str, Any]:
    reference = gateway.gateway.workload_ref
    shown: dict[str, Any] = {
        "name": gateway.gateway.name,
        "workload": f"{reference.kind}/{reference.name}" if reference else "",
        "injected": False,
        "replicas": 0,
    }
    if gateway.live is None:
        return shown
    running = [pod for pod in gateway.pods if pod.get("status", {}).get("phase") == "Running"]
    bare = [pod for pod in running if not injection.mounts_binding(pod)]
    return {
        **shown,
        "replicas": fence.replicas_of(gateway.live),
        "injected": injection.is_injected(gateway.live, store.metadata.name) and not bare,
    }


def _migration_status(seen: facts.Observed, plan: Plan, previous: Mapping[str, Any]) -> dict[str, Any]:
    if not plan.sources:
        # A pass that was held up before it came to the sources has nothing newer to say of them.
        return {"migrations": previous["migrations"]} if previous.get("migrations") and seen.sources else {}
    return {"migrations": [_one_migration(name, plan) for name in plan.sources]}


_COUNTS = (
    "sessions",
    "lines",
    "bytes",
    "archives",
    "migrated",
    "present",
    "conflicts",
    "quarantined",
    "problems",
    "digest",
)


def _one_migration(name: str, plan: Plan) -> dict[str, Any]:
    source = plan.sources[name]
    record = source.record
    found = record.copied or record.planned or {}
    shown: dict[str, Any] = {"source": name, "phase": source.phase.value, "message": source.verdict.message}
    shown |= {count: found[count] for count in _COUNTS if found.get(count) is not None}
    times = {"startedAt": record.fenced_at, "finishedAt": record.finished_at, "pauseSeconds": record.pause_s}
    shown |= {key: value for key, value in times.items() if value is not None}
    return {**shown, "report": f"migration/{name}/report"}


def make_events(before: Sequence[Any], status: Mapping[str, Any]) -> tuple[events.Event, ...]:
    """One event for each condition whose reason changed; what stays is told by the condition."""
    known = {condition.type: (condition.status, condition.reason) for condition in before}
    found = []
    for condition in status["conditions"]:
        if known.get(condition["type"]) == (condition["status"], condition["reason"]):
            continue
        if condition["reason"] in _QUIET or (condition["type"] == "Ready" and condition["status"] == "False"):
            continue  # What keeps a store from being ready is a condition with an event of its own.
        found.append(events.Event(condition["reason"], condition["message"], warning=_is_bad(condition)))
    return tuple(found)


_QUIET = frozenset({R.AS_EXPECTED, R.NO_WARNINGS, R.NO_GATEWAYS, R.NO_MIGRATION, R.NOT_PROBED, R.DEPENDENCY_NOT_READY})
"""That nothing happened is no event."""

_EXPECTED = frozenset(
    {R.CREATING, R.PLANNING, R.PLANNED, R.FENCING, R.COPYING, R.CUTTING_OVER, R.AWAITING_MIGRATION, R.ROLLOUT_PENDING}
)


def _is_bad(condition: Mapping[str, Any]) -> bool:
    if condition["type"] in ("Degraded", "ConfigurationWarning"):
        return bool(condition["status"] == "True")
    return condition["status"] == "False" and condition["reason"] not in _EXPECTED
