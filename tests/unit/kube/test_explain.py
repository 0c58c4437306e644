"""Why something does not come up: objects as kubelets, schedulers and provisioners write them."""

from __future__ import annotations

from typing import Any

import pytest

from sessionstore.apis.v1alpha1.reasons import Reason
from sessionstore.kube import explain

UNSCHEDULABLE = "0/1 nodes are available: 1 Insufficient memory. preemption: 0/1 nodes are available."
UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found."
NOT_FOUND = 'Back-off pulling image "redis:nope": ErrImagePull: docker.io/library/redis:nope: not found'
ATTACH = 'Multi-Attach error for volume "pvc-1" Volume is already exclusively attached to one node'
NO_SECRET = 'MountVolume.SetUp failed for volume "users" : secret "chat-redis-users" not found'
QUOTA = 'pods "chat-redis-0" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2'
SECURITY = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
PROVISION = 'storageclass.storage.k8s.io "fast" not found'
READINESS = "Readiness probe failed: redis-server does not serve: LOADING Redis is loading the dataset in memory"


def a_pod(*containers: dict[str, Any], uid: str = "pod-1", **status: Any) -> dict[str, Any]:
    conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}]
    return {
        "kind": "Pod",
        "metadata": {"name": "chat-redis-0", "uid": uid, "creationTimestamp": "2026-11-21T10:00:00Z"},
        "spec": {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-chat-redis-0"}}]},
        "status": {"phase": "Pending", "conditions": conditions, "containerStatuses": list(containers), **status},
    }


def a_container(*, ready: bool = False, restarts: int = 0, last: dict[str, Any] | None = None, **state: Any) -> Any:
    found = {"name": "redis", "image": "redis:nope", "ready": ready, "restartCount": restarts, "state": state}
    return {**found, "lastState": {"terminated": last} if last else {}}


def waiting(reason: str, message: str = "", **more: Any) -> Any:
    return a_container(waiting={"reason": reason, **({"message": message} if message else {})}, **more)


def an_event(reason: str, message: str, *, uid: str = "pod-1", at: str = "10:00:00", **about: str) -> dict[str, Any]:
    return {
        "reason": reason,
        "message": message,
        "lastTimestamp": f"2026-11-21T{at}Z",
        "involvedObject": {"uid": uid, **about},
    }


def unschedulable(message: str, reason: str = "Unschedulable") -> dict[str, Any]:
    return {"conditions": [{"type": "PodScheduled", "status": "False", "reason": reason, "message": message}]}


ENDED = {"exitCode": 1, "reason": "Error", "message": ">>> 'no-such 1'\nBad directive\n"}
KILLED = {"exitCode": 137, "reason": "OOMKilled"}
OF_CLAIM = {"uid": "claim-1", "kind": "PersistentVolumeClaim", "name": "data-chat-redis-0"}


@pytest.mark.parametrize(
    ("pod", "events"),
    [
        pytest.param(a_pod(conditions=[{"type": "Ready", "status": "True"}]), [], id="ready"),
        pytest.param(a_pod(conditions=[]), [], id="not seen by the scheduler yet"),
        pytest.param(a_pod(), [], id="scheduled, not seen by its kubelet yet"),
        pytest.param(a_pod(waiting("ContainerCreating")), [], id="being created"),
        pytest.param(a_pod(a_container(running={})), [], id="running, not ready yet"),
        pytest.param(a_pod(a_container(running={}, restarts=1, last=KILLED)), [], id="running again after one end"),
        pytest.param(
            a_pod(waiting("ContainerCreating")), [an_event("FailedMount", NO_SECRET, uid="pod-0")], id="another's event"
        ),
        pytest.param(
            a_pod(initContainerStatuses=[a_container(ready=True, terminated={"exitCode": 0})]), [], id="init is done"
        ),
    ],
)
def test_a_pod_that_is_there_or_on_its_way_needs_no_explanation(pod, events) -> None:
    assert explain.explain_pod(pod, events) is None


def test_a_pod_that_is_ending_is_not_explained() -> None:
    pod = a_pod(waiting("ImagePullBackOff", NOT_FOUND))
    pod["metadata"]["deletionTimestamp"] = "2026-11-21T10:01:00Z"

    assert explain.explain_pod(pod, []) is None


@pytest.mark.parametrize(
    ("pod", "events", "reason", "words"),
    [
        pytest.param(
            a_pod(**unschedulable(UNSCHEDULABLE)), [], Reason.POD_UNSCHEDULABLE, "Insufficient memory", id="no node"
        ),
        pytest.param(
            a_pod(**unschedulable("", "Unschedulable")),
            [an_event("FailedScheduling", UNSCHEDULABLE)],
            Reason.POD_UNSCHEDULABLE,
            "Insufficient memory",
            id="no node, told by the event alone",
        ),
        pytest.param(
            a_pod(**unschedulable("waiting for gates: quota", "SchedulingGated")),
            [],
            Reason.POD_UNSCHEDULABLE,
            "waiting for gates",
            id="gated",
        ),
        pytest.param(
            a_pod(**unschedulable(UNBOUND)),
            [an_event("ProvisioningFailed", PROVISION, **OF_CLAIM)],
            Reason.VOLUME_PENDING,
            "claim data-chat-redis-0: storageclass",
            id="an unbound claim, and its provisioner's words",
        ),
        pytest.param(
            a_pod(**unschedulable(UNBOUND)), [], Reason.POD_UNSCHEDULABLE, "unbound", id="an unbound claim, no words"
        ),
        pytest.param(
            a_pod(**unschedulable(UNSCHEDULABLE)),
            [an_event("ProvisioningFailed", PROVISION, **OF_CLAIM)],
            Reason.POD_UNSCHEDULABLE,
            "Insufficient memory",
            id="no node, and an old event of a claim that is bound now",
        ),
        pytest.param(
            a_pod(waiting("ImagePullBackOff", NOT_FOUND)),
            [],
            Reason.IMAGE_PULL_FAILED,
            "image redis:nope: Back-off pulling image",
            id="no image",
        ),
        pytest.param(
            a_pod(waiting("ImagePullBackOff", 'Back-off pulling image "redis:nope"')),
            [an_event("Failed", 'Failed to pull image "redis:nope": not found'), an_event("Failed", "Error: Err")][:1],
            Reason.IMAGE_PULL_FAILED,
            "not found",
            id="no image, the registry's words in the event",
        ),
        pytest.param(
            a_pod(waiting("InvalidImageName")), [], Reason.IMAGE_PULL_FAILED, "InvalidImageName", id="no image name"
        ),
        pytest.param(
            a_pod(initContainerStatuses=[waiting("ErrImagePull", NOT_FOUND)]),
            [],
            Reason.IMAGE_PULL_FAILED,
            "not found",
            id="no image for an init container",
        ),
        pytest.param(
            a_pod(waiting("CreateContainerConfigError", 'secret "x" not found')),
            [],
            Reason.SECRET_NOT_FOUND,
            'container redis: secret "x" not found',
            id="no Secret for a variable",
        ),
        pytest.param(
            a_pod(waiting("CreateContainerConfigError", "couldn't find key p in Secret ns/x")),
            [],
            Reason.SECRET_NOT_FOUND,
            "find key p",
            id="no such key in a Secret",
        ),
        pytest.param(
            a_pod(waiting("CreateContainerConfigError", 'configmap "x" not found')),
            [],
            Reason.CONTAINER_NOT_STARTED,
            'configmap "x" not found',
            id="no ConfigMap for a variable",
        ),
        pytest.param(
            a_pod(waiting("CreateContainerError", "redis-server: executable file not found in $PATH")),
            [],
            Reason.CONTAINER_NOT_STARTED,
            "executable file not found",
            id="no such program in the image",
        ),
        pytest.param(
            a_pod(waiting("CrashLoopBackOff", "back-off 5m0s restarting", restarts=4, last=ENDED)),
            [],
            Reason.CRASH_LOOPING,
            "container redis ended 5 times, the last with exit code 1: >>> 'no-such 1' Bad directive",
            id="a crash, and its last words",
        ),
        pytest.param(
            a_pod(waiting("CrashLoopBackOff", restarts=1, last=KILLED)),
            [],
            Reason.CRASH_LOOPING,
            "exit code 137 (OOMKilled)",
            id="killed for memory",
        ),
        pytest.param(
            a_pod(a_container(running={}, restarts=3, last=KILLED)),
            [],
            Reason.CRASH_LOOPING,
            "OOMKilled",
            id="between two crashes",
        ),
        pytest.param(a_pod(a_container(terminated=ENDED)), [], Reason.CRASH_LOOPING, "exit code 1", id="just ended"),
        pytest.param(
            a_pod(phase="Failed", reason="Evicted", message="The node was low on resource: ephemeral-storage."),
            [],
            Reason.CRASH_LOOPING,
            "was ended: The node was low",
            id="evicted",
        ),
        pytest.param(
            a_pod(waiting("ContainerCreating")),
            [an_event("FailedAttachVolume", ATTACH)],
            Reason.VOLUME_PENDING,
            "Multi-Attach error",
            id="a volume that is elsewhere",
        ),
        pytest.param(
            a_pod(waiting("ContainerCreating")),
            [an_event("FailedMount", NO_SECRET)],
            Reason.SECRET_NOT_FOUND,
            'secret "chat-redis-users" not found',
            id="no Secret to mount",
        ),
        pytest.param(
            a_pod(a_container(running={})),
            [an_event("Unhealthy", READINESS)],
            Reason.CREATING,
            "LOADING",
            id="not ready",
        ),
        pytest.param(
            a_pod(a_container(running={})),
            [an_event("FailedMount", NO_SECRET, at="11:00:00"), an_event("Unhealthy", READINESS)],
            Reason.CREATING,
            "LOADING",
            id="not ready, and an old event of a volume that is mounted now",
        ),
    ],
)
def test_a_pod_that_is_held_up_is_explained_by_what_holds_it_up(pod, events, reason, words) -> None:
    found = explain.explain_pod(pod, events)

    assert found is not None
    assert found.reason == reason
    assert words in found.message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(
            {"lastTimestamp": "2026-11-21T10:00:00Z"}, {"lastTimestamp": "2026-11-21T10:00:01Z"}, id="counted"
        ),
        pytest.param(
            {"lastTimestamp": None, "eventTime": "2026-11-21T10:00:00.9Z"},
            {"lastTimestamp": "2026-11-21T10:00:01Z"},
            id="new form and old form",
        ),
        pytest.param(
            {"lastTimestamp": "2026-11-21T10:00:00Z"},
            {"eventTime": "2026-11-21T09:00:00Z", "series": {"lastObservedTime": "2026-11-21T10:00:02.1Z"}},
            id="a series",
        ),
        pytest.param(
            {"lastTimestamp": None, "metadata": {"creationTimestamp": "2026-11-21T10:00:00Z"}},
            {"lastTimestamp": None, "metadata": {"creationTimestamp": "2026-11-21T10:00:03Z"}},
            id="no time but its creation",
        ),
    ],
)
def test_of_several_events_the_newest_counts_in_any_order(first, second) -> None:
    old = {**an_event("FailedMount", "old words"), **first}
    new = {**an_event("FailedMount", "new words"), **second}
    pod = a_pod(waiting("ContainerCreating"))

    found = [explain.explain_pod(pod, events) for events in ([old, new], [new, old])]

    assert ["new words" in str(explanation) for explanation in found] == [True, True]


