"""Injection on a real API server: what merging makes of it, for workloads made in every way that people make them.

The store of these tests is suspended, so the operator watches and touches nothing: each apply here is the test's
own, of exactly the body that the operator would send. docs/design/0003-injection.md lists the cases.
"""

from __future__ import annotations

import copy
import datetime
import json
import pathlib
from collections.abc import AsyncIterator, Callable

import pytest

from sessionstore import errors
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.engines.redis import standalone
from sessionstore.gateways import binding, fence, injection, ownership
from sessionstore.kube import client
from tests.cluster import cluster as clusters
from tests.cluster import command, images
from tests.kind import stores, workbench
from tests.kind.workbench import GATEWAY, HASH, MANAGER, Bench, Helm, Manifest, a_workload, with_variable


@pytest.fixture
async def kube(cluster: clusters.Cluster) -> AsyncIterator[client.Kube]:
    async with workbench.connected(cluster) as opened:
        yield opened


@pytest.fixture
def bench(scene: stores.Scene, kube: client.Kube) -> Bench:
    scene.apply(stores.a_store(suspend=True, gateways=[GATEWAY]))
    return Bench(scene, api.SessionStore.model_validate(scene.store()), kube)


# -- the ways in which people make workloads --------------------------------------------------------


Deploy = Callable[[Manifest], None]


@pytest.fixture
def helm(bench: Bench, tmp_path: pathlib.Path) -> Helm:
    return Helm(bench, tmp_path)


@pytest.fixture(params=["kubectl apply", "kubectl apply --server-side", "helm"])
def deploy(request: pytest.FixtureRequest, bench: Bench) -> Deploy:
    if request.param == "helm":
        return Helm(bench, request.getfixturevalue("tmp_path"))
    return lambda manifest: bench.scene.apply(manifest, server_side="server" in request.param)


async def test_our_parts_survive_when_the_user_deploys_again(bench: Bench, deploy: Deploy) -> None:
    deploy(a_workload())
    injected = await bench.inject()

    deploy(a_workload())
    again = bench.live()
    deploy(with_variable("LOG_LEVEL", "debug"))

    assert again["metadata"]["generation"] == injected["metadata"]["generation"]
    assert bench.live()["metadata"]["generation"] > injected["metadata"]["generation"]
    assert bench.is_injected()


async def test_three_applies_of_ours_are_one_resource_version(bench: Bench, deploy: Deploy) -> None:
    deploy(a_workload())
    await bench.inject()
    bench.settle()

    versions = {(await bench.inject())["metadata"]["resourceVersion"] for _ in range(3)}

    assert len(versions) == 1


async def test_a_release_takes_exactly_our_parts(bench: Bench, deploy: Deploy) -> None:
    deploy(a_workload())
    before = bench.live()
    await bench.inject()
    # Whatever else is edited meanwhile stays, and does not make our parts anyone else's.
    bench.scene.kubectl("set", "image", "deployment/openclaw", "*=example.org/openclaw:2")

    await bench.release()

    after = bench.live()
    expected = copy.deepcopy(before["spec"]["template"])
    expected["spec"]["containers"][0]["image"] = "example.org/openclaw:2"
    assert after["spec"]["template"] == expected
    assert after["metadata"].get("labels") == before["metadata"].get("labels")
    assert MANAGER not in {entry["manager"] for entry in after["metadata"]["managedFields"]}
    assert injection.leftovers(after, "chat") == ()


async def test_our_parts_survive_a_helm_rollback(bench: Bench, helm: Helm) -> None:
    helm(a_workload())
    await bench.inject()
    helm(with_variable("LOG_LEVEL", "debug"))

    helm.run("rollback", "gateway", "1")

    assert "LOG_LEVEL" not in json.dumps(bench.template())
    assert bench.is_injected()


# -- what strips us, and what keeps us --------------------------------------------------------------


def _undo(bench: Bench, helm: Helm) -> None:
    del helm
    scene = bench.scene
    scene.wait(lambda: len(scene.list("replicasets")) == 2, "a revision before the injection and one after")
    scene.kubectl("rollout", "undo", "deployment/openclaw")


STRIPPERS = {
    "kubectl replace": lambda bench, helm: bench.replace(a_workload()),
    "kubectl rollout undo": _undo,
    "helm upgrade --force": lambda bench, helm: helm(a_workload(), "--force"),
}


@pytest.mark.parametrize("strip", STRIPPERS.values(), ids=STRIPPERS.keys())
async def test_what_strips_our_parts_is_seen_and_mended_by_the_next_apply(
    bench: Bench, helm: Helm, strip: Callable[[Bench, Helm], None]
) -> None:
    helm(a_workload())
    scene = bench.scene
    scene.wait(lambda: len(scene.list("replicasets")) == 1, "the first revision")
    await bench.inject()

    strip(bench, helm)

    assert not bench.is_injected()
    await bench.inject()
    assert bench.is_injected()


