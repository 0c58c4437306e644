"""Why a workload must not be injected: checks in order, the first that finds something wins. Pure.

Each is found here, before anything is applied or fenced, so that a person reads what to do and not
what the API server makes of a half-right patch. What only the server can know, it still refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import binding, ownership, template

R = reasons.Reason

VOLUME = "session-storage"
CONFIG_VARIABLE = "SESSION_STORAGE_CONFIG"
CONFIG_PATH = f"{binding.MOUNT_PATH}/{binding.CONFIG_FILE}"
STORE_LABEL = "sessionstore.dev/store"

Workload = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no injection. `message` says what to do."""

    reason: reasons.Reason
    message: str


def find_obstacle(store_name: str, gateway: api.Gateway, workload: Workload) -> Refusal | None:
    """Return why this workload must be left alone; None where it may be injected."""
    found = check_owner(workload) or check_taken(store_name, workload) or check_container(gateway, workload)
    if found is not None:
        return found
    container = template.gateway_container(gateway, workload)
    assert container is not None  # check_container has refused that
    place = _Place(store_name, workload, container)
    return place.check_variable() or place.check_mount() or place.check_volume()


def check_owner(workload: Workload) -> Refusal | None:
    """A controller that owns the workload writes its template anew and would take our parts out, for ever."""
    for reference in workload["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            owner = f"{reference['kind']} {reference['name']!r} ({reference['apiVersion']})"
            message = f"{owner} owns {_name(workload)} and would undo an injection; bind the workload there"
            return Refusal(R.CONTROLLED_BY_OWNER, message)
    return None


def check_taken(store_name: str, workload: Workload) -> Refusal | None:
    """Two stores on one workload would take turns for ever (tried with one manager)."""
    label = (workload["metadata"].get("labels") or {}).get(STORE_LABEL)
    others = (ownership.stores_on(workload) | {label}) - {store_name, None, ""}
    if not others:
        return None
    names = " and ".join(repr(name) for name in sorted(filter(None, others)))
    message = f"{_name(workload)} is bound to SessionStore {names}; remove the gateway from one of the two"
    return Refusal(R.GATEWAY_TAKEN, message)


def check_container(gateway: api.Gateway, workload: Workload) -> Refusal | None:
    """A patch for a container that is not there would make one of ours, which the API server refuses, even forced."""
    if template.gateway_container(gateway, workload) is not None:
        return None
    there = ", ".join(template.container_names(workload)) or "none"
    if gateway.container is None:
        message = f"{_name(workload)} has several containers ({there}); name one in gateways[].container"
    else:
        message = f"{_name(workload)} has no container {gateway.container!r}; it has: {there}. "
        message += "Correct gateways[].container"
    return Refusal(R.CONTAINER_NOT_FOUND, message)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where our parts would go: each check finds one that somebody else has put there."""

    store_name: str
    workload: Workload
    container: Mapping[str, Any]

    def check_variable(self) -> Refusal | None:
        """Leaving it as it is would keep the gateway off the store, unnoticed."""
        variable = template.variable(self.container, CONFIG_VARIABLE)
        if variable is None or variable.get("value") == CONFIG_PATH:
            return None
        path = ("env", ("name", CONFIG_VARIABLE))
        return self._conflict(f"variable {CONFIG_VARIABLE} of container {self.container['name']!r}", *path)

    def check_mount(self) -> Refusal | None:
        mount = template.mount_at(self.container, binding.MOUNT_PATH)
        if mount is None or (mount["name"] == VOLUME and mount["mountPath"] == binding.MOUNT_PATH):
            return None
        path = ("volumeMounts", ("mountPath", mount["mountPath"]))
        what = f"mount {mount['name']!r} at {mount['mountPath']} in container {self.container['name']!r}"
        return self._conflict(what, *path)

    def check_volume(self) -> Refusal | None:
        """A volume of our name and another kind would be given two kinds, which the API server refuses."""
        volume = template.volume(template.pod_spec(self.workload), VOLUME)
        if volume is None or "projected" in volume:
            return None
        owners = ownership.owners(self.workload, "spec", "template", "spec", "volumes", ("name", VOLUME))
        return self._refuse(f"volume {VOLUME!r}", owners)

    def _conflict(self, what: str, *path: ownership.Step) -> Refusal:
        containers = ("spec", "template", "spec", "containers", ("name", self.container["name"]))
        return self._refuse(what, ownership.owners(self.workload, *containers, *path))

    def _refuse(self, what: str, owners: tuple[str, ...]) -> Refusal:
        ours = ownership.manager_of(self.store_name)
        names = " and ".join(repr(name) for name in owners if name != ours) or "its manifest"
        message = f"{_name(self.workload)} has a {what}, set by {names}; remove it there, or this gateway here"
        return Refusal(R.FIELD_CONFLICT, message)


def _name(workload: Workload) -> str:
    return f"{workload['kind']} {workload['metadata']['name']!r}"
