"""Why a workload is left alone: each reason, the words a person reads, and which comes first."""

from __future__ import annotations

from typing import Any

import pytest

from sessionstore.gateways import injection

from .workloads import a_container, a_gateway, a_store, a_workload, in_container, item, managed, with_managed

OURS = "sessionstore.dev/chat"
CONTROLLER = {
    "apiVersion": "openclaw.rocks/v1",
    "kind": "OpenClawInstance",
    "name": "mine",
    "uid": "u",
    "controller": True,
}
OWNER = {**CONTROLLER, "controller": False}
VARIABLE = in_container("f:env", item(name="SESSION_STORAGE_CONFIG"), "f:value")
MOUNT = in_container("f:volumeMounts", item(mountPath="/etc/session-storage"))
VOLUME = ("f:spec", "f:template", "f:spec", "f:volumes", item(name="session-storage"))


def labelled(workload: dict[str, Any], store: str) -> dict[str, Any]:
    workload["metadata"]["labels"]["sessionstore.dev/store"] = store
    return workload


def owned_by(reference: dict[str, Any], workload: dict[str, Any] | None = None) -> dict[str, Any]:
    workload = workload or a_workload()
    workload["metadata"]["ownerReferences"] = [reference]
    return workload


def with_volume(kind: str) -> dict[str, Any]:
    workload = a_workload()
    workload["spec"]["template"]["spec"]["volumes"].append({"name": "session-storage", kind: {}})
    return workload


def with_variable(**value: Any) -> dict[str, Any]:
    return a_workload(a_container(env=[{"name": "SESSION_STORAGE_CONFIG", **value}]))


def with_mount(path: str) -> dict[str, Any]:
    return a_workload(a_container(volumeMounts=[{"name": "mine", "mountPath": path}]))


def outcome(workload: dict[str, Any], **gateway: Any) -> injection.Injection | injection.Refusal:
    store = a_store(a_gateway(**gateway))
    return injection.make_injection(store, store.spec.gateways[0], workload, "hash")


@pytest.mark.parametrize(
    ("workload", "gateway"),
    [
        pytest.param(a_workload(), {}, id="the only container"),
        pytest.param(a_workload(), {"container": "gateway"}, id="the named container"),
        pytest.param(a_workload(kind="StatefulSet"), {}, id="a StatefulSet"),
        pytest.param(owned_by(OWNER), {}, id="an owner that does not control"),
        pytest.param(labelled(a_workload(), "chat"), {}, id="our own label"),
        pytest.param(with_managed(a_workload(), managed(OURS, VARIABLE)), {}, id="our own manager"),
        pytest.param(
            with_managed(a_workload(), managed("sessionstore.dev/other")),
            {},
            id="a manager that has let go of everything",
        ),
        pytest.param(
            with_variable(value="/etc/session-storage/session_storage.yaml"), {}, id="our own value, by the user"
        ),
        pytest.param(with_mount("/etc/session-storage-2"), {}, id="a path beside ours"),
    ],
)
def test_an_ordinary_workload_is_injected(workload: dict[str, Any], gateway: dict[str, Any]) -> None:
    assert isinstance(outcome(workload, **gateway), injection.Injection)


@pytest.mark.parametrize(
    ("workload", "gateway", "reason", "message"),
    [
        pytest.param(
            a_workload(a_container("proxy"), a_container("agent")),
            {"container": "gateway"},
            "ContainerNotFound",
            "Deployment 'openclaw' has no container 'gateway'; it has: proxy, agent. Correct gateways[].container",
            id="renamed container",
        ),
        pytest.param(
            a_workload(a_container("proxy"), a_container("agent")),
            {},
            "ContainerNotFound",
            "Deployment 'openclaw' has several containers (proxy, agent); name one in gateways[].container",
            id="several containers and none named",
        ),
        pytest.param(
            labelled(a_workload(), "support"),
            {},
            "GatewayTaken",
            "Deployment 'openclaw' is bound to SessionStore 'support'; remove the gateway from one of the two",
            id="label of another store",
        ),
        pytest.param(
            with_managed(a_workload(), managed("sessionstore.dev/support", VARIABLE)),
            {},
            "GatewayTaken",
            "Deployment 'openclaw' is bound to SessionStore 'support'; remove the gateway from one of the two",
            id="manager of another store",
        ),
        pytest.param(
            owned_by(CONTROLLER),
            {},
            "ControlledByOwner",
            "OpenClawInstance 'mine' (openclaw.rocks/v1) owns Deployment 'openclaw' and would undo an injection; "
            "bind the workload there",
            id="controlled by an owner",
        ),
        pytest.param(
            with_managed(with_variable(value="/mine.yaml"), managed("helm", VARIABLE)),
            {},
            "FieldConflict",
            "Deployment 'openclaw' has a variable SESSION_STORAGE_CONFIG of container 'gateway', set by 'helm'; "
            "remove it there, or this gateway here",
            id="variable set by another",
        ),
        pytest.param(
            with_variable(valueFrom={"configMapKeyRef": {"name": "mine", "key": "path"}}),
            {},
            "FieldConflict",
            "Deployment 'openclaw' has a variable SESSION_STORAGE_CONFIG of container 'gateway', set by its manifest; "
            "remove it there, or this gateway here",
            id="variable from elsewhere",
        ),
        pytest.param(
            with_managed(with_mount("/etc/session-storage"), managed("kubectl-client-side-apply", MOUNT)),
            {},
            "FieldConflict",
            "Deployment 'openclaw' has a mount 'mine' at /etc/session-storage in container 'gateway', set by "
            "'kubectl-client-side-apply'; remove it there, or this gateway here",
            id="path taken",
        ),
        pytest.param(
            with_mount("/etc/session-storage/"),
            {},
            "FieldConflict",
            "Deployment 'openclaw' has a mount 'mine' at /etc/session-storage/ in container 'gateway', set by its "
            "manifest; remove it there, or this gateway here",
            id="path taken, written with a slash",
        ),
        pytest.param(
            with_managed(with_volume("emptyDir"), managed("helm", VOLUME)),
            {},
            "FieldConflict",
            "Deployment 'openclaw' has a volume 'session-storage', set by 'helm'; remove it there, "
            "or this gateway here",
            id="volume name taken",
        ),
    ],
)
def test_a_workload_is_refused(workload: dict[str, Any], gateway: dict[str, Any], reason: str, message: str) -> None:
    found = outcome(workload, **gateway)

    assert isinstance(found, injection.Refusal)
    assert (found.reason, found.message) == (reason, message)


def test_an_owner_is_told_before_anything_that_it_could_undo() -> None:
    workload = owned_by(CONTROLLER, labelled(a_workload(a_container("a"), a_container("b")), "support"))

    found = outcome(workload)

    assert isinstance(found, injection.Refusal)
    assert found.reason == "ControlledByOwner"
