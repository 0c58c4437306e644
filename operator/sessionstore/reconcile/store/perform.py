"""Stages three and four: apply what the plan built, then carry out its one step.

Order is meaning. Passwords are persisted before anything uses them; records before injections, so
that a cutover is remembered before a gateway relies on it; the step last, since it disrupts.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sessionstore import errors
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.engines import engine
from sessionstore.gateways import binding, fence, injection
from sessionstore.kube import kinds, owner
from sessionstore.reconcile import frame
from sessionstore.reconcile.store import facts, observe, steps
from sessionstore.reconcile.store.plan import Plan

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Applied:
    """What the API server said to the objects and injections of one plan.

    Attributes:
        children: `Kind/name` -> why it was not applied.
        gateways: gateway name -> why it was not injected.
        reports: `ConfigMap/name` -> why it was not applied, of what only people read.
        step: why the step was not carried out, None where it was or where there was none.
    """

    children: Mapping[str, facts.Refused] = field(default_factory=dict)
    gateways: Mapping[str, facts.Refused] = field(default_factory=dict)
    reports: Mapping[str, facts.Refused] = field(default_factory=dict)
    step: facts.Refused | None = None


async def apply(plan: Plan, seen: facts.Observed, store: api.SessionStore, rt: frame.Runtime) -> Applied:
    """Write what the plan holds; a refusal of one object does not stop the others."""
    children: dict[str, facts.Refused] = {}
    if plan.users or plan.forget:
        taken = await _write_credentials(plan, seen, store, rt)
        children |= {f"Secret/{store.metadata.name}-credentials": taken} if taken else {}
    children |= await _apply_all(plan.objects, seen.live, rt)
    reports = await _apply_all(plan.reports, seen.live, rt)
    if children:
        # Something that injections rely on may be missing; the next pass tries again.
        return Applied(children=children, reports=reports)
    gateways = {}
    for injecting in plan.injections:
        refused = await observe.apply_to_gateway(rt, injecting.body, store.metadata.name)
        if refused is not None:
            gateways[injecting.gateway] = refused
    return Applied(gateways=gateways, reports=reports)


async def _apply_all(
    manifests: Iterable[kinds.Manifest], live: kinds.Manifest, rt: frame.Runtime
) -> dict[str, facts.Refused]:
    """Apply what is the store's own; return what was refused."""
    found = {f"{made['kind']}/{made['metadata']['name']}": await _apply_child(made, live, rt) for made in manifests}
    return {name: refused for name, refused in found.items() if refused is not None}


async def _apply_child(manifest: kinds.Manifest, live: kinds.Manifest, rt: frame.Runtime) -> facts.Refused | None:
    kind, name = kinds.kind_of(manifest), manifest["metadata"]["name"]
    try:
        there = await rt.kube.get(kind, live["metadata"]["namespace"], name)
        if there is not None and not owner.is_adoptable(there, live):
            return facts.Refused(
                f"there is a {kind.kind} {name!r} that is not this store's; rename the store, or remove it"
            )
        await rt.kube.apply(owner.owned(manifest, live), manager=owner.FIELD_MANAGER, force=True)
    except (errors.Invalid, errors.Forbidden, errors.Conflicted) as error:
        return facts.Refused(str(error), forbidden=isinstance(error, errors.Forbidden))
    return None


async def _write_credentials(
    plan: Plan, seen: facts.Observed, store: api.SessionStore, rt: frame.Runtime
) -> facts.Refused | None:
    """Add passwords that are missing, drop those that are not wanted; never replace one.

    Guarded by resourceVersion, and by create: a second writer is a refusal and a new look, since two sets of
    passwords for one store would lock its users out.
    """
    kept = {user: password for user, password in seen.credentials.passwords.items() if user not in plan.forget}
    passwords = {**kept, **{user: rt.new_password() for user in sorted(plan.users)}}
    secret: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"{store.metadata.name}-credentials",
            "labels": {owner.MANAGED_BY: owner.FIELD_MANAGER, owner.STORE_LABEL: store.metadata.name},
        },
        "type": "Opaque",
        "data": {user: base64.b64encode(password.encode()).decode() for user, password in passwords.items()},
    }
    body = owner.owned(secret, seen.live)
    patch = {
        "metadata": {"resourceVersion": seen.credentials.version},
        "data": {**body["data"], **dict.fromkeys(plan.forget)},
    }
    try:
        if seen.credentials.version is None:
            await rt.kube.create(body, manager=owner.FIELD_MANAGER)
        else:
            await rt.kube.patch(body, patch, manager=owner.FIELD_MANAGER)
    except errors.Conflicted as error:
        return facts.Refused(f"{error}; if it is not this store's, rename the store, or remove it")
    for user in plan.forget:
        await _delete_binding(binding.secret_name(store.metadata.name, user), seen.live, rt)
    return None


