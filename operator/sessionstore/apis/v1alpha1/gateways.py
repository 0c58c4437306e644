"""The part of a spec that names the gateways of a store."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from sessionstore.apis import meta

LabelValue = Annotated[str, StringConstraints(max_length=63)]

Keyspace = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63, pattern=meta.DNS_LABEL),
    Field(json_schema_extra=meta.worded(meta.DNS_LABEL, meta.DNS_LABEL_WORDS)),
]


class WorkloadKind(StrEnum):
    """What a gateway may be."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"


class WorkloadReference(meta.ClosedModel):
    """A workload of the same namespace."""

    api_version: Literal["apps/v1"] = "apps/v1"
    """Its API version."""

    kind: WorkloadKind = WorkloadKind.DEPLOYMENT
    """Its kind."""

    name: meta.Name
    """Its name."""


class LabelSelector(meta.ClosedModel):
    """Workloads by their labels."""

    match_labels: dict[meta.Name, LabelValue] = Field(min_length=1, max_length=meta.MAX_ITEMS)
    """Labels that all of them have."""


class Delivery(StrEnum):
    """How a gateway comes to its sessions."""

    CONFIG = "Config"
    BRIDGE = "Bridge"


class StickinessAction(StrEnum):
    """What becomes of settings that tie a client to one pod."""

    REPORT = "Report"
    REMOVE = "Remove"


class Scaling(meta.ClosedModel):
    """A HorizontalPodAutoscaler for the gateway. Not carried out by this version; a warning says so."""

    min_replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    """Fewest replicas."""

    max_replicas: Annotated[int, Field(ge=1, le=1000)] = 10
    """Most replicas."""

    target_cpu_utilization: Annotated[int, Field(ge=1, le=100)] = Field(default=70, alias="targetCPUUtilization")
    """Percent of the CPU request that is aimed at."""


_GATEWAY_RULES = meta.rules(
    meta.Rule(
        "has(self.workloadRef) || has(self.selector)",
        "say which workload this gateway is: set workloadRef, with kind and name",
    ),
    meta.Rule(
        "!(has(self.workloadRef) && has(self.selector))",
        "workloadRef and selector exclude each other; remove one",
    ),
    meta.Rule(
        "self.name != 'migration'",
        "migration is kept for the Secret of migration Jobs; choose another name for this gateway",
        ".name",
    ),
    meta.Rule(
        "!has(self.selector)",
        "selector is not carried out by this version; name each workload with a workloadRef in a gateway of its own",
        ".selector",
    ),
    meta.Rule(
        "self.delivery == 'Config'",
        "delivery Bridge is not carried out by this version; use Config, and a gateway that reads session_storage",
        ".delivery",
    ),
)


class Gateway(meta.ClosedModel):
    """One gateway: its workload, and what it sees of the store."""

    model_config = ConfigDict(json_schema_extra=_GATEWAY_RULES)

    name: meta.Label
    """Names this gateway, its Secret and its user in the store. At most 40 characters; unique in the store."""

    workload_ref: WorkloadReference | None = None
    """The Deployment or StatefulSet that is this gateway."""

    selector: LabelSelector | None = None
    """Workloads by label, in place of workloadRef. Not carried out by this version."""

    container: Annotated[str, StringConstraints(min_length=1, max_length=63)] | None = None
    """The container that reads sessions. May be left out where the pod has one container only."""

    delivery: Delivery = Delivery.CONFIG
    """Config adds files and environment variables. Bridge, a sidecar, is not carried out by this version."""

    keyspace: Keyspace | None = None
    """The part of the store that it sees, a DNS label. Default: the store's name, so that bound gateways share."""

    run_as_user: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1000
    """User id that reads the gateway's files during migration, where its pod template does not say."""

    state_dir: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = "/home/node/.openclaw"
    """Where the gateway keeps its state in the container; a volume there holds its sessions so far."""

    scaling: Scaling | None = None
    """Scale it by load. Not carried out by this version, a warning says so; replicas are yours."""

    stickiness: StickinessAction = StickinessAction.REPORT
    """What becomes of settings that tie clients to a pod. Remove is not carried out by this version: a warning."""

    def keyspace_or(self, store_name: str) -> str:
        """Return the keyspace, which is the store's name where none is given."""
        return self.keyspace or store_name