async def test_a_user_who_applies_an_export_keeps_our_parts_and_is_named(bench: Bench) -> None:
    bench.scene.apply(a_workload())
    await bench.inject()
    exported = bench.live()
    exported["metadata"] = {key: exported["metadata"][key] for key in ("name", "namespace", "labels")}
    bench.scene.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--field-manager=export", "-f", "-"),
        input=json.dumps(exported),
    )
    assert injection.leftovers(bench.live(), "chat") == ()

    await bench.release()

    assert bench.is_injected()
    assert injection.leftovers(bench.live(), "chat") == ("export",)
    assert not injection.holds_parts(bench.live(), "chat")


# -- what must not be applied -----------------------------------------------------------------------


async def test_an_apply_with_a_uid_creates_nothing_in_place_of_what_is_gone(bench: Bench) -> None:
    bench.scene.apply(a_workload())
    made = bench.making()
    bench.scene.kubectl("delete", "deployment", "openclaw")

    with pytest.raises(errors.KubeError, match="uid mismatch"):
        await bench.send(made.patch)

    assert bench.scene.get("deployment", "openclaw") is None


async def test_a_container_that_is_not_there_is_refused_by_us_since_the_server_would_even_when_forced(
    bench: Bench,
) -> None:
    bench.scene.apply(a_workload())
    made = bench.making()
    bench.replace(a_workload(name="agent"))

    refusal = bench.make()
    with pytest.raises(errors.Invalid, match="image: Required value"):
        await bench.send(made.patch, force=True)

    assert isinstance(refusal, injection.Refusal)
    assert refusal.reason == "ContainerNotFound"
    assert "has no container 'gateway'; it has: agent" in refusal.message


async def test_a_container_is_renamed_after_the_gateway_was_released(bench: Bench) -> None:
    bench.scene.apply(a_workload(), server_side=True)
    await bench.inject()
    renamed = a_workload(name="agent")
    with pytest.raises(command.CommandError) as caught:
        bench.scene.apply(renamed, server_side=True)
    assert "image: Required value" in caught.value.stderr

    await bench.release()
    bench.scene.apply(renamed, server_side=True)

    assert [container["name"] for container in bench.template()["spec"]["containers"]] == ["agent"]


async def test_a_root_that_the_user_set_stays_and_would_have_refused_the_whole_apply(bench: Bench) -> None:
    bench.scene.apply(a_workload())
    unaware = bench.making()
    bench.scene.apply(with_variable("SERVICE_BINDING_ROOT", "/platform/bindings"))

    with pytest.raises(errors.Conflicted) as caught:
        await bench.send(unaware.patch)
    await bench.inject()

    path = '.spec.template.spec.containers[name="gateway"].env[name="SERVICE_BINDING_ROOT"].value'
    assert caught.value.managers == {"kubectl-client-side-apply": (path,)}
    env = {variable["name"]: variable["value"] for variable in bench.template()["spec"]["containers"][0]["env"]}
    assert env["SERVICE_BINDING_ROOT"] == "/platform/bindings"
    assert env["SESSION_STORAGE_CONFIG"] == "/etc/session-storage/session_storage.yaml"


TAKEN = {
    "a path": (
        a_workload(volumeMounts=[{"name": "home", "mountPath": "/etc/session-storage"}]),
        "mount 'home' at /etc/session-storage",
    ),
    "the variable": (with_variable("SESSION_STORAGE_CONFIG", "/mine.yaml"), "variable SESSION_STORAGE_CONFIG"),
}


@pytest.mark.parametrize(("manifest", "words"), TAKEN.values(), ids=TAKEN.keys())
async def test_what_the_user_has_is_a_conflict_that_names_him(bench: Bench, manifest: Manifest, words: str) -> None:
    bench.scene.apply(a_workload())
    unaware = bench.making()
    bench.scene.apply(manifest)

    refusal = bench.make()
    with pytest.raises(errors.Conflicted) as caught:
        await bench.send(unaware.patch)

    assert isinstance(refusal, injection.Refusal)
    assert refusal.reason == "FieldConflict"
    assert words in refusal.message
    assert "'kubectl-client-side-apply'" in refusal.message
    assert "kubectl-client-side-apply" in caught.value.managers


async def test_a_second_store_waits_until_the_first_has_let_go(bench: Bench) -> None:
    bench.scene.apply(a_workload())
    other = api.SessionStore.model_validate({**stores.a_store("other", gateways=[GATEWAY]), "status": {}})
    await bench.inject()

    taken = bench.make(other)
    await bench.release()

    assert isinstance(taken, injection.Refusal)
    assert (taken.reason, "SessionStore 'chat'" in taken.message) == ("GatewayTaken", True)
    assert isinstance(bench.make(other), injection.Injection)


