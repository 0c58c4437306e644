"""Who owns which field of a workload, read from `metadata.managedFields`. Pure.

Server-side apply decides conflicts by this record, so it is also the only honest answer to "did we
put that there?". injection.py asks before it adds, and after it has let go.
Source: fieldsV1 of structured-merge-diff v6: `f:` names a field, `k:` a list item by its keys, `.` the item itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

PREFIX = "sessionstore.dev/"
"""Of our field managers on workloads: one per store, so that two stores on one workload are told apart."""

Step = str | tuple[str, str]
"""One step into an object: a field's name, or (key, value) of an item in a list-map."""


def manager_of(store_name: str) -> str:
    """Return the field manager of a store on workloads that are not ours."""
    return f"{PREFIX}{store_name}"


def owners(workload: Mapping[str, Any], *path: Step) -> tuple[str, ...]:
    """Return the managers that own the field at `path`, sorted, each once."""
    return tuple(sorted({name for name, fields in _managed(workload) if _find(fields, path) is not None}))


def stores_on(workload: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the stores whose managers own anything of this workload."""
    return frozenset(
        name.removeprefix(PREFIX) for name, fields in _managed(workload) if name.startswith(PREFIX) and fields
    )


def _managed(workload: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for entry in workload["metadata"].get("managedFields") or ():
        yield entry.get("manager", ""), entry.get("fieldsV1") or {}


def _find(fields: Mapping[str, Any], path: tuple[Step, ...]) -> Mapping[str, Any] | None:
    for step in path:
        found = fields.get(f"f:{step}") if isinstance(step, str) else _item(fields, step)
        if found is None:
            return None
        fields = found
    return fields


def _item(fields: Mapping[str, Any], step: tuple[str, str]) -> Mapping[str, Any] | None:
    """Find a list item. Its key is JSON within JSON, so it is parsed: escaping is the server's choice."""
    wanted = dict([step])
    for name, found in fields.items():
        if name.startswith("k:") and json.loads(name[2:]) == wanted:
            return dict(found)
    return None
