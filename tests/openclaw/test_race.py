"""Processes with OpenClaw's own `updateSessionStore`, a directory each, a bridge beside each, over one Redis.

tests/bridge/test_race.py does the same, smaller, with a writer of ours, so that it runs without OpenClaw.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bridge import pods, races
from tests.bridge.conftest import NewURL, new_url, server  # noqa: F401  fixtures
from tests.bridge.pods import Pod
from tests.conftest import LONG
from tests.openclaw.program import CACHE, FILES, is_installed

pytestmark = pytest.mark.skipif(
    not LONG and not is_installed(), reason="real OpenClaw is run by `make test-long`, or once `make openclaw` got it"
)

# ruff: noqa: F811 -- the fixtures are found by their names
Count = Callable[[int, int], int]
RUNTIME = CACHE / FILES / "node_modules" / "openclaw" / "dist" / "plugin-sdk" / "session-store-runtime.js"
WRITER = Path(__file__).parent / "writer.mjs"


def openclaw(pod: Pod) -> list[str]:
    """Return how the writer with OpenClaw's functions is started: its cache of the sheet is on, as by default."""
    return [str(CACHE / "node" / "package" / "bin" / "node"), str(WRITER), str(RUNTIME)]


@pytest.fixture
def many(count: Count) -> int:
    """How many sessions each gateway makes."""
    return count(20, 100)


@pytest.fixture
def rounds(count: Count) -> int:
    return count(1, 10)


@pytest.mark.parametrize("names", ["XY", "XYZ"])
def test_every_session_and_every_second_change_is_everywhere(
    new_url: NewURL, tmp_path: Path, many: int, rounds: int, names: str
) -> None:
    for number in range(rounds):
        with pods.running(tmp_path / str(number), names, new_url()) as running:
            races.race(running, "create", many, openclaw)
            races.check_created(running, many)


def test_what_is_deleted_stays_deleted(new_url: NewURL, tmp_path: Path, many: int, rounds: int) -> None:
    for number in range(rounds):
        with pods.running(tmp_path / str(number), "XY", new_url()) as running:
            races.race(running, "churn", many, openclaw)
            races.check_churned(running, many)


def test_a_counter_that_two_add_to_is_exact(new_url: NewURL, tmp_path: Path, many: int, rounds: int) -> None:
    for number in range(rounds):
        with pods.running(tmp_path / str(number), "XY", new_url()) as running:
            races.share_counter(running)
            races.race(running, "count", many, openclaw)
            races.check_counted(running, many)


@pytest.mark.parametrize("names", ["XY", "XYZ"])
def test_nothing_is_lost_while_bridges_are_killed(
    new_url: NewURL, tmp_path: Path, many: int, rounds: int, names: str
) -> None:
    for number in range(rounds):
        with pods.running(tmp_path / str(number), names, new_url()) as running:
            races.race(running, "create", many, openclaw, kills=True)
            races.check_created(running, many)
            assert sum(pod.kills for pod in running) > 0
