"""One source's migration, replayed against a small model of a cluster.

The model keeps what the API server would: the workload with its annotation and replicas, pods, Jobs, the record.
A pass may die between any two writes; whatever happens, the end must be the same.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionstore.apis import conditions
from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import binding, fence, injection
from sessionstore.kube import explain
from sessionstore.reconcile.store import behind_fence, facts, jobs, migration, records, steps

R = reasons.Reason
EPOCH = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CLAIM = "openclaw-home-pvc"
SUMMARY = {"outcome": "Verified", "sessions": 11, "lines": 26, "archives": 3, "digest": "d" * 64}


class Died(Exception):
    """The operator's process ended here."""


class World:
    """What the API server and the kubelet would keep, for one gateway on one claim."""

    def __init__(self, mode: str = "Run", replicas: int = 1) -> None:
        self.mode = mode
        self.generation = 1
        self.wished_replicas = replicas
        self.now = EPOCH
        self.workload: dict[str, Any] = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "openclaw", "namespace": "ns", "uid": "w", "generation": 1, "annotations": {}},
            "spec": {
                "replicas": replicas,
                "template": {"spec": {"containers": [{"name": "gateway"}], "volumes": [_volume()]}},
            },
        }
        self.record: records.Record | None = None
        self.jobs: dict[str, facts.JobFacts] = {}
        self.outcomes: dict[str, dict[str, Any]] = {}
        self.injected = False
        self.obstacle: conditions.Verdict | None = None
        self.strangers: list[str] = []
        self.claim: dict[str, Any] | None = {"metadata": {"name": CLAIM}, "spec": {"accessModes": ["ReadWriteOnce"]}}
        self.copied_while_in_use = False
        self.fenced_ever = False
        self.mounted = True
        self.injected_in_use = False
        self.stale_pods = False
        self.waits_for: str | None = None

    # -- what an operator sees ------------------------------------------------------------------

    @property
    def store(self) -> api.SessionStore:
        spec = {
            "engine": "redis",
            "gateways": [{"name": "openclaw", "workloadRef": {"kind": "Deployment", "name": "openclaw"}}],
            "migration": {
                "mode": self.mode,
                "conflicts": "KeepSource",
                "sources": [{"name": "old-home", "persistentVolumeClaim": CLAIM}],
            },
        }
        meta = {"name": "chat", "namespace": "ns", "uid": "s", "generation": self.generation}
        return api.SessionStore.model_validate({"metadata": meta, "spec": spec})

    def look(self) -> tuple[facts.SourceFacts, migration.Context]:
        store = self.store
        pods = tuple(self.pods()[: self.own])
        gateway = facts.GatewayFacts(store.spec.gateways[0], copy.deepcopy(self.workload), pods=pods)
        assert store.spec.migration is not None
        source = facts.SourceFacts(
            source=store.spec.migration.sources[0],
            claim=self.claim,
            users=tuple(self.pods()),
            jobs=dict(self.jobs),
            record=self.record,
        )
        ctx = migration.Context(
            store=store,
            image=jobs.JobImage("operator:1", "IfNotPresent"),
            now=self.now,
            workloads=(gateway,) if self.mounted else (),
            obstacle=self.obstacle,
            injected=self.injected,
            store_ready=True,
            waits_for=self.waits_for,
        )
        return source, ctx

    @property
    def own(self) -> int:
        """How many pods of the gateway's there are."""
        return self.workload["spec"]["replicas"] if self.mounted else 0

    def pods(self) -> list[dict[str, Any]]:
        """The pods on the claim, the gateway's first. What the template says, its pods have."""
        own = [_pod(f"openclaw-{n}", bound=self.injected and not self.stale_pods) for n in range(self.own)]
        return own + [_pod(name) for name in self.strangers]

    def scale(self, replicas: int) -> None:
        """Set the replicas, as an operator or a user's apply does."""
        if replicas != self.workload["spec"]["replicas"]:
            self.workload["metadata"]["generation"] += 1
        self.workload["spec"]["replicas"] = replicas

    # -- what an operator does ------------------------------------------------------------------

    def one_pass(self, die_after: int | None = None) -> migration.SourcePlan:
        """Plan and carry out; die after so many writes, if told so."""
        writes = itertools.count(1)

        def wrote() -> None:
            if die_after is not None and next(writes) > die_after:
                raise Died

        plan = migration.plan_source(*self.look())
        wrote()
        # Through its wire form, since that is what a later pass reads.
        self.record = records.from_data(records.to_data(plan.record))
        if plan.phase is migration.Phase.CUTTING_OVER and self.obstacle is None:
            wrote()
            if self.pods() and not self.injected:
                self.injected_in_use = True
            self.injected = True
            self.workload["metadata"]["generation"] += 1
        self._perform(plan.step, wrote)
        return plan

    def _perform(self, step: steps.Step | None, wrote: Callable[[], None]) -> None:
        match step:
            case steps.CreateJob(manifest):
                wrote()
                name = manifest["metadata"]["name"]
                purpose = manifest["metadata"]["labels"]["sessionstore.dev/purpose"]
                self.jobs[name] = facts.JobFacts(manifest, None, None)
                if purpose == "copy" and not all(map(injection.mounts_binding, self.pods())):
                    self.copied_while_in_use = True
            case steps.DeleteJob(manifest):
                wrote()
                self.jobs.pop(manifest["metadata"]["name"], None)
            case steps.FenceWorkload(_, mark):
                wrote()
                self.workload["metadata"]["annotations"] = fence.put_up(mark)["metadata"]["annotations"]
                self.fenced_ever = True
                wrote()
                self.scale(0)
            case steps.LiftFence(_, mark):
                wrote()
                self.scale(mark.replicas)
                wrote()
                self.workload["metadata"]["annotations"] = {}
            case None:
                return
            case other:
                raise AssertionError(f"a migration has no business with {other}")

    # -- what the rest of the world does --------------------------------------------------------

    def finish_jobs(self, outcome: dict[str, Any] = SUMMARY) -> None:
        for name, job in self.jobs.items():
            if job.outcome is None:
                self.jobs[name] = _ended(job, outcome)

    def run(self, passes: int = 40) -> migration.SourcePlan:
        """Let time pass, Jobs end and the operator look, until nothing is left to be done."""
        plan = self.one_pass()
        for _ in range(passes):
            self.now += timedelta(seconds=2)
            self.finish_jobs()
            plan = self.one_pass()
        return plan

    def jobs_running(self) -> bool:
        return any(job.outcome is None for job in self.jobs.values())

    @property
    def is_fenced(self) -> bool:
        return fence.ANNOTATION in self.workload["metadata"]["annotations"]


