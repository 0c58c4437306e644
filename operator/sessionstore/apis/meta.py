"""What every kind is made of: the frozen models, object metadata, references, conditions, CEL rules.

A spec is closed, so that a field which this version does not know is an error and never dropped in
silence. Metadata and status are open: the API server and newer operators may write more than we read.
Python names are snake_case, the wire is camelCase; a docstring under a field becomes its description
in the CRD and in `kubectl explain`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

VALIDATIONS = "x-kubernetes-validations"
LIST_MAP_KEYS = "x-kubernetes-list-map-keys"


class ClosedModel(BaseModel):
    """A part of a spec: frozen, and what it does not know is refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True
    )


class OpenModel(BaseModel):
    """Metadata, or a part of a status: frozen, and what it does not know is left alone."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True
    )


@dataclass(frozen=True, slots=True)
class Rule:
    """One CEL rule. `self` in it is what it stands on; `message` tells the user what to do.

    Attributes:
        field_path: where the fault is shown, below what the rule stands on, as in `.storage.size`.
    """

    rule: str
    message: str
    field_path: str = ""

    def to_schema(self) -> dict[str, str]:
        """Write it as an entry of `x-kubernetes-validations`."""
        shown = {"rule": self.rule, "message": self.message}
        return {**shown, "fieldPath": self.field_path} if self.field_path else shown


def rules(*given: Rule) -> dict[str, Any]:
    """Write rules for `json_schema_extra` of a model or a field."""
    return {VALIDATIONS: [rule.to_schema() for rule in given]}


def list_map(*keys: str) -> dict[str, Any]:
    """Make a list a map: one entry for each key, and server-side apply merges entry by entry."""
    return {LIST_MAP_KEYS: list(keys), "x-kubernetes-list-type": "map"}


def worded(pattern: str, message: str) -> dict[str, Any]:
    """Say in words what a pattern says to machines: its own message quotes the expression and no more."""
    quoted = pattern.replace("\\", "\\\\").replace("'", "\\'")
    return rules(Rule(f"self.matches('{quoted}')", message))


MAX_ITEMS = 16
"""Of every list. CEL's cost is estimated for the longest list that the schema allows (docs/design/0005-manifest.md)."""

MAX_NAME = 40
"""Of a store, a gateway and a source: names of Secrets, users and Jobs are built from two of them."""

DNS_LABEL = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_LABEL_WORDS = "use lower-case letters, digits and '-' only, with a letter or digit at both ends"

Label = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_NAME, pattern=DNS_LABEL),
    Field(json_schema_extra=worded(DNS_LABEL, DNS_LABEL_WORDS)),
]
"""A name that other names are built from."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=253)]
"""The name of an object in Kubernetes."""

Text = Annotated[str, StringConstraints(max_length=1024)]

NodeOptions = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
"""A part of Kubernetes' own pod spec, handed on as it is; the API server checks it in the pod template."""


_AMOUNTS = {
    "type": "object",
    "maxProperties": MAX_ITEMS,
    "additionalProperties": {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": True,
        "pattern": "^([0-9]+([.][0-9]*)?|[.][0-9]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
        "maxLength": 24,
    },
}

RESOURCES: dict[str, Any] = {
    "x-kubernetes-preserve-unknown-fields": True,
    "properties": {
        "limits": {"description": "Most of each resource, such as memory: 512Mi.", **_AMOUNTS},
        "requests": {"description": "What is set aside of each resource.", **_AMOUNTS},
    },
}
"""Schema of a container's resources: amounts are checked at admission, what else Kubernetes knows is let through."""


class ObjectMeta(OpenModel):
    """The part of an object's metadata that we read."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


class LocalObjectReference(ClosedModel):
    """An object of the same namespace."""

    name: Name
    """Its name."""


class Condition(OpenModel):
    """One condition, as every kind of Kubernetes has them."""

    type: Annotated[str, StringConstraints(max_length=316)]
    """What it tells about, in CamelCase."""

    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""

    reason: Annotated[str, StringConstraints(max_length=1024)]
    """Why, in one word for machines; docs/conditions.md lists all of them with their remedies."""

    message: Annotated[str, StringConstraints(max_length=32768)] = ""
    """Why, for people."""

    last_transition_time: datetime
    """When `status` changed last."""

    observed_generation: int | None = Field(default=None, json_schema_extra={"minimum": 0})
    """The metadata.generation that it was judged for."""