async def _delete_binding(name: str, live: kinds.Manifest, rt: frame.Runtime) -> None:
    """Delete a binding Secret, unless what bears its name is another's."""
    namespace = live["metadata"]["namespace"]
    secret = await rt.kube.get(kinds.SECRET, namespace, name)
    if secret is not None and owner.is_owned(secret, live):
        await rt.kube.delete(kinds.SECRET, namespace, name, uid=secret["metadata"]["uid"])


async def perform(
    step: steps.Step | None, seen: facts.Observed, store: api.SessionStore, rt: frame.Runtime
) -> facts.Refused | None:
    """Carry out one step; a refusal by the API server is a value for the status stage."""
    try:
        await _perform(step, seen, store, rt)
    except (errors.Invalid, errors.Forbidden, errors.Conflicted) as error:
        return facts.Refused(str(error), forbidden=isinstance(error, errors.Forbidden))
    return None


async def _perform(step: steps.Step | None, seen: facts.Observed, store: api.SessionStore, rt: frame.Runtime) -> None:
    match step:
        case None:
            return
        case steps.SyncUsers(change):
            await _sync_users(change, seen, store, rt)
        case steps.CreateJob(manifest):
            await rt.kube.create(owner.owned(manifest, seen.live), manager=owner.FIELD_MANAGER)
        case steps.DeleteJob(manifest):
            await _delete_job(manifest, rt)
        case steps.FenceWorkload(workload, mark):
            await rt.kube.patch(workload, fence.put_up(mark), manager=owner.FIELD_MANAGER)
            await _scale(workload, 0, rt)
        case steps.LiftFence(workload, mark):
            await lift_fence(workload, mark, rt)
        case steps.ReleaseWorkload(workload, store_name):
            await release(workload, store_name, rt)
        case steps.GrowClaim(claim, size, _):
            patch = {"spec": {"resources": {"requests": {"storage": size}}}}
            await rt.kube.patch(claim, patch, manager=owner.FIELD_MANAGER)


async def _sync_users(
    change: engine.SyncUsers, seen: facts.Observed, store: api.SessionStore, rt: frame.Runtime
) -> None:
    refused = await rt.engines[store.spec.engine].perform(change, store, seen.credentials.passwords)
    if refused is not None:
        # The next look finds the store away, and says so; there is nothing else to do here.
        logger.info("%s: %s was not done: %s", store.key, change, refused.message)


async def _delete_job(manifest: kinds.Manifest, rt: frame.Runtime) -> None:
    meta = manifest["metadata"]
    await rt.kube.delete(kinds.JOB, meta["namespace"], meta["name"], uid=meta["uid"])


async def lift_fence(workload: kinds.Manifest, mark: fence.Fence, rt: frame.Runtime) -> None:
    """Scale back first, forget the number after: a death in between repeats the first, never loses it."""
    await _scale(workload, mark.replicas, rt)
    await rt.kube.patch(workload, fence.take_down(), manager=owner.FIELD_MANAGER)


async def _scale(workload: kinds.Manifest, replicas: int, rt: frame.Runtime) -> None:
    """By the scale subresource: it leaves no owner of `replicas` behind in the workload."""
    patch = {"spec": {"replicas": replicas}}
    await rt.kube.patch(workload, patch, manager=owner.FIELD_MANAGER, subresource="scale")


async def release(workload: kinds.Manifest, store_name: str, rt: frame.Runtime) -> None:
    """Apply nothing as the store's manager: server-side apply then removes exactly what it had added."""
    body = injection.make_release(store_name, dict(workload))
    await rt.kube.apply(body, manager=f"sessionstore.dev/{store_name}", force=False)
