"""One agent's directory: both sides of its sessions, brought together step by step. `bridge.py` has one for each agent.

A step looks at what is there and does what follows, in this order: what the gateway wrote is read, lines go before
entries, entries go to the store, and last the gateway's sheet is replaced. It may be cut off anywhere, by a store that
is away or by a kill, and the next step finds what is left to do.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sessionstore.bridge.ancestors import Ancestors
from sessionstore.bridge.archives import Archives, is_archive
from sessionstore.bridge.carrying import Carrying
from sessionstore.bridge.desk import Desk
from sessionstore.bridge.doors import Doors
from sessionstore.bridge.facts import NOTHING, Facts, fact_of
from sessionstore.bridge.follow import Follower, Seen
from sessionstore.bridge.gateway_sheet import GatewaySheet
from sessionstore.bridge.pushing import Pusher, held_of
from sessionstore.bridge.transcripts import Carried, Transcripts
from sessionstore.bridge.turns import Turns
from sessionstore.bridge.watch import Noticed, Watch, watch
from sessionstore.openclaw.names import TRANSCRIPT_SUFFIX, FileKind, file_of, kind_of
from sessionstore.sessions import clock
from sessionstore.sessions.exceptions import Unavailable
from sessionstore.sessions.plainfiles import Directory
from sessionstore.sessions.record import SessionKey
from sessionstore.sessions.store import Store

ROUNDS = 20
"""How often a step begins anew because the gateway wrote meanwhile, before other rooms have their turn."""
AGAIN_S = 0.2
"""Between two looks, at the end, whether another gateway's turn is over."""
ARCHIVES_S = 60.0
"""Between two looks for archives in the store, of which its feed does not tell."""
MARK_S = 6 * 3600.0
"""OpenClaw takes a marker away that was not touched for a day."""
DIRECTORY_MODE = 0o700


@dataclass(frozen=True, slots=True)
class Common:
    """What all rooms of a bridge share.

    Attributes:
        name: of this bridge, which leases are held under.
        start: tells one start of the bridge from the next.
        now_s: a monotonic clock.
    """

    store: Store
    follower: Follower
    name: str
    start: str
    now_s: Callable[[], float]


