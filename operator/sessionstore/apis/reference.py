"""From the CRD to its reference page, docs/reference/sessionstore.md. Pure; called by `sessionstore crds --docs`.

One section for each object of the schema, in the order of the manifest: a table of its fields, then
what the API server refuses, in the words that it refuses with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from sessionstore.apis import crd, meta, schema

_HEAD = """# SessionStore

<!-- Made by `sessionstore crds --docs`; change the models in operator/sessionstore/apis instead. -->

`sessionstore.dev/v1alpha1`, namespaced; short name `sst`, category `sessions`. The conditions and their reasons
are in [conditions.md](../conditions.md). Durations are written as `90s`, `15m`, `1h30m`, `7d`; sizes as `512Mi`, `8Gi`.
"""


def to_markdown() -> str:
    """Write the page."""
    root = crd.root_schema()
    return "\n".join([_HEAD, *_rules(root), *_columns(), *_object("spec", root), *_object("status", root)])


def _columns() -> Iterator[str]:
    yield "## Columns of `kubectl get sst`\n"
    yield "| column | shows | |\n|---|---|---|"
    for column in crd.COLUMNS:
        yield f"| {column.name} | {column.description} | {'`-o wide`' if column.wide else ''} |"
    yield ""


def _object(path: str, parent: Mapping[str, schema.Schema]) -> Iterator[str]:
    part = parent["properties"][path.rsplit(".", 1)[-1].removesuffix("[]")]
    part = part["items"] if path.endswith("[]") else part
    required = set(part.get("required", ()))
    yield f"## {path}\n"
    if part.get("description"):
        yield f"{part['description']}\n"
    yield "| field | type | default | |\n|---|---|---|---|"
    for name, field in part["properties"].items():
        yield f"| {_link(path, name, field)} | {_type(field)} | {_default(name, field, required)} | {_text(field)} |"
    yield ""
    yield from _rules(part)
    for name, field in part["properties"].items():
        if _is_section(field):
            yield from _object(f"{path}.{name}{'[]' if field['type'] == 'array' else ''}", part)


def _is_section(field: schema.Schema) -> bool:
    return bool(field.get("items", field).get("properties"))


def _link(path: str, name: str, field: schema.Schema) -> str:
    if not _is_section(field):
        return f"`{name}`"
    anchor = f"{path}.{name}".lower().replace(".", "").replace("[]", "")
    return f"[`{name}`](#{anchor})"


def _type(field: schema.Schema) -> str:
    if "enum" in field:
        return " \\| ".join(f"`{value}`" for value in field["enum"])
    if field.get("x-kubernetes-int-or-string"):
        return "quantity"
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if field["type"] == "object" and "additionalProperties" in field:
        return f"map of {_type(field['additionalProperties'])}"
    return str(field["type"])


def _default(name: str, field: schema.Schema, required: set[str]) -> str:
    if name in required:
        return "required"
    return f"`{_plain(field['default'])}`" if "default" in field else ""


def _plain(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def _text(field: schema.Schema) -> str:
    return " ".join(str(field.get("description", "")).split()).replace("|", "\\|")


def _rules(part: schema.Schema) -> Iterator[str]:
    own = [rule["message"] for rule in part.get(meta.VALIDATIONS, ())]
    fields = [
        f"`{name}`: {rule['message']}"
        for name, field in part["properties"].items()
        if not _is_section(field)
        for rule in field.get(meta.VALIDATIONS, ())
    ]
    if own or fields:
        yield "Refused when applied:\n"
        yield from (f"- {message}" for message in [*own, *fields])
        yield ""
