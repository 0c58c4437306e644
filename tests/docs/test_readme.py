"""What the README and the gateways' page show is true: their manifests are valid."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import yaml

from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import binding, injection

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _manifests(page: str) -> list[Any]:
    blocks = re.findall(r"^```yaml\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    return [yaml.safe_load(block) for block in blocks]


def test_the_first_manifest_of_the_readme_is_a_complete_store() -> None:
    store = api.SessionStore.model_validate(_manifests("README.md")[0])

    assert store.spec == api.Spec(engine=api.EngineName.REDIS)


def test_the_rest_of_the_readmes_spec_is_one_too() -> None:
    spec = api.Spec.model_validate({"engine": "redis", **_manifests("README.md")[1]})

    assert (spec.gateways[0].name, spec.migration and spec.migration.mode) == ("openclaw", "Run")


def test_the_gateways_page_lists_what_is_added() -> None:
    text = (ROOT / "docs/gateways.md").read_text()
    (gateway,) = api.Spec.model_validate({"engine": "redis", **_manifests("docs/gateways.md")[0]}).gateways
    names = [injection.CONFIG_VARIABLE, injection.ROOT_VARIABLE, injection.HASH_ANNOTATION, injection.STORE_LABEL]

    missing = [name for name in (*names, injection.VOLUME, binding.MOUNT_PATH, *binding.KEYS) if f"`{name}" not in text]

    assert gateway.container == "gateway"
    assert missing == []
