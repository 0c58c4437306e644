"""The copy that is made while the gateway runs: when it is made, made again, and done without."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sessionstore.apis.v1alpha1 import reasons
from sessionstore.reconcile.store import migration, precopy
from tests.unit.reconcile import world as worlds
from tests.unit.reconcile.world import CLAIM, World

R = reasons.Reason


def test_most_is_copied_before_the_gateway_is_fenced_and_the_rest_behind_it() -> None:
    world = World()

    world.until(migration.Phase.PRE_COPYING, with_job="precopy")

    assert world.replicas == 1 and not world.fenced_ever
    assert "--live" in world.arguments("precopy")[0]
    world.run()
    world.assert_migrated()
    assert world.purposes() == ["plan", "precopy", "copy"]
    assert "--live" not in world.arguments("copy")[0]


@pytest.mark.parametrize(
    ("seconds", "copies"),
    [
        pytest.param(1.0, 1, id="a short one is enough"),
        pytest.param(precopy.LONG_S, 1, id="just short enough"),
        pytest.param(precopy.LONG_S + 1, precopy.MAX_ROUNDS, id="a long one is followed by others, not for ever"),
    ],
)
def test_a_long_one_is_followed_by_another(seconds: float, copies: int) -> None:
    world = World()
    world.seconds["precopy"] = seconds

    world.run()

    world.assert_migrated()
    assert world.purposes().count("precopy") == copies


def test_one_that_fails_is_made_again_and_nothing_is_fenced() -> None:
    world = World()
    world.until(migration.Phase.PRE_COPYING, with_job="precopy")
    world.finish_jobs(worlds.failing("StoreUnavailable", "the store was away"))

    plan = world.one_pass()

    assert plan.phase is migration.Phase.FAILED and "the store was away" in plan.verdict.message
    assert not world.fenced_ever and world.replicas == 1
    world.now += timedelta(seconds=40)
    world.run()
    world.assert_migrated()


def test_what_was_copied_long_ago_is_copied_again_before_the_fence() -> None:
    world = World()
    world.until(migration.Phase.PRE_COPYING, with_job="precopy")
    world.finish_jobs()
    world.waits_for = "second"
    world.one_pass()
    world.now += timedelta(seconds=precopy.FRESH_S + 1)
    assert world.one_pass().step is None, "there is no use in it while another source cannot go"

    world.waits_for = None
    world.run()

    world.assert_migrated()
    assert world.purposes().count("precopy") == 2


@pytest.mark.parametrize("mode", ["Plan", "Rollback", "Finalize"])
def test_calling_the_migration_off_ends_it(mode: str) -> None:
    world = World()
    world.until(migration.Phase.PRE_COPYING, with_job="precopy")

    world.wish(mode)
    world.one_pass()

    assert world.purposes() == ["plan"]
    assert not world.fenced_ever and world.replicas == 1


def test_one_on_a_node_that_the_gateway_has_left_is_ended() -> None:
    world = World()
    world.until(migration.Phase.PRE_COPYING, with_job="precopy")
    assert world.record is not None
    (before,) = (name for name in world.jobs if world.jobs[name].outcome is None)
    source, ctx = world.look()
    for pod in source.users:
        pod["spec"]["nodeName"] = "node-2"

    plan = migration.plan_source(source, ctx)

    assert plan.step is not None and getattr(plan.step, "manifest", {})["metadata"]["name"] == before


def test_a_claim_for_one_pod_alone_has_none() -> None:
    world = World()
    world.claim = {"metadata": {"name": CLAIM}, "spec": {"accessModes": ["ReadWriteOncePod"]}}

    world.run()

    world.assert_migrated()
    assert world.purposes() == ["copy"]


def test_a_claim_that_no_gateway_mounts_has_none() -> None:
    world = World()
    world.mounted = False

    world.run()

    assert world.purposes() == ["plan", "copy"]
