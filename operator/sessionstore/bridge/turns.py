"""Whose turn it is: a session's lease is taken when the gateway rings, and given back when its turn is over.

One for each room. All doors are shut unless the lease is ours. A gateway that wants a turn polls the door; then the
lease is asked for, what others said is fetched, and the door is opened. When its own lock has been gone for a while,
the door is shut again, what was said goes to the store, and the lease goes back.

    shut --bell--> wanted --lease, fetched--> ours (open) --turn over: shut, carried--> shut
      ^                                          |
      +----------- lease lost, turn over <-------+
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from sessionstore.sessions.exceptions import LeaseHeld, LeaseLost
from sessionstore.sessions.record import Lease, SessionKey
from sessionstore.sessions.store import Store

TTL_S = 15.0
"""How long others wait for a session whose owner vanished."""
RENEW_S = TTL_S / 3
QUIET_S = 0.4
"""A gateway drops its lock for up to 50 ms twice in a turn; only after this long without it the turn is over."""
UNUSED_S = 5.0
"""How long an open door waits for a gateway that rang and does not come."""
ABANDONED_S = 60.0
"""So long without a lock a turn is over, though the entry says that it runs: the gateway died in the middle of it."""
RESUME_S = 45.0
"""How long a gateway that starts may take to resume what it was in the middle of: less than others wait for a turn."""
HEARD_S = 2.0
"""A gateway that waits polls every 50 ms; one that has not for this long does not wait any more."""
COURTESY_S = 0.3
"""After giving a lease back, so long it is not asked for again: who waits elsewhere asks in the meantime."""

_log = logging.getLogger(__name__)


class Doors(Protocol):
    """As `doors.Doors`."""

    def plant(self, transcript_id: str) -> bool:
        """Shut; False where the gateway has its own lock there."""

    def open(self, transcript_id: str) -> None:
        """Take our lock away, and only ours."""

    def is_planted(self, transcript_id: str) -> bool:
        """Tell whether it is shut by us."""

    def is_running(self, transcript_id: str) -> bool:
        """Tell whether the gateway's own lock is there."""


class Host(Protocol):
    """The room. What awaits may raise Unavailable, and is then called again."""

    def key_of(self, transcript_id: str) -> SessionKey | None:
        """Return the session whose lease stands for the transcript."""

    def is_marked(self, transcript_id: str) -> bool:
        """Tell whether the gateway's entry says that a turn runs."""

    async def fetch(self, key: SessionKey, transcript_id: str) -> None:
        """Bring what others said and wrote, now that nobody else does."""

    def is_private(self, transcript_id: str) -> bool:
        """Tell whether the store has never had the session, so that no other gateway can know it."""

    async def carry(self, key: SessionKey, transcript_id: str, token: int) -> None:
        """Bring to the store what the gateway said and wrote."""

    def owns(self, key: SessionKey, owned: bool) -> None:
        """Take whether this gateway may see the session running."""


@dataclass(slots=True)
class _Turn:
    """A session that is ours. Times are of the loop's clock.

    Attributes:
        renewed: when the lease was last asked for: it holds for TTL_S from then on.
        last: when the gateway's lock was last seen, or the door was opened.
        patience_s: how long the gateway may take to come.
    """

    key: SessionKey
    lease: Lease
    renewed: float
    last: float
    patience_s: float
    was_seen: bool = False


