"""What is added to a gateway's pod template, and what is taken away again. Pure: plain dicts in and out.

The reconcile sends `Injection.patch` by server-side apply as the store's own field manager, never by
force, and `make_release`'s body to take exactly that away. docs/design/0003-injection.md has the
reasons, tests/kind/test_injection.py each case on a real API server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import binding, obstacles, ownership, template

Refusal = obstacles.Refusal

VOLUME = obstacles.VOLUME
CONFIG_VARIABLE = obstacles.CONFIG_VARIABLE
CONFIG_PATH = obstacles.CONFIG_PATH
ROOT_VARIABLE = "SERVICE_BINDING_ROOT"
ROOT_PATH = f"{binding.MOUNT_PATH}/bindings"
STORE_LABEL = obstacles.STORE_LABEL
HASH_ANNOTATION = "sessionstore.dev/config-hash"

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Injection:
    """The body to apply to a workload.

    Attributes:
        container: the one that is given the files and variables.
        skipped: variables that the user has set, and that are therefore left as they are.
    """

    patch: Manifest = field(repr=False)
    container: str
    skipped: tuple[str, ...] = ()


def make_injection(
    store: api.SessionStore, gateway: api.Gateway, workload: Mapping[str, Any], config_hash: str
) -> Injection | Refusal:
    """Build what binds a gateway's workload to a store, or say why that must not be applied.

    The same arguments give the same bytes, so that an apply in sync moves no resourceVersion.

    Args:
        workload: the live object, `metadata.managedFields` included.
        config_hash: of `binding.config_hash`; another one rolls the pods.
    """
    store_name = store.metadata.name
    refusal = obstacles.find_obstacle(store_name, gateway, workload)
    if refusal is not None:
        return refusal
    container = template.gateway_container(gateway, workload)
    assert container is not None  # find_obstacle has refused that
    skipped = (ROOT_VARIABLE,) if _is_users(store_name, container, workload) else ()
    added = {
        "name": container["name"],
        "env": [variable for variable in _VARIABLES if variable["name"] not in skipped],
        "volumeMounts": [{"name": VOLUME, "mountPath": binding.MOUNT_PATH, "readOnly": True}],
    }
    pods = {
        "metadata": {"annotations": {HASH_ANNOTATION: config_hash}},
        "spec": {"containers": [added], "volumes": [_volume(store_name, gateway.name)]},
    }
    patch = _head(workload)
    patch["metadata"]["labels"] = {STORE_LABEL: store_name}
    return Injection({**patch, "spec": {"template": pods}}, container["name"], skipped)


def make_release(store_name: str, workload: Mapping[str, Any]) -> Manifest:
    """Build the empty apply: sent as the store's manager, it removes exactly what that manager alone owns."""
    del store_name  # the manager that sends it says whose parts go
    return _head(workload)


def is_injected(workload: Mapping[str, Any], store_name: str) -> bool:
    """Return whether a workload's template has this store's files and variable, whoever owns them by now."""
    return _reads_store(template.pod_spec(workload), store_name)


def pod_is_injected(pod: Mapping[str, Any], store_name: str, config_hash: str) -> bool:
    """Return whether a pod was started with this store's current configuration."""
    annotations = pod["metadata"].get("annotations") or {}
    return annotations.get(HASH_ANNOTATION) == config_hash and _reads_store(pod["spec"], store_name)


