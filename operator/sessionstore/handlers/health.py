"""/healthz and /readyz: is this process worth keeping, and does it take part?

A watch can freeze without an error, and then an operator lives on and sees nothing. kopf drops
bookmarks before handlers, so a quiet cluster looks the same as a dead watch. Our own Lease is
renewed every few seconds by whoever leads, and every replica both watches it and reads it: when the
reads see it move and the watch does not, the watch is dead and a restart is right. When the API
server cannot be reached at all, a restart would help nobody.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

MAX_LAG_S = 60.0
"""How long the watch may lag behind the reads: many renewals, and less than a person's patience."""

MAX_GAP_S = 30.0
"""Between two reads, which come every few seconds: after more than this, the API server was away."""


@dataclass(slots=True)
class Pulse:
    """The Lease's renewTime, as read and as watched. `clock` gives monotonic seconds."""

    clock: Callable[[], float]
    started: bool = False
    _read: str = ""
    _read_at: float = 0.0
    _watched: str = ""
    _behind_since: float | None = None

    def read(self, renew_time: str) -> None:
        """Note what a direct read has seen."""
        now = self.clock()
        if self.started and now - self._read_at > MAX_GAP_S:
            # The watch could not deliver either; it gets its time anew.
            self._behind_since = None
        moved = renew_time not in (self._read, self._watched)
        self.started, self._read, self._read_at = True, renew_time, now
        if moved and self._behind_since is None:
            self._behind_since = now

    def watched(self, renew_time: str) -> None:
        """Note what the watch delivered; anything it delivers proves that it is alive."""
        self._watched = renew_time
        self._behind_since = None

    @property
    def lag_s(self) -> float:
        """Seconds for which reads have moved on and the watch was silent; it stands still while nothing can be read."""
        return 0.0 if self._behind_since is None else self._read_at - self._behind_since


@asynccontextmanager
async def serve(pulse: Pulse, port: int) -> AsyncIterator[None]:
    """Answer the kubelet's probes for as long as the context lasts."""

    async def healthz(_: web.Request) -> web.Response:
        if pulse.lag_s > MAX_LAG_S:
            return web.Response(
                status=503, text=f"the watch has been silent for {pulse.lag_s:.0f} s while the Lease moved\n"
            )
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        return (
            web.Response(text="ok\n")
            if pulse.started
            else web.Response(status=503, text="no answer from the API server yet\n")
        )

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, None, port).start()
        yield
    finally:
        await runner.cleanup()
