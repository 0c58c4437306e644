"""Gateways that write at full speed, each to its own file: nothing is lost and nothing comes back.

tests/openclaw/test_race.py does the same with OpenClaw's own functions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bridge import pods, races

Count = Callable[[int, int], int]


@pytest.fixture
def many(count: Count) -> int:
    """How many sessions each gateway makes."""
    return count(20, 100)


@pytest.mark.parametrize("names", ["XY", "XYZ"])
def test_every_session_and_every_second_change_is_everywhere(url: str, tmp_path: Path, many: int, names: str) -> None:
    with pods.running(tmp_path, names, url) as running:
        races.race(running, "create", many)
        races.check_created(running, many)


def test_what_is_deleted_stays_deleted(url: str, tmp_path: Path, many: int) -> None:
    with pods.running(tmp_path, "XY", url) as running:
        races.race(running, "churn", many)
        races.check_churned(running, many)


def test_a_counter_that_two_add_to_is_exact(url: str, tmp_path: Path, many: int) -> None:
    with pods.running(tmp_path, "XY", url) as running:
        races.share_counter(running)
        races.race(running, "count", many)
        races.check_counted(running, many)


def test_nothing_is_lost_while_bridges_are_killed(url: str, tmp_path: Path, many: int) -> None:
    with pods.running(tmp_path, "XY", url) as running:
        races.race(running, "create", many, kills=True)
        races.check_created(running, many)
        assert sum(pod.kills for pod in running) > 0


def test_a_bridge_that_is_told_to_end_leaves_everything_in_the_store(url: str, tmp_path: Path, many: int) -> None:
    with pods.running(tmp_path, "X", url) as running:
        races.race(running, "create", many)
        running[0].stop()
        assert pods.stored(url) == running[0].entries()
