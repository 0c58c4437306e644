"""The cluster itself: what every other test here takes for granted."""

from __future__ import annotations

import json

import pytest

from tests.cluster import cluster as clusters
from tests.cluster import command, images

REDIS_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "redis"},
    "spec": {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "redis",
                "image": images.REDIS.reference,
                "command": ["redis-server", "--bind", "*", "--protected-mode", "no"],
                "readinessProbe": {"exec": {"command": ["redis-cli", "ping"]}, "periodSeconds": 1},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }
        ],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    },
}
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
}


def test_a_redis_with_a_volume_becomes_ready_under_the_restricted_profile(
    cluster: clusters.Cluster, namespace: str
) -> None:
    cluster.provide(images.REDIS)
    cluster.kubectl.apply(
        json.dumps({"apiVersion": "v1", "kind": "List", "items": [CLAIM, REDIS_POD]}), namespace=namespace
    )
    cluster.kubectl("wait", "pod/redis", "--for=condition=Ready", "--timeout=60s", "--namespace", namespace)
    assert (
        cluster.kubectl("exec", "redis", "--namespace", namespace, "--", "redis-cli", "set", "a", "b").strip() == "OK"
    )


def test_the_restricted_profile_refuses_a_privileged_pod(cluster: clusters.Cluster, namespace: str) -> None:
    privileged = {"name": "redis", "image": images.REDIS.reference, "securityContext": {"privileged": True}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad"}, "spec": {"containers": [privileged]}}
    with pytest.raises(command.CommandError, match='violates PodSecurity "restricted'):
        cluster.kubectl.apply(json.dumps(pod), namespace=namespace)


def test_server_side_apply_reports_a_field_that_another_manager_owns(cluster: clusters.Cluster, namespace: str) -> None:
    def settings(value: str) -> str:
        return json.dumps(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"key": value}}
        )

    cluster.kubectl.apply(settings("ours"), namespace=namespace, server_side=True)
    scope = ("--namespace", namespace)
    theirs = ("apply", "--server-side", "--field-manager=another", "-f", "-", *scope)
    with pytest.raises(command.CommandError, match=r'conflict with "sessionstore-tests": \.data\.key'):
        cluster.kubectl(*theirs, input=settings("theirs"))
    assert cluster.kubectl.json("get", "configmap", "settings", *scope)["data"] == {"key": "ours"}


def test_an_unchanged_apply_moves_no_resource_version(cluster: clusters.Cluster, namespace: str) -> None:
    manifest = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "same"}, "data": {"a": "b"}})

    def version() -> str:
        cluster.kubectl.apply(manifest, namespace=namespace, server_side=True)
        found = cluster.kubectl.json("get", "configmap", "same", "--namespace", namespace)
        return str(found["metadata"]["resourceVersion"])

    assert version() == version()
