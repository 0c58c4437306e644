"""The newest 50 of very many sessions, beside the newest 50 of few.

SESSIONSTORE_BENCH_SESSIONS sets how many very many are; a million take a minute or two to make.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import Iterator

from sessionstore.sessions import Store, open_store
from tests import redis_server
from tests.bench.side_by_side import OURS, Table, calls, in_turns

FEW = 1_000
MANY = int(os.environ.get("SESSIONSTORE_BENCH_SESSIONS", "1000000"))
CALLERS, CALLS = 256, 20


async def fill(store: Store, count: int) -> None:
    """Make `count` small sessions, each updated a millisecond after the one before."""
    numbers = iter(range(count))
    began = time.perf_counter()
    await asyncio.gather(*(_caller(store, numbers, count) for _ in range(CALLERS)))
    print(f"  {count} sessions made in {time.perf_counter() - began:.0f} s" + " " * 20)


async def _caller(store: Store, numbers: Iterator[int], count: int) -> None:
    for number in numbers:
        entry = {"sessionId": f"s{number}", "channel": "telegram", "updatedAt": 1_700_000_000_000 + number}
        await store.set(f"agent:main:telegram:direct:{number}", json.dumps(entry))
        if number % 10_000 == 0:
            print(f"  {number} of {count} sessions", end="\r", flush=True)


async def test_newest_50(server: redis_server.RedisServer, table: Table) -> None:
    many, few = server.add_user("many"), server.add_user("few")
    async with open_store(many) as large, open_store(few) as small:
        await fill(small, FEW)
        await fill(large, MANY)
        samples = await in_turns({
            OURS: calls(lambda: large.list(limit=50), CALLS),
            f"out of {FEW}": calls(lambda: small.list(limit=50), CALLS),
        })  # fmt: skip
        newest = [row.session_id for row in (await large.list(limit=50)).items]
    assert newest == [f"s{number}" for number in itertools.islice(range(MANY - 1, -1, -1), 50)]
    table.cost(f"list 50 out of {MANY}", samples, "<= 3.0")
