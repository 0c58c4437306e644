"""The operator itself: killed, doubled, absent. It is installed once; these tests stop it and start it again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from tests.cluster import chart
from tests.cluster import cluster as clusters

from . import stores

DEPLOYMENT = "deployment/sessionstore"
LEASE = "sessionstore-operator"


@pytest.fixture
def house(cluster: clusters.Cluster, operator_chart: chart.Release) -> Iterator[stores.Scene]:
    """The operator's own namespace; whatever a test did, two replicas run after it."""
    home = stores.Scene(cluster, operator_chart.namespace)
    yield home
    _scale(home, 2)


def _scale(house: stores.Scene, replicas: int) -> None:
    house.kubectl("scale", DEPLOYMENT, f"--replicas={replicas}")
    house.kubectl("rollout", "status", DEPLOYMENT, "--timeout=120s")
    house.wait(lambda: len(_pods(house)) == replicas, f"{replicas} replicas")


def _pods(house: stores.Scene) -> list[str]:
    return [pod["metadata"]["name"] for pod in house.list("pods", "-l", "app.kubernetes.io/name=sessionstore-operator")]


def _leader(house: stores.Scene) -> str:
    return str(house.get("lease", LEASE)["spec"].get("holderIdentity") or "")


def _kill(house: stores.Scene, pod: str) -> None:
    """End a process at once, as a lost node would: no signal handler runs, the Lease is not given up."""
    house.kubectl("delete", "pod", pod, "--grace-period=0", "--force")


def test_when_the_leader_is_killed_the_other_takes_over_within_20_s(scene: stores.Scene, house: stores.Scene) -> None:
    house.wait(lambda: _leader(house) in _pods(house), "a leader")
    leader = _leader(house)

    _kill(house, leader)

    # The bound is a promise (docs/must-show.md), not a measure of this machine: the Lease runs out after 15 s.
    taken = house.wait(
        lambda: _leader(house) not in ("", leader) and _leader(house), "the other to lead", deadline_s=20
    )
    assert taken in _pods(house)
    scene.apply(stores.a_store())
    scene.wait_ready()


def test_a_leader_that_stops_in_order_hands_over(scene: stores.Scene, house: stores.Scene) -> None:
    house.wait(lambda: _leader(house) in _pods(house), "a leader")
    leader = _leader(house)

    house.kubectl("delete", "pod", leader)

    house.wait(lambda: _leader(house) not in ("", leader), "another leader")
    scene.apply(stores.a_store())
    scene.wait_ready()


def test_killed_at_random_moments_a_store_still_comes_up(
    scene: stores.Scene, house: stores.Scene, count: Callable[[int, int], int]
) -> None:
    rng = random.Random(4)
    for round_number in range(count(4, 20)):
        name = f"chat-{round_number}"
        scene.apply(stores.a_store(name))
        # The moment is chosen by progress, not by a clock: after so many of the children have appeared.
        wanted = rng.randrange(0, 8)
        scene.wait(lambda wanted=wanted, name=name: _children(scene, name) >= wanted, f"{wanted} children of {name}")
        for pod in _pods(house):
            _kill(house, pod)
        scene.wait_ready(name, deadline_s=180)
        scene.kubectl("delete", "sst", name)


def _children(scene: stores.Scene, name: str) -> int:
    selector = f"sessionstore.dev/store={name}"
    return sum(
        len(scene.list(kind, "-l", selector))
        for kind in ("secret", "configmap", "service", "serviceaccount", "statefulset", "pdb")
    )


def test_without_the_operator_a_store_and_its_gateways_go_on_and_a_namespace_goes(
    scene: stores.Scene, house: stores.Scene
) -> None:
    scene.apply(stores.a_gateway(claim=None), stores.a_bound_store(mode=None))
    scene.wait_ready()
    pod = scene.wait_gateways(1)[0]

    _scale(house, 0)

    answer = scene.call(pod, "POST", "/v1/sessions/agent%3Amain%3Amain/turns", {"text": "are you there?"})
    assert answer["backend"] == "redis"
    scene.cluster.kubectl("delete", "namespace", scene.namespace, "--timeout=60s")
    assert scene.cluster.kubectl.find("namespace", scene.namespace) is None


def test_what_a_store_left_in_a_workload_while_no_operator_ran_is_taken_out_later(
    scene: stores.Scene, house: stores.Scene
) -> None:
    scene.apply(stores.a_gateway(claim=None))
    before = scene.get("deployment", "openclaw")["spec"]["template"]
    scene.apply(stores.a_bound_store(mode=None))
    scene.wait_ready()
    assert scene.get("deployment", "openclaw")["spec"]["template"] != before
    _scale(house, 0)
    scene.kubectl("delete", "sst", "chat")

    _scale(house, 2)

    scene.wait(lambda: scene.get("deployment", "openclaw")["spec"]["template"] == before, "our parts to be taken out")
    assert "sessionstore.dev/store" not in scene.get("deployment", "openclaw")["metadata"].get("labels", {})
