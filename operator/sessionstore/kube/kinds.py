"""The kinds we speak of, and where the API server keeps them.

A table instead of discovery: the operator knows what it works with, so it needs neither the
permission nor the start-up time to ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Manifest = Mapping[str, Any]
"""An object as the API server has it: plain JSON."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: `plural` is its name in a URL."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of a collection, an object or a subresource."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        scope = f"/namespaces/{namespace}" if namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{scope}/{self.plural}{tail}"


SESSION_STORE = Kind("sessionstore.dev/v1alpha1", "SessionStore", "sessionstores")
SECRET = Kind("v1", "Secret", "secrets")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
SERVICE = Kind("v1", "Service", "services")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
CLAIM = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
POD = Kind("v1", "Pod", "pods")
EVENT = Kind("v1", "Event", "events")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets")
REPLICA_SET = Kind("apps/v1", "ReplicaSet", "replicasets")
JOB = Kind("batch/v1", "Job", "jobs")
DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")

_ALL = {
    (kind.api_version, kind.kind): kind
    for kind in (
        SESSION_STORE,
        SECRET,
        CONFIG_MAP,
        SERVICE,
        SERVICE_ACCOUNT,
        CLAIM,
        POD,
        EVENT,
        DEPLOYMENT,
        STATEFUL_SET,
        REPLICA_SET,
        JOB,
        DISRUPTION_BUDGET,
        LEASE,
    )
}


def kind_of(manifest: Manifest) -> Kind:
    """Return the kind of an object. Raises: KeyError for one that is not in the table."""
    return _ALL[manifest["apiVersion"], manifest["kind"]]
