"""What the operator changes inside a Redis store. Each change may be repeated, and none is half of another."""

from __future__ import annotations

import asyncio

import redis.exceptions

from sessionstore.engines.engine import Endpoint, SyncUsers, Unreachable
from sessionstore.engines.redis import probe


async def sync_users(endpoint: Endpoint, password: str, step: SyncUsers) -> Unreachable | None:
    """Set and remove users in the running server; the ACL file has them for the next start.

    `reset` makes the whole line one replacement: a connection in use sees the old rules or the new ones. Removing a
    user closes its connections.
    """
    try:
        async with asyncio.timeout(probe.DEADLINE_S), probe.connect(endpoint, password) as client:
            for user in step.changed:
                await client.execute_command("ACL SETUSER", user.name, "reset", *user.rules)  # type: ignore[no-untyped-call]  # as redis-py has it
            if step.removed:
                await client.acl_deluser(*step.removed)
    except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
        return probe.unreachable(endpoint, error)
    return None
