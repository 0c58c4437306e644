"""Why something does not come up: pods, claims, workloads and Jobs read for the one cause a person can act on. Pure.

`kubectl describe` scattered over four objects, in one sentence. observe.py calls it with plain objects and the
namespace's events; the text of the scheduler, the registry or the provisioner is passed on and not paraphrased.
None means that nothing is known to be wrong: it is there, or on its way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sessionstore.apis.v1alpha1.reasons import Reason
from sessionstore.kube.kinds import Manifest

MAX_QUOTE = 1000
"""Characters of somebody else's message. A scheduler's grows with the nodes, a log line without end."""

_PULL = frozenset(
    {
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_NOT_STARTED = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_VOLUME_EVENTS = frozenset({"FailedAttachVolume", "FailedMount", "FailedMapVolume"})
_CLAIM_EVENTS = frozenset({"ProvisioningFailed", "FailedBinding", "VolumeMismatch"})
_MISSING_SECRET = re.compile(r"""secret "[^"]*" not found|find key .* in Secret""", re.IGNORECASE)

_FOR_A_JOB = {
    Reason.POD_UNSCHEDULABLE: Reason.JOB_UNSCHEDULABLE,
    Reason.PODS_NOT_CREATED: Reason.JOB_UNSCHEDULABLE,
    Reason.IMAGE_PULL_FAILED: Reason.JOB_IMAGE_PULL_FAILED,
    Reason.VOLUME_PENDING: Reason.SOURCE_UNATTACHABLE,
    Reason.CRASH_LOOPING: Reason.JOB_FAILED,
    Reason.CONTAINER_NOT_STARTED: Reason.JOB_FAILED,
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """One cause. `reason` is for the condition, `message` for the person who reads it."""

    reason: Reason
    message: str


def explain_pod(pod: Manifest, events: Sequence[Manifest]) -> Explanation | None:
    """Explain why a pod is not ready; None for one that is ready, ending, or still starting.

    Args:
        events: of the namespace, in any order; those about other objects are left out.
    """
    if pod["metadata"].get("deletionTimestamp") or _condition(pod, "Ready", "True"):
        return None
    about = _Events.of(pod, events)
    return next((found for check in _POD_CHECKS if (found := check(pod, about))), None)


def explain_claim(claim: Manifest, events: Sequence[Manifest]) -> Explanation | None:
    """Explain why a claim has no volume. One that waits for its first pod is in order."""
    name, phase = claim["metadata"]["name"], claim.get("status", {}).get("phase", "Pending")
    if phase == "Lost":
        return Explanation(Reason.VOLUME_PENDING, f"the volume of claim {name} is gone, and its data with it")
    event = _Events.of(claim, events).newest(_CLAIM_EVENTS) if phase == "Pending" else None
    return Explanation(Reason.VOLUME_PENDING, f"claim {name}: {_quote(event)}") if event else None


def explain_workload(
    workload: Manifest, replica_sets: Sequence[Manifest], events: Sequence[Manifest]
) -> Explanation | None:
    """Explain why a workload's pods do not even exist: quota, pod security, a webhook.

    Args:
        replica_sets: a Deployment's own; empty for a StatefulSet, which makes its pods itself.
    """
    makers = [maker for maker in (workload, *replica_sets) if _lacks_pods(maker)]
    return next((found for maker in makers if (found := _not_created(maker, events))), None)


def explain_job(job: Manifest, pods: Sequence[Manifest], events: Sequence[Manifest]) -> Explanation | None:
    """Explain why a Job does not get on, with the reasons of the condition `Migrated`.

    Args:
        pods: the Job's own.
    """
    if _condition(job, "Complete", "True"):
        return None
    found = next((found for pod in _newest_first(pods) if (found := explain_pod(pod, events))), None)
    found = found or (None if pods else _not_created(job, events))
    if found:
        return Explanation(_FOR_A_JOB.get(found.reason, found.reason), found.message)
    failed = _condition(job, "Failed", "True")
    return Explanation(Reason.JOB_FAILED, _quote(failed)) if failed else None


def _unschedulable(pod: Manifest, events: _Events) -> Explanation | None:
    condition = _condition(pod, "PodScheduled", "False")
    if not condition or condition.get("reason") not in ("Unschedulable", "SchedulingGated"):
        return None
    message = _quote(condition if condition.get("message") else events.newest({"FailedScheduling"}) or condition)
    claim = events.newest_of_claims(_CLAIM_EVENTS) if "unbound" in message else None
    if claim:
        # The scheduler knows that a claim is unbound; why it is, the provisioner has said.
        return Explanation(Reason.VOLUME_PENDING, f"claim {claim['involvedObject']['name']}: {_quote(claim)}")
    return Explanation(Reason.POD_UNSCHEDULABLE, f"pod {pod['metadata']['name']}: {message}")


def _image_not_pulled(pod: Manifest, events: _Events) -> Explanation | None:
    for status in _container_statuses(pod):
        waiting = _waiting(status)
        if waiting.get("reason") in _PULL:
            said = _pull_message(waiting, events)
            return Explanation(Reason.IMAGE_PULL_FAILED, f"image {status['image']}: {said}")
    return None


def _not_started(pod: Manifest, _: _Events) -> Explanation | None:
    for status in _container_statuses(pod):
        waiting = _waiting(status)
        if waiting.get("reason") in _NOT_STARTED:
            said = f"container {status['name']}: {_quote(waiting)}"
            missing = _MISSING_SECRET.search(said)
            return Explanation(Reason.SECRET_NOT_FOUND if missing else Reason.CONTAINER_NOT_STARTED, said)
    return None


def _crashing(pod: Manifest, _: _Events) -> Explanation | None:
    for status in _container_statuses(pod):
        ended = _ended_badly(status)
        if ended is not None:
            words = [
                f"container {status['name']} ended {_times(status)}with exit code {ended.get('exitCode', '?')}",
                f" ({ended['reason']})" if ended.get("reason", "Error") != "Error" else "",
                f": {_tail(ended['message'])}" if ended.get("message", "").strip() else "",
            ]
            return Explanation(Reason.CRASH_LOOPING, "".join(words))
    return None


def _evicted(pod: Manifest, _: _Events) -> Explanation | None:
    """A pod that the kubelet ended as a whole (node pressure, a deadline) has no container that says so."""
    status = pod.get("status", {})
    if status.get("phase") != "Failed" or not status.get("reason"):
        return None
    return Explanation(Reason.CRASH_LOOPING, f"pod {pod['metadata']['name']} was ended: {_quote(status)}")


def _volume_missing(pod: Manifest, events: _Events) -> Explanation | None:
    """Read the events of a pod whose containers wait for their volumes; older ones are of no matter afterwards."""
    statuses = _container_statuses(pod)
    if any(_waiting(status).get("reason") not in ("ContainerCreating", "PodInitializing") for status in statuses):
        return None
    event = events.newest(_VOLUME_EVENTS)
    if event is None:
        return None
    missing = _MISSING_SECRET.search(event.get("message", ""))
    reason = Reason.SECRET_NOT_FOUND if missing else Reason.VOLUME_PENDING
    return Explanation(reason, f"pod {pod['metadata']['name']}: {_quote(event)}")


def _probe_fails(pod: Manifest, events: _Events) -> Explanation | None:
    """A container that runs and is not ready: what its probe says. Without an event it has just started."""
    if not any("running" in status.get("state", {}) for status in _container_statuses(pod)):
        return None
    event = events.newest({"Unhealthy"})
    return Explanation(Reason.CREATING, f"pod {pod['metadata']['name']}: {_quote(event)}") if event else None


# The order is that of a pod's life, so that the first thing that holds it up is what is told. Containers come before
# volumes: one that was started has all its volumes, whatever an old event says.
_POD_CHECKS: tuple[Callable[[Manifest, _Events], Explanation | None], ...] = (
    _unschedulable,
    _image_not_pulled,
    _not_started,
    _crashing,
    _evicted,
    _volume_missing,
    _probe_fails,
)


def _not_created(maker: Manifest, events: Sequence[Manifest]) -> Explanation | None:
    about = _Events.of(maker, events)
    condition = _condition(maker, "ReplicaFailure", "True")
    # A StatefulSet or a Job has no such condition: of its events the last word counts, since failures are kept
    # for an hour after they were mended.
    last = about.newest({"FailedCreate", "SuccessfulCreate", "RecreatingFailedPod"})
    failed = condition or (last if last and last["reason"] == "FailedCreate" else None)
    if failed is None:
        return None
    return Explanation(Reason.PODS_NOT_CREATED, f"{maker['kind']} {maker['metadata']['name']}: {_quote(failed)}")


def _lacks_pods(maker: Manifest) -> bool:
    wanted: int = maker.get("spec", {}).get("replicas", 1)
    return int(maker.get("status", {}).get("replicas", 0)) < wanted


@dataclass(frozen=True, slots=True)
class _Events:
    """The events about one object, and about the claims that it mounts; each oldest to newest."""

    items: tuple[Manifest, ...]
    of_claims: tuple[Manifest, ...]

    @classmethod
    def of(cls, about: Manifest, events: Iterable[Manifest]) -> _Events:
        """Select by uid: events outlive their object, and a pod of a StatefulSet has its predecessor's name.

        A pod knows its claims by name alone.
        """
        uid, claims = about["metadata"].get("uid"), _claims(about)
        in_order = sorted(events, key=_when)
        return cls(
            tuple(event for event in in_order if event["involvedObject"].get("uid") == uid),
            tuple(event for event in in_order if _about_claim(event, claims)),
        )

    def newest(self, reasons: Iterable[str]) -> Manifest | None:
        """Return the last event with one of `reasons`."""
        return _newest(self.items, reasons)

    def newest_of_claims(self, reasons: Iterable[str]) -> Manifest | None:
        """Return the last event with one of `reasons` about a claim."""
        return _newest(self.of_claims, reasons)


def _newest(events: Sequence[Manifest], reasons: Iterable[str]) -> Manifest | None:
    return next((event for event in reversed(events) if event.get("reason") in set(reasons)), None)


def _claims(manifest: Manifest) -> set[str]:
    volumes = manifest.get("spec", {}).get("volumes") or []
    return {volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume}


def _about_claim(event: Manifest, claims: set[str]) -> bool:
    about = event["involvedObject"]
    return about.get("kind") == "PersistentVolumeClaim" and about.get("name") in claims


def _when(event: Manifest) -> str:
    """Return when an event was last seen: RFC 3339 in UTC sorts as text, as far as the seconds."""
    series = event.get("series") or {}
    seen = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    created = event.get("metadata", {}).get("creationTimestamp")
    return str(next((time for time in (*seen, created) if time), ""))[:19]


def _condition(manifest: Manifest, kind: str, status: str) -> Mapping[str, Any] | None:
    conditions = manifest.get("status", {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == kind and c["status"] == status), None)


def _container_statuses(pod: Manifest) -> list[Mapping[str, Any]]:
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _waiting(status: Mapping[str, Any]) -> Mapping[str, Any]:
    return status.get("state", {}).get("waiting") or {}


def _ended_badly(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return how a container ended that keeps failing; None for one that works, or that did its part and ended."""
    ended = status.get("state", {}).get("terminated")
    if ended:
        return ended if ended.get("exitCode") != 0 else None
    # Between two failures it runs for a moment; once is no loop, so a single restart is left to its probes.
    again = not status.get("ready") and status.get("restartCount", 0) > 1
    backing_off = _waiting(status).get("reason") == "CrashLoopBackOff"
    return status.get("lastState", {}).get("terminated") or {} if again or backing_off else None


def _times(status: Mapping[str, Any]) -> str:
    restarts = status.get("restartCount", 0)
    return f"{restarts + 1} times, the last " if restarts else ""


def _pull_message(waiting: Mapping[str, Any], events: _Events) -> str:
    """Return the registry's words. Kubernetes before 1.32 has them in the event alone."""
    failed = events.newest({"Failed"})
    said = _quote(waiting)
    if said.startswith("Back-off") and ": " not in said and failed and "pull" in failed.get("message", ""):
        return _quote(failed)
    return said or str(waiting["reason"])


def _newest_first(pods: Iterable[Manifest]) -> list[Manifest]:
    return sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)


def _quote(said: Mapping[str, Any] | None) -> str:
    """Return somebody else's message on one line; its reason where it has none."""
    text = " ".join(str((said or {}).get("message") or (said or {}).get("reason") or "").split())
    return text if len(text) <= MAX_QUOTE else f"{text[: MAX_QUOTE - 2]} …"


def _tail(log: str) -> str:
    """Return the last words of a log on one line: that is where the cause is."""
    text = " ".join(log.split())
    return text if len(text) <= MAX_QUOTE else f"… {text[2 - MAX_QUOTE :]}"
