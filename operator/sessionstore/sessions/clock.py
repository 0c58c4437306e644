"""The one clock of the backends that have no server to ask. Tests hand in their own."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Return milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