class Room:
    """One agent's sessions."""

    def __init__(self, common: Common, agent: str, path: Path) -> None:
        """Shut all doors of the directory, which is made where there is none. No store is asked. Raises: OSError."""
        self._common, self._agent = common, agent
        path.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
        self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.watch: Watch = watch(self._directory)
        ancestors = Ancestors.load(self._directory)
        self._desk = Desk(f"{common.name}.{common.start}", ancestors.state())
        self._sheet = GatewaySheet(self._directory, agent, self._desk, ancestors)
        self._pusher = Pusher(common.store, common.follower, self._desk, agent, self)
        self._doors = Doors(self._directory, shared=not self.watch.needs_own_files)
        self._turns = Turns(common.store, self._doors, self, common.name, common.now_s)
        self._plain = Directory(path, self._directory)
        transcripts = Transcripts.begun(common.store, self._plain, self._turns.may_touch)
        self._carrying = Carrying(transcripts, self._turns, self.key_of, common.now_s)
        self._archives = Archives(common.store, agent, self._plain, transcripts.agreements, self._may_rename)
        self._marks_at = 0.0
        self._puts_archives = True
        self._takes_archives_at = 0.0
        self._facts = Facts()
        self._stored: set[str] = set()
        self._coming: dict[str, SessionKey] = {}
        self._brought: dict[str, SessionKey] = {}
        self._resumable: list[str] | None = []
        self._turns.know(self._named(self._sheet.glance()))

    # -- what happens ---------------------------------------------------------------------------

    def told(self, key: SessionKey, seen: Seen) -> None:
        """Take what the store has now."""
        self._desk.told(key.key, held_of(seen))
        self._heard(key, seen)

    def lost(self, key: SessionKey, seen: Seen) -> None:
        """Take what the store went back to."""
        self._desk.lost(key.key, held_of(seen))
        self._heard(key, seen)
        named = self._facts.of(key.key).transcript_id
        if named is not None:
            self._carrying.due([named])
            self._owe([named])

    def noticed(self, noticed: Noticed) -> None:
        """Take what happened in the directory."""
        for transcript_id in noticed.opened:
            if self._doors.is_planted(transcript_id):
                self._turns.rang(transcript_id)
        if noticed.everything:
            self._carrying.due(self._facts.transcripts())
            self._puts_archives = True
        for name in noticed.changed:
            if kind_of(name) is FileKind.TRANSCRIPT:
                transcript_id = name.removesuffix(TRANSCRIPT_SUFFIX)
                self._turns.saw(transcript_id)
                self._carrying.due([transcript_id])
            self._puts_archives |= is_archive(name)

    def keep(self) -> None:
        """Put on the disk what the desk knows, before anything is sent."""
        self._sheet.keep()

    def met(self, key: SessionKey, seen: Seen) -> None:
        """Take what a push met in the store."""
        self._heard(key, seen)

    # -- what is done ---------------------------------------------------------------------------

    async def step(self) -> None:
        """Bring both sides together. Raises: Unavailable, OSError: then the next step goes on."""
        try:
            await self._level()
            await self._turns.step()
        except Unavailable:
            self._turns.let_in_alone()
            raise
        await self._take_archives()
        self._sheet.refresh(self._common.now_s())

    async def start(self) -> None:
        """Make the first step, before the gateway starts, and take what runs nowhere for it. Raises: as `step`."""
        await self.step()
        resumable, self._resumable = self._resumable, None
        await self._turns.resume(resumable or [])
        await self.step()

    async def renew(self) -> None:
        """Extend the leases that are ours. Raises: Unavailable."""
        await self._turns.renew()

    def refresh_doors(self) -> None:
        """Keep the doors shut. Raises: OSError."""
        self._turns.reclaimed(self._doors.refresh())

    def is_busy(self) -> bool:
        """Tell whether a look is due soon, though nothing happens."""
        return self._turns.is_busy() or self._carrying.is_waiting()

    async def end(self) -> None:
        """Leave everything in the store, and give all leases back. Nobody else may wait for `watch` meanwhile.

        Raises: Unavailable, OSError: then it is to be called again.
        """
        while True:
            self.refresh_doors()
            self.noticed(await self.watch.wait(0.0))
            await self._level()
            # What had to wait for its entry needs not wait now.
            self._carrying.hurry()
            await self._level()
            if await self._turns.end():
                return
            await asyncio.sleep(AGAIN_S)

    def close(self) -> None:
        """Let go of the directory. The doors stay: without a bridge no turn may run as if there were one."""
        self.watch.close()
        os.close(self._directory)

    async def _level(self) -> None:
        for _ in range(ROUNDS):
            self._read()
            # Whoever is inside already, or was, gets the lease before others can see the session.
            await self._turns.adopt()
            await self._bring()
            await self._put_archives()
            pushed = await self._pusher.push()
            # Nothing may come between reading and placing: a gateway that writes all the time leaves no other gap.
            self._read()
            placed = not self._coming and self._place()
            if placed and not pushed and not self._carrying.is_due():
                return

    def _read(self) -> None:
        if self._sheet.read():
            self._know(self._desk.sheet)

    def _know(self, entries: Mapping[str, bytes]) -> None:
        """Shut the doors of what the gateway named for the first time, and look at its transcripts."""
        before = set(self._facts.transcripts())
        self._facts.learn(entries)
        named = set(self._facts.transcripts())
        self._turns.know(named | self._coming.keys() | self._brought.keys())
        self._carrying.due(named - before)
        self._owe(named - before - self._stored)

    def _owe(self, transcript_ids: Iterable[str]) -> None:
        """Take leases for lines that only this gateway has: nobody else may have a turn before it has them, too."""
        for transcript_id in transcript_ids:
            if self._plain.stat(file_of(transcript_id)) is not None:
                self._turns.owe(transcript_id)

    def _named(self, entries: Mapping[str, bytes]) -> set[str]:
        return {fact.transcript_id for raw in entries.values() if (fact := fact_of(raw)).transcript_id is not None}

    async def _bring(self) -> None:
        """Carry what is due; of what others wrote the lines go before the entry, behind a shut door."""
        coming = dict(self._coming)
        if coming:
            self._know(self._desk.sheet)
            self._carrying.due(coming)
        await self._carrying.step()
        self._brought |= coming
        self._coming = {one: key for one, key in self._coming.items() if coming.get(one) != key}

    async def _put_archives(self) -> None:
        """Store what the gateway put aside, before others are told that it is gone."""
        if self._puts_archives:
            self._puts_archives = False
            try:
                await self._archives.put()
            except BaseException:
                self._puts_archives = True
                raise

    async def _take_archives(self) -> None:
        """Bring what other gateways put aside, once what they deleted is gone here, too."""
        if self._common.now_s() >= self._takes_archives_at:
            self._takes_archives_at = self._common.now_s() + ARCHIVES_S
            await self._archives.take()

    def _may_rename(self, transcript_id: str) -> bool:
        return self.key_of(transcript_id) is None and not self._doors.is_running(transcript_id)

    def _place(self) -> bool:
        """Put what others wrote in place; False where the gateway wrote meanwhile."""
        now_s = self._common.now_s()
        placement = self._desk.placement(refresh=now_s >= self._marks_at)
        if placement is None:
            return True
        if not self._sheet.place(placement, clock.now_ms(), now_s):
            return False
        self._marks_at = now_s + MARK_S
        self._brought.clear()
        self._know(self._desk.sheet)
        return True

    def _heard(self, key: SessionKey, seen: Seen) -> None:
        """Look at the lines of what the store has, before its entry is shown to the gateway."""
        if seen.raw is None:
            # The gateway that deleted it has put the lines aside.
            self._takes_archives_at = 0.0
        if seen.transcript is not None:
            self._stored.add(seen.transcript.id)
        fact = fact_of(seen.raw) if seen.raw is not None else NOTHING
        if fact.transcript_id is None:
            return
        if self._facts.key_of(fact.transcript_id) is None:
            self._coming[fact.transcript_id] = key
        else:
            self._carrying.due([fact.transcript_id])
        if self._resumable is not None and fact.is_running:
            self._resumable.append(fact.transcript_id)

    # -- what turns ask -------------------------------------------------------------------------

    def key_of(self, transcript_id: str) -> SessionKey | None:
        """Return the session whose lease stands for the transcript."""
        key = self._facts.key_of(transcript_id)
        if key is not None:
            return SessionKey(self._agent, key)
        return self._coming.get(transcript_id) or self._brought.get(transcript_id)

    def is_marked(self, transcript_id: str) -> bool:
        """Tell whether the gateway's entry says that a turn runs."""
        key = self._facts.key_of(transcript_id)
        return key is not None and self._facts.of(key).is_running

    def is_private(self, transcript_id: str) -> bool:
        """Tell whether the store has never had the session, so that no other gateway can know it."""
        key = self._facts.key_of(transcript_id)
        has_started = self._resumable is None
        return has_started and key is not None and not self._desk.revision(key) and transcript_id not in self._stored

    async def fetch(self, key: SessionKey, transcript_id: str) -> None:
        """Bring what others said and wrote, now that nobody else does."""
        await self._common.follower.look([key])
        await self._carrying.carry(key, transcript_id, self._turns.token(transcript_id))
        await self._level()

    async def carry(self, key: SessionKey, transcript_id: str, token: int) -> None:
        """Bring to the store what the gateway said and wrote: lines first, where the store has the entry already."""
        if await self._carrying.carry(key, transcript_id, token) is Carried.ABSENT:
            await self._level()
            await self._carrying.carry(key, transcript_id, token)
        await self._level()

    def owns(self, key: SessionKey, owned: bool) -> None:
        """Take whether this gateway may see the session running."""
        self._desk.owns(key.key, owned)
