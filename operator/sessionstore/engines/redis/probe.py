"""What a Redis store says about itself: reads only, one connection, within a deadline.

Faults that are to be expected (not started yet, a wrong password, a server that hangs) come back as `Unreachable`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio
import redis.asyncio.retry
import redis.backoff
import redis.exceptions

from sessionstore.engines.engine import Endpoint, EngineFacts, Unreachable
from sessionstore.engines.redis import users
from sessionstore.sessions import layout

DEADLINE_S = 3.0
"""For the whole conversation. A pass that waits longer holds up the other stores; the next pass asks again."""

_MEND = "the server was started with other users than its Secret has now; delete its pod and it starts with these"


@asynccontextmanager
async def connect(endpoint: Endpoint, password: str) -> AsyncIterator[redis.asyncio.Redis]:
    """Log in as the operator, without retries: who retries is the reconcile."""
    client = redis.asyncio.Redis(
        host=endpoint.host,
        port=endpoint.port,
        username=users.OPERATOR,
        password=password,
        socket_connect_timeout=DEADLINE_S,
        socket_timeout=DEADLINE_S,
        single_connection_client=True,
        retry=redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), 0),
        protocol=2,
        driver_info=None,
        decode_responses=True,
    )
    try:
        yield client
    finally:
        await client.aclose()


async def probe(endpoint: Endpoint, password: str, keyspaces: Sequence[str]) -> EngineFacts | Unreachable:
    """Ask for everything in two round trips: what the server is, then its users and sessions.

    Args:
        keyspaces: whose sessions to count.
    """
    try:
        async with asyncio.timeout(DEADLINE_S), connect(endpoint, password) as client:
            info = await client.info()
            if info.get("loading"):
                return Unreachable("loading", f"{endpoint} reads its data: {_progress(info)}")
            listed, counts = await _users_and_sessions(client, keyspaces)
    except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
        return unreachable(endpoint, error)
    return _facts(info, listed, counts)


async def read_documents(
    endpoint: Endpoint, password: str, keyspace: str, names: Sequence[str]
) -> dict[str, str] | Unreachable:
    """Read documents of a keyspace, such as a migration's progress; those that are not there are left out."""
    keys = layout.KeyNames(keyspace)
    try:
        async with asyncio.timeout(DEADLINE_S), connect(endpoint, password) as client:
            pipeline = client.pipeline(transaction=False)
            for name in names:
                pipeline.get(keys.document(name))
            found = await pipeline.execute()
    except (redis.exceptions.RedisError, OSError, TimeoutError, UnicodeDecodeError) as error:
        return unreachable(endpoint, error)
    return {name: text for name, text in zip(names, found, strict=True) if text is not None}


def unreachable(endpoint: Endpoint, error: Exception) -> Unreachable:
    """Say in our words why a conversation with a server failed."""
    match error:
        case redis.exceptions.AuthenticationError():
            return Unreachable("auth", f"{endpoint} refuses the password of user {users.OPERATOR!r}: {_MEND}")
        case redis.exceptions.NoPermissionError():
            return Unreachable("auth", f"{endpoint} has other rules for user {users.OPERATOR!r} ({error}): {_MEND}")
        case redis.exceptions.BusyLoadingError():
            return Unreachable("loading", f"{endpoint} reads its data")
        case redis.exceptions.TimeoutError() | TimeoutError():
            return Unreachable("timeout", f"{endpoint} does not answer within {DEADLINE_S:g} s")
        case redis.exceptions.ConnectionError() | OSError():
            return Unreachable("connection", f"no connection to {endpoint}: {error}")
        case _:
            return Unreachable("protocol", f"{endpoint} does not answer as Redis does: {error}")


async def _users_and_sessions(
    client: redis.asyncio.Redis, keyspaces: Sequence[str]
) -> tuple[list[str], dict[str, int]]:
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("ACL LIST")
    for keyspace in keyspaces:
        for bucket in range(layout.BUCKETS):
            pipeline.zcard(layout.KeyNames(keyspace).index(bucket))
    listed, *lengths = await pipeline.execute()
    per_keyspace = (lengths[start : start + layout.BUCKETS] for start in range(0, len(lengths), layout.BUCKETS))
    return listed, {keyspace: sum(found) for keyspace, found in zip(keyspaces, per_keyspace, strict=True)}


def _facts(info: Mapping[str, Any], listed: Sequence[str], sessions: Mapping[str, int]) -> EngineFacts:
    valkey = info.get("valkey_version")
    return EngineFacts(
        version=f"valkey {valkey}" if valkey else str(info["redis_version"]),
        role="primary" if info["role"] == "master" else "replica",
        used_bytes=int(info["used_memory"]),
        limit_bytes=int(info["maxmemory"]),
        evicted=int(info["evicted_keys"]),
        sessions=sessions,
        users={line.split(maxsplit=2)[1]: line for line in listed},
        persistence_fault=_persistence_fault(info),
    )


def _persistence_fault(info: Mapping[str, Any]) -> str | None:
    """Say why a restart would lose something; None where it would not."""
    if not info.get("aof_enabled"):
        return "the append-only file is off: a restart loses every session"
    if info.get("aof_last_write_status") != "ok":
        return "the last write to the append-only file failed, and Redis refuses changes: is the volume full?"
    if info.get("aof_last_bgrewrite_status") != "ok":
        return "the last rewrite of the append-only file failed, so it grows: is there room on the volume, and memory?"
    return None


def _progress(info: Mapping[str, Any]) -> str:
    return f"{info.get('loading_loaded_perc', '?')} %, about {info.get('loading_eta_seconds', '?')} s to go"
