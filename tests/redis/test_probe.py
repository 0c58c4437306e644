"""What a probe says of a server in each state that a pod goes through."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import time
from pathlib import Path

import pytest
import redis

from sessionstore.engines.engine import Endpoint, EngineFacts, Unreachable
from sessionstore.engines.redis import memory
from sessionstore.sessions import layout
from tests.redis import servers
from tests.redis.builders import a_store, passwords_for

STORE = a_store({"openclaw": None, "mail": "letters"})
PASSWORDS = passwords_for("gateway-openclaw", "gateway-mail")


async def _probe(server: servers.Running, passwords=PASSWORDS) -> EngineFacts | Unreachable:
    return await servers.ENGINE.probe(STORE, passwords, server.endpoint)


@pytest.fixture
async def server(binary: str, tmp_path: Path):
    async with servers.serving(binary, tmp_path / "data", STORE, PASSWORDS) as running:
        yield running


async def test_a_server_that_serves_tells_what_it_is(server) -> None:
    found = await _probe(server)

    assert isinstance(found, EngineFacts)
    assert (found.role, found.evicted, found.persistence_fault) == ("primary", 0, None)
    assert found.limit_bytes == memory.maxmemory_for(256 << 20, 70)
    assert 0 < found.used_bytes < found.limit_bytes
    assert found.sessions == {"chat": 0, "letters": 0}
    assert set(found.users) == {"default", *PASSWORDS}
    assert found.version.removeprefix("valkey ")[0].isdigit()


async def test_sessions_are_counted_per_keyspace_over_all_buckets(server) -> None:
    with server.client("_migration", PASSWORDS["_migration"]) as client:
        for bucket in range(layout.BUCKETS):
            client.zadd(layout.KeyNames("chat").index(bucket), {f"main:{bucket}": 1})
        client.zadd(layout.KeyNames("letters").index(3), {"main:a": 1, "main:b": 2})

    found = await _probe(server)

    assert isinstance(found, EngineFacts)
    assert found.sessions == {"chat": layout.BUCKETS, "letters": 2}


async def test_what_a_migration_tells_is_read_and_what_is_not_there_left_out(server) -> None:
    with server.client("_migration", PASSWORDS["_migration"]) as client:
        client.set(layout.KeyNames("letters").document("migration/home/progress"), '{"phase": "Copy"}')
    names = ["migration/home/progress", "migration/home/report"]

    found = await servers.ENGINE.documents(STORE, PASSWORDS, "letters", names, server.endpoint)

    assert found == {"migration/home/progress": '{"phase": "Copy"}'}


@pytest.mark.parametrize(
    ("body", "names", "reason"),
    [
        pytest.param(b"{}", ["migration/home/quarantine/1"], "auth", id="what it may not read"),
        pytest.param(b"\xff\xfe", ["migration/home/progress"], "protocol", id="what is no text"),
    ],
)
async def test_what_cannot_be_read_is_a_value(server, body, names, reason) -> None:
    with server.client("_migration", PASSWORDS["_migration"]) as client:
        client.set(layout.KeyNames("chat").document(names[0]), body)

    found = await servers.ENGINE.documents(STORE, PASSWORDS, "chat", names, server.endpoint)

    assert isinstance(found, Unreachable)
    assert found.reason == reason


async def test_what_was_written_is_there_after_the_process_is_killed(binary, tmp_path) -> None:
    async with servers.serving(binary, tmp_path / "data", STORE, PASSWORDS) as running:
        with running.client("app", PASSWORDS["app"]) as client:
            client.zadd(layout.KeyNames("chat").index(0), {"main:a": 1})
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()

    async with servers.serving(binary, tmp_path / "data", STORE, PASSWORDS) as running:
        found = await _probe(running)

    assert isinstance(found, EngineFacts)
    assert found.sessions["chat"] == 1


async def test_a_password_that_is_not_the_servers_is_told_with_a_remedy(server) -> None:
    found = await _probe(server, {**PASSWORDS, "_operator": "pw-of-nobody"})

    assert isinstance(found, Unreachable)
    assert found.reason == "auth"
    assert str(server.endpoint) in found.message
    assert "delete its pod" in found.message
    assert "pw-of-nobody" not in found.message


async def test_an_operator_that_lost_a_right_is_told_so(server) -> None:
    with server.client("_operator", PASSWORDS["_operator"]) as client:
        client.execute_command("ACL SETUSER", "_operator", "-acl|list")

    found = await _probe(server)

    assert isinstance(found, Unreachable)
    assert found.reason == "auth"
    assert "acl|list" in found.message


async def test_a_server_that_is_gone_is_no_connection(binary, tmp_path) -> None:
    async with servers.serving(binary, tmp_path / "data", STORE, PASSWORDS) as running:
        pass

    found = await _probe(running)

    assert isinstance(found, Unreachable)
    assert (found.reason, str(running.endpoint) in found.message) == ("connection", True)


async def test_a_name_that_is_not_known_is_no_connection() -> None:
    found = await servers.ENGINE.probe(STORE, PASSWORDS, Endpoint("chat-redis.openclaw.svc.invalid", 6379))

    assert isinstance(found, Unreachable)
    assert found.reason in ("connection", "timeout")


async def test_a_server_that_hangs_is_a_timeout(server) -> None:
    server.process.send_signal(signal.SIGSTOP)
    try:
        found = await _probe(server)
    finally:
        server.process.send_signal(signal.SIGCONT)

    assert isinstance(found, Unreachable)
    assert found.reason == "timeout"
    assert isinstance(await servers.facts_of(server, STORE, PASSWORDS), EngineFacts)


async def test_a_server_that_reads_its_data_is_loading(binary, tmp_path) -> None:
    with loading(binary, tmp_path / "data") as running:
        found = await _until_known(running)

    assert isinstance(found, Unreachable)
    assert found.reason == "loading"
    assert "%" in found.message


async def test_a_server_of_another_kind_is_told_as_such() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        found = await servers.ENGINE.probe(STORE, PASSWORDS, Endpoint("127.0.0.1", port))

    assert isinstance(found, Unreachable)
    assert found.reason == "protocol"


async def test_a_server_without_persistence_is_reported(binary, tmp_path) -> None:
    async with servers.serving(binary, tmp_path / "data", STORE, PASSWORDS, "--appendonly", "no") as running:
        found = await _probe(running)

    assert isinstance(found, EngineFacts)
    assert found.persistence_fault is not None
    assert "append-only" in found.persistence_fault


def test_facts_in_a_log_line_show_no_digest_of_a_password() -> None:
    facts = EngineFacts("7.0.15", "primary", 1, 2, 0, {}, {"app": "user app on #5e88"})

    assert "5e88" not in f"{facts} {dataclasses.replace(facts)!r}"


def loading(binary: str, directory: Path):
    """Start a server on data that takes it half a minute to read. Between 1024 keys it looks at its connections."""
    directory.mkdir(parents=True)
    _write_data(binary, directory)
    slow = ("--key-load-delay", "200", "--loading-process-events-interval-bytes", "1024")
    return servers.started(binary, directory, STORE, PASSWORDS, *slow)


def _write_data(binary: str, directory: Path, keys: int = 100_000) -> None:
    writer = a_store()
    secrets = passwords_for()
    with servers.started(binary, directory, writer, secrets) as running:
        end = time.monotonic() + servers.DEADLINE_S
        while True:
            try:
                with running.client("app", secrets["app"]) as client:
                    client.eval("for i = 1, ARGV[1] do redis.call('SET', KEYS[1] .. i, i) end", 1, "sst:chat:k", keys)
                break
            except redis.ConnectionError:
                assert time.monotonic() < end, running.log
        os.kill(running.process.pid, signal.SIGTERM)
        running.process.wait()


async def _until_known(running: servers.Running) -> EngineFacts | Unreachable:
    """Probe until the server takes connections and answers; on a busy machine it may be late while it loads."""
    end = time.monotonic() + servers.DEADLINE_S
    while True:
        found = await _probe(running)
        if isinstance(found, EngineFacts) or found.reason not in ("connection", "timeout") or time.monotonic() > end:
            return found
        await asyncio.sleep(0.05)
