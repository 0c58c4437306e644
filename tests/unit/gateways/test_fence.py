"""The fence's mark survives what it must, and a workload's claims are known even while it is at 0."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from sessionstore.gateways import fence

from .workloads import a_container, a_gateway, a_store, a_workload

NOW = datetime.datetime(2026, 11, 21, 12, 30, 5, 999, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))


def marked(workload: dict[str, Any], text: str) -> dict[str, Any]:
    workload["metadata"]["annotations"] = {fence.ANNOTATION: text}
    return workload


def fenced(workload: dict[str, Any]) -> dict[str, Any]:
    """The workload as it is behind a fence: marked, and at 0."""
    mark = fence.Fence.of(workload, a_store(), source="old-home", now=NOW)
    found = marked(workload, fence.put_up(mark)["metadata"]["annotations"][fence.ANNOTATION])
    found["spec"]["replicas"] = 0
    return found


def a_stateful_set(**spec: Any) -> dict[str, Any]:
    workload = a_workload(kind="StatefulSet", volumeClaimTemplates=[{"metadata": {"name": "data"}}], **spec)
    workload["spec"]["template"]["spec"]["volumes"] = []
    return workload


def test_a_mark_that_was_put_up_is_read_back() -> None:
    workload = fenced(a_workload(replicas=3))

    assert fence.read_fence(workload) == fence.Fence(
        replicas=3, at="2026-11-21T10:30:05Z", store_name="chat", store_uid="uid-of-chat", source="old-home"
    )


def test_taking_a_mark_down_removes_this_annotation_alone() -> None:
    assert fence.take_down() == {"metadata": {"annotations": {"sessionstore.dev/fence": None}}}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="not JSON"),
        pytest.param("3", id="not an object"),
        pytest.param('{"replicas":3}', id="fields missing"),
        pytest.param('{"replicas":"3","at":"","store_name":"","store_uid":"","source":""}', id="replicas as text"),
        pytest.param('{"replicas":-1,"at":"","store_name":"","store_uid":"","source":""}', id="replicas below 0"),
    ],
)
def test_a_mark_that_nobody_of_ours_has_written_is_none(text: str) -> None:
    assert fence.read_fence(marked(a_workload(), text)) is None


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({"replicas": 2}, 2, id="as written"),
        pytest.param({"replicas": 0}, 0, id="stopped"),
        pytest.param({"replicas": None}, 1, id="not written"),
    ],
)
def test_replicas_are_what_kubernetes_would_run(spec: dict[str, Any], expected: int) -> None:
    assert fence.replicas_of(a_workload(**spec)) == expected


@pytest.mark.parametrize(
    ("workload", "expected"),
    [
        pytest.param(a_workload(), {"openclaw-home-pvc"}, id="Deployment"),
        pytest.param(fenced(a_workload()), {"openclaw-home-pvc"}, id="Deployment, fenced"),
        pytest.param(a_stateful_set(), {"data-openclaw-0"}, id="StatefulSet"),
        pytest.param(a_stateful_set(replicas=2), {"data-openclaw-0", "data-openclaw-1"}, id="StatefulSet of two"),
        pytest.param(a_stateful_set(replicas=0), {"data-openclaw-0"}, id="StatefulSet, stopped"),
        pytest.param(
            fenced(a_stateful_set(replicas=2)), {"data-openclaw-0", "data-openclaw-1"}, id="StatefulSet, fenced"
        ),
        pytest.param(a_stateful_set(ordinals={"start": 5}), {"data-openclaw-5"}, id="StatefulSet, counted from 5"),
    ],
)
def test_the_claims_of_a_workload_are_those_its_pods_mount(workload: dict[str, Any], expected: set[str]) -> None:
    assert fence.claims_of(workload) == expected


def test_the_claims_of_a_pod_are_those_it_names() -> None:
    volumes = [{"name": "a", "persistentVolumeClaim": {"claimName": "one"}}, {"name": "b", "emptyDir": {}}]

    assert fence.claims_of_pod({"volumes": volumes}) == {"one"}
    assert fence.claims_of_pod({}) == frozenset()


@pytest.mark.parametrize(
    ("policy", "kind", "expected"),
    [
        pytest.param({"whenScaled": "Delete"}, "StatefulSet", True, id="Delete"),
        pytest.param({"whenScaled": "Retain"}, "StatefulSet", False, id="Retain"),
        pytest.param({"whenDeleted": "Delete"}, "StatefulSet", False, id="only when deleted"),
        pytest.param(None, "StatefulSet", False, id="not written"),
        pytest.param(None, "Deployment", False, id="Deployment"),
    ],
)
def test_a_workload_that_deletes_its_claims_at_zero_is_known(policy: Any, kind: str, expected: bool) -> None:
    assert fence.would_delete_source(a_workload(kind=kind, persistentVolumeClaimRetentionPolicy=policy)) is expected


def mounting(path: str, **fields: Any) -> dict[str, Any]:
    return a_workload(a_container(volumeMounts=[{"name": "home", "mountPath": path}], **fields))


ELSEWHERE = {"env": [{"name": "OPENCLAW_STATE_DIR", "value": "/state"}]}


@pytest.mark.parametrize(
    ("workload", "expected"),
    [
        pytest.param(mounting("/home/node/.openclaw"), {"openclaw-home-pvc"}, id="the state directory"),
        pytest.param(mounting("/home/node/.openclaw/"), {"openclaw-home-pvc"}, id="written with a slash"),
        pytest.param(mounting("/home/node"), {"openclaw-home-pvc"}, id="a directory that holds it"),
        pytest.param(mounting("/home/node/.openclaw/agents"), {"openclaw-home-pvc"}, id="a part of it"),
        pytest.param(mounting("/home/node/.openclaw-cache"), set(), id="beside it"),
        pytest.param(mounting("/cache"), set(), id="elsewhere"),
        pytest.param(mounting("/state", **ELSEWHERE), {"openclaw-home-pvc"}, id="where the variable says"),
        pytest.param(mounting("/home/node/.openclaw", **ELSEWHERE), set(), id="not where the variable says"),
        pytest.param(
            mounting("/x", env=[{"name": "OPENCLAW_STATE_DIR", "value": "state"}]), set(), id="a relative path"
        ),
        pytest.param(a_workload(a_container("a"), a_container("b")), set(), id="no telling which container"),
    ],
)
def test_the_claims_of_the_state_are_those_mounted_at_the_state_directory(workload: Any, expected: set[str]) -> None:
    (gateway,) = a_store(a_gateway()).spec.gateways

    assert fence.state_claims(workload, gateway) == expected


def seeing(path: str, **mount: Any) -> dict[str, Any]:
    return a_workload(a_container(volumeMounts=[{"name": "home", "mountPath": path, **mount}]))


@pytest.mark.parametrize(
    ("workload", "path", "expected"),
    [
        pytest.param(seeing("/home/node/.openclaw"), "/", "/home/node/.openclaw", id="the volume's root"),
        pytest.param(seeing("/home/node/"), "/.openclaw/", "/home/node/.openclaw", id="a directory in it"),
        pytest.param(seeing("/state", subPath="a/b"), "/a/b/c", "/state/c", id="under a subPath"),
        pytest.param(seeing("/state", subPath="a/b"), "/a", None, id="above a subPath"),
        pytest.param(seeing("/state", subPath="a"), "/ab", None, id="beside a subPath"),
        pytest.param(seeing("/state", subPathExpr="$(POD_NAME)"), "/", None, id="what the kubelet resolves"),
        pytest.param(a_workload(a_container(volumeMounts=[])), "/", None, id="not mounted"),
        pytest.param(a_workload(a_container("a"), a_container("b")), "/", None, id="no telling which container"),
    ],
)
def test_a_path_of_a_claim_is_seen_where_it_is_mounted(workload: Any, path: str, expected: str | None) -> None:
    (gateway,) = a_store(a_gateway()).spec.gateways

    assert fence.place_in_container(workload, gateway, "openclaw-home-pvc", path) == expected
    assert fence.place_in_container(workload, gateway, "another", path) is None
