"""The parts of a spec that say how the store itself runs: engines, storage, TLS, credentials."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from sessionstore.apis import meta, quantities

DEFAULT_REPLICAS = 3
DEFAULT_SIZE = "8Gi"

Directive = Annotated[str, StringConstraints(max_length=1024)]


class RedisTopology(StrEnum):
    """How Redis servers stand to each other."""

    STANDALONE = "standalone"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class EvictionPolicy(StrEnum):
    """What Redis does at its memory limit, in Redis' own words."""

    NOEVICTION = "noeviction"
    ALLKEYS_LRU = "allkeys-lru"
    ALLKEYS_LFU = "allkeys-lfu"
    ALLKEYS_RANDOM = "allkeys-random"
    VOLATILE_LRU = "volatile-lru"
    VOLATILE_LFU = "volatile-lfu"
    VOLATILE_RANDOM = "volatile-random"
    VOLATILE_TTL = "volatile-ttl"


_REDIS_RULES = meta.rules(
    meta.Rule(
        "self.topology == 'standalone'",
        "topologies sentinel and cluster are not carried out by this version; use standalone",
        ".topology",
    ),
    meta.Rule(
        "self.topology != 'sentinel' || !has(self.replicas) || self.replicas % 2 == 1",
        "with topology sentinel, replicas must be odd, so that a majority can be told; use 3 or 5",
        ".replicas",
    ),
)


class Redis(meta.ClosedModel):
    """How Redis or Valkey runs. Without this block: standalone, with the defaults below."""

    model_config = ConfigDict(json_schema_extra=_REDIS_RULES)

    topology: RedisTopology = RedisTopology.STANDALONE
    """standalone is one server; sentinel and cluster are not carried out by this version."""

    image: Annotated[str, StringConstraints(max_length=512)] = ""
    """Image to run; empty takes the operator's default. Redis 7 and 8 and Valkey 8 and 9 are supported."""

    replicas: Annotated[int, Field(ge=1, le=99)] | None = None
    """Servers in all, 3 where not given. sentinel: primary and replicas; cluster: shards x (1 + replicas of each)."""

    max_memory_percent: Annotated[int, Field(ge=10, le=90)] = 70
    """Part of the container's memory limit that data may take; the rest is left to forks and buffers."""

    eviction_policy: EvictionPolicy = EvictionPolicy.NOEVICTION
    """What happens at the memory limit. All but noeviction lose conversations silently."""

    config: dict[str, Directive] = Field(default_factory=dict, max_length=64)
    """More redis.conf directives, name to value. Those the operator needs for itself are refused."""


class MongoFlavor(StrEnum):
    """Which server speaks MongoDB's protocol."""

    REPLICA_SET = "replicaSet"
    FERRETDB = "ferretdb"


class MongoDB(meta.ClosedModel):
    """How MongoDB runs. Not carried out by this version."""

    flavor: MongoFlavor = MongoFlavor.REPLICA_SET
    """replicaSet is mongod; ferretdb is FerretDB on PostgreSQL."""

    members: Annotated[int, Field(ge=1, le=7)] = 3
    """Members of the replica set, or proxies."""


class External(meta.ClosedModel):
    """A store that exists already, managed or your own. Not carried out by this version."""

    secret_ref: meta.LocalObjectReference
    """Secret with keys as servicebinding.io names them: uri, or host, port, username, password, ca.crt."""


class Storage(meta.ClosedModel):
    """The data volumes."""

    size: quantities.Size = DEFAULT_SIZE
    """Size of each volume, such as 8Gi. It may grow where the StorageClass allows it, and never shrink."""

    storage_class_name: meta.Name | None = None
    """StorageClass of the volumes; null takes the cluster's default. It cannot be changed later."""


class TlsMode(StrEnum):
    """Where certificates come from."""

    DISABLED = "Disabled"
    SELF_SIGNED = "SelfSigned"
    SECRET = "Secret"  # noqa: S105 -- the name of a mode
    CERT_MANAGER = "CertManager"


class IssuerReference(meta.ClosedModel):
    """A cert-manager issuer."""

    name: meta.Name
    """Its name."""

    kind: Annotated[str, StringConstraints(max_length=63)] = "Issuer"
    """Issuer or ClusterIssuer."""

    group: meta.Name = "cert-manager.io"
    """Its API group."""


_TLS_RULES = meta.rules(
    meta.Rule(
        "self.mode == 'Disabled'",
        "TLS is not carried out by this version; leave tls.mode at Disabled, and keep others off with a NetworkPolicy",
        ".mode",
    )
)


class Tls(meta.ClosedModel):
    """Encryption between gateways and the store."""

    model_config = ConfigDict(json_schema_extra=_TLS_RULES)

    mode: TlsMode = TlsMode.DISABLED
    """Disabled; SelfSigned, Secret and CertManager are not carried out by this version."""

    secret_ref: meta.LocalObjectReference | None = None
    """With mode Secret: a Secret with tls.crt, tls.key and ca.crt."""

    issuer_ref: IssuerReference | None = None
    """With mode CertManager: who issues."""


class Rotation(meta.ClosedModel):
    """When passwords are changed by themselves. Not carried out by this version; a warning says so."""

    every: quantities.Duration | None = None
    """Time between two changes, such as 30d; null is never."""

    overlap: quantities.Duration = "1h"
    """How long the old password still works."""


class Auth(meta.ClosedModel):
    """Credentials of the store."""

    existing_secret: meta.LocalObjectReference | None = None
    """Secret whose key `password` becomes the generic binding's password; null generates one."""

    rotation: Rotation | None = None
    """When passwords are changed by themselves. Not carried out by this version; a warning says so."""
