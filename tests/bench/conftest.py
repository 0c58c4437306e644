"""The server, the sessions that all contenders keep, and the table at the end of the run."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import redis_server
from tests.bench.side_by_side import ROUNDS, Table

PACKAGES = ("redis", "pymongo", "starsessions", "aiohttp-session")
_TABLE = Table()


@pytest.fixture(scope="session")
def table() -> Table:
    return _TABLE


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_server.RedisServer]:
    with redis_server.running(tmp_path_factory.mktemp("redis")) as running:
        yield running


def pytest_sessionfinish() -> None:
    if not _TABLE.rows:
        return
    print(f"\n\n{machine()}; medians of {ROUNDS} rounds\n")
    print("\n".join(_TABLE.lines()))
    path = os.environ.get("SESSIONSTORE_BENCH_JSON")
    if path:
        found = {"machine": machine(), "rounds": ROUNDS, "rows": _TABLE.as_json(), "left_out": _TABLE.left_out}
        Path(path).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def machine() -> str:
    """What the numbers belong to: the day, the machine and its load, the versions."""
    model = next((line.split(": ")[1] for line in _read("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    programs = [_version(name, "--version") for name in ("redis-server", "node")]
    packages = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    load = os.getloadavg()[0]
    return "; ".join([
        datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        f"{os.cpu_count()} x {model}, load {load:.1f}",
        f"Python {platform.python_version()}", *programs, *packages,
    ])  # fmt: skip


def session() -> dict[str, object]:
    """A session as a gateway keeps one, about 2 KB as JSON; the same for every library."""
    past = [{"at": 1763731929000 + n, "tool": f"tool-{n}", "note": "what was found " * 4} for n in range(18)]
    return {
        "sessionId": str(uuid.UUID(int=2**127 + 17)), "channel": "telegram", "model": "a-model-of-some-size",
        "updatedAt": 1763731929000, "inputTokens": 12345, "outputTokens": 2345, "past": past,
    }  # fmt: skip


def _read(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def _version(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return f"no {command[0]}"
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    found = next((word.removeprefix("v=") for word in said if word.startswith("v=")), said[0])
    return f"{command[0]} {found}"
