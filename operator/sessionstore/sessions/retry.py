"""How long to wait before going again: pauses that grow, are spread by chance, and end with a deadline. Pure.

The backends' clients ask it between two attempts; what may be repeated is theirs to decide. Clock and chance are
arguments, so that the policy can be tried without waiting.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

FIRST_PAUSE_S = 0.02
"""Long enough for a connection to be refused and made again, short enough not to be felt in a conversation."""
LONGEST_PAUSE_S = 1.0
"""A server that comes back is found within a second by everyone."""
GROWTH = 2.0


def pauses(
    deadline: float,
    now: Callable[[], float],
    *,
    first_s: float = FIRST_PAUSE_S,
    longest_s: float = LONGEST_PAUSE_S,
    chance: Callable[[], float] = random.random,
) -> Iterator[float]:
    """Yield the seconds to wait before each further attempt; end when there is no time for another one.

    A pause is between half of its length and all of it, by chance: callers that were turned away together do not
    come back together. Near the deadline pauses shrink, so that the last attempt still has as much time as was waited.

    Args:
        deadline: when all must be over, on the clock `now`.
        chance: gives numbers from 0 to below 1.
    """
    length = first_s
    while (left := deadline - now()) > 2 * first_s:
        pause = min(length, left / 2)
        yield pause * (0.5 + chance() / 2)
        length = min(length * GROWTH, longest_s)