def test_long_words_are_cut_where_they_matter_least() -> None:
    crash = explain.explain_pod(a_pod(a_container(terminated={"exitCode": 1, "message": "x" * 4000 + "the cause"})), [])
    pull = explain.explain_pod(a_pod(waiting("ErrImagePull", "the cause" + "x" * 4000)), [])

    assert crash is not None
    assert crash.message.endswith("the cause")
    assert pull is not None
    assert "the cause" in pull.message
    assert max(len(crash.message), len(pull.message)) < explain.MAX_QUOTE + 100


def a_claim(phase: str) -> dict[str, Any]:
    return {"metadata": {"name": "data-chat-redis-0", "uid": "claim-1"}, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("claim", "events"),
    [
        pytest.param(a_claim("Bound"), [], id="bound"),
        pytest.param(a_claim("Bound"), [an_event("ProvisioningFailed", PROVISION, uid="claim-1")], id="bound by now"),
        pytest.param(a_claim("Pending"), [], id="just made"),
        pytest.param(
            a_claim("Pending"),
            [an_event("WaitForFirstConsumer", "waiting for first consumer to be created", uid="claim-1")],
            id="waits for its pod",
        ),
        pytest.param(a_claim("Pending"), [an_event("ProvisioningFailed", PROVISION, uid="claim-0")], id="another's"),
    ],
)
def test_a_claim_that_is_bound_or_on_its_way_needs_no_explanation(claim, events) -> None:
    assert explain.explain_claim(claim, events) is None


