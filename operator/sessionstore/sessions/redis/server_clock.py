"""The server's clock without a round trip: ours, and by how much theirs differs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sessionstore.sessions import clock

MEASURE_EVERY_S = 60.0
"""Two clocks drift apart by some 50 ppm at worst, so by 3 ms in this time."""


class ServerClock:
    """Counts from the last measurement on a clock that nobody sets, so a change of the local time changes nothing.

    Late by up to that measurement's round trip and never ahead: a session that is gone for a reader is gone for the
    server's scripts as well, which decide what a write meets.

    Attributes:
        due_at: when to measure again, on the loop's clock; never, before a first connection has measured.
    """

    def __init__(self) -> None:
        self.due_at = float("inf")
        self._offset_ms = clock.now_ms() - _steady_ms()

    def now_ms(self) -> int:
        """Return milliseconds since the epoch; of the local clock until a first server has told its own."""
        return _steady_ms() + self._offset_ms

    def set(self, answer: Sequence[bytes], told_at: float) -> None:
        """Take in what TIME answered just now: seconds and microseconds. `told_at` is on the loop's clock."""
        server_ms = int(answer[0]) * 1000 + int(answer[1]) // 1000
        # Whole milliseconds were begun on both sides: what is left of ours may be more than what is left of theirs.
        self._offset_ms = server_ms - _steady_ms() - 1
        self.due_at = told_at + MEASURE_EVERY_S


def _steady_ms() -> int:
    return time.monotonic_ns() // 1_000_000
