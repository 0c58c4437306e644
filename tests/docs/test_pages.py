"""What the pages for people on call and for beginners name is there: reasons, manifests, files, variables."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest
import yaml

from sessionstore import settings
from sessionstore.apis import conditions
from sessionstore.apis.v1alpha1 import carried_out, reasons
from sessionstore.apis.v1alpha1 import sessionstore as api

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# Words of Kubernetes that look like reasons.
OTHER_WORDS = {"OnDelete", "SessionStore", "StatefulSet"}
WITH_REASONS = ("quickstart.md", "troubleshooting.md")


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", WITH_REASONS)
def test_every_reason_that_is_named_is_one(page: str) -> None:
    words = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)`", (DOCS / page).read_text()))

    assert len(words) > 5
    assert words - {reason.value for reason in reasons.Reason} - set(conditions.TYPES) - OTHER_WORDS == set()


def test_the_first_store_of_the_quick_start_grows_into_the_samples() -> None:
    """Each is applied over the one before: a claim would otherwise have to shrink, or an engine to change."""
    (first,) = (yaml.safe_load(block) for block in _blocks("quickstart.md", "yaml"))
    samples = [yaml.safe_load((ROOT / "manifests/samples" / name).read_text()) for name in ("plan.yaml", "chat.yaml")]

    parsed = [api.SessionStore.model_validate(manifest) for manifest in (first, *samples)]
    assert [carried_out.not_carried_out(store) for store in parsed] == [(), (), ()]
    assert len({yaml.safe_dump(_base(manifest)) for manifest in (first, *samples)}) == 1


def _base(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a store without its gateways and migration."""
    spec = {key: value for key, value in manifest["spec"].items() if key not in ("gateways", "migration")}
    return {**manifest, "spec": spec}


@pytest.mark.parametrize("page", ["quickstart.md", "troubleshooting.md", "upgrading.md"])
def test_every_file_that_a_command_takes_is_there(page: str) -> None:
    commands = "\n".join(_blocks(page, "sh"))
    paths = set(re.findall(r"\b(?:charts|examples|manifests|crds)/[\w./-]+", commands))

    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_setting_of_the_operator_is_described() -> None:
    code = pathlib.Path(settings.__file__).read_text()
    page = (DOCS / "reference" / "settings.md").read_text()
    pattern = re.compile(r"\b(?:SESSIONSTORE|POD)_[A-Z_]+\b")

    assert set(pattern.findall(code)) == set(pattern.findall(page))
