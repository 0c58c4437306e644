"""From a pydantic model to a structural schema, the subset of OpenAPI that Kubernetes takes in a CRD. Pure.

A structural schema has no `$ref`, no `const`, no `title`, and no `additionalProperties` beside
`properties`; `X | None` is `nullable`. What cannot be said in it is an error here, at generation, and
not at the user's API server. Source: "Specifying a structural schema" in the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from sessionstore.apis import meta

Schema = dict[str, Any]

_DROPPED = frozenset({"title", "$defs", "propertyNames"})
_PRESERVE = "x-kubernetes-preserve-unknown-fields"


def structural(model: type[BaseModel]) -> Schema:
    """Return the structural schema of a model, descriptions, defaults, CEL rules and list keys included.

    Raises: ValueError naming a construct that a structural schema cannot hold.
    """
    found = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(found, found.get("$defs", {}))


def _convert(schema: Mapping[str, Any], definitions: Mapping[str, Schema]) -> Schema:
    flat = _flatten(schema, definitions)
    shown = {key: value for key, value in flat.items() if key not in _DROPPED}
    if "const" in shown:
        shown["enum"] = [shown.pop("const")]
    if "default" in shown and shown["default"] in (None, "", []):
        # Nothing is what an absent field means anyway; written out it would be stored in every object.
        del shown["default"]
    if shown.get("properties") or shown.get(_PRESERVE):
        shown.pop("additionalProperties", None)
    _refuse_what_is_not_structural(shown)
    for key in ("items", "additionalProperties"):
        if isinstance(shown.get(key), dict):
            shown[key] = _convert(shown[key], definitions)
    if "properties" in shown:
        shown["properties"] = {name: _convert(part, definitions) for name, part in shown["properties"].items()}
    return shown


def _flatten(schema: Mapping[str, Any], definitions: Mapping[str, Schema]) -> Schema:
    """Replace a `$ref` by what it names and `X | None` by a nullable X; what stands beside it wins."""
    beside = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf")}
    if "$ref" in schema:
        return _merge(definitions[schema["$ref"].removeprefix("#/$defs/")], beside)
    options = schema.get("anyOf", [])
    if schema.get("x-kubernetes-int-or-string"):
        return dict(schema)
    given = [option for option in options if option != {"type": "null"}]
    if len(given) == 1 and len(options) == 2:
        return _merge(_flatten(given[0], definitions), {**beside, "nullable": True})
    return dict(schema)


def _merge(inner: Mapping[str, Any], beside: Mapping[str, Any]) -> Schema:
    merged = {**inner, **beside}
    both = [*inner.get(meta.VALIDATIONS, []), *beside.get(meta.VALIDATIONS, [])]
    return {**merged, meta.VALIDATIONS: both} if both else merged


def _refuse_what_is_not_structural(schema: Mapping[str, Any]) -> None:
    alien = {"$ref", "allOf", "oneOf", "prefixItems", "patternProperties", "const"} & schema.keys()
    if "anyOf" in schema and not schema.get("x-kubernetes-int-or-string"):
        alien.add("anyOf")
    if alien:
        raise ValueError(f"{', '.join(sorted(alien))} has no place in a structural schema: {dict(schema)}")
