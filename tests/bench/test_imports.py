"""What importing the library costs: time and memory of a fresh interpreter, beside importing redis.asyncio alone."""

from __future__ import annotations

import asyncio
import os
import sys

from tests.bench.side_by_side import OURS, Table, Turn, in_turns

RUNS = 9
_PROGRAM = """
import time
began = time.perf_counter()
import {modules}
print(time.perf_counter() - began, open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""
MODULES = {OURS: "sessionstore.sessions, sessionstore.sessions.redis", "redis.asyncio": "redis.asyncio"}


def importing(modules: str, column: int) -> Turn:
    """A turn that measures seconds (column 0), or the largest resident size in KiB (column 1).

    Of the size Linux is asked by VmHWM: `ru_maxrss` would count what the process was before it became this program.
    """

    async def turn() -> float:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _PROGRAM.format(modules=modules), env=dict(os.environ), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        return float(said.split()[column])

    return turn


async def test_importing_the_library(table: Table) -> None:
    for column, what in enumerate(("import, time", "import, memory")):
        samples = await in_turns({who: importing(modules, column) for who, modules in MODULES.items()}, RUNS)
        table.cost(what, samples, "<= 1.3", _told[column])


_told = (lambda seconds: f"{seconds * 1e3:.0f} ms", lambda kibibytes: f"{kibibytes / 1024:.1f} MiB")
