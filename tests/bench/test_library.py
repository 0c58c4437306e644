"""What the library costs over the wire: our `get`, `set` and `append` next to redis-py doing the same bytes.

Side by side in one process and one run, in turns, on one server; ratios of medians: machines differ, and are noisy.
Nothing is asserted about time. `make bench` prints it.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import redis.asyncio

from sessionstore.sessions import open_store
from tests import redis_server

ROUNDS, CALLS = 7, 300
KEY = "agent:main:telegram:direct:123456789"
ENTRY = json.dumps({"sessionId": "6732d08c-b7c4-4713-8441-d87e624024a9", "note": "x" * 2000}).encode()
LINE = json.dumps({"type": "message", "text": "y" * 500}).encode()

Call = Callable[[], Awaitable[object]]


async def test_library_next_to_the_bare_driver(tmp_path: Path) -> None:
    with redis_server.running(tmp_path) as server:
        config = server.add_user("bench")
        password = Path(config.redis_password_file or "").read_text().strip()
        raw = redis.asyncio.Redis(port=server.port, username=config.redis_username, password=password)
        async with open_store(config) as store, raw:
            await store.set(KEY, ENTRY)
            await raw.set("sst:bench:raw", ENTRY)
            pairs: dict[str, tuple[Call, Call]] = {
                "get": (lambda: store.get(KEY), lambda: raw.get("sst:bench:raw")),
                "set": (lambda: store.set(KEY, ENTRY), lambda: raw.set("sst:bench:raw", ENTRY)),
                "append": (lambda: store.append(KEY, [LINE]), lambda: raw.rpush("sst:bench:lines", LINE)),
            }
            print(f"\n{CALLS} calls in {ROUNDS} rounds each, one after another, entry {len(ENTRY)} bytes")
            for name, (ours, bare) in pairs.items():
                mine, theirs = await _in_turns(ours, bare)
                print(f"{name:8} ours {mine:6.0f} us   redis-py {theirs:6.0f} us   ours takes {mine / theirs:.2f} x")


async def _in_turns(ours: Call, bare: Call) -> tuple[float, float]:
    """Return the median microseconds of one call each."""
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for call, times in zip((ours, bare), found, strict=True):
            began = time.perf_counter()
            for _ in range(CALLS):
                await call()
            times.append((time.perf_counter() - began) / CALLS * 1e6)
    return statistics.median(found[0]), statistics.median(found[1])
