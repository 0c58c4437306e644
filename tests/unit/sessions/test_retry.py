"""The pauses between attempts grow, are spread, and leave time for the attempt itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionstore.sessions import retry


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def waited(seconds: float, chance: float, *, attempt_s: float = 0.0) -> list[float]:
    """Return the pauses within `seconds`, where each attempt takes `attempt_s`."""
    clock, found = Clock(), []
    for pause in retry.pauses(clock() + seconds, clock, chance=lambda: chance):
        found.append(pause)
        clock.now += pause + attempt_s
    return found


def test_pauses_double_up_to_the_longest() -> None:
    assert waited(60, 1.0)[:8] == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0])


def test_chance_takes_up_to_half_of_a_pause_away() -> None:
    assert waited(60, 0.0)[:3] == pytest.approx([0.01, 0.02, 0.04])


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.03])
def test_without_time_there_is_no_second_attempt(seconds: float) -> None:
    assert waited(seconds, 0.5) == []


@given(
    seconds=st.floats(0, 100),
    chance=st.floats(0, 1, exclude_max=True),
    attempt_s=st.floats(0, 5, allow_subnormal=False),
)
def test_a_pause_ends_before_the_deadline_and_there_are_not_many(
    seconds: float, chance: float, attempt_s: float
) -> None:
    clock = Clock()
    end, count = clock() + seconds, 0
    for pause in retry.pauses(end, clock, chance=lambda: chance):
        assert 0 < pause <= retry.LONGEST_PAUSE_S
        assert clock() + pause < end
        clock.now += pause + attempt_s
        count += 1
    assert count <= 30 + 2 * seconds / retry.LONGEST_PAUSE_S


def test_two_callers_do_not_come_back_together() -> None:
    clock = Clock()
    first, second = (next(retry.pauses(clock() + 9, clock)) for _ in range(2))
    assert first != second
