"""What each user may do on a server that was started with the rendered files, and what it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
import redis.exceptions

from sessionstore.sessions import layout
from tests.redis import servers
from tests.redis.builders import a_store, passwords_for

STORE = a_store({"openclaw": None, "mail": "letters"})
PASSWORDS = passwords_for("gateway-openclaw", "gateway-mail")
OWN, OTHER = "sst:chat:{b1}:e:main:k", "sst:letters:{b1}:e:main:k"

# What shows or changes more than a keyspace: other people's keys, the server, other connections, other databases.
DANGEROUS = [
    ("SCAN", "0"), ("KEYS", "*"), ("DBSIZE",), ("RANDOMKEY",), ("FLUSHALL",), ("FLUSHDB",), ("SWAPDB", "0", "0"),
    ("CONFIG", "GET", "*"), ("DEBUG", "SLEEP", "0"), ("SHUTDOWN", "NOSAVE"), ("MODULE", "LIST"), ("SAVE",),
    ("BGREWRITEAOF",), ("REPLICAOF", "NO", "ONE"), ("CLIENT", "LIST"), ("CLIENT", "KILL", "TYPE", "normal"),
    ("MONITOR",), ("ACL", "WHOAMI"), ("ACL", "LIST"), ("SCRIPT", "FLUSH"), ("FUNCTION", "LIST"), ("PUBLISH", "c", "m"),
    ("SUBSCRIBE", "c"), ("MIGRATE", "h", "1", "k", "0", "1"), ("SELECT", "1"),
]  # fmt: skip
# The operator's user manages users, so these are its own.
OF_THE_OPERATOR = {("ACL", "LIST")}
WORDS_OF_REFUSAL = ("no permissions", "out of range", "debug command not allowed")


@pytest.fixture
async def server(binary: str, tmp_path: Path):
    async with servers.serving(binary, tmp_path / "data", STORE, PASSWORDS) as running:
        yield running


def _refusal(server: servers.Running, user: str, *command: str) -> str:
    with server.client(user, PASSWORDS[user]) as client:
        try:
            return f"not refused: {client.execute_command(*command)!r}"
        except redis.exceptions.RedisError as error:
            return str(error).lower()


@pytest.mark.parametrize(
    ("user", "keys"),
    [
        pytest.param("gateway-openclaw", [OWN], id="a gateway, its keyspace"),
        pytest.param("gateway-mail", [OTHER], id="a gateway with its own keyspace, that one"),
        pytest.param("app", [OWN], id="the generic binding, the store's keyspace"),
        pytest.param("_migration", [OWN, OTHER], id="a migration, every gateway's keyspace"),
    ],
)
def test_a_user_of_sessions_reads_and_writes_its_keyspaces_and_no_other(server, user, keys) -> None:
    with server.client(user, PASSWORDS[user]) as client:
        for key in keys:
            client.hset(key, "j", "{}")
            assert client.eval("return redis.call('HGET', KEYS[1], 'j')", 1, key) == "{}"

    for key in {OWN, OTHER, "unrelated"} - set(keys):
        assert "no permissions to access" in _refusal(server, user, "GET", key)
        script = ("EVAL", "return redis.call('GET', KEYS[1])", "1", key)
        assert "no permissions to access" in _refusal(server, user, *script)


@pytest.mark.parametrize("user", sorted(PASSWORDS))
def test_no_user_may_do_what_reaches_beyond_sessions(server, user) -> None:
    commands = [c for c in DANGEROUS if user != "_operator" or c not in OF_THE_OPERATOR]
    answers = {command: _refusal(server, user, *command) for command in commands}

    assert {c: a for c, a in answers.items() if not any(words in a for words in WORDS_OF_REFUSAL)} == {}


def test_the_operator_counts_sessions_and_cannot_read_one(server) -> None:
    with server.client("_operator", PASSWORDS["_operator"]) as client:
        assert client.zcard(layout.KeyNames("chat").index(0)) == 0

    assert "no permissions" in _refusal(server, "_operator", "HGETALL", OWN)
    assert "no permissions" in _refusal(server, "_operator", "ZADD", OWN, "1", "m")
    assert "no permissions" in _refusal(server, "_operator", "GET", "sst:chat:d:migration/home/quarantine/1")
    assert "no permissions" in _refusal(server, "_operator", "GET", "sst:chat:d:notes")
    assert "no permissions" in _refusal(server, "_operator", "SET", "sst:chat:d:migration/home/report", "x")
    assert "no permissions to access" in _refusal(server, "_operator", "ZCARD", "unrelated")


def test_nobody_gets_in_without_a_password(server) -> None:
    with (
        redis.Redis(port=server.endpoint.port, protocol=2) as client,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        client.ping()


def test_the_files_hold_no_password_but_the_probes_own(server) -> None:
    texts = {path.name: path.read_text() for path in server.directory.iterdir() if path.is_file()}
    found = {(name, user) for name, text in texts.items() for user, word in PASSWORDS.items() if word in text}

    assert found == {("health", "_health")}


def test_arguments_and_environment_of_the_server_show_no_password(server) -> None:
    process = Path("/proc") / str(server.process.pid)
    shown = process.joinpath("cmdline").read_text() + process.joinpath("environ").read_text()

    assert str(server.endpoint.port) in shown
    assert not [word for word in PASSWORDS.values() if word in shown]
