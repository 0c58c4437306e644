"""Where a run stands, for people and machines: told to a watch, and kept in the store as a document.

Counting is cheap and happens for each session; telling is not, and happens now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from sessionstore.migrate.report import Accounts
from sessionstore.sessions.exceptions import Unavailable

TELL_S = 0.1
KEEP_S = 5.0
"""Between two `progress` documents of one phase."""
_BREATHE_S = 0.02


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands.

    Attributes:
        source: the name of the source.
        done, total: sessions and archives of this phase; `total` is 0 while it is not known (Inspect finds it out).
        bytes, total_bytes: of entries and lines, in the same way.
        sessions, lines: what Inspect found, so far or in all.
        conflicts, quarantined: sessions, as far as they are known.
    """

    source: str
    phase: str
    done: int = 0
    total: int = 0
    bytes: int = 0
    total_bytes: int = 0
    sessions: int = 0
    lines: int = 0
    conflicts: int = 0
    quarantined: int = 0

    def document(self) -> dict[str, str | int]:
        """Return what is kept in the store."""
        return {
            "phase": self.phase,
            "done": self.done,
            "total": self.total,
            "sessions": self.sessions,
            "lines": self.lines,
            "bytes": self.bytes,
            "conflicts": self.conflicts,
            "quarantined": self.quarantined,
        }


Watch = Callable[[Progress], None]
"""Told at each phase and now and then between; must not block."""
Keep = Callable[[Progress], Awaitable[None]]


class Meter:
    """Counts for one source; changes while a run goes on."""

    def __init__(self, source: str, watch: Watch, keep: Keep | None = None) -> None:
        self._source, self._watch, self._keep = source, watch, keep
        self._phase = "Inspect"
        self._done = self._bytes = self._total = self._total_bytes = 0
        self._found_sessions = self._found_lines = 0
        self._conflicts = self._quarantined = 0
        self._told_at = self._breathed_at = time.monotonic()
        self._keeping = asyncio.Lock()

    def now(self) -> Progress:
        """Return where the run stands."""
        return Progress(
            self._source,
            self._phase,
            self._done,
            self._total,
            self._bytes,
            self._total_bytes,
            self._found_sessions,
            self._found_lines,
            self._conflicts,
            self._quarantined,
        )

    async def enter(self, phase: str) -> None:
        """Begin a phase: what was counted in Inspect is how much there is to do."""
        if self._phase == "Inspect" and phase != "Inspect":
            self._total, self._total_bytes = self._done, self._bytes
        self._phase, self._done, self._bytes = phase, 0, 0
        self._watch(self.now())
        await self._keep_now()

    def find(self, sessions: int, lines: int, quarantined: int) -> None:
        """Count what Inspect found."""
        self._found_sessions += sessions
        self._found_lines += lines
        self._quarantined += quarantined

    def settle(self, accounts: Accounts) -> None:
        """Say how the sessions are accounted for so far."""
        self._conflicts, self._quarantined = accounts.sessions.conflicts, accounts.sessions.quarantined

    async def step(self, size: int, count: int = 1) -> None:
        """Count things that are done, and let others have a turn: reading files never waits by itself."""
        self._done += count
        self._bytes += size
        now = time.monotonic()
        if now - self._told_at > TELL_S:
            self._told_at = now
            self._watch(self.now())
        if now - self._breathed_at > _BREATHE_S:
            self._breathed_at = now
            await asyncio.sleep(0)

    @contextlib.asynccontextmanager
    async def ticking(self) -> AsyncIterator[None]:
        """Tell and keep every KEEP_S meanwhile, also while one long transcript is gone through."""
        ticker = asyncio.create_task(self._tick())
        try:
            yield
        finally:
            ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticker

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(KEEP_S)
            self._watch(self.now())
            # Where the store stays away, the run itself says so.
            with contextlib.suppress(Unavailable):
                await self._keep_now()

    async def _keep_now(self) -> None:
        # One after another, so that an older document never comes to lie over a newer one.
        async with self._keeping:
            if self._keep:
                await self._keep(self.now())
