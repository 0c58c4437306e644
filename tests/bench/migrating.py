"""A migration in a process of its own, and how long each of its phases took.

python -m tests.bench.migrating DIR URL
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path

from sessionstore.migrate import pipeline
from sessionstore.migrate.directory import open_directory
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.progress import Progress
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions import open_store


class Phases:
    """Notes when each phase began."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}

    def watch(self, seen: Progress) -> None:
        self.began.setdefault(seen.phase, time.perf_counter())

    def seconds(self) -> dict[str, float]:
        """Return phase -> seconds, in order; the last one ends now."""
        names, times = list(self.began), [*self.began.values(), time.perf_counter()]
        return {name: end - start for name, start, end in zip(names, times, times[1:], strict=False)}


async def main(directory: Path, url: str) -> None:
    phases = Phases()
    async with open_store(url) as store:
        with Scratch() as scratch, open_directory(directory, scratch) as source:
            options = pipeline.Options("bench", Patience(60))
            report = await pipeline.migrate(source, store, scratch, options, phases.watch)
    document = report.document()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({
        "phases": phases.seconds(), "peak_kib": peak, "outcome": document["outcome"],
        **{name: document[name] for name in ("sessions", "lines", "bytes")},
    }))  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
