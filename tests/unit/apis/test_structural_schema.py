"""From model to structural schema, and what the schema of a SessionStore must hold for the API server's sake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import pydantic
import pytest
from pydantic import Field

from sessionstore.apis import crd, meta, schema
from sessionstore.apis.v1alpha1 import carried_out
from sessionstore.apis.v1alpha1 import sessionstore as api


class Inner(meta.ClosedModel):
    """An inner thing."""

    model_config = pydantic.ConfigDict(json_schema_extra=meta.rules(meta.Rule("true", "of the model")))

    only: Literal["one"] = "one"
    """The only value."""


class Outer(meta.ClosedModel):
    """An outer thing."""

    inner: Inner = Field(json_schema_extra=meta.rules(meta.Rule("self.only == 'one'", "of the field")))
    """What the field says of it."""

    maybe: Inner | None = None
    free: Annotated[dict[str, object], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})] = Field(
        default_factory=dict
    )
    names: dict[meta.Name, str] = Field(default_factory=dict)
    several: tuple[Inner, ...] = Field(default=(), max_length=2, json_schema_extra=meta.list_map("only"))


def test_references_are_inlined_and_the_fields_own_words_win() -> None:
    inner = schema.structural(Outer)["properties"]["inner"]

    assert inner["description"] == "What the field says of it."
    assert inner["properties"]["only"]["enum"] == ["one"]
    assert [rule["message"] for rule in inner[meta.VALIDATIONS]] == ["of the model", "of the field"]
    assert "additionalProperties" not in inner


def test_an_optional_block_is_nullable_without_a_default() -> None:
    maybe = schema.structural(Outer)["properties"]["maybe"]

    assert maybe["nullable"] is True
    assert "default" not in maybe and "anyOf" not in maybe
    assert maybe["description"] == "An inner thing."


def test_free_parts_maps_and_lists_keep_their_shape() -> None:
    properties = schema.structural(Outer)["properties"]

    assert properties["free"] == {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    assert properties["names"] == {"type": "object", "additionalProperties": {"type": "string"}}
    several = properties["several"]
    assert (several["maxItems"], several["x-kubernetes-list-type"], several["x-kubernetes-list-map-keys"]) == (
        2,
        "map",
        ["only"],
    )


class Either(meta.ClosedModel):
    value: int | str


def test_what_a_structural_schema_cannot_say_is_an_error_at_generation() -> None:
    with pytest.raises(ValueError, match="anyOf has no place in a structural schema"):
        schema.structural(Either)


# What follows holds for the SessionStore itself.


def walk(part: schema.Schema, path: str = "") -> Iterator[tuple[str, schema.Schema]]:
    yield path, part
    for name, inner in part.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(part.get(key), dict):
            yield from walk(part[key], f"{path}[]")


SPEC = list(walk(crd.root_schema()["properties"]["spec"], "spec"))
WHOLE = [(path, part) for path, part in walk(crd.root_schema()) if not path.startswith(".metadata")]


def test_every_list_map_and_text_of_the_spec_has_a_longest_form() -> None:
    limits = {"string": ("maxLength", "enum"), "array": ("maxItems",)}
    unlimited = [path for path, part in SPEC for kind in [part.get("type", "")] if kind in limits
                 if not any(limit in part for limit in limits[kind])]  # fmt: skip
    unlimited += [path for path, part in SPEC if part.get("additionalProperties") and "maxProperties" not in part]

    assert unlimited == []
    assert [path for path, part in SPEC if part.get("maxItems", 0) > meta.MAX_ITEMS] == []


def test_every_field_is_described() -> None:
    assert [path for path, part in WHOLE if path and not path.endswith("[]") and not part.get("description")] == []


def test_blocks_whose_presence_means_something_have_no_default() -> None:
    properties = crd.root_schema()["properties"]["spec"]["properties"]
    with_default = {name for name, part in properties.items() if "default" in part}

    assert with_default == {"suspend", "deletionPolicy"}


def test_what_the_schema_fills_in_by_itself_is_never_warned_about() -> None:
    blocks = {
        name: {}
        for name, model in api.Spec.model_fields.items()
        for name in [model.alias or name]
        if name in ("redis", "storage", "tls", "auth", "sessions", "migration", "networkPolicy", "monitoring", "backup")
    }
    store = api.SessionStore.model_validate({"metadata": {"name": "x"}, "spec": {"engine": "redis", **blocks}})

    assert len(blocks) == 9
    assert carried_out.not_carried_out(store) == ()


def test_every_rule_says_in_words_what_to_do() -> None:
    rules = [rule for _, part in WHOLE for rule in part.get(meta.VALIDATIONS, [])]

    assert len(rules) > 25
    assert [rule for rule in rules if len(rule["message"].split()) < 6] == []


def test_the_columns_show_what_the_status_holds() -> None:
    known = {path for path, _ in walk(crd.root_schema())} | {".metadata.creationTimestamp"}
    plain = {column.json_path for column in crd.COLUMNS if "[?" not in column.json_path}

    assert plain - known == set()
    assert [column.name for column in crd.COLUMNS if not column.wide] == [
        "Engine", "Topology", "Ready", "Reason", "Sessions", "Used%", "Gateways", "Age"
    ]  # fmt: skip
