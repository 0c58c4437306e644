"""The migration Jobs, pure. A Job's name holds a hash of its template: another template is another Job.

It runs the operator's own image as the gateway's user, on the node where the volume is, and has no API
token: it speaks to the store alone. Only an export, which a rollback makes, mounts the volume to write.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sessionstore.apis import quantities
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import binding
from sessionstore.kube import owner

SOURCE_LABEL = "sessionstore.dev/source"
PURPOSE_LABEL = "sessionstore.dev/purpose"
ATTEMPT_ANNOTATION = "sessionstore.dev/attempt"
KEYSPACE_ANNOTATION = "sessionstore.dev/keyspace"
KEPT_S = 24 * 3600
"""Seconds that a Job which ended is kept for whoever wants to read its log; what it found is in the record."""

DONE_WITH_QUARANTINE = "--set-aside-is-done"
"""Kubernetes knows done and failed only; what was set aside is in the report, and is no failed Job."""


SCRATCH = "/scratch"
SCRATCH_SIZE = "10Gi"
"""For copies of SQLite databases, and for what is remembered of a million sessions: a limit, nothing is set aside."""


@dataclass(frozen=True, slots=True)
class JobImage:
    """The operator's own image."""

    name: str
    pull_policy: str


@dataclass(frozen=True, slots=True)
class JobRuntime:
    """As whom, and where, a Job's pod runs.

    Attributes:
        keyspace: the part of the store that its source goes to; None is the store's own.
        tolerations: the gateway's, so that a Job may run where its volume is.
        node: where the volume was last seen in use; None leaves it to the scheduler.
        place: where the gateway's container sees the source, for absolute paths in its files; None where it does not.
    """

    image: JobImage
    user: int
    group: int
    supplemental_groups: tuple[int, ...]
    node: str | None
    keyspace: str | None
    tolerations: tuple[Mapping[str, Any], ...] = ()
    place: str | None = None

    @classmethod
    def of(
        cls,
        image: JobImage,
        gateway: api.Gateway | None,
        workload: Mapping[str, Any] | None,
        node: str | None,
        place: str | None = None,
    ) -> JobRuntime:
        """Run as the gateway does: its pod's security context, its container's, else `runAsUser`."""
        pod = (workload or {}).get("spec", {}).get("template", {}).get("spec", {})
        wanted = gateway.container if gateway else None
        container: Mapping[str, Any] = next((c for c in pod.get("containers", []) if wanted in (None, c["name"])), {})
        context = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
        user = context.get("runAsUser") or (gateway.run_as_user if gateway else 1000)
        groups = context.get("supplementalGroups", [])
        # A volume that fsGroup made accessible is so by a group of the pod's.
        shared = [context["fsGroup"]] if "fsGroup" in context else []
        return cls(
            image=image,
            user=user,
            group=context.get("runAsGroup") or user,
            supplemental_groups=tuple(sorted({*groups, *shared})),
            node=node,
            keyspace=gateway.keyspace if gateway else None,
            tolerations=tuple(pod.get("tolerations") or ()),
            place=place,
        )


@dataclass(frozen=True, slots=True)
class _Task:
    """What a Job is to do.

    Attributes:
        attempt: another number is another Job.
        access: how the source is mounted; None where it is not.
    """

    purpose: str
    attempt: int
    arguments: tuple[str, ...]
    access: Literal["read", "write"] | None
    deadline: str | None = None


def plan_job(
    store: api.SessionStore, source: api.MigrationSource, runtime: JobRuntime, attempt: int = 0
) -> dict[str, Any]:
    """Build the Job that inspects a source and writes a report, nothing else."""
    return _job(store, source, runtime, _migrate(store, source, runtime, "plan", attempt, "--dry-run", "--keep-report"))


def precopy_job(
    store: api.SessionStore, source: api.MigrationSource, runtime: JobRuntime, attempt: int
) -> dict[str, Any]:
    """Build the Job that copies a source while its gateway goes on writing to it."""
    return _job(store, source, runtime, _migrate(store, source, runtime, "precopy", attempt, "--live"))


