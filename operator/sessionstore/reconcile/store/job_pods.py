"""The pods of migration Jobs, pure: as whom and where they run, what they may touch.

jobs.py says what each of them does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import binding

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
        volume: uid of the source's claim, which may be made anew under its name.
    """

    image: JobImage
    user: int
    group: int
    supplemental_groups: tuple[int, ...]
    node: str | None
    keyspace: str | None
    tolerations: tuple[Mapping[str, Any], ...] = ()
    place: str | None = None
    volume: str = ""

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
class Task:
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


def pod_spec(store: api.SessionStore, source: api.MigrationSource, runtime: JobRuntime, task: Task) -> dict[str, Any]:
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


def _container(store: api.SessionStore, runtime: JobRuntime, task: Task) -> dict[str, Any]:
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


def _volumes(store: api.SessionStore, source: api.MigrationSource, task: Task) -> list[dict[str, Any]]:
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
