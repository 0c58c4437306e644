"""Reading a workload's pod template: which container is meant, what it mounts, what it sets. Pure.

injection.py adds to a template and fence.py asks what it mounts; both find their way with these.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from sessionstore.apis.v1alpha1 import sessionstore as api

Part = Mapping[str, Any]


def pod_spec(workload: Part) -> Part:
    """Return the spec of a workload's pod template."""
    spec: Part = workload["spec"]["template"]["spec"]
    return spec


def container_names(workload: Part) -> tuple[str, ...]:
    """Return the names of the containers, in their order; init containers are not among them."""
    return tuple(container["name"] for container in pod_spec(workload).get("containers") or ())


def gateway_container(gateway: api.Gateway, workload: Part) -> Part | None:
    """Return the container that reads sessions: the one that is named, else the only one; None where neither is."""
    containers: Sequence[Part] = pod_spec(workload).get("containers") or []
    if gateway.container is None:
        return containers[0] if len(containers) == 1 else None
    return next((container for container in containers if container["name"] == gateway.container), None)


def volume(spec: Part, name: str) -> Part | None:
    """Return a pod spec's volume of that name."""
    return next((found for found in spec.get("volumes") or () if found["name"] == name), None)


def mount_at(container: Part, path: str) -> Part | None:
    """Return what a container mounts at a path; a path may be written with a slash too many."""
    mounts = container.get("volumeMounts") or ()
    return next((mount for mount in mounts if posixpath.normpath(mount["mountPath"]) == path), None)


def variable(container: Part, name: str) -> Part | None:
    """Return an environment variable as it is written; of several with one name the last, which is what counts."""
    return next((found for found in reversed(container.get("env") or ()) if found["name"] == name), None)
