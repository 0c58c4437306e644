"""The samples: full.yaml shows every key that this version carries out, and none of them asks for what it does not.

That the API server takes them is shown by tests/kind/test_admission.py.
"""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import yaml

from sessionstore.apis import crd, schema
from sessionstore.apis.v1alpha1 import carried_out
from sessionstore.apis.v1alpha1 import sessionstore as api

SAMPLES = sorted((pathlib.Path(__file__).resolve().parents[2] / "manifests" / "samples").glob("*.yaml"))
FULL = next(sample for sample in SAMPLES if sample.name == "full.yaml")

# Carried out only as far as it says what is the case anyway: one server.
BESIDE = {"redis.replicas"}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_a_sample_is_a_store_that_is_carried_out_as_a_whole(sample: pathlib.Path) -> None:
    store = api.SessionStore.model_validate(yaml.safe_load(sample.read_text()))

    assert carried_out.not_carried_out(store) == ()


def test_the_full_sample_has_every_key_that_is_carried_out() -> None:
    shown = set(_keys(yaml.safe_load(FULL.read_text())["spec"]))

    assert set(_carried_out(crd.root_schema()["properties"]["spec"])) - BESIDE - shown == set()


def _keys(value: Any, path: str = "") -> list[str]:
    """Name every key of a manifest; the entries of a list count as one."""
    if isinstance(value, list):
        return [key for entry in value for key in _keys(entry, path)]
    if not isinstance(value, dict):
        return []
    return [key for name, inner in value.items() for key in (f"{path}{name}", *_keys(inner, f"{path}{name}."))]


def _carried_out(part: schema.Schema, path: str = "") -> list[str]:
    """Name every key of the schema but those whose description says that they are not carried out."""
    found = []
    for name, field in part.get("items", part).get("properties", {}).items():
        # References are shown by one key in the comment, not one by one.
        if "Not carried out by this version" in field["description"] or f"{path}{name}" == "auth.existingSecret.name":
            continue
        found += [f"{path}{name}", *_carried_out(field, f"{path}{name}.")]
    return found