def _volume() -> dict[str, Any]:
    return {"name": "home", "persistentVolumeClaim": {"claimName": CLAIM}}


def _pod(name: str, *, bound: bool = False) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "gateway"}
    if bound:
        container["volumeMounts"] = [{"name": injection.VOLUME, "mountPath": binding.MOUNT_PATH}]
        container["env"] = [{"name": injection.CONFIG_VARIABLE, "value": injection.CONFIG_PATH}]
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": "node-1", "volumes": [_volume()], "containers": [container]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


def _ended(job: facts.JobFacts, outcome: dict[str, Any]) -> facts.JobFacts:
    done = outcome["outcome"] != "Failed"
    condition = {
        "type": "Complete" if done else "Failed",
        "status": "True",
        "lastTransitionTime": EPOCH.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return facts.JobFacts({**job.manifest, "status": {"conditions": [condition]}}, outcome, None)


def _assert_migrated(world: World) -> None:
    assert world.record is not None and world.record.finished_at is not None
    assert world.injected
    assert not world.is_fenced
    assert world.workload["spec"]["replicas"] == world.wished_replicas
    assert not world.copied_while_in_use
    assert not world.injected_in_use


# -- the line, undisturbed ----------------------------------------------------------------------


def test_in_the_end_the_source_is_migrated_and_the_gateway_as_wide_as_before() -> None:
    world = World(replicas=3)

    plan = world.run()

    _assert_migrated(world)
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
    return list(itertools.product(range(12), range(4)))


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

    _assert_migrated(world)


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
            case "scale" if world.workload["spec"]["replicas"] == 0:
                # A user's apply, or a GitOps controller's, sets replicas back in silence.
                world.scale(2)
            case "flicker" if world.workload["spec"]["replicas"] == 0:
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

    _assert_migrated(world)


# -- what stops it ------------------------------------------------------------------------------


def _failing(reason: str, message: str) -> dict[str, Any]:
    return {"outcome": "Failed", "reason": reason, "message": message}


def test_a_missing_claim_is_named_and_nothing_is_touched() -> None:
    world = World()
    world.claim = None

    plan = world.one_pass()

    assert plan.verdict.reason == R.SOURCE_NOT_FOUND and CLAIM in plan.verdict.message
    assert not world.fenced_ever
    world.claim = {"metadata": {"name": CLAIM}, "spec": {}}
    world.run()
    _assert_migrated(world)


def test_a_plan_that_fails_is_tried_again_later_and_nothing_is_fenced() -> None:
    world = World()
    world.one_pass()
    world.finish_jobs(_failing("PathNotFound", "/source/x does not exist"))

    plan = world.one_pass()

    assert plan.verdict.reason == R.PATH_NOT_FOUND and "/source/x" in plan.verdict.message
    assert not world.fenced_ever
    world.now += timedelta(seconds=40)
    world.run()
    _assert_migrated(world)


def test_a_copy_that_fails_gives_the_gateway_back_and_is_not_tried_again_by_itself() -> None:
    world = World(replicas=2)
    _until(world, migration.Phase.COPYING)
    world.finish_jobs(_failing("Mismatch", "agent:main:main differs at line 3"))

    plan = world.run()

    assert plan.verdict.reason == R.VERIFICATION_FAILED and "line 3" in plan.verdict.message
    assert not world.is_fenced and not world.injected
    assert world.workload["spec"]["replicas"] == 2
    world.generation += 1
    world.run()
    _assert_migrated(world)


def test_a_fence_that_is_not_quiet_in_time_is_given_up() -> None:
    world = World()
    world.strangers = ["debug"]
    _until(world, migration.Phase.FENCING)
    world.one_pass()
    world.now += timedelta(minutes=16)

    plan = world.run(5)

    assert plan.verdict.reason == R.FENCE_TIMEOUT and "pod debug" in plan.verdict.message
    assert not world.is_fenced and world.workload["spec"]["replicas"] == 1


def test_a_fence_broken_three_times_is_given_up() -> None:
    world = World()
    for _ in range(behind_fence.MAX_BREAKS):
        _until(world, migration.Phase.COPYING)
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
    _until(world, migration.Phase.COPYING)
    world.obstacle = conditions.Verdict("False", R.FIELD_CONFLICT, "'helm' owns .spec")

    world.run()

    assert not world.is_fenced and not world.injected and world.workload["spec"]["replicas"] == 1


def test_calling_it_off_behind_the_fence_gives_the_gateway_back() -> None:
    world = World()
    _until(world, migration.Phase.COPYING)
    world.mode = "Plan"
    world.generation += 1

    world.run()

    assert not world.is_fenced and not world.injected and world.workload["spec"]["replicas"] == 1


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
    _assert_migrated(world)


def test_a_claim_for_one_pod_alone_is_inspected_behind_the_fence() -> None:
    world = World()
    world.claim = {"metadata": {"name": CLAIM}, "spec": {"accessModes": ["ReadWriteOncePod"]}}

    world.run()

    _assert_migrated(world)
    purposes = {job.manifest["metadata"]["labels"]["sessionstore.dev/purpose"] for job in world.jobs.values()}
    assert purposes == {"copy"}


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

    _assert_migrated(world)
    assert not world.fenced_ever
    copied = [job for job in world.jobs.values() if "--dry-run" not in _arguments(job)]
    assert copied and all("--conflicts=Newest" in _arguments(job) for job in copied), "the store is the truth by now"


def _arguments(job: facts.JobFacts) -> list[str]:
    return list(job.manifest["spec"]["template"]["spec"]["containers"][0]["args"])


def test_a_lost_record_of_a_migrated_source_fences_nobody() -> None:
    world = World()
    world.run()
    world.record, world.fenced_ever = None, False

    world.run()

    _assert_migrated(world)
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

    _assert_migrated(world)


def test_replicas_set_back_between_the_copy_and_the_injection_start_the_copy_over() -> None:
    world = World()
    _until(world, migration.Phase.COPYING)
    world.scale(1)
    world.one_pass()
    world.scale(0)

    plan = world.one_pass()

    assert plan.record.copied is None and plan.record.attempt == 2
    world.run()
    _assert_migrated(world)


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
    _until(world, migration.Phase.COPYING)
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


def _until(world: World, phase: migration.Phase) -> None:
    for _ in range(20):
        if world.one_pass().phase is phase and (phase is not migration.Phase.COPYING or world.jobs_running()):
            return
        if phase is not migration.Phase.COPYING or not world.is_fenced:
            world.finish_jobs()
    raise AssertionError(f"never came to {phase}")