def copy_job(store: api.SessionStore, source: api.MigrationSource, runtime: JobRuntime, attempt: int) -> dict[str, Any]:
    """Build the Job that copies, behind the fence, what is not in the store yet, and proves the copy."""
    task = _migrate(store, source, runtime, "copy", attempt)
    return _job(store, source, runtime, dataclasses.replace(task, deadline=_fence_timeout(store)))


def delta_job(
    store: api.SessionStore, source: api.MigrationSource, runtime: JobRuntime, attempt: int
) -> dict[str, Any]:
    """Build the Job that copies what was written to files although the gateway reads the store: the newer side wins."""
    return _job(store, source, runtime, _migrate(store, source, runtime, "delta", attempt))


def export_job(
    store: api.SessionStore, source: api.MigrationSource, runtime: JobRuntime, attempt: int
) -> dict[str, Any]:
    """Build the Job that writes the store's sessions as files, proves them, and puts them in place of the old ones."""
    place = (f"--state-dir={runtime.place}",) if runtime.place else ()
    # The root of a volume is root's, as a rule, and the gateway's by a group: its files are its user's all the same.
    whose = f"--owner={runtime.user}:{runtime.group}"
    how = ("--format=openclaw-files", "--in-place", f"--scratch={SCRATCH}", whose, DONE_WITH_QUARANTINE)
    arguments = ("export", "--to", _path(source), *how, *place, *_told_to(source))
    task = _Task("export", attempt, arguments, "write", _fence_timeout(store))
    return _job(store, source, runtime, task)


def finalize_job(store: api.SessionStore, source: api.MigrationSource, runtime: JobRuntime) -> dict[str, Any]:
    """Build the Job that drops what the store keeps for a way back. The source is none of its business."""
    task = _Task("finalize", 0, ("finalize", "--yes", *_told_to(source)), None)
    return _job(store, source, dataclasses.replace(runtime, node=None), task)


def keyspace_of(job: Mapping[str, Any], store: api.SessionStore) -> str:
    """Return the keyspace that a Job works on."""
    return str((job["metadata"].get("annotations") or {}).get(KEYSPACE_ANNOTATION) or store.metadata.name)


def purpose_of(job: Mapping[str, Any]) -> str:
    """Return what a Job is for: plan, precopy, copy, delta, export or finalize."""
    return str(job["metadata"]["labels"].get(PURPOSE_LABEL, ""))


def has_delta(manifests: Iterable[Mapping[str, Any]], attempt: int) -> bool:
    """Return whether the Job of a delta has begun: what is written to files from then on is not in it."""
    wanted = ("delta", str(attempt))
    return any((purpose_of(job), _template_of(job)["annotations"][ATTEMPT_ANNOTATION]) == wanted for job in manifests)


