"""Stores and workloads as the API server returns them: valid by default, one keyword per deviation."""

from __future__ import annotations

import copy
import json
from typing import Any

from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import injection

HOME = "/home/node/.openclaw"


class RedisAt:
    """An engine as binding.py asks for one."""

    def __init__(self, host: str = "chat-redis.openclaw.svc") -> None:
        self.host = host

    def binding(self, store: api.SessionStore, user: str, keyspace: str) -> dict[str, str]:
        del store
        return {
            "type": "redis",
            "provider": "sessionstore.dev",
            "host": self.host,
            "port": "6379",
            "username": user,
            "database": "0",
            "keyspace": keyspace,
            "uri": f"redis://{user}@{self.host}:6379/0?keyspace={keyspace}",
        }


def a_gateway(name: str = "openclaw", **fields: Any) -> dict[str, Any]:
    return {"name": name, "workloadRef": {"kind": "Deployment", "name": name}, **fields}


def a_store(*gateways: dict[str, Any], name: str = "chat") -> api.SessionStore:
    metadata = {"name": name, "namespace": "openclaw", "uid": f"uid-of-{name}"}
    spec = {"engine": "redis", "gateways": list(gateways or (a_gateway(),))}
    return api.SessionStore.model_validate({"metadata": metadata, "spec": spec})


def a_container(name: str = "gateway", **fields: Any) -> dict[str, Any]:
    mounts = [{"name": "home", "mountPath": HOME}]
    return {"name": name, "image": "openclaw", "volumeMounts": mounts, **fields}


def a_workload(*containers: dict[str, Any], kind: str = "Deployment", **spec: Any) -> dict[str, Any]:
    volumes = [{"name": "home", "persistentVolumeClaim": {"claimName": "openclaw-home-pvc"}}]
    pods = {"containers": list(containers or (a_container(),)), "volumes": volumes}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "openclaw", "namespace": "openclaw", "uid": "uid-of-openclaw", "labels": {}},
        "spec": {"replicas": 1, "template": {"metadata": {}, "spec": pods}, **spec},
    }


def managed(manager: str, *paths: tuple[str, ...]) -> dict[str, Any]:
    """One entry of managedFields: each path is written as fieldsV1 spells it, `k:` items as JSON."""
    fields: dict[str, Any] = {}
    for path in paths:
        place = fields
        for step in path:
            place = place.setdefault(step, {})
    return {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": "apps/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }


def item(**key: str) -> str:
    return f"k:{json.dumps(key, separators=(',', ':'))}"


POD_SPEC = ("f:spec", "f:template", "f:spec")


def in_container(*path: str, name: str = "gateway") -> tuple[str, ...]:
    return (*POD_SPEC, "f:containers", item(name=name), *path)


def with_managed(workload: dict[str, Any], *entries: dict[str, Any]) -> dict[str, Any]:
    found = copy.deepcopy(workload)
    found["metadata"]["managedFields"] = list(entries)
    return found


def injected(workload: dict[str, Any], made: injection.Injection) -> dict[str, Any]:
    """The workload with an injection in it, for questions about the outcome; merging for real is the API server's."""
    found = copy.deepcopy(workload)
    added = made.patch["spec"]["template"]
    found["metadata"]["labels"].update(made.patch["metadata"]["labels"])
    template = found["spec"]["template"]
    template["metadata"].setdefault("annotations", {}).update(added["metadata"]["annotations"])
    template["spec"]["volumes"] += added["spec"]["volumes"]
    for container in template["spec"]["containers"]:
        if container["name"] == made.container:
            container.setdefault("env", []).extend(added["spec"]["containers"][0]["env"])
            container["volumeMounts"] += added["spec"]["containers"][0]["volumeMounts"]
    return found


def a_pod(workload: dict[str, Any]) -> dict[str, Any]:
    """A pod as a workload's controller would make it."""
    template = copy.deepcopy(workload["spec"]["template"])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "openclaw-0", **template["metadata"]},
        "spec": template["spec"],
    }
