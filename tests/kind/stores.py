"""What the tests on a cluster apply and ask: stores, gateways, volumes filled with real OpenClaw files."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import subprocess
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tests.cluster import cluster as clusters
from tests.cluster import images

FIXTURE = pathlib.Path(__file__).parents[1] / "fixtures" / "openclaw" / "file-2026.7.1-2.tar.gz"
STATE_DIR = "/home/node/.openclaw"
UP_S = 120.0
"""A store with its pod, or a gateway's rollout, on two busy cores."""


@dataclass(frozen=True)
class Scene:
    """One namespace on a cluster, as a person would work with it."""

    cluster: clusters.Cluster
    namespace: str

    def kubectl(self, *arguments: str, **options: Any) -> str:
        # The flag comes first: what follows `exec … --` is another program's.
        return self.cluster.kubectl("--namespace", self.namespace, *arguments, **options)

    def get(self, *arguments: str) -> Any | None:
        """Return the object, or None."""
        return self.cluster.kubectl.find(*arguments, "--namespace", self.namespace)

    def list(self, *arguments: str) -> list[dict[str, Any]]:
        found: dict[str, Any] = self.cluster.kubectl.json("get", *arguments, "--namespace", self.namespace)
        return list(found["items"])

    def apply(self, *manifests: dict[str, Any], server_side: bool = False) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        self.cluster.kubectl.apply(text, namespace=self.namespace, server_side=server_side)

    def patch(self, what: str, name: str, patch: dict[str, Any]) -> None:
        self.kubectl("patch", what, name, "--type=merge", "--patch", json.dumps(patch))

    def wait(self, condition: Callable[[], Any], what: str, deadline_s: float = UP_S) -> Any:
        return self.cluster.kubectl.wait_for(condition, deadline_s, what, namespace=self.namespace)

    # -- the store ------------------------------------------------------------------------------

    def store(self, name: str = "chat") -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.kubectl.json("get", "sst", name, "--namespace", self.namespace)
        return found

    def condition(self, kind: str, name: str = "chat") -> dict[str, Any]:
        """Return a condition; an empty one where it is not there yet."""
        status = self.store(name).get("status", {})
        return next((c for c in status.get("conditions", []) if c["type"] == kind), {})

    def wait_condition(self, kind: str, reason: str, name: str = "chat", deadline_s: float = UP_S) -> dict[str, Any]:
        """Wait until the condition has this reason, about the generation that is there now."""

        def holds() -> dict[str, Any] | None:
            generation = self.store(name)["metadata"]["generation"]
            found = self.condition(kind, name)
            return found if found.get("reason") == reason and found["observedGeneration"] == generation else None

        found: dict[str, Any] = self.wait(holds, f"{kind} of {name} to be {reason}", deadline_s)
        return found

    def wait_ready(self, name: str = "chat", deadline_s: float = UP_S) -> dict[str, Any]:
        return self.wait_condition("Ready", "Ready", name, deadline_s)

    def kill_store_and(self, *pods: str, name: str = "chat", how: tuple[str, ...] = ()) -> None:
        """Delete the store's pod and these, and wait until another store's pod is ready.

        The conditions alone do not tell: until the operator has looked they are about the pod that was.
        """
        pod = f"{name}-redis-0"
        old = self.list("pods", f"--field-selector=metadata.name={pod}")[0]["metadata"]["uid"]
        self.kubectl("delete", "pod", *how, pod, *pods)

        def is_another() -> bool:
            found = self.get("pod", pod)
            return found is not None and found["metadata"]["uid"] != old and is_ready(found)

        self.wait(is_another, f"another {pod} that is ready")
        self.wait_ready(name)

    def migration(self, name: str = "chat") -> dict[str, Any]:
        return dict(self.store(name).get("status", {}).get("migrations", [{}])[0])

    # -- gateways -------------------------------------------------------------------------------

    def gateway_pods(self, name: str = "openclaw") -> list[str]:
        """Name the gateway's pods that are ready and not on their way out."""
        return [
            pod["metadata"]["name"]
            for pod in self.list("pods", "-l", f"app={name}")
            if not pod["metadata"].get("deletionTimestamp") and is_ready(pod)
        ]

    def wait_gateways(self, wanted: int, name: str = "openclaw") -> list[str]:
        def up() -> list[str] | None:
            pods = self.gateway_pods(name)
            return pods if len(pods) == wanted else None

        return list(self.wait(up, f"{wanted} ready pods of {name}"))

    def call(self, pod: str, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call the example gateway in one pod, by its own loopback."""
        answer = self.kubectl(
            "exec", pod, "-c", "gateway", "--", "python3", "-c", _CALL, method, path, json.dumps(body)
        )
        return dict(json.loads(answer))

    def turn(self, pod: str, key: str, text: str) -> dict[str, Any]:
        """Say something in a conversation; the answer counts the lines, and names pod and backend."""
        answer = self.call(pod, "POST", f"/v1/sessions/{urllib.parse.quote(key, safe='')}/turns", {"text": text})
        assert "error" not in answer, answer
        return answer

    def tree_hash(self, pod: str) -> str:
        """Hash names, modes, owners, modification times and contents of the gateway's state directory."""
        listing = self.in_pod(pod, "python3", "-c", _TREE)
        assert "sessions.json" in listing
        return hashlib.sha256(listing.encode()).hexdigest()

    def wait_served(self, pod: str) -> None:
        """Wait until a gateway reaches its store: a pod's readiness is up to its probe's period old."""
        self.wait(lambda: "sessions" in self.call(pod, "GET", "/v1/sessions"), f"{pod} to reach its store")

    def in_pod(self, pod: str, *command: str, container: str = "gateway") -> str:
        return self.kubectl("exec", pod, "-c", container, "--", *command)

    # -- volumes --------------------------------------------------------------------------------

    def fill(self, claim: str, archive: pathlib.Path = FIXTURE) -> None:
        """Unpack a state directory onto a claim, as the gateway's own user."""
        self.apply(filler(claim))
        self.kubectl("wait", "pod/filler", "--for=condition=Ready", f"--timeout={UP_S:.0f}s")
        command = [str(self.cluster.kubectl.program), "--namespace", self.namespace, "exec", "-i", "filler", "--"]
        # With the rest of the environment: without a HOME, kubectl would keep its cache in the work tree.
        environment = {**os.environ, "KUBECONFIG": str(self.cluster.kubectl.kubeconfig)}
        with archive.open("rb") as packed:
            done = subprocess.run(
                [*command, "python3", "-c", _UNPACK], stdin=packed, env=environment, check=False, capture_output=True
            )
        assert done.returncode == 0, done.stderr.decode()
        self.kubectl("delete", "pod", "filler", "--grace-period=0", "--force")


_TREE = f"""
import hashlib, os
for d, _, fs in sorted(os.walk("{STATE_DIR}")):
    for f in sorted(fs):
        p = os.path.join(d, f); s = os.lstat(p)
        print(p, s.st_mode, s.st_uid, s.st_mtime_ns, hashlib.sha256(open(p, "rb").read()).hexdigest())
"""

_UNPACK = """
import sys, tarfile
tarfile.open(fileobj=sys.stdin.buffer, mode="r|gz").extractall("/state")
"""

_CALL = """
import json, sys, urllib.error, urllib.request
method, path, body = sys.argv[1:]
data = None if body == "null" else body.encode()
headers = {"content-type": "application/json"}
request = urllib.request.Request("http://127.0.0.1:18789" + path, data, headers, method=method)
try:
    print(urllib.request.urlopen(request, timeout=20).read().decode())
except urllib.error.HTTPError as error:
    print(json.dumps({"status": error.code, "error": error.read().decode()}))
"""

_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
_POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "fsGroup": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def a_store(name: str = "chat", **spec: Any) -> dict[str, Any]:
    """A SessionStore: `{engine: redis}` and whatever a test adds."""
    return {
        "apiVersion": "sessionstore.dev/v1alpha1",
        "kind": "SessionStore",
        "metadata": {"name": name},
        "spec": {"engine": "redis", **spec},
    }


def a_bound_store(mode: str | None = "Run", **spec: Any) -> dict[str, Any]:
    """A store with the example gateway bound, and its volume as a migration source unless `mode` is None."""
    gateways = [
        {"name": "openclaw", "workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "openclaw"}}
    ]
    sources = [{"name": "old-home", "persistentVolumeClaim": "openclaw-home-pvc", "path": "/"}]
    migration = {"migration": {"mode": mode, "sources": sources}} if mode else {}
    return a_store(**{"gateways": gateways, **migration, **spec})


def a_claim(name: str = "openclaw-home-pvc") -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def a_gateway(
    name: str = "openclaw", *, claim: str | None = "openclaw-home-pvc", replicas: int = 1, kind: str = "Deployment"
) -> dict[str, Any]:
    """The example gateway, on its own volume; it knows nothing of Redis."""
    volume = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    container = {
        "name": "gateway",
        "image": images.GATEWAY.reference,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "OPENCLAW_STATE_DIR", "value": STATE_DIR}],
        "ports": [{"containerPort": 18789}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 18789}, "periodSeconds": 1},
        "securityContext": _RESTRICTED,
        "volumeMounts": [{"name": "home", "mountPath": STATE_DIR}],
    }
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {
            "securityContext": _POD_SECURITY,
            "terminationGracePeriodSeconds": 5,
            "containers": [container],
            "volumes": [{"name": "home", **volume}],
        },
    }
    spec: dict[str, Any] = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    if kind == "StatefulSet":
        spec["serviceName"] = name
    else:
        spec["strategy"] = {"type": "Recreate"}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def filler(claim: str) -> dict[str, Any]:
    """A pod of the gateway's user that waits on a claim, so that files can be put there."""
    container = {
        "name": "filler",
        "image": images.OPERATOR.reference,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "600"],
        "securityContext": _RESTRICTED,
        "volumeMounts": [{"name": "state", "mountPath": "/state"}],
    }
    volumes = [{"name": "state", "persistentVolumeClaim": {"claimName": claim}}]
    spec = {"restartPolicy": "Never", "securityContext": _POD_SECURITY, "containers": [container], "volumes": volumes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "filler"}, "spec": spec}


def is_ready(pod: dict[str, Any]) -> bool:
    """Return whether a pod's condition says so."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def resource_versions(scene: Scene, kinds: Iterable[str]) -> dict[str, str]:
    """Return `kind/name` -> resourceVersion of everything of those kinds."""
    return {
        f"{kind}/{found['metadata']['name']}": found["metadata"]["resourceVersion"]
        for kind in kinds
        for found in scene.list(kind)
    }