def _template_of(job: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = job["spec"]["template"]["metadata"]
    return found


def _migrate(
    store: api.SessionStore, source: api.MigrationSource, runtime: JobRuntime, purpose: str, attempt: int, *how: str
) -> _Task:
    assert store.spec.migration is not None
    policy = api.ConflictPolicy.NEWEST if purpose == "delta" else store.spec.migration.conflicts
    place = (f"--state-dir={runtime.place}",) if runtime.place else ()
    options = (f"--scratch={SCRATCH}", *place, DONE_WITH_QUARANTINE, f"--conflicts={policy.value}", *how)
    return _Task(purpose, attempt, ("migrate", _path(source), *_told_to(source), *options), "read")


def _path(source: api.MigrationSource) -> str:
    return f"/source/{source.path.strip('/')}".rstrip("/")


def _told_to(source: api.MigrationSource) -> tuple[str, ...]:
    return (f"--source-name={source.name}", "--termination-log=/dev/termination-log")


def _fence_timeout(store: api.SessionStore) -> str:
    """What runs behind a fence must not outlive it: days later it would work on what a gateway writes again."""
    assert store.spec.migration is not None
    return store.spec.migration.fence_timeout


def _job(store: api.SessionStore, source: api.MigrationSource, runtime: JobRuntime, task: _Task) -> dict[str, Any]:
    labels = {
        owner.MANAGED_BY: owner.FIELD_MANAGER,
        "app.kubernetes.io/component": "migration",
        owner.STORE_LABEL: store.metadata.name,
        SOURCE_LABEL: source.name,
        PURPOSE_LABEL: task.purpose,
    }
    spec: dict[str, Any] = {
        # One pod: a failure is answered by the plan, which knows whether the fence still holds.
        "backoffLimit": 0,
        "completions": 1,
        "parallelism": 1,
        "ttlSecondsAfterFinished": KEPT_S,
        "template": {
            "metadata": {"labels": labels, "annotations": {ATTEMPT_ANNOTATION: str(task.attempt)}},
            "spec": _pod_spec(store, source, runtime, task),
        },
    }
    digest = hashlib.sha256(
        json.dumps([store.metadata.uid, store.metadata.name, source.name, spec], sort_keys=True).encode()
    ).hexdigest()
    if task.deadline:
        spec["activeDeadlineSeconds"] = math.ceil(quantities.parse_duration_s(task.deadline))
    # 63 characters is what a label holds, and Kubernetes puts a Job's name into one.
    name = f"{store.metadata.name[:22]}-migrate-{source.name[:22]}-{digest[:8]}"
    annotations = {KEYSPACE_ANNOTATION: runtime.keyspace or store.metadata.name}
    metadata = {"name": name, "namespace": store.metadata.namespace, "labels": labels, "annotations": annotations}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _pod_spec(store: api.SessionStore, source: api.MigrationSource, runtime: JobRuntime, task: _Task) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": runtime.user,
            "runAsGroup": runtime.group,
            "supplementalGroups": list(runtime.supplemental_groups),
            # No fsGroup: it would change the owner of every file of a source that is not ours.
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(store, runtime, task)],
        "volumes": _volumes(store, source, task),
    }
    if runtime.tolerations:
        spec["tolerations"] = list(runtime.tolerations)
    if runtime.node:
        spec["affinity"] = _on_node(runtime.node)
    return spec


def _container(store: api.SessionStore, runtime: JobRuntime, task: _Task) -> dict[str, Any]:
    config = f"{binding.MOUNT_PATH}/{binding.migration_config(runtime.keyspace or store.metadata.name)}"
    mounts: list[dict[str, Any]] = [
        {"name": "session-storage", "mountPath": binding.MOUNT_PATH, "readOnly": True},
        {"name": "scratch", "mountPath": SCRATCH},
    ]
    # Read-only at the mount, not at the claim: `claim.readOnly` would ask some drivers to attach it anew.
    source: dict[str, Any] = {"name": "source", "mountPath": "/source"}
    by_access = {"read": [{**source, "readOnly": True}], "write": [source], None: []}
    return {
        "name": "migrate",
        "image": runtime.image.name,
        "imagePullPolicy": runtime.image.pull_policy,
        "args": list(task.arguments),
        "env": [{"name": "SESSION_STORAGE_CONFIG", "value": config}, {"name": "TMPDIR", "value": SCRATCH}],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [*by_access[task.access], *mounts],
    }


def _volumes(store: api.SessionStore, source: api.MigrationSource, task: _Task) -> list[dict[str, Any]]:
    claim = {"name": "source", "persistentVolumeClaim": {"claimName": source.persistent_volume_claim}}
    secret = binding.secret_name(store.metadata.name, binding.MIGRATION_USER)
    return [
        *([claim] if task.access else []),
        {"name": "session-storage", "secret": {"secretName": secret, "defaultMode": 0o444}},
        {"name": "scratch", "emptyDir": {"sizeLimit": SCRATCH_SIZE}},
    ]


def _on_node(node: str) -> dict[str, Any]:
    """An RWO volume is where its pod runs, and after the fence it stays cheapest there."""
    match = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [match]}}}
