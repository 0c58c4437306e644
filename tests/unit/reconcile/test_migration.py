"""One source's migration, replayed against a small model of a cluster (world.py).

A pass may die between any two writes; whatever happens, the end must be the same.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionstore.apis import conditions
from sessionstore.apis.v1alpha1 import reasons
from sessionstore.gateways import fence
from sessionstore.kube import explain
from sessionstore.reconcile.store import behind_fence, migration, steps
from tests.unit.reconcile import world as worlds
from tests.unit.reconcile.world import CLAIM, Died, World

R = reasons.Reason


# -- the line, undisturbed ----------------------------------------------------------------------


def test_in_the_end_the_source_is_migrated_and_the_gateway_as_wide_as_before() -> None:
    world = World(replicas=3)

    plan = world.run()

    world.assert_migrated()
    assert plan.phase is migration.Phase.MIGRATED
    assert "11 sessions, 26 lines, 3 archives" in plan.verdict.message
    assert world.record is not None and (world.record.pause_s or 0) > 0


def test_done_means_nothing_more_to_do() -> None:
    world = World()
    world.run()
    before = copy.deepcopy((world.workload, world.record, world.jobs))

    plan = world.one_pass()

    assert plan.step is None
    assert (world.workload, world.record, world.jobs) == before


def test_phases_come_in_their_order() -> None:
    world = World()
    seen: list[migration.Phase] = []
    for _ in range(30):
        seen.append(world.one_pass().phase)
        world.finish_jobs()

    assert [phase for phase, _ in itertools.groupby(seen)] == [
        migration.Phase.PLANNING,
        migration.Phase.PLANNED,
        migration.Phase.PRE_COPYING,
        migration.Phase.FENCING,
        migration.Phase.COPYING,
        migration.Phase.CUTTING_OVER,
        migration.Phase.MIGRATED,
    ]


def test_plan_writes_a_report_and_never_fences() -> None:
    world = World(mode="Plan")

    plan = world.run()

    assert plan.phase is migration.Phase.PLANNED
    assert "11 sessions" in plan.verdict.message
    assert not world.fenced_ever and not world.injected


# -- an operator that dies ----------------------------------------------------------------------


def _deaths() -> list[tuple[int, int]]:
    """Every pass of the undisturbed line, cut after each of its writes."""
    return list(itertools.product(range(16), range(4)))


@pytest.mark.parametrize(("at_pass", "after"), _deaths())
def test_from_every_prefix_the_end_is_the_same(at_pass: int, after: int) -> None:
    world = World(replicas=2)
    for _ in range(at_pass):
        world.one_pass()
        world.finish_jobs()
    try:
        world.one_pass(die_after=after)
    except Died:
        world.now += timedelta(seconds=20)

    world.run()

    world.assert_migrated()


@given(
    st.lists(
        st.sampled_from(["die0", "die1", "die2", "jobs", "scale", "flicker", "stranger", "leave", "look"]), max_size=60
    )
)
@settings(max_examples=300)
def test_whatever_happens_nothing_is_copied_in_use_and_the_gateway_comes_back(events: list[str]) -> None:
    world = World(replicas=2)
    for event in events:
        world.now += timedelta(seconds=1)
        match event:
            case "jobs":
                world.finish_jobs()
            case "scale" if world.replicas == 0:
                # A user's apply, or a GitOps controller's, sets replicas back in silence.
                world.scale(2)
            case "flicker" if world.replicas == 0:
                # Up and down again between two looks: nobody saw a pod, and one may have written.
                world.scale(2)
                world.scale(0)
            case "stranger":
                world.strangers = ["debug"]
            case "leave":
                world.strangers = []
            case "look":
                world.one_pass()
            case str() as word if word.startswith("die"):
                with contextlib.suppress(Died):
                    world.one_pass(die_after=int(word[3:]))
    world.strangers = []
    world.generation += 1  # The user tries again, should it have been given up.

    world.run()

    world.assert_migrated()


# -- what stops it ------------------------------------------------------------------------------


def test_a_missing_claim_is_named_and_nothing_is_touched() -> None:
    world = World()
    world.claim = None

    plan = world.one_pass()

    assert plan.verdict.reason == R.SOURCE_NOT_FOUND and CLAIM in plan.verdict.message
    assert not world.fenced_ever
    world.claim = {"metadata": {"name": CLAIM}, "spec": {}}
    world.run()
    world.assert_migrated()


def test_a_plan_that_fails_is_tried_again_later_and_nothing_is_fenced() -> None:
    world = World()
    world.one_pass()
    world.finish_jobs(worlds.failing("PathNotFound", "/source/x does not exist"))

    plan = world.one_pass()

    assert plan.verdict.reason == R.PATH_NOT_FOUND and "/source/x" in plan.verdict.message
    assert not world.fenced_ever
    world.now += timedelta(seconds=40)
    world.run()
    world.assert_migrated()


def test_a_copy_that_fails_gives_the_gateway_back_and_is_not_tried_again_by_itself() -> None:
    world = World(replicas=2)
    world.until(migration.Phase.COPYING, with_job="copy")
    world.finish_jobs(worlds.failing("Mismatch", "agent:main:main differs at line 3"))

    plan = world.run()

    assert plan.verdict.reason == R.VERIFICATION_FAILED and "line 3" in plan.verdict.message
    assert not world.is_fenced and not world.injected
    assert world.replicas == 2
    world.generation += 1
    world.run()
    world.assert_migrated()


def test_a_fence_that_is_not_quiet_in_time_is_given_up() -> None:
    world = World()
    world.strangers = ["debug"]
    world.until(migration.Phase.FENCING)
    world.one_pass()
    world.now += timedelta(minutes=16)

    plan = world.run(5)

    assert plan.verdict.reason == R.FENCE_TIMEOUT and "pod debug" in plan.verdict.message
    assert not world.is_fenced and world.replicas == 1


def test_a_fence_broken_three_times_is_given_up() -> None:
    world = World()
    for _ in range(behind_fence.MAX_BREAKS):
        world.until(migration.Phase.COPYING, with_job="copy")
        world.strangers = ["debug"]
        world.one_pass()
        world.strangers = []

    plan = world.run(5)

    assert plan.verdict.reason == R.FENCE_BROKEN
    assert not world.is_fenced and not world.injected


def test_what_cannot_be_injected_is_not_fenced() -> None:
    world = World()
    world.obstacle = conditions.Verdict("False", R.FIELD_CONFLICT, "'helm' owns .spec")

    plan = world.run()

    assert plan.phase is migration.Phase.PLANNED and "'helm' owns .spec" in plan.verdict.message
    assert not world.fenced_ever


def test_an_obstacle_that_appears_behind_the_fence_gives_the_gateway_back() -> None:
    world = World()
    world.until(migration.Phase.COPYING, with_job="copy")
    world.obstacle = conditions.Verdict("False", R.FIELD_CONFLICT, "'helm' owns .spec")

    world.run()

    assert not world.is_fenced and not world.injected and world.replicas == 1


def test_calling_it_off_behind_the_fence_gives_the_gateway_back() -> None:
    world = World()
    world.until(migration.Phase.COPYING, with_job="copy")
    world.mode = "Plan"
    world.generation += 1

    world.run()

    assert not world.is_fenced and not world.injected and world.replicas == 1


def test_a_stateful_set_that_would_delete_its_claims_is_never_scaled() -> None:
    world = World()
    world.workload["kind"] = "StatefulSet"
    world.workload["spec"]["persistentVolumeClaimRetentionPolicy"] = {"whenScaled": "Delete"}

    plan = world.run()

    assert plan.verdict.reason == R.SOURCE_WOULD_BE_DELETED
    assert not world.fenced_ever


def test_a_job_that_cannot_start_says_why_and_goes_on_when_it_can() -> None:
    world = World()
    world.one_pass()
    for name, job in world.jobs.items():
        world.jobs[name] = replace(job, trouble=explain.Explanation(R.JOB_UNSCHEDULABLE, "0/1 nodes are available"))

    plan = world.one_pass()

    assert plan.verdict.reason == R.JOB_UNSCHEDULABLE and "0/1 nodes" in plan.verdict.message
    world.run()
    world.assert_migrated()


def test_a_claim_for_one_pod_alone_is_inspected_behind_the_fence() -> None:
    world = World()
    world.claim = {"metadata": {"name": CLAIM}, "spec": {"accessModes": ["ReadWriteOncePod"]}}

    world.run()

    world.assert_migrated()
    assert world.purposes() == ["copy"]


def test_a_claim_that_no_gateway_mounts_is_migrated_without_a_fence() -> None:
    world = World()
    world.mounted = False

    plan = world.run()

    assert plan.phase is migration.Phase.MIGRATED
    assert not world.fenced_ever
    assert world.record is not None and world.record.pause_s is None


def test_a_stranger_on_a_claim_that_no_gateway_mounts_is_named() -> None:
    world = World()
    world.mounted = False
    world.strangers = ["debug"]

    plan = world.run()

    assert plan.verdict.reason == R.SOURCE_IN_USE and "pod debug" in plan.verdict.message
    world.strangers = []
    assert world.run().phase is migration.Phase.MIGRATED


def test_a_gateway_that_reads_the_store_already_is_not_fenced() -> None:
    world = World()
    world.injected = True

    world.run()

    world.assert_migrated()
    assert not world.fenced_ever
    assert world.purposes() == ["plan", "delta"]
    assert all("--conflicts=Newest" in found for found in world.arguments("delta")), "the store is the truth by now"


def test_a_lost_record_of_a_migrated_source_fences_nobody() -> None:
    world = World()
    world.run()
    world.record, world.fenced_ever = None, False

    world.run()

    world.assert_migrated()
    assert not world.fenced_ever


def test_a_gateway_that_was_injected_goes_forward_whatever_the_clock_says() -> None:
    world = World()
    for _ in range(20):
        world.one_pass()
        world.finish_jobs()
        if world.injected:
            break
    world.now += timedelta(hours=1)

    world.run()

    world.assert_migrated()


def test_replicas_set_back_between_the_copy_and_the_injection_start_the_copy_over() -> None:
    world = World()
    world.until(migration.Phase.COPYING, with_job="copy")
    world.scale(1)
    world.one_pass()
    world.scale(0)

    plan = world.one_pass()

    assert plan.record.copied is None and plan.record.attempt == 2
    world.run()
    world.assert_migrated()


def test_one_of_two_sources_waits_for_the_other_before_their_gateway_is_fenced() -> None:
    world = World()
    world.waits_for = "second"

    plan = world.run()

    assert plan.phase is migration.Phase.PLANNED and "'second'" in plan.verdict.message
    assert not world.fenced_ever


def test_a_gateway_that_another_store_holds_is_left_alone() -> None:
    world = World()
    mark = fence.Fence(3, "2026-11-21T12:00:00Z", "other", "other-uid", "x")
    world.workload["metadata"]["annotations"] = fence.put_up(mark)["metadata"]["annotations"]
    world.scale(0)

    plan = world.run()

    assert plan.verdict.reason == R.GATEWAY_TAKEN and "'other'" in plan.verdict.message
    assert fence.read_fence(world.workload) == mark


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"paused": True}, id="paused"),
        pytest.param({"updateStrategy": {"rollingUpdate": {"partition": 1}}}, id="partition"),
    ],
)
def test_a_workload_that_would_come_back_as_it_was_is_not_fenced(spec: dict[str, Any]) -> None:
    world = World()
    world.workload["spec"] |= spec

    plan = world.run()

    assert plan.verdict.reason == R.ROLLOUT_PENDING
    assert not world.fenced_ever


def test_a_job_is_ended_before_the_gateway_comes_back() -> None:
    world = World()
    world.until(migration.Phase.COPYING, with_job="copy")
    world.mode = "Plan"
    world.one_pass()

    plan = world.one_pass()

    assert isinstance(plan.step, steps.DeleteJob)
    assert world.is_fenced
    assert isinstance(world.one_pass().step, steps.LiftFence)


def test_another_claim_under_the_same_name_is_another_migration() -> None:
    world = World()
    world.run()
    assert world.record is not None
    world.record = replace(world.record, claim="some-other-pvc")

    plan = world.one_pass()

    # Its plan Job is known by its template; the copy is to be made.
    assert plan.phase is migration.Phase.PLANNED
    assert plan.record.claim == CLAIM and plan.record.copied is None


# -- afterwards ---------------------------------------------------------------------------------


def test_what_was_written_to_files_after_the_cutover_is_copied_once_the_gateway_is_injected_again() -> None:
    world = World()
    world.run()
    assert world.record is not None
    before = len(world.jobs)
    world.record = replace(world.record, deltas=1)
    world.stale_pods = True
    assert world.one_pass().step is None, "a pod that drains may still write"

    world.stale_pods = False
    world.run()

    assert len(world.jobs) == before + 1
    assert world.record.deltas_done == 1
    assert not world.is_fenced


def test_a_job_that_ended_and_is_not_judged_yet_is_still_at_work() -> None:
    world = World()
    world.one_pass()
    words = '{"outcome": "Failed"}'
    for name, job in world.jobs.items():
        trouble = explain.Explanation(R.JOB_FAILED, f"container migrate ended with exit code 1: {words}")
        world.jobs[name] = replace(job, outcome=worlds.failing("PathNotFound", "no such path"), trouble=trouble)

    plan = world.one_pass()

    assert plan.verdict.reason == R.PLANNING and words not in plan.verdict.message


def test_what_begins_anew_does_not_take_the_word_of_an_earlier_copy() -> None:
    world = World()
    world.mounted = False
    world.run()
    world.files |= {900, 901}
    world.path = "/other"
    world.wish("Plan")
    world.run()

    world.path = "/"
    world.wish("Run")
    plan = world.run()

    assert plan.phase is migration.Phase.MIGRATED
    assert world.files <= world.stored
