"""The one place that waits for a store that is away. What is called must be safe to call again.

A call of which the answer was lost may have been carried out. So callers hand over whole steps that begin by
looking at what the store has, never a single write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from sessionstore.sessions.exceptions import Unavailable

FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 5.0
_HOPELESS = frozenset({"permission", "full"})
"""What waiting does not change: an ACL that lacks a command, a server out of memory. A refused login may be a
user that the operator is just making."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a store may stay away: `seconds` from the first call that fails to the last that may."""

    seconds: float

    async def of(self, step: Callable[[], Awaitable[T]]) -> T:
        """Carry out `step`, again and again while the store is away. Raises: Unavailable when it stays away."""
        clock = asyncio.get_running_loop().time
        deadline: float | None = None
        wait, said = FIRST_WAIT_S, ""
        while True:
            try:
                return await step()
            except Unavailable as error:
                deadline = clock() + self.seconds if deadline is None else deadline
                if error.reason in _HOPELESS or clock() + wait > deadline:
                    raise
                # What is wrong is long, and said once.
                how = "is still away" if said == str(error) else f"is away ({error})"
                _log.warning("the store %s; trying again for %.0f s", how, deadline - clock())
                said = str(error)
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT_S)


USUAL = Patience(60.0)
