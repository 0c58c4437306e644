"""One store and its world as a pass of the operator finds them: valid by default, one keyword per deviation.

`observed(store)` is in sync: the server has the store's users, its claim is as large as asked for, and each
gateway is injected and runs. A test takes away from that what it is about.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.engines import engine
from sessionstore.engines.redis import standalone, users
from sessionstore.gateways import binding, fence, injection
from sessionstore.reconcile.store import credentials, facts, job_pods, jobs, plan, records
from tests.unit.gateways import workloads

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CLAIM = "openclaw-home"
NODE = "node-1"
MEANS = plan.Means(
    engine=standalone.RedisEngine(),
    defaults=engine.EngineDefaults(redis_image="docker.io/library/redis:7.4-bookworm"),
    image=job_pods.JobImage("operator:1", "IfNotPresent"),
    resync_s=30.0,
)

Manifest = dict[str, Any]


# -- what users write -------------------------------------------------------------------------


def a_gateway(name: str = "openclaw", **fields: Any) -> Manifest:
    """One entry of `spec.gateways`, by the names of the wire."""
    return {"name": name, "workloadRef": {"kind": "Deployment", "name": name}, **fields}


def a_migration(mode: str = "Plan", source: str = "old-home", claim: str = CLAIM) -> Manifest:
    """The block `spec.migration`, with one source."""
    return {"mode": mode, "sources": [{"name": source, "persistentVolumeClaim": claim}]}


def a_store(
    *gateways: Manifest,
    name: str = "chat",
    annotations: Mapping[str, str] | None = None,
    status: Mapping[str, Any] | None = None,
    **spec: Any,
) -> api.SessionStore:
    """Build `openclaw/chat`; `spec` by the names of the wire, beside `engine` and `gateways`."""
    metadata = {"name": name, "namespace": "openclaw", "uid": f"uid-of-{name}", "generation": 1}
    return api.SessionStore.model_validate(
        {
            "metadata": {**metadata, "annotations": dict(annotations or {})},
            "spec": {"engine": "redis", "gateways": list(gateways), **spec},
            "status": dict(status or {}),
        }
    )


def live_store(store: api.SessionStore, status: Mapping[str, Any] | None = None) -> Manifest:
    """Return the store as the API server has it, as far as a pass reads it so."""
    metadata = {key: getattr(store.metadata, key) for key in ("name", "namespace", "uid", "generation")}
    return {
        "apiVersion": store.api_version,
        "kind": store.kind,
        "metadata": metadata,
        **({"status": dict(status)} if status else {}),
    }


# -- what gateways run in ---------------------------------------------------------------------


def a_workload(
    name: str = "openclaw",
    *,
    kind: str = "Deployment",
    claim: str | None = CLAIM,
    replicas: int = 1,
    mark: fence.Fence | None = None,
    managers: tuple[str, ...] = (),
    **metadata: Any,
) -> Manifest:
    """Build a workload with one container and its state on `claim`.

    Args:
        mark: the fence that holds it.
        managers: who owns a field of it, beside the one who made it.
    """
    made = workloads.a_workload(kind=kind, replicas=replicas)
    volume = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    made["spec"]["template"]["spec"]["volumes"] = [{"name": "home", **volume}]
    made["spec"]["selector"] = {"matchLabels": {"app": name}}
    made["spec"]["template"]["metadata"] = {"labels": {"app": name}}
    made["status"] = {"readyReplicas": replicas}
    made["metadata"] |= {"name": name, "uid": f"uid-of-{name}", **metadata}
    made["metadata"]["annotations"] = fence.put_up(mark)["metadata"]["annotations"] if mark else {}
    return workloads.with_managed(made, *(workloads.managed(manager, ("f:spec",)) for manager in managers))


def a_fence(store: api.SessionStore, replicas: int = 1, *, source: str = "old-home", uid: str = "") -> fence.Fence:
    """Build the mark of a store that holds a workload; `uid` of an earlier store of its name."""
    at = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    return fence.Fence(replicas, at, store.metadata.name, uid or store.metadata.uid, source)


def injected(workload: Manifest, store: api.SessionStore, gateway: int = 0) -> Manifest:
    """Return a workload with the current configuration of one of the store's gateways in it."""
    wanted = store.spec.gateways[gateway]
    config_hash = binding.config_hash(store, wanted, MEANS.engine)
    made = injection.make_injection(store, wanted, workload, config_hash)
    assert isinstance(made, injection.Injection), made
    return workloads.injected(workload, made)


def a_pod(workload: Manifest, name: str = "", *, phase: str = "Running", **metadata: Any) -> Manifest:
    """Build a pod as the workload's controller would make it now."""
    pod = workloads.a_pod(workload)
    pod["metadata"] |= {"name": name or f"{workload['metadata']['name']}-0", **metadata}
    pod["spec"]["nodeName"] = NODE
    pod["status"] = {"phase": phase}
    return pod


def a_gateway_seen(store: api.SessionStore, index: int = 0, **changes: Any) -> facts.GatewayFacts:
    """See one gateway injected, with one pod that runs with it; on a volume where the store migrates one."""
    wanted = store.spec.gateways[index]
    live = injected(a_workload(wanted.name, claim=CLAIM if store.spec.migration else None), store, index)
    return dataclasses.replace(facts.GatewayFacts(wanted, live, pods=(a_pod(live),)), **changes)


