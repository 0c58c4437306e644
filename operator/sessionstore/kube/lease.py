"""Leadership: two replicas run, the holder of one Lease works.

    follower --(the Lease is free, or was not renewed for its duration by our own clock)--> leader
    leader   --(it cannot renew for two thirds of the duration, or someone else holds it)--> follower
    leader   --(orderly stop)--> gives the Lease up, so the other one need not wait

A leader gives up before a follower may take over: it stops after 2/3 of the duration without a
renewal, a follower waits the whole of it. Ages are measured by the observer's own monotonic clock
from the moment it saw the Lease change, so clocks need not agree. kopf's peering is not used: it
pauses watches, but does not fence work that is under way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sessionstore import errors
from sessionstore.kube import kinds
from sessionstore.kube.client import Kube

LEASE_NAME = "sessionstore-operator"

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Leadership:
    """Takes part in the election, and runs `work` for as long as this process leads."""

    kube: Kube
    namespace: str
    identity: str
    duration_s: float
    now: Callable[[], datetime]
    saw: Callable[[str], None]
    """Is told every renewTime that was read or written: liveness compares it with what the watch delivers."""
    leading: bool = False

    _seen: tuple[str | None, float] = field(default=(None, 0.0))

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run until cancelled: follow, lead, and follow again when leadership is lost."""
        try:
            while True:
                await self._until_acquired()
                await self._lead(work)
        finally:
            if self.leading:
                self.leading = False
                await asyncio.shield(self._release())

    async def _until_acquired(self) -> None:
        while True:
            try:
                if await self._try_acquire():
                    return
            except errors.KubeError as error:
                logger.warning("the Lease cannot be read or taken: %s", error)
            await asyncio.sleep(min(2.0, self.duration_s / 7))

    async def _lead(self, work: Callable[[], Awaitable[None]]) -> None:
        logger.info("leading as %s", self.identity)
        self.leading = True
        working = asyncio.ensure_future(work())
        renewing = asyncio.create_task(self._renew_until_lost())
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
        finally:
            # Whatever ended first, the other must not go on: two leaders would take turns on one store.
            for task in (working, renewing):
                task.cancel()
            await asyncio.gather(working, renewing, return_exceptions=True)
        self.leading = False
        logger.warning("leadership is lost; following")

    async def _renew_until_lost(self) -> None:
        """Renew for as long as it can be done; return by the deadline, not after a sleep that crosses it."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        try:
            while True:
                async with asyncio.timeout_at(asked_at + self.duration_s * 2 / 3):
                    await asyncio.sleep(self.duration_s / 3)
                    # From before the request: that is the earliest time that a follower may count from.
                    asked_at = loop.time()
                    if not await self._renew():
                        return
        except TimeoutError:
            logger.warning("the Lease could not be renewed in time")

    async def _renew(self) -> bool:
        """Try until the API server answers; return whether the Lease is still ours."""
        while True:
            try:
                return await self._try_acquire()
            except errors.KubeError as error:
                # Nobody knows who holds it now; the deadline decides.
                logger.warning("the Lease could not be renewed: %s", error)
                await asyncio.sleep(1.0)

    async def _try_acquire(self) -> bool:
        """Take or renew the Lease if we may; return whether it is ours now."""
        try:
            lease = await self.kube.get(kinds.LEASE, self.namespace, LEASE_NAME)
            self.saw((lease or {}).get("spec", {}).get("renewTime") or "")
            if lease is None:
                await self.kube.create(self._body({}), manager=self.identity)
                return True
            if not self._may_take(lease):
                return False
            await self.kube.replace(self._body(lease))
        except errors.Conflicted:
            # Someone else changed it first; the next look tells who holds it.
            return False
        return True

    def _may_take(self, lease: dict[str, Any]) -> bool:
        spec = lease.get("spec", {})
        holder = spec.get("holderIdentity")
        loop_time = asyncio.get_running_loop().time()
        mark = f"{holder} {spec.get('renewTime')}"
        if mark != self._seen[0]:
            self._seen = (mark, loop_time)
        if not holder or holder == self.identity:
            return True
        return loop_time - self._seen[1] > float(spec.get("leaseDurationSeconds", self.duration_s))

    async def _release(self) -> None:
        try:
            lease = await self.kube.get(kinds.LEASE, self.namespace, LEASE_NAME)
            if lease and lease["spec"].get("holderIdentity") == self.identity:
                await self.kube.replace({**lease, "spec": {**lease["spec"], "holderIdentity": ""}})
        except errors.KubeError as error:
            logger.info("the Lease was not given up, it will run out: %s", error)

    def _body(self, lease: dict[str, Any]) -> dict[str, Any]:
        spec = lease.get("spec", {})
        stamp = self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        taken_over = spec.get("holderIdentity") != self.identity
        return {
            "apiVersion": kinds.LEASE.api_version,
            "kind": kinds.LEASE.kind,
            "metadata": lease.get("metadata") or {"name": LEASE_NAME, "namespace": self.namespace},
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": int(self.duration_s),
                "acquireTime": stamp if taken_over else spec.get("acquireTime", stamp),
                "renewTime": stamp,
                "leaseTransitions": spec.get("leaseTransitions", 0) + (1 if taken_over and lease else 0),
            },
        }
