"""The mark on a workload that is held at 0 replicas while its volume is copied, and what its pods mount. Pure.

The annotation is the memory of what to give back: it outlives the operator, and the store too. It is
written before the workload is scaled, and dropped after it is scaled back; the whole order is in
reconcile/store/migration.py.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import template

ANNOTATION = "sessionstore.dev/fence"
_STATE_VARIABLE = "OPENCLAW_STATE_DIR"

Workload = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fence:
    """What a workload was, and for whom it is held.

    Attributes:
        replicas: to give back.
        at: when, RFC 3339 in UTC.
        store_uid: tells a store from a later one of the same name.
        source: name of the migration source.
    """

    replicas: int
    at: str
    store_name: str
    store_uid: str
    source: str

    @classmethod
    def of(cls, workload: Workload, store: api.SessionStore, *, source: str, now: datetime) -> Self:
        """Make the mark for a workload as it is now. `now` needs a time zone."""
        at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return cls(replicas_of(workload), at, store.metadata.name, store.metadata.uid, source)


def read_fence(workload: Workload) -> Fence | None:
    """Return a workload's mark; None where it has none, or one that nobody of ours has written."""
    text = (workload["metadata"].get("annotations") or {}).get(ANNOTATION)
    try:
        mark = Fence(**json.loads(text)) if text else None
    except (ValueError, TypeError):
        return None
    return mark if mark is not None and isinstance(mark.replicas, int) and mark.replicas >= 0 else None


def put_up(mark: Fence) -> dict[str, Any]:
    """Return the merge patch that writes a mark."""
    text = json.dumps(asdict(mark), sort_keys=True, separators=(",", ":"))
    return {"metadata": {"annotations": {ANNOTATION: text}}}


def take_down() -> dict[str, Any]:
    """Return the merge patch that drops the mark."""
    return {"metadata": {"annotations": {ANNOTATION: None}}}


def replicas_of(workload: Workload) -> int:
    """Return how many replicas a workload wants; one that does not say wants 1."""
    replicas = workload["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def would_delete_source(workload: Workload) -> bool:
    """Return whether scaling it to 0 deletes its claims, and with them what is to be copied (tried)."""
    policy = workload["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    return workload["kind"] == "StatefulSet" and policy.get("whenScaled") == "Delete"


def claims_of_pod(pod_spec: Mapping[str, Any]) -> frozenset[str]:
    """Return the claims that a pod spec names."""
    return frozenset(claim for _, claim in _named_claims(pod_spec))


def claims_of(workload: Workload) -> frozenset[str]:
    """Return the claims that a workload's pods mount, or would if it were not at 0."""
    return frozenset(claim for _, claim in _volumes(workload))


def state_claims(workload: Workload, gateway: api.Gateway) -> frozenset[str]:
    """Return the claims that hold the state directory of a gateway, or a part of it."""
    container = template.gateway_container(gateway, workload)
    if container is None:
        return frozenset()
    mounts = container.get("volumeMounts") or ()
    holding = {mount["name"] for mount in mounts if _overlap(mount["mountPath"], state_dir(workload, gateway))}
    return frozenset(claim for volume, claim in _volumes(workload) if volume in holding)


def state_dir(workload: Workload, gateway: api.Gateway) -> str:
    """Return where a gateway keeps its state in its container: what its template says comes before the spec."""
    container = template.gateway_container(gateway, workload) or {}
    variable = template.variable(container, _STATE_VARIABLE) or {}
    return posixpath.normpath(variable.get("value") or gateway.state_dir)


def place_in_container(workload: Workload, gateway: api.Gateway, claim: str, path: str) -> str | None:
    """Return where a gateway's container sees a path of a claim; None where it does not see it.

    A `subPathExpr` is the kubelet's to resolve: what lies behind it is not seen by us.
    """
    container = template.gateway_container(gateway, workload) or {}
    names = {volume for volume, named in _volumes(workload) if named == claim}
    for mount in container.get("volumeMounts") or ():
        shown = posixpath.normpath(posixpath.join("/", mount.get("subPath") or ""))
        within = posixpath.relpath(posixpath.normpath(path), shown)
        if mount["name"] in names and not mount.get("subPathExpr") and within.split("/")[0] != "..":
            return posixpath.normpath(posixpath.join(mount["mountPath"], within))
    return None


def _overlap(first: str, second: str) -> bool:
    """Return whether one path holds the other, or both are the same. A relative path is unknown: it holds nothing."""
    paths = {posixpath.normpath(first), posixpath.normpath(second)}
    return all(map(posixpath.isabs, paths)) and posixpath.commonpath(paths) in paths


def _named_claims(pod_spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Go through (volume name, claim) of what a pod spec names itself."""
    for volume in pod_spec.get("volumes") or ():
        if "persistentVolumeClaim" in volume:
            yield volume["name"], volume["persistentVolumeClaim"]["claimName"]


def _volumes(workload: Workload) -> Iterator[tuple[str, str]]:
    """Go through (volume name, claim) of all pods of a workload."""
    yield from _named_claims(template.pod_spec(workload))
    spec = workload["spec"]
    start = (spec.get("ordinals") or {}).get("start", 0)
    for claim in spec.get("volumeClaimTemplates") or ():
        name = claim["metadata"]["name"]
        for ordinal in range(start, start + _widest(workload)):
            yield name, f"{name}-{workload['metadata']['name']}-{ordinal}"


def _widest(workload: Workload) -> int:
    """Return the replicas whose claims count: a fenced or stopped StatefulSet still has those of its pods."""
    mark = read_fence(workload)
    return max(1, replicas_of(workload), mark.replicas if mark else 0)
