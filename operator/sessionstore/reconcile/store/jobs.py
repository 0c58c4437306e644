"""The migration Jobs, pure. A Job's name holds a hash of its template: another template is another Job.

It runs the operator's own image as the gateway's user, on the node where the volume is, mounts the
volume read-only, and has no API token: it speaks to the store alone.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sessionstore.apis import quantities
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import binding
from sessionstore.kube import owner

SOURCE_LABEL = "sessionstore.dev/source"
KEPT_S = 24 * 3600
"""Seconds that a Job which ended is kept for whoever wants to read its log; what it found is in the record."""

DONE_WITH_QUARANTINE = "--set-aside-is-done"
"""Kubernetes knows done and failed only; what was set aside is in the report, and is no failed Job."""


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
    """

    image: JobImage
    user: int
    group: int
    supplemental_groups: tuple[int, ...]
    node: str | None
    keyspace: str | None
    tolerations: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(
        cls, image: JobImage, gateway: api.Gateway | None, workload: Mapping[str, Any] | None, node: str | None
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
        )


def plan_job(store: api.SessionStore, source: api.MigrationSource, runtime: JobRuntime) -> dict[str, Any]:
    """Build the Job that inspects a source and writes a report, nothing else."""
    assert store.spec.migration is not None
    return _job(
        store, source, runtime, [f"--conflicts={store.spec.migration.conflicts.value}", "--dry-run"], ("plan", 0)
    )


def copy_job(
    store: api.SessionStore,
    source: api.MigrationSource,
    runtime: JobRuntime,
    attempt: int,
    *,
    conflicts: api.ConflictPolicy | None = None,
) -> dict[str, Any]:
    """Build the Job that copies a source and proves the copy; `conflicts` None takes the spec's policy."""
    assert store.spec.migration is not None
    policy = conflicts or store.spec.migration.conflicts
    job = _job(store, source, runtime, [f"--conflicts={policy.value}"], ("copy", attempt))
    # A copy must not outlive its fence: days later it would read from under a gateway that writes again.
    job["spec"]["activeDeadlineSeconds"] = math.ceil(quantities.parse_duration_s(store.spec.migration.fence_timeout))
    return job


def _job(
    store: api.SessionStore,
    source: api.MigrationSource,
    runtime: JobRuntime,
    extra: list[str],
    purpose: tuple[str, int],
) -> dict[str, Any]:
    labels = {
        owner.MANAGED_BY: owner.FIELD_MANAGER,
        "app.kubernetes.io/component": "migration",
        owner.STORE_LABEL: store.metadata.name,
        SOURCE_LABEL: source.name,
        "sessionstore.dev/purpose": purpose[0],
    }
    spec = {
        # One pod: a failure is answered by the plan, which knows whether the fence still holds.
        "backoffLimit": 0,
        "completions": 1,
        "parallelism": 1,
        "ttlSecondsAfterFinished": KEPT_S,
        "template": {
            "metadata": {"labels": labels, "annotations": {"sessionstore.dev/attempt": str(purpose[1])}},
            "spec": _pod_spec(store, source, runtime, extra),
        },
    }
    digest = hashlib.sha256(
        json.dumps([store.metadata.uid, store.metadata.name, source.name, spec], sort_keys=True).encode()
    ).hexdigest()
    # 63 characters is what a label holds, and Kubernetes puts a Job's name into one.
    name = f"{store.metadata.name[:22]}-migrate-{source.name[:22]}-{digest[:8]}"
    metadata = {"name": name, "namespace": store.metadata.namespace, "labels": labels}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _pod_spec(
    store: api.SessionStore, source: api.MigrationSource, runtime: JobRuntime, extra: list[str]
) -> dict[str, Any]:
    assert store.spec.migration is not None
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": runtime.user,
            "runAsGroup": runtime.group,
            "supplementalGroups": list(runtime.supplemental_groups),
            # No fsGroup: it would change the owner of every file of a source that is never written.
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "migrate",
                "image": runtime.image.name,
                "imagePullPolicy": runtime.image.pull_policy,
                "args": _arguments(source, extra),
                "env": [{"name": "SESSION_STORAGE_CONFIG", "value": _config_path(store, runtime)}],
                "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "source", "mountPath": "/source", "readOnly": True},
                    {"name": "session-storage", "mountPath": binding.MOUNT_PATH, "readOnly": True},
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 -- the pod's own, an emptyDir
                ],
            }
        ],
        "volumes": _volumes(store, source),
    }
    if runtime.tolerations:
        spec["tolerations"] = list(runtime.tolerations)
    if runtime.node:
        spec["affinity"] = _on_node(runtime.node)
    return spec


def _arguments(source: api.MigrationSource, extra: list[str]) -> list[str]:
    path = f"/source/{source.path.strip('/')}".rstrip("/")
    return [
        "migrate",
        path,
        f"--source-name={source.name}",
        "--termination-log=/dev/termination-log",
        DONE_WITH_QUARANTINE,
        *extra,
    ]


def _config_path(store: api.SessionStore, runtime: JobRuntime) -> str:
    return f"{binding.MOUNT_PATH}/{binding.migration_config(runtime.keyspace or store.metadata.name)}"


def _volumes(store: api.SessionStore, source: api.MigrationSource) -> list[dict[str, Any]]:
    # Read-only at the mount, not at the claim: `claim.readOnly` would ask some drivers to attach it anew.
    return [
        {"name": "source", "persistentVolumeClaim": {"claimName": source.persistent_volume_claim}},
        {
            "name": "session-storage",
            "secret": {
                "secretName": binding.secret_name(store.metadata.name, binding.MIGRATION_USER),
                "defaultMode": 0o444,
            },
        },
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
    ]


def _on_node(node: str) -> dict[str, Any]:
    """An RWO volume is where its pod runs, and after the fence it stays cheapest there."""
    match = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [match]}}}
