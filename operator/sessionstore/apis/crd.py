"""From the models to the CustomResourceDefinition. Pure; called by `sessionstore crds` and by tests.

crds/sessionstores.yaml and the chart's copy are what this makes; CI fails where they differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from sessionstore.apis import schema
from sessionstore.apis.v1alpha1 import sessionstore as api

HEADER = (
    "# Made by `sessionstore crds` from operator/sessionstore/apis. Change the models there, then run `make crds`.\n"
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`; a `wide` one shows with `-o wide` alone."""

    name: str
    json_path: str
    description: str
    type: str = "string"
    wide: bool = False

    def to_schema(self) -> dict[str, Any]:
        """Write it as an entry of `additionalPrinterColumns`."""
        shown = {"name": self.name, "type": self.type, "jsonPath": self.json_path, "description": self.description}
        return {**shown, "priority": 1} if self.wide else shown


COLUMNS = (
    Column("Engine", ".spec.engine", "Which database keeps the sessions."),
    Column("Topology", ".status.topology", "How its servers stand to each other."),
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Whether all is as the spec wants it."),
    Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', "Why, or why not."),
    Column("Sessions", ".status.engine.sessions", "Sessions in all keyspaces.", type="integer"),
    Column("Used%", ".status.engine.usedPercent", "Of the memory that data may take.", type="integer"),
    Column("Gateways", ".status.gatewaysReady", "Gateways that are injected, of all."),
    Column("Migration", ".status.migrating", "How far the first source is that is not done.", wide=True),
    Column("Primary", ".status.engine.primary", "The pod that takes writes.", wide=True),
    Column("Version", ".status.engine.version", "Server and version.", wide=True),
    Column("Binding", ".status.binding.name", "Secret for any application.", wide=True),
    Column("Age", ".metadata.creationTimestamp", "Time since it was made.", type="date"),
)


def session_stores() -> dict[str, Any]:
    """Return the CustomResourceDefinition of SessionStore."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"sessionstores.{api.GROUP}"},
        "spec": {
            "group": api.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": "SessionStore",
                "listKind": "SessionStoreList",
                "plural": "sessionstores",
                "singular": "sessionstore",
                "shortNames": ["sst"],
                "categories": ["sessions"],
            },
            "versions": [
                {
                    "name": api.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [column.to_schema() for column in COLUMNS],
                    "schema": {"openAPIV3Schema": root_schema()},
                }
            ],
        },
    }


def root_schema() -> schema.Schema:
    """Return the schema of a whole object. Its metadata is the API server's own, but for the name."""
    found = schema.structural(api.SessionStore)
    properties = {
        **found["properties"],
        "apiVersion": {"type": "string", "description": "Version of this schema: sessionstore.dev/v1alpha1."},
        "kind": {"type": "string", "description": "SessionStore."},
        # The name is said to exist so that rules may point at it.
        "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
    }
    return {**found, "properties": properties, "required": ["spec"]}


class _Dumper(yaml.SafeDumper):
    """YAML without anchors: the same rule in two places is written twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def to_yaml(manifest: dict[str, Any]) -> str:
    """Write a manifest as the file that is checked in."""
    return HEADER + yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
