"""All rooms of a state directory over one store: the start, the work, and an orderly end.

Started by `sessionstore bridge`, beside one gateway. First all doors are shut, so that no turn runs as if the gateway
were alone; then the store is waited for, for as long as it takes; then both sides are levelled. `ready` is called when
the gateway's files are the store's, and the gateway may start.

One task does all the work on files and store, room by room. Others only wait for something to happen, or keep up what
runs out: leases and doors.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from sessionstore.bridge.doors import REFRESH_S
from sessionstore.bridge.follow import Follower, Seen
from sessionstore.bridge.room import Common, Room
from sessionstore.sessions.exceptions import InvalidKey, SessionError
from sessionstore.sessions.record import SessionKey, check_agent
from sessionstore.sessions.store import Store

BUSY_S, IDLE_S = 0.1, 1.0
"""Between two looks while a turn runs or is wanted, and while nothing is known to happen."""
WAIT_S = 5.0
"""How long one request waits for the next change."""
AGAIN_S = 0.5
"""After a failure."""
RENEW_S = 1.0
"""Between two looks whether a lease has to be renewed."""

_log = logging.getLogger(__name__)


class Bridge:
    """The bridge beside one gateway."""

    def __init__(self, store: Store, state_dir: Path, name: str, ready: Callable[[], None]) -> None:
        """Take the store (opened with `count_uses` off), the gateway's state directory, and who is told.

        Args:
            name: of this gateway, another one for each; it is shown to whoever meets its leases.
        """
        self._agents = state_dir / "agents"
        self._ready = ready
        self._follower = Follower(store, self)
        clock = asyncio.get_running_loop().time
        self._common = Common(store, self._follower, name, secrets.token_hex(4), clock)
        self._rooms: dict[str, Room] = {}
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._watching: list[asyncio.Task[None]] = []
        self._failing = ""
        self._fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then leave everything in the store.

        What one task fails with, other than by a store that is away, ends all: a bridge that only seems to work would
        leave its gateway alone without a word.
        """
        self._find_rooms()
        work = asyncio.create_task(self._work(), name="work")
        self._keep(self._refresh(), "doors")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        ends: list[asyncio.Future[Any]] = [work, stopping, self._fault]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._fault.done():
                self._fault.result()
            await _cancelled(work)
            await self._end()
        finally:
            for task in (work, stopping, *self._tasks):
                await _cancelled(task)
            for room in self._rooms.values():
                room.close()

    def told(self, key: SessionKey, seen: Seen) -> None:
        """Hand on what the store has now."""
        self._room(key.agent).told(key, seen)
        self._wake.set()

    def lost(self, key: SessionKey, seen: Seen) -> None:
        """Hand on what the store went back to."""
        self._room(key.agent).lost(key, seen)
        self._wake.set()

    def _room(self, agent: str) -> Room:
        room = self._rooms.get(agent)
        if room is None:
            room = self._rooms[agent] = Room(self._common, agent, self._agents / agent / "sessions")
            self._watching.append(self._keep(self._notice(room), f"watch {agent}"))
        return room

    def _find_rooms(self) -> None:
        """Open a room for each agent that the gateway has a sessions directory of."""
        for folder in sorted(self._agents.glob("*/sessions")) if self._agents.is_dir() else ():
            try:
                self._room(check_agent(folder.parent.name))
            except InvalidKey as error:
                self._tell(f"{folder} is left alone: {error}")

    # -- tasks ----------------------------------------------------------------------------------

    async def _work(self) -> None:
        await self._insist(lambda: self._follower.step(0.0))
        for room in tuple(self._rooms.values()):
            await self._insist(room.start)
        self._ready()
        self._keep(self._follow(), "feed")
        self._keep(self._renew(), "leases")
        while True:
            self._find_rooms()
            if not all([await self._succeeds(room.step()) for room in tuple(self._rooms.values())]):
                await asyncio.sleep(AGAIN_S)
            await self._something()

    async def _something(self) -> None:
        """Wait until something happens, or a look is due."""
        busy = any(room.is_busy() for room in self._rooms.values())
        try:
            async with asyncio.timeout(BUSY_S if busy else IDLE_S):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _follow(self) -> None:
        while True:
            if not await self._succeeds(self._follower.step(WAIT_S)):
                await asyncio.sleep(AGAIN_S)

    async def _notice(self, room: Room) -> None:
        while True:
            noticed = await room.watch.wait(WAIT_S)
            if noticed:
                room.noticed(noticed)
                self._wake.set()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            for room in tuple(self._rooms.values()):
                await self._succeeds(room.renew())

    async def _refresh(self) -> None:
        while True:
            for room in tuple(self._rooms.values()):
                room.refresh_doors()
            await asyncio.sleep(REFRESH_S)

    async def _end(self) -> None:
        """Leave everything in the store, as long as whoever ends us lets us try."""
        self._find_rooms()
        # From now on rooms look for themselves, so that nothing is on its way when they have ended.
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        for room in tuple(self._rooms.values()):
            await self._insist(room.end)

    # -- what goes wrong ------------------------------------------------------------------------

    async def _insist(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do a step, again and again until it succeeds."""
        while True:
            if await self._succeeds(step()):
                return
            await asyncio.sleep(AGAIN_S)

    async def _succeeds(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do a step; False where the store is away or the disk is full: it is to be tried again."""
        try:
            await work
        except (SessionError, OSError) as error:
            self._tell(f"{error}; trying again")
            return False
        if self._failing:
            self._failing = ""
            _log.info("the bridge goes on")
        return True

    def _tell(self, text: str) -> None:
        """Say what is wrong, once for as long as it is the same."""
        if text != self._failing:
            self._failing = text
            _log.warning("%s", text)

    def _keep(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._fault.done():
            self._fault.set_exception(error)


async def _cancelled(task: asyncio.Task[Any]) -> None:
    """End a task; what it failed with is raised."""
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return