def mounts_binding(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod has a store's files at all: one that has not writes to its own volume."""
    return any(_has_files(container) for container in pod["spec"].get("containers") or ())


def holds_parts(workload: Mapping[str, Any], store_name: str) -> bool:
    """Return whether a release would still take something away: the store's manager owns a part of the workload."""
    return store_name in ownership.stores_on(workload)


def leftovers(workload: Mapping[str, Any], store_name: str) -> tuple[str, ...]:
    """Return who keeps our parts in a workload that was released; none where all are gone, or still ours to take.

    A user who server-side applies an exported live manifest owns our parts too, and the empty apply
    then removes nothing: docs/design/0003-injection.md.
    """
    ours = ownership.manager_of(store_name)
    owners = {part: ownership.owners(workload, *part) for part in _parts(workload, store_name)}
    return tuple(sorted({name for names in owners.values() if ours not in names for name in names}))


def co_owners(workload: Mapping[str, Any], store_name: str) -> tuple[str, ...]:
    """Return who owns our parts beside us: a release would leave them where they are."""
    ours = ownership.manager_of(store_name)
    owners = (ownership.owners(workload, *part) for part in _parts(workload, store_name))
    return tuple(sorted({name for names in owners for name in names} - {ours}))


_VARIABLES = (
    {"name": CONFIG_VARIABLE, "value": CONFIG_PATH},
    {"name": ROOT_VARIABLE, "value": ROOT_PATH},
)


def _head(workload: Mapping[str, Any]) -> Manifest:
    """Name the very object that was read. Without its uid, an apply to one that is gone would create it anew."""
    metadata = {key: workload["metadata"][key] for key in ("name", "namespace", "uid")}
    return {"apiVersion": workload["apiVersion"], "kind": workload["kind"], "metadata": metadata}


def _volume(store_name: str, gateway_name: str) -> Manifest:
    secret = binding.secret_name(store_name, binding.gateway_user(gateway_name))
    keys = [{"key": key, "path": f"bindings/{store_name}/{key}"} for key in binding.KEYS]
    items = [{"key": binding.CONFIG_FILE, "path": binding.CONFIG_FILE}, *keys]
    # 0440 would be unreadable without an fsGroup, which is the user's to set.
    return {
        "name": VOLUME,
        "projected": {"defaultMode": 0o444, "sources": [{"secret": {"name": secret, "items": items}}]},
    }


def _is_users(store_name: str, container: Mapping[str, Any], workload: Mapping[str, Any]) -> bool:
    """Return whether SERVICE_BINDING_ROOT is set and not by us: one such name makes the whole apply a conflict."""
    if template.variable(container, ROOT_VARIABLE) is None:
        return False
    path = (*_CONTAINERS, ("name", container["name"]), "env", ("name", ROOT_VARIABLE), "value")
    return ownership.manager_of(store_name) not in ownership.owners(workload, *path)


_POD_SPEC = ("spec", "template", "spec")
_CONTAINERS = (*_POD_SPEC, "containers")


def _reads_store(pod_spec: Mapping[str, Any], store_name: str) -> bool:
    volume = template.volume(pod_spec, VOLUME)
    return _is_of_store(volume, store_name) and any(map(_has_files, pod_spec.get("containers") or ()))


def _has_files(container: Mapping[str, Any]) -> bool:
    mount = template.mount_at(container, binding.MOUNT_PATH)
    variable = template.variable(container, CONFIG_VARIABLE)
    return mount is not None and variable is not None and variable.get("value") == CONFIG_PATH


def _is_of_store(volume: Mapping[str, Any] | None, store_name: str) -> bool:
    """Tell a store's volume by the paths in it: of Secret names, one store's may begin with another's."""
    sources = (volume or {}).get("projected", {}).get("sources") or ()
    wanted = f"bindings/{store_name}/type"
    return any(item["path"] == wanted for source in sources for item in source.get("secret", {}).get("items") or ())


def _parts(workload: Mapping[str, Any], store_name: str) -> list[tuple[ownership.Step, ...]]:
    """Return the paths of our parts that a workload has, as managedFields spells them."""
    found: list[tuple[ownership.Step, ...]] = []
    if (workload["metadata"].get("labels") or {}).get(STORE_LABEL) == store_name:
        found.append(("metadata", "labels", STORE_LABEL))
    if not _is_of_store(template.volume(template.pod_spec(workload), VOLUME), store_name):
        return found
    found.append((*_POD_SPEC, "volumes", ("name", VOLUME)))
    for container in template.pod_spec(workload).get("containers") or ():
        if template.mount_at(container, binding.MOUNT_PATH) is not None:
            found.append((*_CONTAINERS, ("name", container["name"]), "volumeMounts", ("mountPath", binding.MOUNT_PATH)))
    return found
