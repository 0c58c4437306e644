"""What the operator tells of a store. Open to what newer operators write, and never a source of decisions."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from sessionstore.apis import meta

Count = Annotated[int, Field(ge=0)]


class MigrationPhase(StrEnum):
    """How far one source is."""

    PENDING = "Pending"
    PLANNING = "Planning"
    PLANNED = "Planned"
    PRE_COPYING = "PreCopying"
    FENCING = "Fencing"
    COPYING = "Copying"
    CUTTING_OVER = "CuttingOver"
    MIGRATED = "Migrated"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    FINALIZING = "Finalizing"
    FINALIZED = "Finalized"
    FAILED = "Failed"


class BindingReference(meta.OpenModel):
    """A Secret that applications bind to."""

    name: str = ""
    """Its name."""


class Member(meta.OpenModel):
    """One server of the store."""

    name: str
    """Its pod."""

    role: str = ""
    """What it is to the others: primary or replica."""

    ready: bool = False
    """Whether it serves."""

    lag_bytes: Count | None = None
    """How far it is behind the primary."""


class EngineStatus(meta.OpenModel):
    """What the store itself answers."""

    version: str = ""
    """Its server and version."""

    primary: str = ""
    """The pod that takes writes."""

    members: tuple[Member, ...] = Field(default=(), json_schema_extra=meta.list_map("name"))
    """Its servers."""

    used_bytes: Count | None = None
    """Memory that data takes."""

    limit_bytes: Count | None = None
    """Memory that data may take."""

    used_percent: Count | None = None
    """usedBytes as percent of limitBytes."""

    sessions: Count | None = None
    """Sessions in all keyspaces."""


class GatewayStatus(meta.OpenModel):
    """How one gateway is bound."""

    name: str
    """Its name in spec.gateways."""

    workload: str = ""
    """Its kind and name."""

    replicas: Count = 0
    """Replicas that its workload asks for."""

    injected: bool = False
    """Whether its template and all its running pods have the configuration."""

    connected: Count | None = None
    """Connections that it holds to the store."""

    revision: str = ""
    """Hash of the configuration that it was given."""

    sticky: tuple[str, ...] = ()
    """What ties its clients to one pod."""


class MigrationProgress(meta.OpenModel):
    """How far the Job is that runs now, as it last told the store; at most some seconds old."""

    phase: str = ""
    """What the Job does: Inspect, Plan, Copy, Verify, or what an export calls it."""

    done: Count | None = None
    """How many of `total` it has been through."""

    total: Count | None = None
    """How many there are, where that is known yet."""

    sessions: Count | None = None
    """Sessions so far."""

    lines: Count | None = None
    """Transcript lines so far."""

    bytes: Count | None = None
    """Bytes so far."""

    conflicts: Count | None = None
    """Conflicts so far."""

    quarantined: Count | None = None
    """What was set aside so far."""


class MigrationStatus(meta.OpenModel):
    """How the migration of one source stands. Counts are those of the plan until the copy is done."""

    source: str
    """Its name in spec.migration.sources."""

    phase: str = MigrationPhase.PENDING.value
    """Pending, Planning, Planned, PreCopying, Fencing, Copying, CuttingOver, Migrated, RollingBack, RolledBack,
    Finalizing, Finalized or Failed."""

    reason: str = ""
    """Why it is there, as the condition Migrated would say it."""

    progress: MigrationProgress | None = None
    """How far the Job is that runs now."""

    sessions: Count | None = None
    """Sessions found in the source."""

    lines: Count | None = None
    """Transcript lines found in the source."""

    bytes: Count | None = None
    """Bytes read from the source."""

    archives: Count | None = None
    """Archived transcripts found in the source."""

    pre_copied: Count | None = None
    """Sessions that were in the store before the gateway paused."""

    migrated: Count | None = None
    """Sessions that were copied, during the pause where there was a pre-copy."""

    present: Count | None = None
    """Sessions that the store held already, with the same content."""

    conflicts: Count | None = None
    """Sessions that the store held with other content."""

    quarantined: Count | None = None
    """What could not be migrated and was set aside, with its reason."""

    problems: Count | None = None
    """What was found amiss; the report lists it."""

    digest: str | None = None
    """SHA-256 over all sessions, the same from source and store once the copy is proven."""

    pause_seconds: Annotated[float, Field(ge=0)] | None = None
    """From the fence to the first pod that was ready again."""

    copy_seconds: Annotated[float, Field(ge=0)] | None = None
    """What the copy itself took of that pause."""

    started_at: datetime | None = None
    """When the gateway was fenced."""

    finished_at: datetime | None = None
    """When a pod served again: from the store, or after a rollback from its files."""

    message: str = ""
    """Where it stands, for people."""

    report: str | None = None
    """Name of the document in the store that holds the whole report."""

    config_map: str | None = None
    """Name of the ConfigMap with the report's summary and its first problems."""


class StoreStatus(meta.OpenModel):
    """What the operator tells of a store."""

    observed_generation: Count | None = None
    """The metadata.generation that the operator looked at last."""

    conditions: tuple[meta.Condition, ...] = Field(default=(), json_schema_extra=meta.list_map("type"))
    """Ready, Provisioned, CredentialsReady, Injected, Migrated, Shared, Degraded, ConfigurationWarning."""

    topology: str = ""
    """How its servers stand to each other."""

    binding: BindingReference | None = None
    """Secret for any application, as servicebinding.io's Provisioned Service names it."""

    engine: EngineStatus | None = None
    """What the store itself answers."""

    gateways: tuple[GatewayStatus, ...] = Field(default=(), json_schema_extra=meta.list_map("name"))
    """How the gateways are bound."""

    gateways_ready: str = ""
    """Gateways that are injected, of all, such as 3/3."""

    migrations: tuple[MigrationStatus, ...] = Field(default=(), json_schema_extra=meta.list_map("source"))
    """How the migration of each source stands."""

    migrating: str = ""
    """How far the first source is that is not done, such as Copying 4200/10000."""
