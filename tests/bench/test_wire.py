"""What the library costs over the wire: `get`, `set` and `append` beside redis-py doing the same bytes.

Each of ours is one command. Beside it stands redis-py doing, in one round trip as well:
- `the same command`: byte for byte what ours sent, so the same work for the server. Only the clients differ;
- `HSET`, `RPUSH`: what a hand-written client would send that stores the same fields, or the line, and keeps no
  revision, no index and no feed.
A `get` is both at once: HGETALL or HMGET of the same record.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import redis.asyncio

from sessionstore.sessions import SessionStorage, Store, layout, open_store
from tests import redis_server
from tests.bench.conftest import session
from tests.bench.recorder import recording
from tests.bench.side_by_side import OURS, Call, Table, calls, in_turns

KEY = "agent:main:telegram:direct:123456789"
ENTRY = json.dumps(session()).encode()
LINE = json.dumps({"type": "message", "message": {"role": "user", "content": "y" * 500}}).encode()
CALLS = {1: 300, 32: 1600, 256: 2560}


def password(config: SessionStorage) -> str:
    return Path(config.redis_password_file or "").read_text().strip()


def bare_driver(config: SessionStorage, concurrency: int) -> redis.asyncio.Redis:
    """redis-py as it comes; its own pool, or the one that waits where that would refuse more callers."""
    options = {"port": config.redis_port, "username": config.redis_username, "password": password(config)}
    if concurrency <= 100:
        return redis.asyncio.Redis(**options)
    return redis.asyncio.Redis.from_pool(redis.asyncio.BlockingConnectionPool(max_connections=100, **options))


async def sent_by(config: SessionStorage, name: str) -> list[bytes]:
    """The one command that a call of ours sends, once the server knows the scripts."""
    async with (
        recording(config.redis_port) as recorder,
        open_store(dataclasses.replace(config, redis_port=recorder.port)) as store,
    ):
        await store.set(KEY, ENTRY)
        await operation(store, name)()
        recorder.take()
        await operation(store, name)()
        (command,) = recorder.take()
    return command


def operation(store: Store, name: str) -> Call:
    return {
        "get": lambda: store.get(KEY),
        "set": lambda: store.set(KEY, ENTRY),
        "append": lambda: store.append(KEY, [LINE]),
    }[name]


@pytest.mark.parametrize("concurrency", CALLS)
@pytest.mark.parametrize("name", ["get", "set", "append"])
async def test_beside_redis_py(name: str, concurrency: int, server: redis_server.RedisServer, table: Table) -> None:
    config = server.add_user(f"wire-{name}-{concurrency}")
    command = await sent_by(config, name)
    with server.admin() as admin:
        fields = admin.hgetall(layout.KeyNames(config.keyspace).entry("main", KEY))
    async with open_store(config) as store, bare_driver(config, concurrency) as raw:
        beside: dict[str, Call] = {
            "get": {"redis-py, the same command": lambda: raw.execute_command(*command)},
            "set": {
                "redis-py, HSET": lambda: raw.hset(f"sst:{config.keyspace}:raw", mapping=fields),
                "redis-py, the same command": lambda: raw.execute_command(*command),
            },
            "append": {
                "redis-py, RPUSH": lambda: raw.rpush(f"sst:{config.keyspace}:lines", LINE),
                "redis-py, the same command": lambda: raw.execute_command(*command),
            },
        }[name]
        contenders = {
            who: calls(call, CALLS[concurrency], concurrency)
            for who, call in {OURS: operation(store, name), **beside}.items()
        }
        table.speed(f"{name}, {concurrency} at once", await in_turns(contenders), _goal(concurrency))


def _goal(concurrency: int) -> str:
    return {1: ">= 0.85", 32: ">= 2.0"}.get(concurrency, "")
