"""The StatefulSet of a Redis store, and its pod: as the restricted Pod Security profile wants it. Pure.

It fits Debian's redis 7.0 and the official images of Redis 7-8 and Valkey 8-9: `redis-server` with a configuration
file as its only argument, uid 999, data in /data.
"""

from __future__ import annotations

from typing import Any

from sessionstore.apis.v1alpha1.sessionstore import SessionStore
from sessionstore.engines.engine import Manifest
from sessionstore.engines.redis import memory, names, scripts

_UID = 999
"""`redis` in the official images of Redis (Debian) and Valkey. A number, since the kubelet cannot judge a name."""

_GRACE_S = 60
"""Seconds from SIGTERM to SIGKILL. Redis needs a last write and fsync of the append-only file, which a slow volume
stretches; replicas get another 10 (`shutdown-timeout`)."""


def build_stateful_set(store: SessionStore, image: str, config_hash: str) -> Manifest:
    """Build the StatefulSet.

    Args:
        config_hash: changes with what a running server does not take up by itself; a new one rolls the pod.
    """
    name = names.workload(store)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "labels": names.labels(store)},
        "spec": {
            "replicas": 1,
            "serviceName": names.headless_service(store),
            # OrderedReady never replaces a pod that did not come up (an image that cannot be pulled), even when the
            # template is mended: kubernetes/kubernetes#67250.
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate"},
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": store.spec.deletion_policy.value,
                "whenScaled": "Retain",
            },
            "selector": {"matchLabels": names.selector(store)},
            "template": {
                "metadata": {
                    "labels": names.labels(store),
                    "annotations": {"sessionstore.dev/config-hash": config_hash},
                },
                "spec": _pod(store, image),
            },
            "volumeClaimTemplates": [_claim(store)],
        },
    }


def _pod(store: SessionStore, image: str) -> Manifest:
    return {
        "serviceAccountName": names.workload(store),
        "automountServiceAccountToken": False,
        # Variables for every Service of the namespace would only be names that collide.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _UID,
            "runAsGroup": _UID,
            "fsGroup": _UID,
            # Walking a large volume at each start would hold up every restart.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(store, image)],
        "volumes": [
            {"name": "config", "configMap": {"name": names.config_map(store), "defaultMode": 0o444}},
            {"name": "users", "secret": {"secretName": names.users_secret(store), "defaultMode": 0o440}},
        ],
        **_placement(store),
    }


def _container(store: SessionStore, image: str) -> Manifest:
    return {
        "name": "redis",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        # The umask is that of the official images' entry points: some volumes are directories on the node.
        "command": ["sh", "-c", f"umask 0077 && exec redis-server {names.CONFIG_DIR}/redis.conf"],
        "ports": [{"name": "redis", "containerPort": names.PORT, "protocol": "TCP"}],
        "resources": memory.with_limit(store.spec.resources),
        # A server that refuses its configuration says why in its last lines; explain.py passes them on.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # Alive does not wait for loading, so this ends soon even for a large append-only file; the five minutes are
        # for a machine that is short of everything.
        "startupProbe": _probe(scripts.ALIVE, period_s=2, failures=150),
        "livenessProbe": _probe(scripts.ALIVE, period_s=10, failures=6),
        "readinessProbe": _probe(scripts.READY, period_s=5, failures=3),
        "volumeMounts": [
            {"name": "data", "mountPath": names.DATA_DIR},
            {"name": "config", "mountPath": names.CONFIG_DIR, "readOnly": True},
            {"name": "users", "mountPath": names.USERS_DIR, "readOnly": True},
        ],
    }


def _probe(script: str, *, period_s: int, failures: int) -> Manifest:
    return {
        "exec": {"command": ["sh", f"{names.CONFIG_DIR}/{script}"]},
        "periodSeconds": period_s,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _placement(store: SessionStore) -> Manifest:
    """Pass on where the manifest wants the pod; what it leaves out stays out, for others to set."""
    spec = store.spec
    wanted: dict[str, Any] = {
        "nodeSelector": spec.node_selector,
        "tolerations": list(spec.tolerations),
        "affinity": spec.affinity,
        "topologySpreadConstraints": list(spec.topology_spread_constraints),
        "priorityClassName": spec.priority_class_name,
    }
    return {field: value for field, value in wanted.items() if value}


def _claim(store: SessionStore) -> Manifest:
    chosen = store.storage_class_name
    storage_class = {"storageClassName": chosen} if chosen is not None else {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "labels": names.selector(store)},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": store.storage_size}},
            "volumeMode": "Filesystem",
            **storage_class,
        },
    }
