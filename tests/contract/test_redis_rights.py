"""What a gateway's user must not be able to do. That the allowed commands suffice, the whole suite shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from sessionstore.sessions import SessionStorage, layout
from tests import redis_server

REFUSED = [
    ("KEYS", "*"), ("SCAN", "0"), ("RANDOMKEY",), ("DBSIZE",), ("FLUSHALL",), ("FLUSHDB",), ("CONFIG", "GET", "*"),
    ("ACL", "LIST"), ("ACL", "WHOAMI"), ("CLIENT", "LIST"), ("CLIENT", "KILL", "ID", "1"), ("INFO",), ("MONITOR",),
    ("SHUTDOWN",), ("SAVE",), ("REPLICAOF", "NO", "ONE"), ("SCRIPT", "FLUSH"), ("SORT", "x"),
    ("FUNCTION", "LIST"), ("SLOWLOG", "GET"), ("SWAPDB", "0", "1"), ("PUBLISH", "a", "b"), ("MODULE", "LIST"),
]  # fmt: skip
FOREIGN = [
    ("GET", "sst:other:d:x"),
    ("HGETALL", "sst:other:{b1}:e:main:k"),
    ("HGETALL", "other"),
    ("EVAL", "return redis.call('GET', KEYS[1])", "1", "sst:other:d:x"),
    ("EVAL", "return redis.call('GET', 'sst:other:d:x')", "0"),
    ("EVAL", "return redis.call('KEYS', '*')", "0"),
]


@pytest.fixture
def gateway(redis_config: SessionStorage) -> Iterator[redis.Redis]:
    client = redis.Redis(
        port=redis_config.redis_port,
        username=redis_config.redis_username,
        password=Path(redis_config.redis_password_file).read_text().strip(),
        protocol=2,
    )
    yield client
    client.close()


@pytest.mark.parametrize("command", REFUSED, ids=" ".join)
def test_a_gateway_may_not(gateway: redis.Redis, command: tuple[str, ...]) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError, match="no permissions to run"):
        gateway.execute_command(*command)


@pytest.mark.parametrize("command", FOREIGN, ids=" ".join)
def test_a_gateway_may_not_touch_another_keyspace(gateway: redis.Redis, command: tuple[str, ...]) -> None:
    with pytest.raises(redis.exceptions.ResponseError, match=r"NOPERM|permission|can't run|can't access"):
        gateway.execute_command(*command)


def test_a_keyspace_that_another_one_s_name_begins_with_is_another_one(
    server: redis_server.RedisServer, gateway: redis.Redis, keyspace: str
) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        gateway.get(f"sst:{keyspace}x:d:x")
    assert gateway.get(f"sst:{keyspace}:d:x") is None


def test_every_allowed_command_is_one_that_the_library_uses() -> None:
    package = Path(layout.__file__).parent
    source = "\n".join(p.read_text() for p in [*package.glob("redis/*.py"), *package.glob("redis/lua/*.lua")])
    # What a driver says when it connects is not in our source.
    commands = {rule.removeprefix("+").partition("|")[0].upper() for rule in layout.GATEWAY_COMMANDS} - {
        "AUTH",
        "HELLO",
        "PING",
        "SELECT",
    }
    assert {command for command in commands if f"'{command}'" not in source and f'"{command}"' not in source} == set()
