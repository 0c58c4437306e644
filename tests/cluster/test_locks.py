"""The locks hold what pyproject.toml asks for: what is added there only must not wait for a machine without it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from . import machine

PROJECT = tomllib.loads((machine.ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
GROUPS = PROJECT["dependency-groups"]


def _locked(name: str) -> dict[str, str]:
    """The versions of one lock: normalised package name -> version."""
    text = (machine.ROOT / "requirements" / name).read_text()
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", text, re.MULTILINE))


def _extras(*names: str) -> list[str]:
    return [*PROJECT["project"]["dependencies"], *(text for name in names for text in EXTRAS[name])]


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        pytest.param("build.txt", PROJECT["build-system"]["requires"], id="what builds the package"),
        pytest.param(
            "operator.txt",
            _extras("redis", "mongodb", "encryption", "operator", "console", "migration"),
            id="what the image runs",
        ),
        pytest.param("test.txt", [*_extras(*EXTRAS), *GROUPS["test"]], id="what the tests need"),
        pytest.param("lint.txt", GROUPS["lint"], id="what lint needs"),
        pytest.param("bench.txt", GROUPS["bench"], id="what the measurements need"),
    ],
)
def test_a_lock_satisfies_pyproject(lock: str, wanted: Iterable[str]) -> None:
    locked = _locked(lock)
    requirements = [Requirement(text) for text in wanted]
    assert [str(r) for r in requirements if not _holds(locked, r)] == [], "run `make lock`"


@pytest.mark.parametrize("lock", ["build.txt", "operator.txt", "test.txt", "lint.txt", "bench.txt"])
def test_a_lock_names_no_index(lock: str) -> None:
    # Each machine has its own; pip's configuration says which.
    assert "://" not in (machine.ROOT / "requirements" / lock).read_text()


def _holds(locked: dict[str, str], requirement: Requirement) -> bool:
    version = locked.get(canonicalize_name(requirement.name))
    return version is not None and requirement.specifier.contains(version)