def a_gateway_on_files(store: api.SessionStore, index: int = 0, **changes: Any) -> facts.GatewayFacts:
    """See one gateway as it was before it was bound."""
    wanted = store.spec.gateways[index]
    live = a_workload(wanted.name)
    return dataclasses.replace(facts.GatewayFacts(wanted, live, pods=(a_pod(live),)), **changes)


# -- volumes and Jobs -------------------------------------------------------------------------


def a_claim(name: str = CLAIM, size: str = "8Gi") -> Manifest:
    """Build a claim that is bound."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "openclaw"},
        "spec": spec,
        "status": {"phase": "Bound"},
    }


def a_job(
    store: api.SessionStore, purpose: str = "plan", *, node: str | None = None, outcome: Manifest | None = None
) -> facts.JobFacts:
    """See the Job of the store's first source; with an `outcome` it has succeeded."""
    assert store.spec.migration is not None
    source = store.spec.migration.sources[0]
    gateway = store.spec.gateways[0] if store.spec.gateways else None
    runtime = job_pods.JobRuntime.of(MEANS.image, gateway, None, node)
    made = jobs.plan_job(store, source, runtime) if purpose == "plan" else jobs.copy_job(store, source, runtime, 1)
    done = [{"type": "Complete", "status": "True"}] if outcome is not None else []
    return facts.JobFacts({**made, "status": {"conditions": done}}, outcome, None)


def a_record(claim: str = CLAIM, *, finished_at: str | None = None, **fields: Any) -> records.Record:
    """Remember a source that was inspected, and copied once; with `finished_at`, one whose gateway reads the store."""
    found = {"sessions": 1, "lines": 2}
    copied = {"precopies": 1, "precopied": found, "precopied_at": NOW.strftime("%Y-%m-%dT%H:%M:%SZ")}
    done = {"copied": found, "cut_over_at": finished_at, "finished_at": finished_at} if finished_at else {}
    return records.Record(claim=claim, path="/", planned=found, **{**copied, **done, **fields})


def a_source_seen(store: api.SessionStore, index: int = 0, **changes: Any) -> facts.SourceFacts:
    """See one migration source whose claim is there, and no one has looked into yet."""
    assert store.spec.migration is not None
    source = store.spec.migration.sources[index]
    return dataclasses.replace(facts.SourceFacts(source, a_claim(source.persistent_volume_claim)), **changes)


# -- the whole --------------------------------------------------------------------------------


def _own_password(store: api.SessionStore) -> str | None:
    """Return what `auth.existingSecret` holds, where a store names one."""
    return "password-of-mine" if store.spec.auth and store.spec.auth.existing_secret else None


def passwords_of(store: api.SessionStore) -> dict[str, str]:
    """Return user name -> password: one that no other has, and that is found by a search."""
    return {user: f"password-of-{user.strip('_')}" for user in (*users.user_names(store), credentials.EPOCH)}


def answering(store: api.SessionStore, **changes: Any) -> engine.EngineFacts:
    """Build what a server says that has exactly the store's users."""
    own = _own_password(store)
    wanted = users.make_users(store, {**passwords_of(store), **({users.APP: own} if own else {})})
    answer = engine.EngineFacts(
        version="7.4.0",
        role="primary",
        used_bytes=10_000_000,
        limit_bytes=100_000_000,
        evicted=0,
        sessions={store.metadata.name: 3},
        users={user.name: f"user {user.name} {' '.join(user.rules)}" for user in wanted},
    )
    return dataclasses.replace(answer, **changes)


def children_of(store: api.SessionStore, size: str = "8Gi") -> dict[tuple[str, str], Manifest]:
    """Return the live objects that the engine runs: the StatefulSet as it was built, and its claim."""
    name = f"{store.metadata.name}-redis"
    built = MEANS.engine.objects(a_store(name=store.metadata.name), passwords_of(store), MEANS.defaults)
    running = next(manifest for manifest in built if manifest["kind"] == "StatefulSet")
    claim = a_claim(f"data-{name}-0", size)
    found = ({**copy.deepcopy(running), "status": {"readyReplicas": 1}}, claim)
    return {(child["kind"], child["metadata"]["name"]): child for child in found}


def observed(store: api.SessionStore, **changes: Any) -> facts.Observed:
    """Look at a world that is as the store wants it, but for `changes`."""
    sources = store.spec.migration.sources if store.spec.migration else ()
    seen = facts.Observed(
        live=live_store(store),
        credentials=facts.Credentials(passwords_of(store), "7"),
        own_password=_own_password(store),
        children=children_of(store),
        engine=answering(store),
        trouble=None,
        gateways=tuple(a_gateway_seen(store, index) for index in range(len(store.spec.gateways))),
        sources=tuple(a_source_seen(store, index) for index in range(len(sources))),
    )
    return dataclasses.replace(seen, **changes)


def planned(store: api.SessionStore, **changes: Any) -> plan.Plan:
    """Plan one pass for what is observed with `changes`."""
    return plan.make_plan(store, observed(store, **changes), MEANS, NOW)
