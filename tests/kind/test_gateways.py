"""Gateways as the operator handles them: bound, reported and let go, by the conditions that a person reads.

One store for all: what differs is the workload. None of them has pods, so nothing is waited for but the operator;
what the API server makes of an injection is tested in test_injection.py, pods and their sessions in test_migration.py.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from sessionstore.gateways import injection
from tests.kind import stores

Manifest = dict[str, Any]


def a_workload(name: str = "openclaw", kind: str = "Deployment", **container: Any) -> Manifest:
    manifest = copy.deepcopy(stores.a_gateway(name, claim=None, replicas=0, kind=kind))
    manifest["spec"]["template"]["spec"]["containers"][0].update(container)
    return manifest


def bound(name: str = "openclaw", kind: str = "Deployment", **fields: Any) -> Manifest:
    return {"name": name, "workloadRef": {"kind": kind, "name": name}, **fields}


def bind(scene: stores.Scene, *gateways: Manifest, store: str = "chat") -> None:
    scene.apply(stores.a_store(store, gateways=list(gateways)))


def live(scene: stores.Scene, what: str = "deployment", name: str = "openclaw") -> Manifest:
    found = scene.get(what, name, "--show-managed-fields")
    assert found is not None
    return dict(found)


def wait_injected(scene: stores.Scene, what: str = "deployment", name: str = "openclaw") -> None:
    scene.wait(lambda: injection.is_injected(live(scene, what, name), "chat"), f"{what} {name} to be injected")


def wait_released(scene: stores.Scene, before: Manifest, what: str = "deployment", name: str = "openclaw") -> None:
    """Wait until a workload is again exactly what the user made."""

    def as_before() -> bool:
        now = live(scene, what, name)
        same = now["spec"]["template"] == before["spec"]["template"]
        return same and now["metadata"].get("labels") == before["metadata"].get("labels")

    scene.wait(as_before, f"our parts of {what} {name} to be taken out")


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_a_gateway_taken_out_of_the_spec_is_as_the_user_made_it(scene: stores.Scene, kind: str) -> None:
    scene.apply(a_workload(kind=kind))
    before = live(scene, kind)
    bind(scene, bound(kind=kind))
    wait_injected(scene, kind)

    bind(scene)

    wait_released(scene, before, kind)
    scene.wait_condition("Injected", "NoGateways")


def test_a_deleted_store_leaves_its_gateways_as_the_user_made_them(scene: stores.Scene) -> None:
    scene.apply(a_workload(), a_workload("support"))
    before = {name: live(scene, name=name) for name in ("openclaw", "support")}
    bind(scene, bound(), bound("support"))
    for name in before:
        wait_injected(scene, name=name)

    scene.kubectl("delete", "sst", "chat")

    for name, workload in before.items():
        wait_released(scene, workload, name=name)


def test_a_gateway_that_lost_our_parts_gets_them_back(scene: stores.Scene) -> None:
    scene.apply(a_workload())
    bind(scene, bound())
    wait_injected(scene)
    scene.wait_condition("Injected", "Injected")

    scene.wait(lambda: _replaced(scene), "a moment without another writer")

    wait_injected(scene)


def _replaced(scene: stores.Scene) -> bool:
    """Replace what is there, as `kubectl replace` does; the server refuses where someone wrote in between."""
    scene.kubectl("replace", "-f", "-", input=json.dumps(a_workload()))
    return True


CONTROLLER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "openclaw-instance", "controller": True}

REFUSALS = {
    "no such workload": ("GatewayNotFound", "there is no Deployment 'openclaw'", None, {}),
    "no such container": (
        "ContainerNotFound",
        "has no container 'agent'; it has: gateway",
        a_workload(),
        {"container": "agent"},
    ),
    "a path that is taken": (
        "FieldConflict",
        "mount 'home' at /etc/session-storage in container 'gateway', set by 'kubectl-client-side-apply'",
        a_workload(volumeMounts=[{"name": "home", "mountPath": "/etc/session-storage"}]),
        {},
    ),
}


@pytest.mark.parametrize(("reason", "words", "workload", "fields"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_gateway_that_cannot_be_injected_is_reported_untouched_and_heals(
    scene: stores.Scene, reason: str, words: str, workload: Manifest | None, fields: Manifest
) -> None:
    if workload is not None:
        scene.apply(workload)

    bind(scene, bound(**fields))

    assert words in scene.wait_condition("Injected", reason)["message"]
    if workload is not None:
        assert not injection.holds_parts(live(scene), "chat")
    scene.apply(a_workload())
    bind(scene, bound())
    wait_injected(scene)
    scene.wait_condition("Injected", "Injected")


def test_a_workload_that_a_controller_owns_is_reported_and_left_alone(scene: stores.Scene) -> None:
    scene.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "openclaw-instance"}})
    uid = scene.get("configmap", "openclaw-instance")["metadata"]["uid"]
    owned = a_workload()
    owned["metadata"]["ownerReferences"] = [{**CONTROLLER, "uid": uid}]
    scene.apply(owned)

    bind(scene, bound())

    found = scene.wait_condition("Injected", "ControlledByOwner")
    assert "ConfigMap 'openclaw-instance' (v1) owns Deployment 'openclaw'" in found["message"]
    assert not injection.holds_parts(live(scene), "chat")


def test_two_stores_do_not_take_turns_on_one_workload(scene: stores.Scene) -> None:
    scene.apply(a_workload())
    bind(scene, bound())
    wait_injected(scene)

    bind(scene, bound(), store="support")

    found = scene.wait_condition("Injected", "GatewayTaken", "support")
    assert "bound to SessionStore 'chat'" in found["message"]
    assert injection.is_injected(live(scene), "chat")
    bind(scene)
    scene.wait(lambda: injection.is_injected(live(scene), "support"), "the second store's turn")


def test_who_keeps_our_parts_after_a_release_is_named(scene: stores.Scene) -> None:
    scene.apply(a_workload())
    bind(scene, bound())
    wait_injected(scene)
    exported = live(scene)
    exported["metadata"] = {key: exported["metadata"][key] for key in ("name", "namespace", "labels")}
    scene.apply(exported, server_side=True)

    bind(scene)

    found = scene.wait_condition("Injected", "LeftBehind")
    assert "sessionstore-tests" in found["message"]
