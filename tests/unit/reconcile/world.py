"""A small model of a cluster, for one gateway on one claim: what the API server, the kubelet and two stores would keep.

The workload has its annotation and replicas, pods follow it, Jobs are begun and end. Every pod that runs writes where
its template tells it to, so a line that is on neither side in the end was lost. A pass may die between any two writes.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sessionstore.apis import conditions
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import binding, fence, injection
from sessionstore.reconcile.store import facts, job_pods, jobs, migration, records, steps
from tests.unit.gateways import workloads

EPOCH = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CLAIM = "openclaw-home-pvc"
OUTCOMES = {"plan": "Planned", "precopy": "PreCopied", "export": "Exported", "finalize": "Finalized"}
COUNTS = {"sessions": 11, "lines": 26, "archives": 3, "seconds": 1.5, "digest": "d" * 64}


class Died(Exception):
    """The operator's process ended here."""


class World:
    """What is there, and what happens in it."""

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
                "template": {"spec": {"containers": [_container()], "volumes": [_volume()]}},
            },
        }
        self.record: records.Record | None = None
        self.jobs: dict[str, facts.JobFacts] = {}
        self.snapshots: dict[str, frozenset[int]] = {}
        self.seconds: dict[str, float] = {}
        self.injected = False
        self.obstacle: conditions.Verdict | None = None
        self.shared: str | None = None
        self.co_owner: str | None = None
        self.path = "/"
        self.strangers: list[str] = []
        self.claim: dict[str, Any] | None = {"metadata": {"name": CLAIM}, "spec": {"accessModes": ["ReadWriteOnce"]}}
        self.faults: list[str] = []
        self.fenced_ever = False
        self.mounted = True
        self.stale_pods = False
        self.waits_for: str | None = None
        self.written: set[int] = set()
        self.files: set[int] = set()
        self.stored: set[int] = set()
        self.beside: set[int] = set()

    # -- what an operator sees ------------------------------------------------------------------

    @property
    def store(self) -> api.SessionStore:
        spec = {
            "engine": "redis",
            "gateways": [{"name": "openclaw", "workloadRef": {"kind": "Deployment", "name": "openclaw"}}],
            "migration": {
                "mode": self.mode,
                "conflicts": "KeepSource",
                "sources": [{"name": "old-home", "persistentVolumeClaim": CLAIM, "path": self.path}],
            },
        }
        meta = {"name": "chat", "namespace": "ns", "uid": "s", "generation": self.generation}
        return api.SessionStore.model_validate({"metadata": meta, "spec": spec})

    def look(self) -> tuple[facts.SourceFacts, migration.Context]:
        store = self.store
        pods = tuple(self.pods()[: self.own])
        gateway = facts.GatewayFacts(store.spec.gateways[0], self.live(), pods=pods)
        assert store.spec.migration is not None
        source = facts.SourceFacts(
            source=store.spec.migration.sources[0],
            claim=self.claim,
            users=tuple(self.pods()),
            jobs=dict(self.jobs),
            record=self._counted(),
        )
        ctx = migration.Context(
            store=store,
            image=job_pods.JobImage("operator:1", "IfNotPresent"),
            now=self.now,
            workloads=(gateway,) if self.mounted else (),
            obstacle=self.obstacle,
            injected=self.injected,
            store_ready=True,
            waits_for=self.waits_for,
            shared=self.shared,
        )
        return source, ctx

    def live(self) -> dict[str, Any]:
        """The workload with the managers that own our parts of it."""
        found = copy.deepcopy(self.workload)
        managers = [name for name in ("sessionstore.dev/chat", self.co_owner) if name and self.injected]
        owned = ("f:metadata", "f:labels", f"f:{injection.STORE_LABEL}")
        found["metadata"]["managedFields"] = [workloads.managed(name, owned) for name in managers]
        found["metadata"]["labels"] = {injection.STORE_LABEL: "chat"} if self.injected else {}
        return found

    def _counted(self) -> records.Record | None:
        """Count it when a gateway that was cut over is found on its files, as injecting.with_delta does."""
        record = self.record
        bare = any(not injection.mounts_binding(pod) for pod in self.pods()[: self.own])
        if record is None or not bare or not record.finished_at or record.exported:
            return record
        begun = jobs.has_delta((job.manifest for job in self.jobs.values()), record.delta_attempt)
        if record.awaits_delta and not begun:
            return record
        return replace(record, deltas=record.deltas + 1)

    @property
    def own(self) -> int:
        """How many pods of the gateway's there are."""
        return self.workload["spec"]["replicas"] if self.mounted else 0

    def pods(self) -> list[dict[str, Any]]:
        """The pods on the claim, the gateway's first. What the template says, its pods have."""
        own = [a_pod(f"openclaw-{n}", bound=self.injected and not self.stale_pods) for n in range(self.own)]
        return own + [a_pod(name) for name in self.strangers]

    def scale(self, replicas: int) -> None:
        """Set the replicas, as an operator or a user's apply does."""
        if replicas != self.workload["spec"]["replicas"]:
            self.workload["metadata"]["generation"] += 1
        self.workload["spec"]["replicas"] = replicas
        self.write()

    def write(self) -> None:
        """Let each pod of the gateway's write a line to where it keeps its sessions."""
        for pod in self.pods()[: self.own]:
            self.written.add(line := len(self.written))
            (self.stored if injection.mounts_binding(pod) else self.files).add(line)

    def wish(self, mode: str) -> None:
        """Edit the SessionStore."""
        self.mode = mode
        self.generation += 1

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
        if self._is_injected_by(plan):
            wrote()
            self._inject()
        self._perform(plan.step, wrote)
        return plan

    def _is_injected_by(self, plan: migration.SourcePlan) -> bool:
        """What injecting.injections decides."""
        is_safe = plan.record.is_cut_over or plan.phase is migration.Phase.CUTTING_OVER
        leaves = plan.record.is_cut_over and plan.record.exported is not None
        return is_safe and not leaves and not self.injected and self.obstacle is None

    def _inject(self) -> None:
        if self.pods()[: self.own] and not (self.record and self.record.is_cut_over):
            self.faults.append("injected while pods ran on files that were not copied")
        self.injected = True
        self.workload["metadata"]["generation"] += 1

    def _perform(self, step: steps.Step | None, wrote: Callable[[], None]) -> None:
        match step:
            case steps.CreateJob(manifest):
                wrote()
                self._begin(manifest)
            case steps.DeleteJob(manifest):
                wrote()
                self._end_early(manifest["metadata"]["name"])
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
            case steps.ReleaseWorkload():
                wrote()
                self._release()
            case None:
                return
            case other:
                raise AssertionError(f"a migration has no business with {other}")

    def _begin(self, manifest: dict[str, Any]) -> None:
        name, purpose = manifest["metadata"]["name"], jobs.purpose_of(manifest)
        self.jobs[name] = facts.JobFacts(manifest, None, None)
        # What it reads is at worst what was there when it began.
        self.snapshots[name] = frozenset(self.stored if purpose == "export" else self.files)
        if purpose in ("copy", "export") and self.pods():
            self.faults.append(f"{purpose} began while pods were on the claim")

    def _end_early(self, name: str) -> None:
        """End a Job that may just have done all its work."""
        job = self.jobs.pop(name, None)
        if job is not None and job.outcome is None:
            self._take_effect(job)

    def _take_effect(self, job: facts.JobFacts) -> None:
        match jobs.purpose_of(job.manifest):
            case "precopy" | "copy" | "delta":
                self.stored |= self.snapshots[job.name]
            case "export":
                # What it takes the place of is kept beside, where no gateway reads it.
                self.beside |= self.files - self.snapshots[job.name]
                self.files = set(self.snapshots[job.name])
            case _:
                pass

    def _release(self) -> None:
        if self.pods():
            self.faults.append("released while pods ran on the store")
        if self.record is None or self.record.exported is None:
            self.faults.append("released without a proven export")
        self.injected = self.co_owner is not None
        self.workload["metadata"]["generation"] += 1

    # -- what the rest of the world does --------------------------------------------------------

    def finish_jobs(self, failure: dict[str, Any] | None = None) -> None:
        for name, job in self.jobs.items():
            if job.outcome is None:
                purpose = jobs.purpose_of(job.manifest)
                done = {**COUNTS, "outcome": OUTCOMES.get(purpose, "Verified")}
                done["seconds"] = self.seconds.get(purpose, done["seconds"])
                self.jobs[name] = ended(job, failure or done, self.now)
                if failure is None:
                    self._take_effect(job)

    def run(self, passes: int = 80) -> migration.SourcePlan:
        """Let time pass, gateways write, Jobs end and the operator look, until nothing is left to be done.

        What is tried again is tried within a minute, so five passes without a step are the end.
        """
        plan, idle = self.one_pass(), 0
        for _ in range(passes):
            self.now += timedelta(seconds=10)
            self.write()
            self.finish_jobs()
            before = self.record
            plan = self.one_pass()
            idle = idle + 1 if plan.step is None and self.record == before else 0
            if idle == 5:
                break
        return plan

    def until(self, phase: migration.Phase, *, with_job: str | None = None) -> None:
        """Run until a source is in a phase, and a Job for a purpose runs where one is named."""
        for _ in range(30):
            plan = self.one_pass()
            running = {jobs.purpose_of(job.manifest) for job in self.jobs.values() if job.outcome is None}
            if plan.phase is phase and (with_job is None or with_job in running):
                return
            if with_job is None or with_job not in running:
                self.finish_jobs()
        raise AssertionError(f"never came to {phase}")

    @property
    def is_fenced(self) -> bool:
        return fence.ANNOTATION in self.workload["metadata"]["annotations"]

    @property
    def replicas(self) -> int:
        return int(self.workload["spec"]["replicas"])

    def purposes(self) -> list[str]:
        """What the Jobs that are still there were for, oldest first."""
        return [jobs.purpose_of(job.manifest) for job in self.jobs.values()]

    def arguments(self, purpose: str) -> list[list[str]]:
        found = (job.manifest for job in self.jobs.values() if jobs.purpose_of(job.manifest) == purpose)
        return [list(job["spec"]["template"]["spec"]["containers"][0]["args"]) for job in found]

    # -- what must hold -------------------------------------------------------------------------

    def assert_migrated(self) -> None:
        assert self.faults == []
        assert self.record is not None and self.record.finished_at is not None
        assert self.injected
        assert not self.is_fenced
        assert self.replicas == self.wished_replicas
        assert self.written <= self.stored

    def assert_on_files(self) -> None:
        assert self.faults == []
        assert not self.injected
        assert not self.is_fenced
        assert self.replicas == self.wished_replicas
        assert self.written <= self.files


def _volume() -> dict[str, Any]:
    return {"name": "home", "persistentVolumeClaim": {"claimName": CLAIM}}


def _container() -> dict[str, Any]:
    return {"name": "gateway", "volumeMounts": [{"name": "home", "mountPath": workloads.HOME}]}


def a_pod(name: str, *, bound: bool = False) -> dict[str, Any]:
    container = _container()
    if bound:
        container["volumeMounts"].append({"name": injection.VOLUME, "mountPath": binding.MOUNT_PATH})
        container["env"] = [{"name": injection.CONFIG_VARIABLE, "value": injection.CONFIG_PATH}]
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": "node-1", "volumes": [_volume()], "containers": [container]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


def ended(job: facts.JobFacts, outcome: dict[str, Any], now: datetime = EPOCH) -> facts.JobFacts:
    done = outcome["outcome"] != "Failed"
    condition = {
        "type": "Complete" if done else "Failed",
        "status": "True",
        "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return facts.JobFacts({**job.manifest, "status": {"conditions": [condition]}}, outcome, None)


def failing(reason: str, message: str) -> dict[str, Any]:
    """What a Job leaves that has failed."""
    return {"outcome": "Failed", "reason": reason, "message": message}
