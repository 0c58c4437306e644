"""The part of a spec that says which old volumes are migrated, and how far."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from sessionstore.apis import meta, quantities


class MigrationMode(StrEnum):
    """How far a migration goes."""

    PLAN = "Plan"
    RUN = "Run"
    FINALIZE = "Finalize"
    ROLLBACK = "Rollback"


class ConflictPolicy(StrEnum):
    """Which one stays when source and store hold the same session with different content."""

    NEWEST = "Newest"
    KEEP_STORE = "KeepStore"
    KEEP_SOURCE = "KeepSource"
    FAIL = "Fail"


_PATH_RULES = meta.rules(
    meta.Rule(
        "self.startsWith('/') && !self.matches('(^|/)[.][.](/|$)')",
        "write a path within the volume that starts with / and has no .. in it; / is the volume's root",
    )
)


class MigrationSource(meta.ClosedModel):
    """A volume that holds sessions. It is mounted read-only and never written."""

    name: meta.Label
    """Names this source and its report. At most 40 characters; unique in the store."""

    persistent_volume_claim: meta.Name
    """The claim, in the namespace of the store."""

    path: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = Field(
        default="/", json_schema_extra=_PATH_RULES
    )
    """Where the state directory lies within the volume."""


_MIGRATION_RULES = meta.rules(
    meta.Rule(
        "self.mode in ['Plan', 'Run']",
        "modes Finalize and Rollback are not carried out by this version; use Plan to get a report, or Run to migrate",
        ".mode",
    )
)


class Migration(meta.ClosedModel):
    """What becomes of the sessions that old volumes hold."""

    model_config = ConfigDict(json_schema_extra=_MIGRATION_RULES)

    mode: MigrationMode = MigrationMode.PLAN
    """Plan writes a report and changes nothing. Run migrates. This version has neither Finalize nor Rollback."""

    fence_timeout: quantities.Duration = "15m"
    """Longest time that a gateway is held at 0 replicas; after it the gateway comes back on its files."""

    conflicts: ConflictPolicy = ConflictPolicy.NEWEST
    """Which one stays when source and store hold the same session with different content."""

    sources: tuple[MigrationSource, ...] = Field(
        default=(), max_length=meta.MAX_ITEMS, json_schema_extra=meta.list_map("name")
    )
    """The volumes to migrate."""
