"""What is remembered of each source's migration, in the ConfigMap `<store>-migrations`.

Status can be lost and Jobs are collected; a cutover must be remembered, or a gateway would be
fenced and copied again. One JSON document per source; the report, with every problem, is in the store itself.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a migration was given up, and for which wish: another `token` tries again."""

    reason: str
    message: str
    token: str


@dataclass(frozen=True, slots=True)
class Record:
    """One source's migration so far. Times are RFC 3339 text; summaries are the Job's outcome.

    Attributes:
        precopies: how many copies were made while the gateway ran.
        precopied: summary of the last of them.
        precopied_at: when it ended, once no further one is worth its while before the fence.
        precopy_round: how many were made in a row, each since the one before took long.
        replicas: what the gateway had before it was fenced; on its files it had no more.
        attempt: number of the current copy; a copy that something wrote into is done again.
        breaks: how often the fence was broken since it was put up.
        generations: of the gateways' workloads, when the current copy or export began.
        copied: summary of a copy that was verified, while nothing has touched the source since.
        deltas: how often a gateway was found on its files after the cutover; each is one more copy.
        deltas_done: how many of those copies are done.
        rollback_at: since when a rollback holds the gateway; None where none does.
        exports: how many exports were given up, or have served their purpose.
        exported: summary of an export that was proven, while nothing has written to the store since.
        rolled_back_at: when a gateway served from its files again; a new migration forgets it.
        rollbacks: how often that was; what was found before each is found anew.
        finalized_at: when what is kept for a way back was dropped.
    """

    claim: str
    path: str
    planned: Mapping[str, Any] | None = None
    node: str | None = None
    precopies: int = 0
    precopied: Mapping[str, Any] | None = None
    precopied_at: str | None = None
    precopy_round: int = 0
    replicas: int | None = None
    fenced_at: str | None = None
    attempt: int = 1
    breaks: int = 0
    generations: str = ""
    copied: Mapping[str, Any] | None = None
    cut_over_at: str | None = None
    finished_at: str | None = None
    pause_s: float | None = None
    deltas: int = 0
    deltas_done: int = 0
    rollback_at: str | None = None
    exports: int = 0
    exported: Mapping[str, Any] | None = None
    rolled_back_at: str | None = None
    rollbacks: int = 0
    finalized_at: str | None = None
    failure: Failure | None = None

    @property
    def is_cut_over(self) -> bool:
        """Whether the store, not the volume, is what counts."""
        return self.cut_over_at is not None

    @property
    def delta_attempt(self) -> int:
        """Number of the Job that copies what came to files after the cutover."""
        return self.attempt + self.deltas

    @property
    def minds_fence(self) -> bool:
        """Whether a fence may stand for this source: it is to be migrated still, or is being rolled back."""
        return self.finished_at is None or self.rollback_at is not None

    @property
    def awaits_delta(self) -> bool:
        """Whether files hold what was written after the cutover, and is not in the store yet."""
        return self.deltas > self.deltas_done

    def after_rollback(self, now: str, pause_s: float | None) -> Record:
        """Return what is remembered once the gateway is on its files: what was done, and what keeps Jobs apart."""
        return Record(
            claim=self.claim,
            path=self.path,
            node=self.node,
            precopies=self.precopies,
            attempt=self.attempt + self.deltas + 1,
            exports=self.exports + 1,
            rollbacks=self.rollbacks + 1,
            rolled_back_at=now,
            exported=self.exported,
            pause_s=pause_s,
        )


def to_data(record: Record) -> str:
    """Write a record; keys sorted, so that the same record is the same bytes."""
    return json.dumps(dataclasses.asdict(record), sort_keys=True, ensure_ascii=False)


def from_data(text: str) -> Record | None:
    """Read a record; None for one that someone edited beyond reading, which then starts anew."""
    names = {field.name for field in dataclasses.fields(Record)}
    try:
        found = {name: value for name, value in json.loads(text).items() if name in names}
        failure = found.get("failure")
        return Record(**{**found, "failure": Failure(**failure) if failure else None})
    except (ValueError, TypeError, AttributeError):
        return None


def read_all(config_map: Mapping[str, Any] | None) -> dict[str, Record]:
    """Return source name -> record, of all sources that this store ever had."""
    data = (config_map or {}).get("data") or {}
    found = {name.removesuffix(".json"): from_data(text) for name, text in data.items() if name.endswith(".json")}
    return {name: record for name, record in found.items() if record is not None}


def config_map(store_name: str, all_records: Mapping[str, Record]) -> dict[str, Any]:
    """Build the ConfigMap that keeps `all_records`."""
    data = {f"{name}.json": to_data(record) for name, record in all_records.items()}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{store_name}-migrations",
            "labels": {
                "app.kubernetes.io/managed-by": "sessionstore-operator",
                "sessionstore.dev/store": store_name,
            },
        },
        "data": data,
    }