# -- pods -------------------------------------------------------------------------------------------


async def test_a_user_without_an_fsgroup_reads_every_file(bench: Bench) -> None:
    manifest = a_workload(image=images.OPERATOR.reference, command=["sleep", "600"], readinessProbe=None)
    del manifest["spec"]["template"]["spec"]["securityContext"]["fsGroup"]
    passwords = dict.fromkeys(standalone.RedisEngine().user_names(bench.store), "secret-word")
    bench.scene.apply(*binding.make_binding_secrets(bench.store, standalone.RedisEngine(), passwords))
    bench.scene.apply({**manifest, "spec": {**manifest["spec"], "replicas": 1}})
    await bench.inject()

    pod = bench.scene.wait(lambda: _started_with_ours(bench), "a pod with our files")
    files = bench.scene.in_pod(pod, "find", "-L", "/etc/session-storage", "-type", "f", "-not", "-path", "*/..*")
    password = bench.scene.in_pod(pod, "cat", f"{binding.bindings_path('chat')}/password")
    seen = bench.scene.in_pod(pod, "cat", *(line for line in files.split()))

    keys = {f"{binding.bindings_path('chat')}/{key}" for key in binding.KEYS}
    assert set(files.split()) == {"/etc/session-storage/session_storage.yaml", *keys}
    assert password == "secret-word"
    assert "redis_host: chat-redis." in seen


def _started_with_ours(bench: Bench) -> str | None:
    pods = [
        pod for pod in bench.scene.list("pods", "-l", "app=openclaw") if injection.pod_is_injected(pod, "chat", HASH)
    ]
    running = [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"]
    return running[0] if running else None


# -- the fence's means ------------------------------------------------------------------------------

WANTED = {
    "replicas": {"spec": {"replicas": 5}},
    "strategy": {"spec": {"strategy": {"type": "Recreate"}}},
    "grace period": {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 60}}}},
}


@pytest.mark.parametrize("part", WANTED.values(), ids=WANTED.keys())
async def test_an_unforced_apply_cannot_change_what_the_user_wrote_or_left_to_defaults(
    bench: Bench, part: Manifest
) -> None:
    manifest = a_workload()
    del manifest["spec"]["strategy"], manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    bench.scene.apply(manifest)

    with pytest.raises(errors.Conflicted) as caught:
        await bench.send({**injection.make_release("chat", bench.live()), **part})

    assert "kubectl-client-side-apply" in caught.value.managers


async def test_the_scale_subresource_holds_at_zero_and_gives_back_without_a_trace(bench: Bench) -> None:
    bench.scene.apply(a_workload())
    bench.scene.kubectl("scale", "deployment/openclaw", "--replicas=2")
    mark = fence.Fence.of(bench.live(), bench.store, source="old-home", now=datetime.datetime.now(datetime.UTC))

    await _patch(bench, fence.put_up(mark))
    await _patch(bench, {"spec": {"replicas": 0}}, subresource="scale")
    held = bench.live()
    await _patch(bench, {"spec": {"replicas": mark.replicas}}, subresource="scale")
    await _patch(bench, fence.take_down())

    assert (fence.read_fence(held), fence.replicas_of(held)) == (mark, 0)
    given_back = bench.live()
    assert (fence.read_fence(given_back), fence.replicas_of(given_back)) == (None, 2)
    assert "sessionstore-operator" not in ownership.owners(given_back, "spec", "replicas")


async def test_an_autoscaler_rests_while_the_fence_holds_and_comes_back(bench: Bench) -> None:
    bench.scene.apply(a_workload())
    bench.scene.kubectl("autoscale", "deployment/openclaw", "--min=2", "--max=3", "--cpu-percent=70")

    disabled = bench.scene.wait(lambda: _autoscaler(bench, "ScalingActive", "ScalingDisabled"), "it to rest")
    await _patch(bench, {"spec": {"replicas": 1}}, subresource="scale")

    assert disabled["message"].endswith("scaling is disabled since the replica count of the target is zero")
    bench.scene.wait(lambda: fence.replicas_of(bench.live()) == 2, "it to take over again")


def _autoscaler(bench: Bench, kind: str, reason: str) -> Manifest | None:
    found = bench.scene.get("hpa", "openclaw") or {}
    conditions = found.get("status", {}).get("conditions", [])
    return next((c for c in conditions if (c["type"], c["reason"]) == (kind, reason)), None)


async def _patch(bench: Bench, patch: Manifest, subresource: str | None = None) -> None:
    await bench.kube.patch(bench.live(), patch, manager="sessionstore-operator", subresource=subresource)
