"""A migration into Redis: sessions and bytes a second, beside `redis-cli --pipe` and a plain loop; memory by size.

SESSIONSTORE_BENCH_MIGRATED sets how many sessions of 20 lines there are, SESSIONSTORE_BENCH_MEMORY how many at most
memory is measured with.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import redis_server
from tests.bench import loading
from tests.bench.side_by_side import OURS, Table, Turn, in_turns
from tests.migrate import many

SESSIONS = int(os.environ.get("SESSIONSTORE_BENCH_MIGRATED", "100000"))
MOST = int(os.environ.get("SESSIONSTORE_BENCH_MEMORY", "1000000"))
ROUNDS = 3


async def test_beside_pipe_and_loop(tmp_path: Path, server: redis_server.RedisServer, table: Table) -> None:
    source = many.sessions(tmp_path / "source", SESSIONS)
    url = server.url(server.add_user("migrated"))
    runs: list[dict[str, Any]] = []
    commands = tmp_path / "commands"

    def ours() -> None:
        runs.append(migrated(source, url))
        if not commands.exists():
            loading.dump(server, commands)

    samples = await in_turns({
        OURS: _turn(server, ours),
        "redis-cli --pipe": _turn(server, lambda: loading.pipe(server, commands)),
        "redis-py, a loop": _turn(server, lambda: loading.loop(server, source)),
    }, ROUNDS)  # fmt: skip

    for run in runs[1:]:
        _tell(run)
    what = f"migrate {SESSIONS} x 20 lines"
    table.cost(what, {name: samples[name] for name in (OURS, "redis-cli --pipe")}, "<= 2.0", _seconds)
    table.speed(what, {name: samples[name] for name in (OURS, "redis-py, a loop")}, ">= 8.0")


async def test_memory(tmp_path: Path, server: redis_server.RedisServer, table: Table) -> None:
    sizes = [size for size in (10_000, 100_000, 1_000_000) if size <= MOST]
    for size in sizes:
        source = many.sessions(tmp_path / str(size), size, lines=3)
        run = migrated(source, server.url(server.add_user(f"memory-{size}")))
        print(f"  {size} sessions of 3 lines: at most {run['peak_kib'] / 1024:.0f} MiB")
        subprocess.run(["rm", "-rf", str(source)], check=True)
        _empty(server)


def migrated(source: Path, url: str) -> dict[str, Any]:
    """Migrate in a process of its own; return what it told of itself."""
    command = [sys.executable, "-m", "tests.bench.migrating", str(source), url]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["outcome"] == "Verified"
    return told


def _turn(server: redis_server.RedisServer, work: Callable[[], None]) -> Turn:
    async def turn() -> float:
        _empty(server)
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return turn


def _empty(server: redis_server.RedisServer) -> None:
    with server.admin() as admin:
        admin.flushall()


def _tell(run: dict[str, Any]) -> None:
    total = sum(run["phases"].values())
    parts = [f"{name} {seconds:.1f} s" for name, seconds in run["phases"].items()]
    speed = f"{run['sessions'] / total:.0f} sessions/s, {run['bytes'] / total / 1e6:.1f} MB/s"
    print(f"  {', '.join(parts)}; {speed}; at most {run['peak_kib'] / 1024:.0f} MiB")


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s"
