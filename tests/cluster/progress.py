"""Lines that tell a waiting person what is going on, and how long each step took."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator


def say(text: str) -> None:
    """Print one line at once; it goes to standard error, so that `env` can be evaluated by a shell."""
    print(f"cluster: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Say what begins, and when it has ended how long it took; a failure speaks for itself."""
    say(f"{what} ...")
    began = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - began:.1f} s")
