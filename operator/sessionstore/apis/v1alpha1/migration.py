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
    """A volume that holds sessions. Only mode Rollback writes to it, beside what is there."""

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
        "!(oldSelf.mode == 'Finalize' && self.mode == 'Rollback')",
        "mode Finalize drops what a way back needs, so Rollback cannot follow it; write the sessions as files with "
        "`sessionstore export`, or choose Run, which leaves the gateways on the store",
        ".mode",
    )
)


class Migration(meta.ClosedModel):
    """What becomes of the sessions that old volumes hold."""

    model_config = ConfigDict(json_schema_extra=_MIGRATION_RULES)

    mode: MigrationMode = MigrationMode.PLAN
    """Plan writes a report and changes nothing. Run migrates. Rollback, after that, writes the sessions back as files
    and puts the gateways on them. Finalize drops what is kept for a way back."""

    fence_timeout: quantities.Duration = "15m"
    """Longest time that a gateway is held at 0 replicas; after it the gateway comes back as it was."""

    conflicts: ConflictPolicy = ConflictPolicy.NEWEST
    """Which one stays when source and store hold the same session with different content."""

    sources: tuple[MigrationSource, ...] = Field(
        default=(), max_length=meta.MAX_ITEMS, json_schema_extra=meta.list_map("name")
    )
    """The volumes to migrate."""
