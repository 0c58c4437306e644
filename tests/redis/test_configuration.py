"""A real server takes the rendered redis.conf, and the directives that a manifest adds."""

from __future__ import annotations

import pytest

from tests.redis import servers
from tests.redis.builders import a_store, passwords_for

PASSWORDS = passwords_for()


async def _settings(binary, directory, store, *options: str) -> dict[str, str]:
    """Start a server and ask it, as a user that is put into its file for that."""
    with servers.started(binary, directory, store, PASSWORDS, *options) as running:
        await servers.facts_of(running, store, PASSWORDS)
        with running.client("_operator", PASSWORDS["_operator"]) as operator:
            operator.execute_command("ACL SETUSER", "tester", "on", ">tester", "+config|get")
        with running.client("tester", "tester") as tester:
            return tester.config_get("*")


async def test_a_server_keeps_what_it_is_given_and_forgets_nothing_by_itself(binary, tmp_path) -> None:
    found = await _settings(binary, tmp_path / "data", a_store())

    expected = {
        "maxmemory": str((256 << 20) * 70 // 100), "maxmemory-policy": "noeviction", "appendonly": "yes",
        "appendfsync": "everysec", "aof-use-rdb-preamble": "yes", "save": "", "databases": "1",
        "lazyfree-lazy-user-del": "yes", "protected-mode": "no", "timeout": "0",
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({"redis": {"evictionPolicy": "allkeys-lru"}}, {"maxmemory-policy": "allkeys-lru"}, id="eviction"),
        pytest.param({"resources": {"limits": {"memory": "1Gi"}}}, {"maxmemory": str((1 << 30) * 7 // 10)}, id="limit"),
        pytest.param(
            {"redis": {"config": {"appendfsync": "always", "maxclients": "200", "tcp-keepalive": "300"}}},
            {"appendfsync": "always", "maxclients": "200", "tcp-keepalive": "300"},
            id="directives win over the operator's",
        ),
        pytest.param(
            {"redis": {"config": {"client-output-buffer-limit": "normal 16mb 8mb 60", "save": "3600 1"}}},
            {"save": "3600 1"},
            id="directives of several words",
        ),
        pytest.param({"redis": {"config": {"notify-keyspace-events": ""}}}, {"notify-keyspace-events": ""}, id="empty"),
    ],
)
async def test_a_manifest_reaches_the_server(binary, tmp_path, spec, expected) -> None:
    found = await _settings(binary, tmp_path / "data", a_store(**spec))

    assert {name: found[name] for name in expected} == expected


async def test_a_directive_the_server_does_not_know_stops_it_with_words_that_name_it(binary, tmp_path) -> None:
    store = a_store(redis={"config": {"no-such-directive": "1"}})

    with servers.started(binary, tmp_path / "data", store, PASSWORDS) as running:
        assert running.process.wait(servers.DEADLINE_S) == 1

    assert "no-such-directive" in running.log
