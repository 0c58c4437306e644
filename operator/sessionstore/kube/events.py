"""Kubernetes Events: one object per (about, reason, message), counted up when it happens again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sessionstore import errors
from sessionstore.kube import kinds, owner
from sessionstore.kube.client import Kube

COMPONENT = "sessionstore-operator"


@dataclass(frozen=True, slots=True)
class Event:
    """Something a person would want to read about in `kubectl describe`."""

    reason: str
    message: str
    warning: bool = False


async def post(kube: Kube, about: Mapping[str, Any], event: Event, now: datetime) -> None:
    """Record `event` about an object. Never fails for a reason that the reconcile should know of."""
    namespace = about["metadata"]["namespace"]
    name = _name(about, event)
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        await kube.create(_body(about, event, name, stamp), manager=owner.FIELD_MANAGER)
    except errors.Conflicted:
        await _count_up(kube, namespace, name, stamp)
    except (errors.Forbidden, errors.NotFound):
        # A namespace that is being deleted takes no new objects; its stores need no events any more.
        return


async def _count_up(kube: Kube, namespace: str, name: str, stamp: str) -> None:
    known = await kube.get(kinds.EVENT, namespace, name)
    if known is not None:
        patch = {"count": known.get("count", 1) + 1, "lastTimestamp": stamp}
        await kube.patch(known, patch, manager=owner.FIELD_MANAGER)


def _name(about: Mapping[str, Any], event: Event) -> str:
    text = "\0".join((about["metadata"]["uid"], event.reason, event.message))
    return f"{about['metadata']['name']}.{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _body(about: Mapping[str, Any], event: Event, name: str, stamp: str) -> dict[str, Any]:
    meta = about["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": meta["namespace"]},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
        },
        "reason": event.reason,
        # The API server refuses messages over 1024 bytes; the condition has the whole text.
        "message": event.message.encode()[:1000].decode(errors="ignore"),
        "type": "Warning" if event.warning else "Normal",
        "source": {"component": COMPONENT},
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