class Turns:
    """The turns of one agent's gateway."""

    def __init__(self, store: Store, doors: Doors, host: Host, holder: str, clock: Callable[[], float]) -> None:
        """Take where leases are, the doors, who carries, under which name leases are held, and a monotonic clock."""
        self._store, self._doors, self._host = store, doors, host
        self._holder, self._clock = holder, clock
        self._known: set[str] = set()
        self._ajar: set[str] = set()
        self._owed: set[str] = set()
        self._wanted: dict[str, float] = {}
        self._ours: dict[str, _Turn] = {}
        self._given_back: dict[str, float] = {}

    def rang(self, transcript_id: str) -> None:
        """Take that the gateway polls a door."""
        self._wanted[transcript_id] = self._clock()

    def saw(self, transcript_id: str) -> None:
        """Take that the gateway wrote to a transcript: a turn may be shorter than the time between two looks."""
        turn = self._ours.get(transcript_id)
        if turn is not None and not self._doors.is_planted(transcript_id):
            turn.was_seen, turn.last = True, self._clock()

    def owe(self, transcript_id: str) -> None:
        """Take the lease when it is free, only to carry what the gateway said."""
        self._owed.add(transcript_id)

    def token(self, transcript_id: str) -> int | None:
        """Return the fence of a session that is ours."""
        turn = self._ours.get(transcript_id)
        return turn.lease.token if turn else None

    def may_touch(self, transcript_id: str) -> bool:
        """Tell whether a transcript may be written to: our door keeps the gateway out."""
        return self._doors.is_planted(transcript_id)

    def is_busy(self) -> bool:
        """Tell whether a look is due soon, rather than when something happens."""
        return bool(self._wanted or self._ours or self._ajar or self._owed)

    def know(self, transcripts: Iterable[str]) -> None:
        """Take the transcripts that entries name: shut the doors of new ones, open those of others."""
        named = set(transcripts)
        for gone in self._known - named:
            self._doors.open(gone)
            self._ajar.discard(gone)
            self._owed.discard(gone)
            self._wanted.pop(gone, None)
        self._ajar |= {new for new in named - self._known if new not in self._ours and not self._doors.plant(new)}
        self._known = named

    def reclaimed(self, transcript_ids: Iterable[str]) -> None:
        """Take that the gateway took doors of ours away: they had not been refreshed in time."""
        self._ajar |= self._known.intersection(transcript_ids)

    async def adopt(self) -> None:
        """Take the leases of what the gateway says, or said, without one. Raises: Unavailable."""
        for transcript_id in tuple(self._ajar):
            await self._shut(transcript_id)
        await self._take_owed()

    async def step(self) -> None:
        """Look at every session about which something is to be done. Raises: Unavailable."""
        self._let_go()
        await self.adopt()
        for transcript_id in tuple(self._wanted):
            if transcript_id not in self._given_back:
                await self._let_in(transcript_id)
        for transcript_id, turn in tuple(self._ours.items()):
            if self._is_over(transcript_id, turn):
                await self._close(transcript_id, turn)

    def let_in_alone(self) -> None:
        """Open the doors, while the store is away, of what no other gateway can know; the leases are taken later."""
        for transcript_id in [one for one in self._wanted if self._host.is_private(one)]:
            del self._wanted[transcript_id]
            self._doors.open(transcript_id)
            self._ajar.add(transcript_id)

    async def renew(self) -> None:
        """Extend the leases that are ours. Raises: Unavailable."""
        for transcript_id, turn in tuple(self._ours.items()):
            if self._clock() - turn.renewed > RENEW_S:
                await self._renew(transcript_id, turn)

    async def resume(self, transcript_ids: Iterable[str]) -> None:
        """Own what runs nowhere, so that the gateway that is about to start resumes it, and no other."""
        for transcript_id in transcript_ids:
            if transcript_id not in self._ours and await self._take(transcript_id, RESUME_S):
                self._doors.open(transcript_id)

    async def end(self) -> bool:
        """Carry everything that is ours, and give it back unless the gateway is inside still.

        Returns: whether that is all; False where another gateway's turn has to be waited for, or a lease was lost.
        Raises: Unavailable.
        """
        await self._take_owed()
        for transcript_id, turn in tuple(self._ours.items()):
            if self._doors.plant(transcript_id):
                await self._close(transcript_id, turn)
            else:
                await self._carry(transcript_id, turn)
        return not self._owed and not self._ajar

    async def _take_owed(self) -> None:
        for transcript_id in tuple(self._owed):
            if transcript_id in self._ours or await self._take(transcript_id, 0.0):
                self._owed.discard(transcript_id)

    def _let_go(self) -> None:
        """Forget what its time has passed for: who does not ring any more, and leases that were not renewed in time."""
        now = self._clock()
        self._wanted = {one: heard for one, heard in self._wanted.items() if now - heard <= HEARD_S}
        self._given_back = {one: until for one, until in self._given_back.items() if until > now}
        for transcript_id in [one for one, turn in self._ours.items() if now - turn.renewed >= TTL_S]:
            self._lose(transcript_id)

    async def _shut(self, transcript_id: str) -> None:
        """Shut a door where the gateway was inside already: what it does there has to be fenced."""
        if transcript_id in self._ours or await self._is_shut(transcript_id):
            self._ajar.discard(transcript_id)

    async def _is_shut(self, transcript_id: str) -> bool:
        if self._doors.plant(transcript_id):
            # It came out meanwhile, and what it said is in the file alone.
            self.owe(transcript_id)
            return True
        return await self._take(transcript_id, UNUSED_S)

    async def _let_in(self, transcript_id: str) -> None:
        key = self._host.key_of(transcript_id)
        if key is not None and transcript_id not in self._ours:
            if not await self._take(transcript_id, UNUSED_S):
                return
            try:
                await self._host.fetch(key, transcript_id)
            except BaseException:
                # The door stays shut and the lease is let go: another gateway may reach the store.
                self._drop(transcript_id)
                raise
        if transcript_id in self._ours:
            self._ours[transcript_id].last = self._clock()
        self._wanted.pop(transcript_id, None)
        self._doors.open(transcript_id)

    async def _take(self, transcript_id: str, patience_s: float) -> bool:
        """Take the lease; False where another has it, or no entry names the transcript."""
        key, asked = self._host.key_of(transcript_id), self._clock()
        if key is None:
            return False
        try:
            lease = await self._store.acquire_lease(key, self._holder, TTL_S)
        except LeaseHeld:
            return False
        self._ours[transcript_id] = _Turn(key, lease, asked, self._clock(), patience_s)
        self._host.owns(key, True)
        return True

    def _is_over(self, transcript_id: str, turn: _Turn) -> bool:
        now = self._clock()
        if self._doors.is_running(transcript_id):
            turn.was_seen, turn.last = True, now
        patience_s = turn.patience_s
        if turn.was_seen:
            patience_s = ABANDONED_S if self._host.is_marked(transcript_id) else QUIET_S
        return now - turn.last >= patience_s

    async def _close(self, transcript_id: str, turn: _Turn) -> None:
        if transcript_id in self._known and not self._doors.plant(transcript_id):
            turn.last = self._clock()
            return
        if await self._carry(transcript_id, turn):
            await self._store.release_lease(turn.lease)
            self._drop(transcript_id)
            self._given_back[transcript_id] = self._clock() + COURTESY_S

    async def _carry(self, transcript_id: str, turn: _Turn) -> bool:
        """Bring what was said to the store; False where the lease is not ours any more."""
        try:
            await self._host.carry(turn.key, transcript_id, turn.lease.token)
        except LeaseLost:
            self._lose(transcript_id)
            return False
        return True

    async def _renew(self, transcript_id: str, turn: _Turn) -> None:
        asked = self._clock()
        try:
            turn.lease = await self._store.renew_lease(turn.lease, TTL_S)
            turn.renewed = asked
        except LeaseLost:
            # The turn may have ended meanwhile, and another one begun.
            if self._ours.get(transcript_id) is turn:
                self._lose(transcript_id)

    def _lose(self, transcript_id: str) -> None:
        """Go on without the lease: another gateway may have it. The door is shut as soon as ours is out."""
        _log.warning("a session's lease was lost; what its turn still says is put behind what others said")
        self._drop(transcript_id)
        self._ajar |= {transcript_id} & self._known

    def _drop(self, transcript_id: str) -> None:
        turn = self._ours.pop(transcript_id, None)
        if turn is not None:
            self._host.owns(turn.key, False)
