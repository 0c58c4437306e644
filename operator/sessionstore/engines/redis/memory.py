"""How much of its memory limit Redis may fill with data. Pure; workload.py sets the limit, objects.py `maxmemory`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sessionstore import errors
from sessionstore.apis import quantities
from sessionstore.apis.v1alpha1.reasons import Reason

DEFAULT_RESOURCES: Mapping[str, Mapping[str, str]] = {
    "requests": {"cpu": "50m", "memory": "128Mi"},
    "limits": {"memory": "256Mi"},
}
"""Of a store whose `spec.resources` is empty. No CPU limit: a throttled event loop fails its probes."""

RESERVED_BYTES = 32 << 20
"""What is never given to data: an empty server takes 12 MiB (`used_memory_rss` of 7.0.15), the rest is for
connections' buffers and the probes' processes, which count against the same limit."""

SMALLEST_BYTES = 16 << 20
"""Below this much for data a store is of no use: 64 buckets' change feeds of 20,000 events alone may grow past it."""


def with_limit(resources: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the container's resources: the manifest's, or the default; always with a memory limit.

    Without one Redis would grow until the node is short of memory, and then be killed instead of answering that it
    is full. So where the manifest gives none, the larger of its memory request and the default becomes the limit.
    """
    if not resources:
        return {name: dict(values) for name, values in DEFAULT_RESOURCES.items()}
    limits = dict(resources.get("limits") or {})
    if "memory" not in limits:
        choices = (DEFAULT_RESOURCES["limits"]["memory"], (resources.get("requests") or {}).get("memory", "0"))
        limits["memory"] = max(choices, key=_bytes)
    return {**resources, "limits": limits}


def limit_bytes(resources: Mapping[str, Any] | None) -> int:
    """Return the memory limit of `with_limit`. Raises: SpecError for what is no quantity."""
    return _bytes(with_limit(resources)["limits"]["memory"])


def maxmemory_for(limit_bytes: int, percent: int) -> int:
    """Choose Redis' `maxmemory` below the container's limit.

    A rewrite of the append-only file forks, and each page that is written meanwhile exists twice: what `percent`
    leaves free is for these copies.

    Args:
        limit_bytes: memory limit of the container.
        percent: `spec.redis.maxMemoryPercent`, 1-100.
    Returns: bytes; never above the limit less RESERVED_BYTES.
    Raises: SpecError where less than SMALLEST_BYTES would be left for data.
    Source: "Overcommit" and `maxmemory` in redis.conf 7.0; RESERVED_BYTES.
    """
    chosen = min(limit_bytes * percent // 100, limit_bytes - RESERVED_BYTES)
    if chosen < SMALLEST_BYTES:
        raise errors.SpecError(
            Reason.CONFIG_REFUSED,
            f"a memory limit of {limit_bytes >> 20}Mi with maxMemoryPercent {percent} leaves too little for sessions: "
            f"raise spec.resources.limits.memory (64Mi is the least, 256Mi the default) or maxMemoryPercent",
        )
    return chosen


def _bytes(quantity: object) -> int:
    """Read a quantity; YAML gives a bare number of bytes as a number."""
    try:
        return quantities.parse_quantity_bytes(str(quantity))
    except ValueError as error:
        raise errors.SpecError(Reason.CONFIG_REFUSED, f"spec.resources: memory {error}") from error
