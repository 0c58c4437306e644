"""What was written by scripts is there after a restart, killed or stopped: Redis replays it as the user `default`.

With that user's rights taken away, as one would first write it, the server drops all of it and says nothing to clients.
"""

from __future__ import annotations

import signal

import pytest

from sessionstore.sessions import SessionStorage, open_store
from tests.redis import servers
from tests.redis.builders import a_store, passwords_for

STORE, PASSWORDS = a_store(), passwords_for()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_session_outlives_the_server(binary, tmp_path, monkeypatch, how) -> None:
    monkeypatch.setenv("APP_PASSWORD", str(PASSWORDS["app"]))
    async with servers.serving(binary, tmp_path, STORE, PASSWORDS) as server:
        async with open_store(_config(server)) as store:
            await store.set("agent:main:main", {"sessionId": "s"})
            await store.append("agent:main:main", [b"one", b"two"])
            await store.put_archive("main", "s.jsonl.reset.2026", [b"old"])
        server.process.send_signal(how)
        server.process.wait()

    async with servers.serving(binary, tmp_path, STORE, PASSWORDS) as server, open_store(_config(server)) as store:
        session = await store.get("agent:main:main")
        transcript = await store.read("agent:main:main")
        archive = await store.read_archive("main", "s.jsonl.reset.2026")
        listed = await store.list()

    assert session is not None and session.entry.raw == b'{"sessionId":"s"}'
    assert transcript is not None and transcript.lines == (b"one", b"two")
    assert archive == (b"old",)
    assert [info.lines for info in listed.items] == [2]
    assert "AOF-loading-client" not in server.log


async def test_nobody_can_be_the_user_that_replays(binary, tmp_path) -> None:
    async with servers.serving(binary, tmp_path, STORE, PASSWORDS) as server:
        with server.client("default", "") as client, pytest.raises(Exception, match=r"WRONGPASS|invalid username"):
            client.ping()


def _config(server: servers.Running) -> SessionStorage:
    return SessionStorage(
        backend="redis",
        keyspace="chat",
        redis_host=server.endpoint.host,
        redis_port=server.endpoint.port,
        redis_username="app",
        redis_password_env="APP_PASSWORD",
        connect_timeout=20,
        operation_timeout=40,
    )
