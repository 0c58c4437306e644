"""The parts of a spec about running a store day by day: lifetimes, network, monitoring, backup.

Their blocks have no default in the schema, so that what a user wrote can be told from what nobody did.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from sessionstore.apis import meta, quantities

_ENCRYPTION_RULES = meta.rules(
    meta.Rule(
        "!has(self.secretRef) && (!has(self.fields) || size(self.fields) == 0)",
        "encryption is not carried out by this version; remove sessions.encryption rather than trust that it is there",
    )
)


class Encryption(meta.ClosedModel):
    """Encryption of sessions before they reach the store. Not carried out by this version."""

    model_config = ConfigDict(json_schema_extra=_ENCRYPTION_RULES)

    secret_ref: meta.LocalObjectReference | None = None
    """Secret with the keys; the last encrypts, each decrypts."""

    fields: tuple[meta.Text, ...] = Field(default=(), max_length=meta.MAX_ITEMS)
    """Fields of an entry to encrypt; empty is the whole entry and the transcript."""


class Sessions(meta.ClosedModel):
    """How long sessions live, and what is done to them on their way. A change holds from a session's next use on."""

    default_ttl: quantities.Duration = Field(default="0s", alias="defaultTTL")
    """Time from the last write until a session is forgotten; 0s is never. Pinned and archived ones are kept."""

    idle_ttl: quantities.Duration | None = Field(default=None, alias="idleTTL")
    """Time from the last read or write until a session is forgotten; the earlier of the two counts."""

    encryption: Encryption | None = None
    """Encryption of sessions before they reach the store. Not carried out by this version."""


class NetworkPolicy(meta.ClosedModel):
    """A NetworkPolicy for the store's pods. Not carried out by this version; a warning says so."""

    enabled: bool = False
    """Admit bound gateways, the operator and the exporter only."""


class Monitoring(meta.ClosedModel):
    """Metrics of the store. Not carried out by this version; a warning says so."""

    exporter: bool = False
    """Run a metrics exporter beside each server."""

    service_monitor: bool = False
    """Create a ServiceMonitor for the Prometheus operator."""

    prometheus_rule: bool = False
    """Create a PrometheusRule with alerts."""


class BucketDestination(meta.ClosedModel):
    """A bucket that speaks S3."""

    bucket: Annotated[str, StringConstraints(min_length=3, max_length=63)]
    """Its name."""

    prefix: meta.Text = ""
    """What the objects' names start with."""

    endpoint: meta.Text = ""
    """URL of the service; empty is AWS."""

    region: Annotated[str, StringConstraints(max_length=63)] = ""
    """Its region."""

    secret_ref: meta.LocalObjectReference | None = None
    """Secret with the credentials."""


class BackupDestination(meta.ClosedModel):
    """Where backups go: one of the two."""

    persistent_volume_claim: meta.Name | None = None
    """A claim in the namespace of the store."""

    s3: BucketDestination | None = None
    """A bucket."""


class Backup(meta.ClosedModel):
    """Backups of the store. Not carried out by this version; a warning says so."""

    schedule: Annotated[str, StringConstraints(max_length=128)] | None = None
    """When, as a cron expression; null is never."""

    keep: Annotated[int, Field(ge=1, le=1000)] = 7
    """How many are kept."""

    destination: BackupDestination | None = None
    """Where they go."""
