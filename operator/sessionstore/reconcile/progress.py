"""What running migrations told last, so that a store is not asked for it in every pass.

Part of the Runtime, and forgotten with the process: nothing is decided from it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

EVERY_S = 5.0
"""Between two questions about one Job: it tells no more often."""

Key = tuple[str, str, str]
"""Namespace, store and source."""


class Told:
    """What each source's Job told last."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[datetime, Mapping[str, Any] | None]] = {}

    async def ask(
        self, key: Key, now: datetime, read: Callable[[], Awaitable[Mapping[str, Any] | None]]
    ) -> Mapping[str, Any] | None:
        """Return what is known of a source, asking with `read` where that is EVERY_S old."""
        known = self._known.get(key)
        if known is None or (now - known[0]).total_seconds() >= EVERY_S:
            known = (now, await read())
            self._known[key] = known
        return known[1]

    def forget(self, key: Key) -> None:
        """Drop what is known of a source of which no Job runs."""
        self._known.pop(key, None)
