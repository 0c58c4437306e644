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
from typing import Any

from sessionstore.apis import quantities
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.kube import owner
from sessionstore.reconcile.store.job_pods import SCRATCH, JobRuntime, Task, pod_spec

SOURCE_LABEL = "sessionstore.dev/source"
PURPOSE_LABEL = "sessionstore.dev/purpose"
ATTEMPT_ANNOTATION = "sessionstore.dev/attempt"
KEYSPACE_ANNOTATION = "sessionstore.dev/keyspace"
KEPT_S = 24 * 3600
"""Seconds that a Job which ended is kept for whoever wants to read its log; what it found is in the record."""

DONE_WITH_QUARANTINE = "--set-aside-is-done"
"""Kubernetes knows done and failed only; what was set aside is in the report, and is no failed Job."""


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
    task = Task("export", attempt, arguments, "write", _fence_timeout(store))
    return _job(store, source, runtime, task)


def finalize_job(store: api.SessionStore, source: api.MigrationSource, runtime: JobRuntime) -> dict[str, Any]:
    """Build the Job that drops what the store keeps for a way back. The source is none of its business."""
    task = Task("finalize", 0, ("finalize", "--yes", *_told_to(source)), None)
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


def last_copy(manifests: Iterable[Mapping[str, Any]]) -> int:
    """Return the highest number of a copy among Jobs, 0 where there is none."""
    found = [job for job in manifests if purpose_of(job) in ("copy", "delta")]
    return max((int(_template_of(job)["annotations"][ATTEMPT_ANNOTATION]) for job in found), default=0)


def _template_of(job: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = job["spec"]["template"]["metadata"]
    return found


def _migrate(
    store: api.SessionStore, source: api.MigrationSource, runtime: JobRuntime, purpose: str, attempt: int, *how: str
) -> Task:
    assert store.spec.migration is not None
    policy = api.ConflictPolicy.NEWEST if purpose == "delta" else store.spec.migration.conflicts
    place = (f"--state-dir={runtime.place}",) if runtime.place else ()
    options = (f"--scratch={SCRATCH}", *place, DONE_WITH_QUARANTINE, f"--conflicts={policy.value}", *how)
    # Another claim under the same source name must not be taken for this one, from which sessions have vanished.
    options = (f"--origin={runtime.volume}", *options) if runtime.volume else options
    return Task(purpose, attempt, ("migrate", _path(source), *_told_to(source), *options), "read")


def _path(source: api.MigrationSource) -> str:
    return f"/source/{source.path.strip('/')}".rstrip("/")


def _told_to(source: api.MigrationSource) -> tuple[str, ...]:
    return (f"--source-name={source.name}", "--termination-log=/dev/termination-log")


def _fence_timeout(store: api.SessionStore) -> str:
    """What runs behind a fence must not outlive it: days later it would work on what a gateway writes again."""
    assert store.spec.migration is not None
    return store.spec.migration.fence_timeout


def _job(store: api.SessionStore, source: api.MigrationSource, runtime: JobRuntime, task: Task) -> dict[str, Any]:
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
            "spec": pod_spec(store, source, runtime, task),
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
