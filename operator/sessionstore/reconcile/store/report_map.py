"""The ConfigMap `<store>-migration-<source>`: a migration's summary and its first problems, for `kubectl`. Pure.

A ConfigMap holds 1 MiB, and a report may be larger: the whole of it is in the store, `sessionstore report` prints it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sessionstore.kube import kinds, owner

MAX_PROBLEMS = 200
MAX_MISMATCHES = 20
MAX_NAMES = 200
"""Of agents, say: of any other list in the summary."""
MAX_BYTES = 512 * 1024
"""Of the problems together; a path and a key may take 4 KiB each."""

JOB_ANNOTATION = "sessionstore.dev/job"
_LISTS = ("problems", "mismatches", "plan", "kept")


def name_of(store_name: str, source_name: str) -> str:
    """Return the name of a source's ConfigMap."""
    return f"{store_name}-migration-{source_name}"


def job_of(config_map: kinds.Manifest) -> str | None:
    """Return the Job whose report a ConfigMap has."""
    found = (config_map["metadata"].get("annotations") or {}).get(JOB_ANNOTATION)
    return str(found) if found else None


def config_map(store_name: str, source_name: str, job_name: str, text: str) -> dict[str, Any]:
    """Build the ConfigMap of a report; one that cannot be read is said to be so, and not asked for again."""
    report = parse(text)
    metadata = {
        "name": name_of(store_name, source_name),
        "labels": {owner.MANAGED_BY: owner.FIELD_MANAGER, owner.STORE_LABEL: store_name},
        "annotations": {JOB_ANNOTATION: job_name},
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": _data(report)}


def parse(text: str) -> Mapping[str, Any] | None:
    """Read a JSON object; None for anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _data(report: Mapping[str, Any] | None) -> dict[str, str]:
    if report is None:
        return {"summary.json": json.dumps({"outcome": "Unreadable"}), "problems.jsonl": ""}
    told = {name: value for name, value in report.items() if name not in _LISTS}
    summary = {name: value[:MAX_NAMES] if isinstance(value, list) else value for name, value in told.items()}
    summary["mismatches"] = _some(report.get("mismatches"))[:MAX_MISMATCHES]
    return {
        "summary.json": json.dumps(summary, indent=2, ensure_ascii=False),
        "problems.jsonl": "".join(_lines(report.get("problems"))),
    }


def _lines(problems: object) -> Iterator[str]:
    left = MAX_BYTES
    for problem in list(_some(problems))[:MAX_PROBLEMS]:
        line = json.dumps(problem, ensure_ascii=False) + "\n"
        left -= len(line.encode())
        if left < 0:
            return
        yield line


def _some(found: object) -> list[Any]:
    return found if isinstance(found, list) else []
