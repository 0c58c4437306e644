"""What every test may ask for, and the order of the run: what is quick comes before what needs a cluster."""

from __future__ import annotations

import asyncio
import os
import pathlib
from collections.abc import Callable, Iterator

import hypothesis
import pytest

from sessionstore.openclaw.scratch import Scratch
from tests.cluster import machine

ROOT = machine.ROOT
LONG = os.environ.get("SESSIONSTORE_LONG") == "1"

# Processes that tests start find the package as this one does. Nothing is asserted about speed, hypothesis' included.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "operator"), os.environ.get("PYTHONPATH")]))
hypothesis.settings.register_profile("short", deadline=None, max_examples=100)
hypothesis.settings.register_profile("long", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("long" if LONG else "short")


def pytest_configure() -> None:
    """Say that there is no event loop outside of async tests.

    Where nothing is said, Python 3.11 makes one for whoever asks; pytest-asyncio asks between tests and closes only its
    own, and a loop that nobody closed is a warning, so an error.
    """
    asyncio.set_event_loop(None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in tests/kind, and run it last; mark what lies in tests/openclaw."""
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "openclaw"):
            item.add_marker(pytest.mark.slow)
        if _needs_cluster(item):
            item.add_marker(pytest.mark.kind)
    items.sort(key=_needs_cluster)


@pytest.fixture(scope="session")
def count() -> Callable[[int, int], int]:
    """Choose how often: `count(3, 20)` is 3 in `make test`, and 20 in `make test-long` (docs/must-show.md)."""
    return lambda short, full: full if LONG else short


@pytest.fixture
def scratch(tmp_path: pathlib.Path) -> Iterator[Scratch]:
    """Where what is read from a source may be laid down for a while."""
    with Scratch(tmp_path) as opened:
        yield opened


@pytest.fixture(scope="session")
def helm() -> pathlib.Path:
    """The helm that the cluster is set up with; asking for it sets the machine up, but creates no cluster."""
    return machine.prepare().program("helm")


def _needs_cluster(item: pytest.Item) -> bool:
    return item.path.is_relative_to(ROOT / "tests" / "kind")
