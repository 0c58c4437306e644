"""Which transcripts have to be looked at, and when: the part of a room that is about lines. Called by it.

A transcript is due when its file changed, when the store tells of it, and when an entry names it for the first time.
What must wait (a turn runs, the store has no entry yet) is due again when that may be over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from sessionstore.bridge.transcripts import Carried
from sessionstore.openclaw.problems import Refused
from sessionstore.sessions.exceptions import InvalidEntry, LeaseLost, Unreadable
from sessionstore.sessions.record import SessionKey

AT_ONCE = 8
LATER_S = 1.0
"""How long what must wait is left alone."""

_log = logging.getLogger(__name__)


class Transcripts(Protocol):
    """As `transcripts.Transcripts`."""

    async def carry(self, key: SessionKey, transcript_id: str, *, fence: int | None = None) -> Carried:
        """Bring both sides together, as far as is allowed now."""


class Leases(Protocol):
    """As `turns.Turns`."""

    def token(self, transcript_id: str) -> int | None:
        """Return the fence of a session that is ours."""

    def owe(self, transcript_id: str) -> None:
        """Take the lease when it is free, only to carry what the gateway said."""


class Carrying:
    """The transcripts of one agent that are due."""

    def __init__(
        self,
        transcripts: Transcripts,
        leases: Leases,
        key_of: Callable[[str], SessionKey | None],
        clock: Callable[[], float],
    ) -> None:
        """Take who carries, who knows of leases, whose a transcript is, and a monotonic clock."""
        self._transcripts, self._leases, self._key_of, self._clock = transcripts, leases, key_of, clock
        self._due: dict[str, float] = {}
        self._said: set[str] = set()

    def due(self, transcript_ids: Iterable[str]) -> None:
        """Look at these in the next step."""
        self._due.update(dict.fromkeys(transcript_ids, 0.0))

    def hurry(self) -> None:
        """Look at what must wait in the next step, too."""
        self.due(tuple(self._due))

    def is_due(self) -> bool:
        """Tell whether something can be done now."""
        now = self._clock()
        return any(at <= now for at in self._due.values())

    def is_waiting(self) -> bool:
        """Tell whether something is to be done, now or later."""
        return bool(self._due)

    async def step(self) -> None:
        """Carry all that is due now. Raises: Unavailable; what was not done stays due."""
        now = self._clock()
        ready = [transcript_id for transcript_id, at in self._due.items() if at <= now]
        for start in range(0, len(ready), AT_ONCE):
            done = await asyncio.gather(*map(self._one, ready[start : start + AT_ONCE]), return_exceptions=True)
            for outcome in done:
                if isinstance(outcome, BaseException):
                    raise outcome

    async def carry(self, key: SessionKey, transcript_id: str, fence: int | None) -> Carried:
        """Carry one now; what must wait is due again. Raises: as Transcripts.carry."""
        self._due[transcript_id] = self._clock() + LATER_S
        carried = await self._transcripts.carry(key, transcript_id, fence=fence)
        if carried is Carried.OWED:
            self._leases.owe(transcript_id)
        if carried not in (Carried.LATER, Carried.ABSENT) and self._due.get(transcript_id):
            # Nothing was noticed meanwhile.
            del self._due[transcript_id]
        return carried

    async def _one(self, transcript_id: str) -> None:
        key = self._key_of(transcript_id)
        if key is None:
            self._due.pop(transcript_id, None)
            return
        try:
            await self.carry(key, transcript_id, self._leases.token(transcript_id))
        except LeaseLost:
            # The turns find out with the next renewal; both sides are looked at again then.
            return
        except (Unreadable, InvalidEntry, Refused) as error:
            self._tell(transcript_id, key, error)

    def _tell(self, transcript_id: str, key: SessionKey, error: Exception) -> None:
        if transcript_id not in self._said:
            self._said.add(transcript_id)
            _log.debug("the transcript of %s cannot be carried: %s", key, error)
            _log.warning(
                "a transcript of agent %s cannot be carried (%s) and is tried again every second; "
                "log level debug names it",
                key.agent,
                type(error).__name__,
            )
