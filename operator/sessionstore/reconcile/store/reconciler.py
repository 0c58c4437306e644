"""One SessionStore, top to bottom: observe, plan, apply, perform, status.

Called by the work queue through `frame.run`; level-triggered, safe to repeat or to interrupt.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pydantic

from sessionstore.apis import conditions
from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.engines import engine
from sessionstore.kube import events, kinds, owner
from sessionstore.reconcile import frame, queue
from sessionstore.reconcile.store import job_pods, news, orphans, perform, steps
from sessionstore.reconcile.store.observe import observe
from sessionstore.reconcile.store.plan import SOON_S, Means, Plan, make_plan
from sessionstore.reconcile.store.status import make_status


async def reconcile(key: queue.ObjectKey, rt: frame.Runtime) -> queue.Requeue:
    """Bring one SessionStore toward its spec."""
    live = await rt.kube.get(kinds.SESSION_STORE, key.namespace, key.name)
    if live is None or live["metadata"].get("deletionTimestamp"):
        # Owner references take our children; what we put into workloads of others we take out.
        return await orphans.clean_up(key, rt)
    store = api.SessionStore.model_validate(live)
    seen = await observe(live, store, rt)
    plan = make_plan(store, seen, _means(store, rt), rt.now())
    applied = await perform.apply(plan, seen, store, rt)
    refused = await perform.perform(step_of(plan, applied), seen, store, rt)
    status = make_status(store, seen, plan, dataclasses.replace(applied, step=refused), rt.now())
    await write_status(live, status, rt)
    return queue.Requeue(SOON_S) if applied.children else plan.requeue


def step_of(plan: Plan, applied: perform.Applied) -> steps.Step | None:
    """Return the step to carry out: objects that were refused may be what it needs.

    Giving a gateway back needs nothing, and ending a Job is the first step of it.
    """
    gives_back = isinstance(plan.step, steps.LiftFence | steps.DeleteJob)
    return plan.step if gives_back or not applied.children else None


async def find(rt: frame.Runtime) -> set[queue.ObjectKey]:
    """List the stores there are."""
    found = set()
    for namespace in rt.settings.watch_namespaces or (None,):
        for live in await rt.kube.list(kinds.SESSION_STORE, namespace):
            found.add(queue.ObjectKey(live["metadata"]["namespace"], live["metadata"]["name"]))
    return found


def _means(store: api.SessionStore, rt: frame.Runtime) -> Means:
    return Means(
        engine=rt.engines[store.spec.engine],
        defaults=engine.EngineDefaults(redis_image=rt.settings.redis_image),
        image=job_pods.JobImage(rt.settings.operator_image, rt.settings.image_pull_policy),
        resync_s=rt.settings.resync_s,
    )


async def write_status(live: kinds.Manifest, status: Mapping[str, Any], rt: frame.Runtime) -> None:
    """Apply the status where it differs, and tell of the changes as events."""
    if live.get("status") == status:
        return
    body = {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {key: live["metadata"][key] for key in ("name", "namespace", "uid")},
        "status": dict(status),
    }
    await rt.kube.apply(body, manager=owner.FIELD_MANAGER, force=True, subresource="status")
    for event in news.make_events(live.get("status", {}), status):
        await events.post(rt.kube, live, event, rt.now())


async def report(key: queue.ObjectKey, rt: frame.Runtime, error: Exception) -> None:
    """Say in the status that a stage raised: Ready is Unknown, and the rest stays as it was known."""
    live = await rt.kube.get(kinds.SESSION_STORE, key.namespace, key.name)
    if live is None:
        return
    status = dict(live.get("status", {}))
    known = [conditions.Condition.model_validate(c) for c in status.get("conditions", [])]
    verdicts = {"Ready": conditions.Verdict("Unknown", _reason_of(error), _words_of(error))}
    generation = live["metadata"]["generation"]
    shown = conditions.fold(verdicts, known, generation=generation, now=rt.now())
    status["conditions"] = [c.model_dump(by_alias=True, exclude_none=True, mode="json") for c in shown]
    await write_status(live, status, rt)


def _reason_of(error: Exception) -> str:
    by_class = {
        "Forbidden": reasons.Reason.FORBIDDEN,
        "ServerUnavailable": reasons.Reason.API_UNAVAILABLE,
        "Conflicted": reasons.Reason.API_UNAVAILABLE,
    }
    return by_class.get(type(error).__name__, reasons.Reason.INTERNAL_ERROR)


def _words_of(error: Exception) -> str:
    if isinstance(error, pydantic.ValidationError):
        # Its own text quotes the input; the places are enough to find it.
        places = ", ".join(".".join(str(part) for part in problem["loc"]) for problem in error.errors())
        return f"the SessionStore cannot be read by this version of the operator: {places}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
