"""Runs mutants one after another in a process of its own, each within a bounded time; a failure does not stop the rest.

python -m tests.fuzz.worker 4711        says what becomes of one
"""

from __future__ import annotations

import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.fuzz import mutants, oracle

SECONDS = 60
"""A bound for what hangs; a mutant takes a fraction of a second."""
ADDRESS_SPACE = 2 * 1024**3
"""A bound for what grows with what a file says it holds."""


class HungError(BaseException):
    """A mutant took too long. Not an Exception, so that nobody takes it for one of a file."""


def run(numbers: Iterable[int], folder: Path) -> tuple[Counter[str], list[str]]:
    """Return how often each end was met, and the failures."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    signal.signal(signal.SIGALRM, _hung)
    ends: Counter[str] = Counter()
    failures = []
    for number in numbers:
        end, failure = _run_one(number, folder)
        ends[end] += 1
        failures += [failure] if failure else []
    return ends, failures


def _run_one(number: int, folder: Path) -> tuple[str, str]:
    target = Path(tempfile.mkdtemp(dir=folder, prefix="m"))
    story = ""
    signal.alarm(SECONDS)
    try:
        mutant = mutants.make(number, target)
        story = mutant.story
        return oracle.check(mutant), ""
    except (Exception, HungError) as error:
        last = "".join(traceback.format_exception(error)[-4:])
        return "failed", f"mutant {number} ({story}): {type(error).__name__}: {str(error)[:1000]}\n{last}"
    finally:
        signal.alarm(0)
        shutil.rmtree(target, ignore_errors=True)


def _hung(*_: object) -> None:
    raise HungError(f"not done after {SECONDS} s")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        print(*run(map(int, sys.argv[1:]), Path(temporary)), sep="\n")
