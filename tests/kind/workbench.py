"""A workload on a real API server, injected and released by hand: what test_injection.py works with."""

from __future__ import annotations

import contextlib
import copy
import json
import pathlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio import dynamic

from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import injection
from sessionstore.kube import client
from tests.cluster import cluster as clusters
from tests.kind import stores

Manifest = dict[str, Any]
HASH = "0123456789abcdef"
MANAGER = "sessionstore.dev/chat"
GATEWAY = {"name": "openclaw", "container": "gateway", "workloadRef": {"kind": "Deployment", "name": "openclaw"}}


@dataclass(frozen=True)
class Bench:
    """A namespace with a suspended store and one workload, which a test injects and lets go by hand."""

    scene: stores.Scene
    store: api.SessionStore
    kube: client.Kube

    def live(self) -> Manifest:
        found = self.scene.get("deployment", "openclaw", "--show-managed-fields")
        assert found is not None
        return dict(found)

    def template(self) -> Manifest:
        return dict(self.live()["spec"]["template"])

    def make(self, store: api.SessionStore | None = None) -> injection.Injection | injection.Refusal:
        store = store or self.store
        return injection.make_injection(store, store.spec.gateways[0], self.live(), HASH)

    def making(self) -> injection.Injection:
        made = self.make()
        assert isinstance(made, injection.Injection), made
        return made

    async def inject(self) -> Manifest:
        return await self.send(self.making().patch)

    async def release(self) -> Manifest:
        return await self.send(injection.make_release("chat", self.live()))

    async def send(self, body: Manifest, *, force: bool = False) -> Manifest:
        """Apply as the store's manager, by the operator's own door: kubectl would take over what it once applied."""
        return await self.kube.apply(body, manager=MANAGER, force=force)

    def settle(self) -> None:
        """Wait for the last status of this generation: it moves the resourceVersion, and refuses a replace."""
        self.scene.wait(lambda: _is_settled(self.live()), "the Deployment's controller to have said all it will say")

    def replace(self, manifest: Manifest) -> None:
        self.settle()
        self.scene.kubectl("replace", "-f", "-", input=json.dumps(manifest))

    def is_injected(self) -> bool:
        return injection.is_injected(self.live(), "chat")


def _is_settled(live: Manifest) -> bool:
    reasons = {condition["reason"] for condition in live["status"].get("conditions", [])}
    seen = live["status"].get("observedGeneration") == live["metadata"]["generation"]
    return seen and "NewReplicaSetAvailable" in reasons


@contextlib.asynccontextmanager
async def connected(cluster: clusters.Cluster) -> AsyncIterator[client.Kube]:
    """Open the operator's own door to the API server."""
    configuration = kubernetes_client.Configuration()
    await kubernetes_config.load_kube_config(str(cluster.kubectl.kubeconfig), client_configuration=configuration)
    async with kubernetes_client.ApiClient(configuration) as api_client:
        yield client.Kube(dynamic.DynamicClient(api_client))


def a_workload(**container: Any) -> Manifest:
    """The user's manifest. It has no pods: what these tests ask is the API server's to answer."""
    manifest = copy.deepcopy(stores.a_gateway(claim=None, replicas=0))
    manifest["spec"]["template"]["spec"]["containers"][0].update(container)
    return manifest


def with_variable(name: str, value: str) -> Manifest:
    container = a_workload()["spec"]["template"]["spec"]["containers"][0]
    return a_workload(env=[*container["env"], {"name": name, "value": value}])


@dataclass(frozen=True)
class Helm:
    """A chart of one template, the user's manifest."""

    bench: Bench
    directory: pathlib.Path

    def __call__(self, manifest: Manifest, *flags: str) -> None:
        (self.directory / "templates").mkdir(exist_ok=True)
        (self.directory / "Chart.yaml").write_text("apiVersion: v2\nname: gateway\nversion: 0.1.0\n")
        (self.directory / "templates" / "gateway.yaml").write_text(json.dumps(manifest))
        self.run("upgrade", "--install", "gateway", str(self.directory), *flags)

    def run(self, *arguments: str) -> None:
        self.bench.scene.cluster.helm(*arguments, "--namespace", self.bench.scene.namespace)
