"""kopf's handlers: each turns a watch event into a key that is due, and returns at once.

`on.event` only: kopf's create and update handlers are edge-triggered and leave annotations, its
timers and daemons force a finalizer onto every object (docs/design/0004-triggers.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf

from sessionstore.kube import owner
from sessionstore.reconcile import queue

Add = Callable[[queue.ObjectKey], None]


def register(registry: kopf.OperatorRegistry, add: Add, saw_lease: Callable[[str], None]) -> None:
    """Register the handlers: `add` takes a store that is due, `saw_lease` a renewTime from the watch."""
    stores = _Stores(add)

    @kopf.on.login(registry=registry)
    def on_login(**options: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**options) or kopf.login_with_kubeconfig(**options)

    @kopf.on.event("sessionstore.dev", "v1alpha1", "sessionstores", registry=registry)
    async def on_store(body: kopf.Body, type: str | None, **_: Any) -> None:
        stores.seen(body, type)

    @kopf.on.event("apps", "v1", "deployments", registry=registry)
    @kopf.on.event("apps", "v1", "statefulsets", registry=registry)
    @kopf.on.event("batch", "v1", "jobs", registry=registry)
    async def on_labelled(body: kopf.Body, **_: Any) -> None:
        name = body.metadata.labels.get(owner.STORE_LABEL)
        if name and body.metadata.namespace:
            add(queue.ObjectKey(body.metadata.namespace, name))

    @kopf.on.event("coordination.k8s.io", "v1", "leases", registry=registry)
    async def on_lease(body: kopf.Body, **_: Any) -> None:
        saw_lease(str(body.get("spec", {}).get("renewTime", "")))


class _Stores:
    """Tells a change that someone wished from the echo of our own status write."""

    def __init__(self, add: Add) -> None:
        self._add = add
        self._wishes: dict[queue.ObjectKey, tuple[Any, ...]] = {}

    def seen(self, body: kopf.Body, event_type: str | None) -> None:
        key = queue.ObjectKey(str(body.metadata.namespace), str(body.metadata.name))
        wish = (body.metadata.get("uid"), body.metadata.get("generation"), dict(body.metadata.annotations))
        if event_type == "DELETED":
            self._wishes.pop(key, None)
        elif self._wishes.get(key) == wish:
            return
        else:
            self._wishes[key] = wish
        self._add(key)
