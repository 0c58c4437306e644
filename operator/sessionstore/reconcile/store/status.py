"""Stage five: from spec, facts, plan and what was applied to `status`. Pure.

It sees the same values as the plan. What was refused while applying overrides what was planned. What changed between
two statuses is news: news.py tells it.
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
from sessionstore.reconcile.store import facts, injecting, migration, records, report_map
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
    for name, refused in applied.reports.items():
        reason = R.FORBIDDEN if refused.forbidden else R.CHILD_CONFLICT
        message = f"{name} cannot be applied, so only `sessionstore report` has it: {refused.message}"
        found["ConfigurationWarning"] = conditions.Verdict("True", reason, message)
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
        kept = ("migrations", "migrating")
        return {name: previous[name] for name in kept if name in previous} if seen.sources else {}
    told = {source.source.name: source.progress for source in seen.sources}
    shown = [_one_migration(name, plan.sources[name], told.get(name), seen) for name in plan.sources]
    return {"migrations": shown, "migrating": _migrating(shown)}


def _migrating(shown: Sequence[Mapping[str, Any]]) -> str:
    """Say in a word how far the first source is that is not done."""
    first = next((found for found in shown if found["phase"] not in _DONE), shown[0])
    progress = first.get("progress", {})
    if not progress.get("total"):
        return str(first["phase"])
    return f"{first['phase']} {progress.get('done', 0)}/{progress['total']}"


_DONE = (api.MigrationPhase.MIGRATED.value, api.MigrationPhase.FINALIZED.value)

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
_PROGRESS = ("done", "total", "sessions", "lines", "bytes", "conflicts", "quarantined")


def _one_migration(
    name: str, source: migration.SourcePlan, progress: Mapping[str, Any] | None, seen: facts.Observed
) -> dict[str, Any]:
    record = source.record
    found = record.copied or record.precopied or record.planned or {}
    shown: dict[str, Any] = {
        "source": name,
        "phase": source.phase.value,
        "reason": source.verdict.reason,
        "message": source.verdict.message,
    }
    shown |= {count: found[count] for count in _COUNTS if found.get(count) is not None}
    more = {
        "preCopied": _pre_copied(record),
        "progress": _progress(progress),
        "startedAt": record.rollback_at or record.fenced_at,
        "finishedAt": record.rolled_back_at or record.finished_at,
        "pauseSeconds": record.pause_s,
        "copySeconds": (record.copied or {}).get("seconds") if record.pause_s is not None else None,
    }
    shown |= {key: value for key, value in more.items() if value is not None}
    kept = {"report": f"migration/{name}/report", "configMap": report_map.name_of(seen.live["metadata"]["name"], name)}
    return {**shown, **kept}


def _pre_copied(record: records.Record) -> int | None:
    """Count what was in the store before the gateway paused."""
    if record.precopied is None:
        return None
    return sum(int(record.precopied.get(name) or 0) for name in ("migrated", "present"))


def _progress(told: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Hand on what a Job tells of itself: what is no count, or not there yet, is left out."""
    if told is None or not isinstance(told.get("phase"), str):
        return None
    counts = {name: told[name] for name in _PROGRESS if isinstance(told.get(name), int) and told[name] >= 0}
    return {"phase": told["phase"][:63], **counts}
