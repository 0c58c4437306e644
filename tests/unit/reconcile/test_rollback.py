"""From the store back to files, replayed against a small model of a cluster (world.py).

What was written to the store is on the files in the end; until then, whatever happens, the gateway is on the store.
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
from sessionstore.reconcile.store import exporting, migration, steps
from tests.unit.reconcile import world as worlds
from tests.unit.reconcile.world import CLAIM, Died, World

R = reasons.Reason


def _migrated(replicas: int = 1) -> World:
    world = World(replicas=replicas)
    world.run()
    world.assert_migrated()
    return world


def _rolling_back(replicas: int = 1) -> World:
    world = _migrated(replicas)
    world.wish("Rollback")
    return world


# -- the line, undisturbed ----------------------------------------------------------------------


def test_in_the_end_the_gateway_is_on_files_with_all_that_was_written_to_the_store() -> None:
    world = _rolling_back(replicas=2)
    assert not world.written <= world.files

    plan = world.run()

    world.assert_on_files()
    assert plan.phase is migration.Phase.ROLLED_BACK
    assert "11 sessions, 26 lines" in plan.verdict.message
    assert world.record is not None and (world.record.pause_s or 0) > 0
    (arguments,) = world.arguments("export")
    assert {"--in-place", "--format=openclaw-files", "--state-dir=/home/node/.openclaw"} <= set(arguments)


def test_done_means_nothing_more_to_do() -> None:
    world = _rolling_back()
    world.run()
    before = copy.deepcopy((world.workload, world.record, world.jobs))

    plan = world.one_pass()

    assert plan.step is None
    assert (world.workload, world.record, world.jobs) == before


def test_a_gateway_that_was_widened_since_comes_back_as_wide_as_it_was_on_files() -> None:
    world = _migrated(replicas=1)
    world.scale(3)
    world.wish("Rollback")

    world.run()

    world.assert_on_files()
    assert world.replicas == 1, "three pods on one volume's files would overwrite each other"


def test_it_can_be_migrated_anew_and_rolled_back_again() -> None:
    world = _rolling_back()
    world.run()

    world.wish("Run")
    world.run()
    world.assert_migrated()

    world.wish("Rollback")
    world.run()
    world.assert_on_files()
    assert [world.purposes().count(purpose) for purpose in ("plan", "precopy", "copy", "export")] == [2, 2, 2, 2]


@pytest.mark.parametrize("mode", ["Plan", "Run", "Rollback"])
def test_before_a_cutover_there_is_nothing_to_roll_back(mode: str) -> None:
    world = World(mode=mode)
    if mode == "Run":
        world.until(migration.Phase.COPYING, with_job="copy")
    else:
        world.one_pass()
    world.wish("Rollback")

    plan = world.run()

    world.assert_on_files()
    assert plan.phase is migration.Phase.PLANNED and "nothing to roll back" in plan.verdict.message
    assert "export" not in world.purposes()


def test_a_gateway_that_does_not_come_up_on_the_store_can_be_rolled_back() -> None:
    world = World()
    for _ in range(30):
        world.one_pass()
        world.finish_jobs()
        if world.record is not None and world.record.is_cut_over:
            break
    world.stale_pods = True
    world.stale_pods = False
    world.wish("Rollback")

    world.run()

    world.assert_on_files()


def test_a_lost_record_keeps_no_gateway_on_the_store() -> None:
    world = _rolling_back()
    world.record = None

    world.run()

    world.assert_on_files()


def test_a_claim_that_no_gateway_mounts_is_left_as_it_is() -> None:
    world = World()
    world.mounted = False
    world.run()
    world.wish("Rollback")

    plan = world.run()

    assert plan.phase is migration.Phase.ROLLED_BACK and "no gateway" in plan.verdict.message
    assert "export" not in world.purposes()


def test_what_came_to_files_meanwhile_is_copied_first() -> None:
    world = _migrated()
    world.injected = False
    world.write()
    world.one_pass()
    world.wish("Rollback")

    world.run()

    world.assert_on_files()
    assert world.purposes()[-2:] == ["delta", "export"]


# -- an operator that dies, and a world that does what it likes ---------------------------------


@pytest.mark.parametrize(("at_pass", "after"), list(itertools.product(range(11), range(4))))
def test_from_every_prefix_the_end_is_the_same(at_pass: int, after: int) -> None:
    world = _rolling_back(replicas=2)
    for _ in range(at_pass):
        world.one_pass()
        world.finish_jobs()
    with contextlib.suppress(Died):
        world.one_pass(die_after=after)
    world.now += timedelta(seconds=20)

    world.run()

    world.assert_on_files()


EVENTS = ["die0", "die1", "die2", "jobs", "fail", "scale", "flicker", "stranger", "leave", "look", "write", "strip"]
WISHES = ["Run", "Plan", "Rollback"]


@given(st.lists(st.sampled_from([*EVENTS, *WISHES]), max_size=80), st.sampled_from(["Run", "Rollback"]))
@settings(max_examples=300, deadline=None)
def test_whatever_happens_nothing_is_lost_and_the_gateway_comes_back(events: list[str], last: str) -> None:
    world = _rolling_back(replicas=2)
    for event in events:
        world.now += timedelta(seconds=1)
        _happen(world, event)
    world.strangers = []
    world.wish(last)
    world.run()
    world.generation += 1  # The user tries again, should it have been given up.

    world.run()

    if "strip" in events:
        # A pod that was put on its files while an export was swapping them wrote to those that lie beside now.
        world.written -= world.beside
    (world.assert_migrated if last == "Run" else world.assert_on_files)()


def _happen(world: World, event: str) -> None:
    match event:
        case "jobs":
            world.finish_jobs()
        case "fail":
            world.finish_jobs(worlds.failing("NoSpace", "the volume is full"))
        case "scale" if world.replicas == 0:
            world.scale(2)
        case "flicker" if world.replicas == 0:
            world.scale(2)
            world.scale(0)
        case "strip" if world.injected and world.replicas:
            # `kubectl replace`: the pods that follow write to files until they are injected again.
            world.injected = False
            world.workload["metadata"]["generation"] += 1
            world.write()
            world.one_pass()
        case "stranger":
            world.strangers = ["debug"]
        case "leave":
            world.strangers = []
        case "look":
            world.one_pass()
        case "write":
            world.write()
        case "Run" | "Plan" | "Rollback":
            world.wish(event)
        case str() as word if word.startswith("die"):
            with contextlib.suppress(Died):
                world.one_pass(die_after=int(word[3:]))
        case _:
            pass


# -- what stops it: the gateway is on the store as before ---------------------------------------


def _assert_on_the_store(world: World) -> None:
    world.assert_migrated()
    assert world.record is not None and world.record.rollback_at is None


def test_an_export_that_fails_gives_the_gateway_back_on_the_store_and_is_not_tried_again_by_itself() -> None:
    world = _rolling_back(replicas=2)
    world.until(migration.Phase.ROLLING_BACK, with_job="export")
    world.finish_jobs(worlds.failing("NoSpace", "no space is left on the volume"))

    plan = world.run()

    _assert_on_the_store(world)
    assert plan.verdict.reason == R.JOB_FAILED
    assert "no space is left" in plan.verdict.message and "on the store as before" in plan.verdict.message
    assert world.purposes().count("export") == 0
    world.generation += 1
    world.run()
    world.assert_on_files()


def test_a_volume_that_does_not_come_free_is_given_up() -> None:
    world = _rolling_back()
    world.strangers = ["debug"]
    world.one_pass()
    world.one_pass()
    world.now += timedelta(minutes=16)

    plan = world.run(5)

    _assert_on_the_store(world)
    assert plan.verdict.reason == R.FENCE_TIMEOUT and "pod debug" in plan.verdict.message


def test_a_fence_broken_three_times_is_given_up() -> None:
    world = _rolling_back()
    for _ in range(exporting.MAX_BREAKS):
        world.until(migration.Phase.ROLLING_BACK, with_job="export")
        world.strangers = ["debug"]
        world.one_pass()
        world.strangers = []

    plan = world.run(8)

    _assert_on_the_store(world)
    assert plan.verdict.reason == R.FENCE_BROKEN


@pytest.mark.parametrize("mode", ["Run", "Plan", "Finalize"])
def test_calling_it_off_gives_the_gateway_back_on_the_store(mode: str) -> None:
    world = _rolling_back(replicas=2)
    world.until(migration.Phase.ROLLING_BACK, with_job="export")

    world.wish(mode)
    world.one_pass()
    assert world.is_fenced, "first the Job"
    world.run()

    _assert_on_the_store(world)


def test_once_released_it_is_finished_whatever_is_wished() -> None:
    world = _rolling_back()
    while world.injected:
        world.one_pass()
        world.finish_jobs()

    world.wish("Plan")
    plan = world.run()

    world.assert_on_files()
    assert plan.phase is migration.Phase.PLANNED


def test_parts_that_another_manager_took_over_too_are_said_before_anything_is_fenced() -> None:
    world = _rolling_back()
    world.co_owner = "argocd"

    plan = world.run()

    _assert_on_the_store(world)
    # It owns the label alone; injection.co_owners reads what else there is of ours from the template.
    assert plan.verdict.reason == R.ROLLBACK_REFUSED and "argocd" in plan.verdict.message
    assert "export" not in world.purposes()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"shared": "gateways 'a' and 'b' share keyspace 'chat'"}, "share keyspace", id="not to be told"),
        pytest.param({"path": "/backup"}, "keeps its state in /home/node/.openclaw", id="not where the gateway reads"),
        pytest.param(
            {"mounted": False, "obstacle": conditions.Verdict("False", R.GATEWAY_NOT_FOUND, "there is no Deployment")},
            "there is no Deployment",
            id="its gateway is not there",
        ),
    ],
)
def test_what_would_mix_up_or_lose_sessions_is_refused_in_words(changes: dict[str, Any], words: str) -> None:
    world = _migrated()
    assert world.record is not None
    for name, value in changes.items():
        setattr(world, name, value)
    world.record = replace(world.record, path=world.path)
    world.fenced_ever = False
    world.wish("Rollback")

    plan = world.run()

    assert plan.verdict.reason == R.ROLLBACK_REFUSED
    assert words in plan.verdict.message and "on the store as before" in plan.verdict.message
    assert not world.fenced_ever and world.injected


def test_a_claim_that_is_gone_is_said_before_anything_is_fenced() -> None:
    world = _migrated()
    world.claim, world.fenced_ever = None, False
    world.wish("Rollback")

    plan = world.run()

    assert plan.verdict.reason == R.SOURCE_NOT_FOUND and CLAIM in plan.verdict.message
    assert not world.fenced_ever


def test_a_gateway_that_another_store_holds_is_left_alone() -> None:
    world = _rolling_back()
    mark = fence.Fence(3, "2026-11-21T12:00:00Z", "other", "other-uid", "x")
    world.workload["metadata"]["annotations"] = fence.put_up(mark)["metadata"]["annotations"]

    plan = world.run()

    assert plan.verdict.reason == R.GATEWAY_TAKEN
    assert fence.read_fence(world.workload) == mark


# -- finalize -----------------------------------------------------------------------------------


def test_finalize_drops_what_is_kept_for_a_way_back_and_says_so() -> None:
    world = _migrated()
    world.wish("Finalize")

    plan = world.run()

    world.assert_migrated()
    assert (plan.phase, plan.verdict.status, plan.verdict.reason) == (migration.Phase.FINALIZED, "True", R.FINALIZED)
    (job,) = (job for job in world.jobs.values() if job.outcome and job.outcome["outcome"] == "Finalized")
    assert all("persistentVolumeClaim" not in volume for volume in job.manifest["spec"]["template"]["spec"]["volumes"])


def test_finalize_that_fails_is_tried_again_and_the_gateway_goes_on() -> None:
    world = _migrated()
    world.wish("Finalize")
    world.one_pass()
    world.finish_jobs(worlds.failing("StoreUnavailable", "the store was away"))

    plan = world.one_pass()

    assert plan.phase is migration.Phase.FINALIZING and "the store was away" in plan.verdict.message
    world.now += timedelta(seconds=40)
    assert world.run().phase is migration.Phase.FINALIZED


def test_finalize_has_nothing_to_do_before_a_cutover() -> None:
    world = World(mode="Finalize")

    plan = world.run()

    world.assert_on_files()
    assert plan.phase is migration.Phase.PLANNED and "nothing to finalize" in plan.verdict.message


@pytest.mark.parametrize("between", [(), ("Run",)])
def test_there_is_no_way_back_from_finalize(between: tuple[str, ...]) -> None:
    world = _migrated()
    for mode in ("Finalize", *between):
        world.wish(mode)
        world.run()
    world.wish("Rollback")

    plan = world.run()

    _assert_on_the_store(world)
    assert plan.verdict.reason == R.ROLLBACK_REFUSED and "sessionstore export" in plan.verdict.message
    assert "export" not in world.purposes()


def test_an_export_job_is_ended_before_the_gateway_comes_back() -> None:
    world = _rolling_back()
    world.until(migration.Phase.ROLLING_BACK, with_job="export")
    world.wish("Run")

    assert isinstance(world.one_pass().step, steps.DeleteJob)
    assert isinstance(world.one_pass().step, steps.LiftFence)
