"""The kind SessionStore: its spec as a whole, the rules that span blocks, and what other parts ask of it.

`redis`, `mongodb`, `external`, `storage` and `migration` have no default in the schema: with one,
`{engine: redis}` itself would break "two engines". Their defaults apply inside a given block, and
`redis_or_default`, `storage_size` and their like hold for a block that is not there.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from sessionstore.apis import meta
from sessionstore.apis.v1alpha1.engines import (
    DEFAULT_REPLICAS,
    DEFAULT_SIZE,
    Auth,
    EvictionPolicy,
    External,
    MongoDB,
    MongoFlavor,
    Redis,
    RedisTopology,
    Storage,
    Tls,
    TlsMode,
)
from sessionstore.apis.v1alpha1.gateways import Delivery, Gateway, StickinessAction, WorkloadKind, WorkloadReference
from sessionstore.apis.v1alpha1.migration import ConflictPolicy, Migration, MigrationMode, MigrationSource
from sessionstore.apis.v1alpha1.operation import Backup, Encryption, Monitoring, NetworkPolicy, Sessions
from sessionstore.apis.v1alpha1.status import GatewayStatus, MigrationPhase, MigrationStatus, StoreStatus

__all__ = [
    "DEFAULT_REPLICAS",
    "DEFAULT_SIZE",
    "Auth",
    "Backup",
    "ConflictPolicy",
    "DeletionPolicy",
    "Delivery",
    "Encryption",
    "EngineName",
    "EvictionPolicy",
    "External",
    "Gateway",
    "GatewayStatus",
    "Migration",
    "MigrationMode",
    "MigrationPhase",
    "MigrationSource",
    "MigrationStatus",
    "MongoDB",
    "MongoFlavor",
    "Monitoring",
    "NetworkPolicy",
    "Redis",
    "RedisTopology",
    "SessionStore",
    "Sessions",
    "Spec",
    "StickinessAction",
    "Storage",
    "StoreStatus",
    "Tls",
    "TlsMode",
    "WorkloadKind",
    "WorkloadReference",
]

GROUP = "sessionstore.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class EngineName(StrEnum):
    """Which database keeps the sessions."""

    REDIS = "redis"
    MONGODB = "mongodb"


class DeletionPolicy(StrEnum):
    """What becomes of the data volumes when the SessionStore goes."""

    RETAIN = "Retain"
    DELETE = "Delete"


def _size(of: str) -> str:
    """CEL: the storage size of a spec; 0 in place of what `Size`'s own rule refuses, in clearer words."""
    size = f"(has({of}.storage) ? {of}.storage.size : '{DEFAULT_SIZE}')"
    return f"quantity(isQuantity({size}) ? {size} : '{DEFAULT_SIZE}')"


def _storage_class(of: str) -> str:
    return f"(has({of}.storage) && has({of}.storage.storageClassName) ? {of}.storage.storageClassName : '')"


_SPEC_RULES = meta.rules(
    meta.Rule(
        "[has(self.redis), has(self.mongodb), has(self.external)].filter(given, given).size() <= 1",
        "redis, mongodb and external exclude each other; keep the block of one and remove the others",
    ),
    meta.Rule(
        "!(self.engine == 'redis' && has(self.mongodb)) && !(self.engine == 'mongodb' && has(self.redis))",
        "this block is of the other engine; remove it, or set engine to the one that it configures",
    ),
    meta.Rule(
        "!(has(self.external) && has(self.storage))",
        "an external store brings its own storage; remove storage, or remove external",
        ".storage",
    ),
    meta.Rule(
        "!has(self.external)",
        "external stores are not carried out by this version; remove external to have a store run for you",
        ".external",
    ),
    meta.Rule(
        "self.engine == 'redis'",
        "engine mongodb is not carried out by this version; use redis",
        ".engine",
    ),
    meta.Rule(
        f"!{_size('self')}.isLessThan({_size('oldSelf')})",
        f"storage.size cannot shrink; put the old size back ({DEFAULT_SIZE} where none was written), "
        "or migrate to a new SessionStore",
        ".storage",
    ),
    meta.Rule(
        f"{_storage_class('self')} == {_storage_class('oldSelf')}",
        "storage.storageClassName cannot change: the volume stays where it is; put the old one back, "
        "or migrate to a new SessionStore",
        ".storage",
    ),
)

_ENGINE_RULES = meta.rules(
    meta.Rule(
        "self == oldSelf",
        "engine cannot change in place; create a second SessionStore with the other engine and move the gateways to it",
    )
)


