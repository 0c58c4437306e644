"""What is added to a pod template, and how it is recognised again.

What merging makes of it is the API server's to say: tests/kind/test_injection.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from sessionstore.gateways import binding, injection

from .workloads import (
    a_container,
    a_gateway,
    a_pod,
    a_store,
    a_workload,
    in_container,
    injected,
    item,
    managed,
    with_managed,
)

HASH = "0123456789abcdef"
OURS = "sessionstore.dev/chat"
ROOT = {"name": "SERVICE_BINDING_ROOT", "value": "/platform/bindings"}


def made(workload: dict[str, Any], store: Any = None, config_hash: str = HASH) -> injection.Injection:
    store = store or a_store()
    found = injection.make_injection(store, store.spec.gateways[0], workload, config_hash)
    assert isinstance(found, injection.Injection), found
    return found


def added_container(found: injection.Injection) -> dict[str, Any]:
    (container,) = found.patch["spec"]["template"]["spec"]["containers"]
    return dict(container)


def test_an_injection_is_exactly_these_parts() -> None:
    keys = ["type", "provider", "host", "port", "username", "password", "uri", "database", "keyspace"]
    items = [{"key": "session_storage.yaml", "path": "session_storage.yaml"}]
    items += [{"key": key, "path": f"bindings/chat/{key}"} for key in keys]
    source = {"secret": {"name": "chat-openclaw-binding", "items": items}}

    assert made(a_workload()).patch == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "openclaw",
            "namespace": "openclaw",
            "uid": "uid-of-openclaw",
            "labels": {"sessionstore.dev/store": "chat"},
        },
        "spec": {
            "template": {
                "metadata": {"annotations": {"sessionstore.dev/config-hash": HASH}},
                "spec": {
                    "containers": [
                        {
                            "name": "gateway",
                            "env": [
                                {
                                    "name": "SESSION_STORAGE_CONFIG",
                                    "value": "/etc/session-storage/session_storage.yaml",
                                },
                                {"name": "SERVICE_BINDING_ROOT", "value": "/etc/session-storage/bindings"},
                            ],
                            "volumeMounts": [
                                {"name": "session-storage", "mountPath": "/etc/session-storage", "readOnly": True}
                            ],
                        }
                    ],
                    "volumes": [{"name": "session-storage", "projected": {"defaultMode": 0o444, "sources": [source]}}],
                },
            }
        },
    }


def test_only_the_named_container_is_given_the_files() -> None:
    workload = a_workload(a_container("proxy"), a_container("gateway"))

    found = made(workload, a_store(a_gateway(container="gateway")))

    assert (found.container, added_container(found)["name"]) == ("gateway", "gateway")


def test_an_injection_into_what_is_injected_is_the_same_again() -> None:
    workload = a_workload()
    first = made(workload)
    env = ("f:env", item(name="SERVICE_BINDING_ROOT"), "f:value")

    again = made(with_managed(injected(workload, first), managed(OURS, in_container(*env))))

    assert again.patch == first.patch


ROOT_VALUE = ("f:env", item(name="SERVICE_BINDING_ROOT"), "f:value")


@pytest.mark.parametrize(
    ("owners", "is_skipped"),
    [
        pytest.param([managed(OURS, in_container(*ROOT_VALUE))], False, id="ours"),
        pytest.param(
            [managed(OURS, in_container(*ROOT_VALUE)), managed("kubectl", in_container(*ROOT_VALUE))],
            False,
            id="ours and theirs",
        ),
        pytest.param([managed("kubectl", in_container(*ROOT_VALUE))], True, id="theirs"),
        pytest.param(
            [
                managed(OURS, in_container("f:env", item(name="SERVICE_BINDING_ROOT"), "f:name")),
                managed("kubectl", in_container(*ROOT_VALUE)),
            ],
            True,
            id="ours until they gave it another value",
        ),
        pytest.param([], True, id="written before anyone kept account"),
    ],
)
def test_a_root_that_the_user_has_set_is_left_alone(owners: list[dict[str, Any]], is_skipped: bool) -> None:
    workload = with_managed(a_workload(a_container(env=[ROOT])), *owners)

    found = made(workload)

    names = [variable["name"] for variable in added_container(found)["env"]]
    assert (found.skipped, "SERVICE_BINDING_ROOT" not in names) == (
        (("SERVICE_BINDING_ROOT",) if is_skipped else ()),
        is_skipped,
    )
    assert "SESSION_STORAGE_CONFIG" in names


def test_a_release_names_the_object_that_was_read_and_nothing_else() -> None:
    metadata = {"name": "openclaw", "namespace": "openclaw", "uid": "uid-of-openclaw"}

    body = injection.make_release("chat", injected(a_workload(), made(a_workload())))

    assert body == {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}


def stripped(workload: dict[str, Any], part: str) -> dict[str, Any]:
    pods = workload["spec"]["template"]["spec"]
    if part == "volume":
        pods["volumes"] = [volume for volume in pods["volumes"] if volume["name"] != "session-storage"]
    for container in pods["containers"]:
        if part == "mount":
            container["volumeMounts"] = [mount for mount in container["volumeMounts"] if mount["name"] == "home"]
        if part == "variable":
            container["env"] = []
    return workload


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        pytest.param("nothing", True, id="in sync"),
        pytest.param("volume", False, id="volume gone"),
        pytest.param("mount", False, id="mount gone"),
        pytest.param("variable", False, id="variable gone"),
    ],
)
def test_a_workload_is_injected_while_it_has_every_part(part: str, expected: bool) -> None:
    workload = stripped(injected(a_workload(), made(a_workload())), part)

    assert injection.is_injected(workload, "chat") is expected


def test_a_workload_of_another_store_is_not_injected() -> None:
    store = a_store(name="chat-2")
    workload = injected(a_workload(), made(a_workload(), store))

    assert (injection.is_injected(workload, "chat"), injection.is_injected(workload, "chat-2")) == (False, True)


def test_a_pod_is_injected_with_the_hash_it_was_started_with() -> None:
    pod = a_pod(injected(a_workload(), made(a_workload())))

    assert injection.pod_is_injected(pod, "chat", HASH)
    assert not injection.pod_is_injected(pod, "chat", "another")
    assert not injection.pod_is_injected(pod, "other", HASH)


def test_a_pod_without_our_files_writes_to_its_own_volume() -> None:
    assert not injection.mounts_binding(a_pod(a_workload()))
    assert injection.mounts_binding(a_pod(injected(a_workload(), made(a_workload()))))


LABEL = ("f:metadata", "f:labels", "f:sessionstore.dev/store")
VOLUME = ("f:spec", "f:template", "f:spec", "f:volumes", item(name="session-storage"))
MOUNT = in_container("f:volumeMounts", item(mountPath="/etc/session-storage"))


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        pytest.param([managed(OURS, LABEL, VOLUME, MOUNT)], (), id="ours alone"),
        pytest.param(
            [managed(OURS, LABEL, VOLUME, MOUNT), managed("kubectl", LABEL, VOLUME, MOUNT)], (), id="still ours too"
        ),
        pytest.param([managed("kubectl", LABEL, VOLUME, MOUNT)], ("kubectl",), id="an export that was applied"),
        pytest.param(
            [managed("argocd", MOUNT), managed("kubectl", LABEL, VOLUME)], ("argocd", "kubectl"), id="two of them"
        ),
    ],
)
def test_leftovers_are_named_by_who_keeps_them(owners: list[dict[str, Any]], expected: tuple[str, ...]) -> None:
    workload = with_managed(injected(a_workload(), made(a_workload())), *owners)

    assert injection.leftovers(workload, "chat") == expected


def test_nothing_is_left_over_in_a_workload_without_our_parts() -> None:
    workload = with_managed(a_workload(), managed("kubectl", ("f:spec", "f:replicas")))

    assert injection.leftovers(workload, "chat") == ()


def test_a_release_has_something_to_take_while_our_manager_owns_a_part() -> None:
    assert injection.holds_parts(with_managed(a_workload(), managed(OURS, LABEL)), "chat")
    assert not injection.holds_parts(with_managed(a_workload(), managed("kubectl", LABEL)), "chat")


def test_the_mounted_paths_are_those_that_the_rendered_configuration_names() -> None:
    found = made(a_workload()).patch["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"][0]
    paths = {f"/etc/session-storage/{entry['path']}" for entry in found["secret"]["items"]}

    assert {f"{binding.bindings_path('chat')}/username", f"{binding.bindings_path('chat')}/password"} <= paths
