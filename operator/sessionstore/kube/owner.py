"""Who owns what: owner references on our children, and the names of our field managers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIELD_MANAGER = "sessionstore-operator"
"""Owns our children, and the status of a SessionStore."""

MANAGED_BY = "app.kubernetes.io/managed-by"
STORE_LABEL = "sessionstore.dev/store"


def owner_reference(owner: Mapping[str, Any]) -> dict[str, Any]:
    """Return a controller reference. It never blocks the owner's deletion: nothing of ours may hang."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }


def owned(manifest: Mapping[str, Any], owner: Mapping[str, Any]) -> dict[str, Any]:
    """Return `manifest` in its owner's namespace, with the reference that lets the cluster clean up."""
    metadata = {
        **manifest["metadata"],
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [owner_reference(owner)],
    }
    return {**manifest, "metadata": metadata}


def is_adoptable(live: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Return whether an object that bears the name of a child may become one.

    What carries our labels and lost its owner, as `kubectl delete --cascade=orphan` leaves it, may. What someone else
    made, or another store controls, may not: our apply is forced and would take it from them without a word.
    """
    if is_owned(live, owner):
        return True
    labels = live["metadata"].get("labels") or {}
    ours = labels.get(MANAGED_BY) == FIELD_MANAGER and labels.get(STORE_LABEL) == owner["metadata"]["name"]
    return ours and not live["metadata"].get("ownerReferences")


def is_owned(live: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Return whether `live` has `owner` among its owner references."""
    references = live["metadata"].get("ownerReferences") or []
    return any(reference["uid"] == owner["metadata"]["uid"] for reference in references)