@pytest.mark.parametrize(
    ("claim", "events", "words"),
    [
        pytest.param(
            a_claim("Pending"), [an_event("ProvisioningFailed", PROVISION, uid="claim-1")], PROVISION, id="no class"
        ),
        pytest.param(
            a_claim("Pending"),
            [an_event("FailedBinding", "no persistent volumes available and no storage class is set", uid="claim-1")],
            "no storage class is set",
            id="no default class",
        ),
        pytest.param(a_claim("Lost"), [], "is gone", id="lost"),
    ],
)
def test_a_claim_without_a_volume_is_explained(claim, events, words) -> None:
    found = explain.explain_claim(claim, events)

    assert found is not None
    assert (found.reason, words in found.message) == (Reason.VOLUME_PENDING, True)


def a_workload(kind: str = "StatefulSet", *, uid: str = "set-1", wanted: int = 1, have: int = 0, **status: Any) -> Any:
    return {
        "kind": kind,
        "metadata": {"name": "chat-redis", "uid": uid},
        "spec": {"replicas": wanted},
        "status": {"replicas": have, **status},
    }


FAILED = {"uid": "set-1", "at": "10:00:00"}
FAILURE = {"conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": SECURITY}]}


@pytest.mark.parametrize(
    ("workload", "replica_sets", "events"),
    [
        pytest.param(a_workload(have=1), [], [], id="all pods exist"),
        pytest.param(a_workload(), [], [], id="none yet"),
        pytest.param(a_workload(wanted=0), [], [an_event("FailedCreate", QUOTA, **FAILED)], id="none wanted"),
        pytest.param(a_workload(have=1), [], [an_event("FailedCreate", QUOTA, **FAILED)], id="mended, pods exist"),
        pytest.param(
            a_workload(),
            [],
            [an_event("FailedCreate", QUOTA, **FAILED), an_event("SuccessfulCreate", "ok", uid="set-1", at="10:00:05")],
            id="mended since",
        ),
        pytest.param(
            a_workload("Deployment", have=1),
            [a_workload("ReplicaSet", uid="old", wanted=0, **FAILURE)],
            [],
            id="an old ReplicaSet that failed",
        ),
    ],
)
def test_a_workload_that_makes_its_pods_needs_no_explanation(workload, replica_sets, events) -> None:
    assert explain.explain_workload(workload, replica_sets, events) is None