class Spec(meta.ClosedModel):
    """What is wanted. `{engine: redis}` is a complete store."""

    model_config = ConfigDict(json_schema_extra=_SPEC_RULES)

    engine: EngineName = Field(json_schema_extra=_ENGINE_RULES)
    """Which database keeps the sessions. mongodb is not carried out by this version."""

    suspend: bool = False
    """true: observe and report, change nothing."""

    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN
    """What becomes of the data volumes when the SessionStore is deleted."""

    redis: Redis | None = None
    """How Redis or Valkey runs. Without this block: standalone, with the defaults inside it."""

    mongodb: MongoDB | None = None
    """How MongoDB runs. Not carried out by this version."""

    external: External | None = None
    """A store that exists already, in place of redis and mongodb. Not carried out by this version."""

    storage: Storage | None = None
    """The data volumes. Without this block: 8Gi of the default StorageClass."""

    resources: dict[str, Any] = Field(default_factory=dict, json_schema_extra=meta.RESOURCES)
    """Requests and limits of each server's container. Redis' memory follows limits.memory."""

    node_selector: dict[meta.Name, Annotated[str, StringConstraints(max_length=63)]] = Field(
        default_factory=dict, max_length=meta.MAX_ITEMS
    )
    """Labels of the nodes that the store's pods may run on."""

    tolerations: tuple[meta.NodeOptions, ...] = Field(default=(), max_length=meta.MAX_ITEMS)
    """Taints that the store's pods tolerate, as in a pod."""

    affinity: meta.NodeOptions | None = None
    """Where the store's pods want to run, as in a pod."""

    topology_spread_constraints: tuple[meta.NodeOptions, ...] = Field(default=(), max_length=meta.MAX_ITEMS)
    """How the store's pods spread, as in a pod."""

    priority_class_name: meta.Name | None = None
    """PriorityClass of the store's pods."""

    tls: Tls | None = None
    """Encryption between gateways and the store. Not carried out by this version."""

    auth: Auth | None = None
    """Credentials of the store. Without this block they are generated."""

    sessions: Sessions | None = None
    """How long sessions live. Without this block: for ever."""

    gateways: tuple[Gateway, ...] = Field(
        default=(), max_length=meta.MAX_ITEMS, json_schema_extra=meta.list_map("name")
    )
    """The gateways that share this store."""

    migration: Migration | None = None
    """What becomes of the sessions that old volumes hold."""

    network_policy: NetworkPolicy | None = None
    """A NetworkPolicy for the store's pods. Not carried out by this version; a warning says so."""

    monitoring: Monitoring | None = None
    """Metrics of the store. Not carried out by this version; a warning says so."""

    backup: Backup | None = None
    """Backups of the store. Not carried out by this version; a warning says so."""

    @property
    def redis_or_default(self) -> Redis:
        """The redis block, or what it would be by default."""
        return self.redis or Redis()


_STORE_RULES = meta.rules(
    meta.Rule(
        f"self.metadata.name.size() <= {meta.MAX_NAME}",
        f"metadata.name has more than {meta.MAX_NAME} characters; choose a shorter one: names of Services, Secrets "
        "and Jobs are built from it",
        ".metadata.name",
    ),
    meta.Rule(
        "!self.metadata.name.contains('.') && !self.metadata.name.matches('^[0-9]')",
        "metadata.name names a Service: start it with a letter and use no dots",
        ".metadata.name",
    ),
)


class SessionStore(meta.OpenModel):
    """A session store that gateways share: it is run, bound to its gateways, and filled from their old volumes."""

    model_config = ConfigDict(json_schema_extra=_STORE_RULES)

    api_version: Literal["sessionstore.dev/v1alpha1"] = "sessionstore.dev/v1alpha1"
    kind: Literal["SessionStore"] = "SessionStore"
    metadata: meta.ObjectMeta
    spec: Spec
    """What is wanted. `{engine: redis}` is a complete store."""

    status: StoreStatus = Field(default_factory=StoreStatus)
    """What the operator found. Written by it alone."""

    @property
    def key(self) -> str:
        """namespace/name, as logs say it."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def storage_size(self) -> str:
        """Size of each data volume, as a quantity."""
        return self.spec.storage.size if self.spec.storage else DEFAULT_SIZE

    @property
    def storage_class_name(self) -> str | None:
        """StorageClass of the data volumes; None is the cluster's default."""
        return self.spec.storage.storage_class_name if self.spec.storage else None

    @property
    def topology(self) -> str:
        """How the servers stand to each other, in one word: a topology, a flavor or `external`."""
        if self.spec.external is not None:
            return "external"
        if self.spec.engine == EngineName.MONGODB:
            return (self.spec.mongodb or MongoDB()).flavor.value
        return self.spec.redis_or_default.topology.value
