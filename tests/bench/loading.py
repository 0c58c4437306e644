"""What one would use instead of a migration: the same keys by `redis-cli --pipe`, and a plain loop with redis-py."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from tests import redis_server

CHUNK = 1000


def dump(server: redis_server.RedisServer, target: Path) -> None:
    """Write the commands that make the keys of a server as they are, in Redis' own protocol."""
    with server.admin() as admin, target.open("wb") as file:
        for key in admin.scan_iter(count=CHUNK):
            for command in _commands(admin, key):
                file.write(encode(command))


def pipe(server: redis_server.RedisServer, commands: Path) -> None:
    """Load what `dump` wrote."""
    command = [
        "redis-cli", "-p", str(server.port), "--user", redis_server.ADMIN, "--no-auth-warning", "--pipe",
    ]  # fmt: skip
    environment = os.environ | {"REDISCLI_AUTH": redis_server.ADMIN_PASSWORD}
    with commands.open("rb") as file:
        done = subprocess.run(command, stdin=file, env=environment, capture_output=True, text=True, check=True)
    assert "errors: 0" in done.stdout, done.stdout


def loop(server: redis_server.RedisServer, directory: Path) -> None:
    """Copy all sessions as a page of code would: a hash for the entry, a list of lines, an index, an event."""
    with server.admin() as client:
        for folder in sorted((directory / "agents").iterdir()):
            index = json.loads((folder / "sessions" / "sessions.json").read_bytes())
            for key, entry in index.items():
                lines = (folder / "sessions" / f"{entry['sessionId']}.jsonl").read_bytes().splitlines()
                name = f"{folder.name}:{key}"
                client.hset(f"entry:{name}", mapping={"json": json.dumps(entry), "lines": len(lines)})
                client.rpush(f"lines:{name}", *lines)
                client.zadd("index", {name: entry["updatedAt"]})
                client.xadd("feed", {"set": name})


def encode(command: list[bytes]) -> bytes:
    """Write a command in RESP."""
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in command)


def _commands(admin: redis.Redis, key: bytes) -> Iterator[list[bytes]]:
    """Go through the commands that make one key."""
    kind = admin.type(key)
    if kind == b"string":
        yield [b"SET", key, admin.get(key) or b""]
    elif kind == b"hash":
        yield from _in_chunks([b"HSET", key], [word for pair in admin.hgetall(key).items() for word in pair])
    elif kind == b"list":
        yield from _in_chunks([b"RPUSH", key], admin.lrange(key, 0, -1))
    elif kind == b"set":
        yield from _in_chunks([b"SADD", key], list(admin.smembers(key)))
    elif kind == b"zset":
        members: Any = admin.zrange(key, 0, -1, withscores=True)
        yield from _in_chunks([b"ZADD", key], [word for name, score in members for word in (b"%d" % score, name)])
    else:
        assert kind == b"stream", kind
        for event, fields in admin.xrange(key):
            yield [b"XADD", key, event, *(word for pair in fields.items() for word in pair)]


def _in_chunks(start: list[bytes], words: list[bytes]) -> Iterator[list[bytes]]:
    for at in range(0, len(words), CHUNK):
        yield [*start, *words[at : at + CHUNK]]