@pytest.mark.parametrize(
    ("workload", "replica_sets", "events", "words"),
    [
        pytest.param(a_workload(), [], [an_event("FailedCreate", QUOTA, **FAILED)], "exceeded quota", id="quota"),
        pytest.param(
            a_workload("Deployment", uid="d"),
            [a_workload("ReplicaSet", uid="r")],
            [an_event("FailedCreate", SECURITY, uid="r")],
            "violates PodSecurity",
            id="pod security, told by the ReplicaSet's event",
        ),
        pytest.param(
            a_workload("Deployment", **FAILURE), [], [], "violates PodSecurity", id="pod security, told by a condition"
        ),
    ],
)
def test_a_workload_whose_pods_are_refused_is_explained(workload, replica_sets, events, words) -> None:
    found = explain.explain_workload(workload, replica_sets, events)

    assert found is not None
    assert (found.reason, words in found.message) == (Reason.PODS_NOT_CREATED, True)


def a_job(*conditions: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "Job",
        "metadata": {"name": "chat-migrate", "uid": "job-1"},
        "status": {"conditions": [*conditions]},
    }


BACKOFF = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "Job has reached its limit"}


@pytest.mark.parametrize(
    ("job", "pods"),
    [
        pytest.param(a_job({"type": "Complete", "status": "True"}), [a_pod(a_container(terminated=ENDED))], id="done"),
        pytest.param(a_job(), [], id="no pod yet"),
        pytest.param(a_job(), [a_pod(a_container(running={}))], id="at work"),
    ],
)
def test_a_job_that_is_done_or_at_work_needs_no_explanation(job, pods) -> None:
    assert explain.explain_job(job, pods, []) is None


@pytest.mark.parametrize(
    ("job", "pods", "events", "reason", "words"),
    [
        pytest.param(
            a_job(), [a_pod(**unschedulable(UNSCHEDULABLE))], [], Reason.JOB_UNSCHEDULABLE, "Insufficient", id="no node"
        ),
        pytest.param(
            a_job(),
            [a_pod(waiting("ContainerCreating"))],
            [an_event("FailedAttachVolume", ATTACH)],
            Reason.SOURCE_UNATTACHABLE,
            "Multi-Attach",
            id="a volume that is elsewhere",
        ),
        pytest.param(
            a_job(),
            [a_pod(waiting("ImagePullBackOff", NOT_FOUND))],
            [],
            Reason.JOB_IMAGE_PULL_FAILED,
            "not found",
            id="no image",
        ),
        pytest.param(
            a_job(),
            [a_pod(waiting("ContainerCreating"))],
            [an_event("FailedMount", NO_SECRET)],
            Reason.SECRET_NOT_FOUND,
            "not found",
            id="no Secret",
        ),
        pytest.param(
            a_job(),
            [],
            [an_event("FailedCreate", QUOTA, uid="job-1")],
            Reason.JOB_UNSCHEDULABLE,
            "exceeded quota",
            id="no pod allowed",
        ),
        pytest.param(
            a_job(BACKOFF), [a_pod(a_container(terminated=ENDED))], [], Reason.JOB_FAILED, "Bad directive", id="failed"
        ),
        pytest.param(a_job(BACKOFF), [], [], Reason.JOB_FAILED, "reached its limit", id="failed, and its pod is gone"),
    ],
)
def test_a_job_that_does_not_get_on_is_explained_in_the_words_of_a_migration(job, pods, events, reason, words) -> None:
    found = explain.explain_job(job, pods, events)

    assert found is not None
    assert found.reason == reason
    assert words in found.message
