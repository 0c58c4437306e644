"""Whether, and when, one command is tried again."""

from __future__ import annotations

import asyncio

from sessionstore.sessions import retry
from sessionstore.sessions.redis.failures import OUT_OF_TIME, Failure, Manner, manner_of

MOST_REDIRECTS = 16
"""More would be servers that point at each other; a map that is being changed settles within a few."""


class Attempts:
    """Decides on each further attempt of one command, and waits for its time."""

    def __init__(self, deadline: float, loop: asyncio.AbstractEventLoop, *, fails_over: bool) -> None:
        """Begin; `deadline` is on the loop's clock."""
        self._pauses = retry.pauses(deadline, loop.time)
        self._fails_over = fails_over
        self._forgiven = False
        self._redirects = 0
        self._met: Failure | None = None
        self._doubt = False

    async def before_another(self, failure: Failure, *, again: bool) -> None:
        """Return when it is time for the next attempt. Raises: `failure`, where there is none.

        Args:
            again: the command may be repeated when it is not known what became of it.
        """
        if failure.text != OUT_OF_TIME or self._met is None:
            self._met = failure
        if failure.unknown and not again:
            raise failure
        self._doubt = self._doubt or failure.unknown
        manner = manner_of(failure, fails_over=self._fails_over)
        if manner is Manner.FOLLOW and self._fails_over and self._redirects < MOST_REDIRECTS:
            self._redirects += 1
            return
        if manner is Manner.ONCE and not self._forgiven:
            self._forgiven = True
        elif manner is not Manner.WAIT:
            raise self._told(failure)
        pause = next(self._pauses, None)
        if pause is None:
            raise self._told(self._met)
        await asyncio.sleep(pause)

    def _told(self, failure: Failure) -> Failure:
        """Return the failure to end with: what the last attempt did not do, an earlier one may have done."""
        if failure.unknown or not self._doubt:
            return failure
        # Another one, since others may be told of the same.
        return Failure(failure.text, failure.reason, unknown=True, code=failure.code)
