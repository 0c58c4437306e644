"""`session_storage`: what is read from where, and what is refused and how."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sessionstore.sessions import ConfigurationError, SessionStorage, Store, open_store

REDIS = {"backend": "redis", "redis_host": "h"}


def test_nothing_configured_is_openclaw_s_own_files() -> None:
    config = SessionStorage.from_environment({})
    assert (config.backend, config.directory({})) == ("file", Path("~/.openclaw").expanduser())
    assert config.directory({"OPENCLAW_STATE_DIR": "/state"}) == Path("/state")


def test_the_named_file_wins_over_variables(tmp_path: Path) -> None:
    file = tmp_path / "session_storage.yaml"
    file.write_text("session_storage: {backend: redis, redis_host: from-file}\nother: {x: 1}\n")
    environ = {"SESSION_STORAGE_CONFIG": str(file), "SESSION_STORAGE_BACKEND": "file"}
    assert SessionStorage.from_environment(environ) == SessionStorage(backend="redis", redis_host="from-file")


def test_variables_are_the_settings_in_capitals() -> None:
    environ = {
        "SESSION_STORAGE_BACKEND": "redis",
        "SESSION_STORAGE_REDIS_HOST": "h",
        "SESSION_STORAGE_REDIS_PORT": "7000",
        "SESSION_STORAGE_REDIS_TLS": "true",
        "SESSION_STORAGE_OPERATION_TIMEOUT": "1.5",
        "PATH": "/bin",
    }
    expected = SessionStorage(backend="redis", redis_host="h", redis_port=7000, redis_tls=True, operation_timeout=1.5)
    assert SessionStorage.from_environment(environ) == expected


def test_a_password_in_a_variable_stays_there() -> None:
    environ = {f"SESSION_STORAGE_{name.upper()}": value for name, value in REDIS.items()}
    config = SessionStorage.from_environment(environ | {"SESSION_STORAGE_REDIS_PASSWORD": "geheim"})
    assert config.redis_password_env == "SESSION_STORAGE_REDIS_PASSWORD"
    assert "geheim" not in repr(config) + config.to_yaml()


def test_what_kubernetes_sets_beside_a_service_is_no_setting() -> None:
    environ = {
        "SESSION_STORAGE_SERVICE_HOST": "10.0.0.1",
        "SESSION_STORAGE_SERVICE_PORT": "6379",
        "SESSION_STORAGE_SERVICE_PORT_REDIS": "6379",
        "SESSION_STORAGE_PORT": "tcp://10.0.0.1:6379",
        "SESSION_STORAGE_PORT_6379_TCP": "tcp://10.0.0.1:6379",
    }
    assert SessionStorage.from_environment(environ) == SessionStorage()


def test_several_servers_are_a_list_or_one_text() -> None:
    section = {"backend": "redis", "redis_sentinel_service": "chat"}
    text = SessionStorage.from_mapping(section | {"redis_sentinels": "a:1, b:2"})
    assert text == SessionStorage.from_mapping(section | {"redis_sentinels": ["a:1", "b:2"]})
    assert text.redis_sentinels == ("a:1", "b:2")


UNUSABLE_FILES = [
    pytest.param(None, "No such file", id="absent"),
    pytest.param(b"", "no session_storage section", id="empty"),
    pytest.param(b"a: [", "invalid YAML at line", id="invalid"),
    pytest.param(b"\xff", "not UTF-8", id="no UTF-8"),
    pytest.param(b"session_storge: {backend: redis}", "did you mean 'session_storge'", id="another section"),
    pytest.param(b"session_storage:", "no session_storage section", id="an empty section"),
    pytest.param(b"session_storage: {redis_host: h}", "backend is not set", id="no backend"),
    pytest.param(b"session_storage: {backend: redis}", "needs redis_host", id="no host"),
]


@pytest.mark.parametrize(("content", "message"), UNUSABLE_FILES)
def test_a_named_file_that_cannot_be_used_is_an_error_and_never_files(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "session_storage.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        SessionStorage.from_environment({"SESSION_STORAGE_CONFIG": str(file)})
    assert str(file) in str(caught.value)


def test_a_yaml_error_does_not_quote_the_text() -> None:
    with pytest.raises(ConfigurationError) as caught:
        SessionStorage.from_yaml("session_storage:\n  redis_password: geheim\n  x: [\n")
    assert "geheim" not in str(caught.value)


REFUSED = [
    pytest.param({"backend": "redi"}, "did you mean 'redis'", id="a backend misspelt"),
    pytest.param(REDIS | {"redis_hots": "h"}, "did you mean 'redis_host'", id="a key misspelt"),
    pytest.param(REDIS | {"redis_password": "geheim"}, "redis_password_file", id="a password"),
    pytest.param(REDIS | {"redis_port": "many"}, "whole number", id="a port that is no number"),
    pytest.param(REDIS | {"redis_port": True}, "whole number", id="a port that is true"),
    pytest.param(REDIS | {"redis_port": 70000}, "1-65535", id="a port out of range"),
    pytest.param(REDIS | {"redis_db": -1}, "below 0", id="a negative database"),
    pytest.param(REDIS | {"redis_tls": "perhaps"}, "true or false", id="tls perhaps"),
    pytest.param(REDIS | {"redis_host": 7}, "text", id="a host that is a number"),
    pytest.param(REDIS | {"operation_timeout": 0}, "above 0", id="no time"),
    pytest.param(REDIS | {"default_ttl": -1}, "below 0", id="a negative life"),
    pytest.param(REDIS | {"keyspace": "A_b"}, "DNS label", id="a keyspace that is none"),
    pytest.param({"backend": "redis", "redis_sentinels": ["h"]}, "redis_sentinel_service", id="no service"),
    pytest.param(REDIS | {"redis_sentinel_service": "s"}, "set both", id="a service without sentinels"),
    pytest.param(REDIS | {"redis_sentinels": "s", "redis_sentinel_service": "s"}, "both set", id="host and sentinels"),
    pytest.param(REDIS | {"redis_cluster": True, "redis_cluster_nodes": "n"}, "both set", id="host and nodes"),
    pytest.param({"backend": "redis", "redis_cluster_nodes": ["n"]}, "redis_cluster: true", id="nodes of no cluster"),
    pytest.param(
        {"backend": "redis", "redis_cluster_nodes": ["n:x"], "redis_cluster": 1}, "host:port", id="a bad node"
    ),
    pytest.param(REDIS | {"redis_cluster": True, "redis_db": 1}, "database 0", id="a database of a cluster"),
    pytest.param(REDIS | {"redis_cluster_nodes": 7}, "list of texts", id="nodes that are a number"),
    pytest.param(REDIS | {"failover_timeout": 0}, "above 0", id="no time to fail over"),
    pytest.param(REDIS | {"redis_ca_file": "/ca"}, "redis_tls: true", id="an authority without tls"),
    pytest.param(REDIS | {"redis_password_file": "/a", "redis_password_env": "B"}, "both set", id="two passwords"),
    pytest.param(REDIS | {"redis_username_file": "/a", "redis_username": "b"}, "both set", id="two usernames"),
]


@pytest.mark.parametrize(("section", "message"), REFUSED)
def test_what_cannot_be_used_is_refused_with_what_to_do(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        SessionStorage.from_mapping(section)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("name", ["SESSION_STORAGE_BACKND", "SESSION_STORAGE_REDIS_HOTS"])
def test_a_misspelt_variable_is_not_passed_over(name: str) -> None:
    with pytest.raises(ConfigurationError, match="did you mean"):
        SessionStorage.from_environment({name: "redis", "SESSION_STORAGE_REDIS_HOST": "h"})


URLS = [
    pytest.param("memory://", {"backend": "memory"}, id="memory"),
    pytest.param("file:///a%20b/c", {"backend": "file", "state_dir": "/a b/c"}, id="file"),
    pytest.param("redis://h", REDIS, id="redis"),
    pytest.param(
        "redis://me@h:7000/2", REDIS | {"redis_username": "me", "redis_port": 7000, "redis_db": 2}, id="parts"
    ),
    pytest.param("rediss://h?ca_file=/ca", REDIS | {"redis_tls": True, "redis_ca_file": "/ca"}, id="tls"),
    pytest.param(
        "redis+sentinel://a:1,b:2,c/3?service=chat&sentinel_username=u&sentinel_password_file=/p&failover_timeout=9",
        {
            "backend": "redis",
            "redis_sentinels": ("a:1", "b:2", "c"),
            "redis_sentinel_service": "chat",
            "redis_db": 3,
            "redis_sentinel_username": "u",
            "redis_sentinel_password_file": "/p",
            "failover_timeout": 9.0,
        },
        id="sentinels",
    ),
    pytest.param(
        "rediss+cluster://me@a:1,[::1]:2?keyspace=chat",
        {
            "backend": "redis",
            "redis_cluster": True,
            "redis_cluster_nodes": ("a:1", "[::1]:2"),
            "redis_tls": True,
            "redis_username": "me",
            "keyspace": "chat",
        },
        id="cluster",
    ),
    pytest.param("redis://[::1]:7000/", REDIS | {"redis_host": "::1", "redis_port": 7000}, id="IPv6"),
    pytest.param(
        "redis://h?keyspace=chat&username=u&password_file=/p%20w&operation_timeout=1.5",
        REDIS | {"keyspace": "chat", "redis_username": "u", "redis_password_file": "/p w", "operation_timeout": 1.5},
        id="parameters",
    ),
]


@pytest.mark.parametrize(("url", "section"), URLS)
def test_a_url_is_a_section(url: str, section: dict[str, Any]) -> None:
    assert SessionStorage.from_url(url) == SessionStorage(**section)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param("/a/dir", "file:///dir", id="a path"),
        pytest.param("file://a/dir", "three slashes", id="two slashes"),
        pytest.param("file:///a?x=1", "no parameters", id="a parameter of file"),
        pytest.param("redis://:geheim@h", r"\?password_file=", id="a password"),
        pytest.param("redis://u:geheim@h:x/", "malformed", id="a port that is none"),
        pytest.param("redis://h?password=geheim", r"\?password_file=", id="a password as parameter"),
        pytest.param("redis://h?passwordfile=/p", "did you mean 'password_file'", id="a parameter misspelt"),
        pytest.param("redis://h?keyspace", "malformed", id="a parameter without value"),
        pytest.param("redis://h/chat", "keyspace=", id="a name as database"),
        pytest.param("redis://", "redis_host", id="no host"),
        pytest.param("redis+sentinel://h", "redis_sentinel_service", id="sentinels without a service"),
        pytest.param("redis+sentinel://?service=chat", "host:port", id="no sentinel"),
        pytest.param("redis+sentinel://:geheim@h?service=chat", r"\?password_file=", id="a password of sentinels"),
        pytest.param("redis+sentinel://h?servce=chat", "did you mean 'service'", id="a service misspelt"),
        pytest.param("redis+cluster://h?service=chat", "not a parameter", id="a service of a cluster"),
        pytest.param("redis+cluster://h/1", "database 0", id="a database of a cluster"),
        pytest.param("redis+clutser://h", "known are", id="a topology misspelt"),
    ],
)
def test_a_url_that_is_none_is_refused_and_not_quoted(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        SessionStorage.from_url(url)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("section", [case.values[1] for case in URLS], ids=[case.id for case in URLS])
def test_what_is_written_is_read_again_and_is_the_same_bytes(section: dict[str, Any]) -> None:
    config = SessionStorage(**section)
    written = config.to_yaml()
    assert SessionStorage.from_yaml(written) == config
    assert dataclasses.replace(config).to_yaml() == written
    assert written.startswith("session_storage:\n  backend: ")


async def test_a_store_is_entered_or_awaited() -> None:
    async with open_store({"backend": "memory"}) as entered:
        await entered.set("k", {})
    awaited = await open_store("memory://")
    assert isinstance(awaited, Store)
    assert await awaited.get("k") is None
    await awaited.close()


async def test_the_configured_lifetime_reaches_the_sessions() -> None:
    async with open_store(SessionStorage(backend="memory", default_ttl=60, idle_ttl=30)) as store:
        session = await store.set("k", {})
    assert session.expires_ms == session.written_ms + 30_000


@pytest.mark.parametrize("name", ["default_ttl", "idle_ttl"])
def test_a_lifetime_beyond_reason_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} .* 0 is never"):
        SessionStorage(backend="memory", **{name: 10**15})


def test_the_library_is_imported_without_drivers_and_without_kubernetes() -> None:
    heavy = {"redis", "yaml", "kubernetes", "kopf", "pydantic", "click", "rich"}
    program = f"import sys, sessionstore.sessions; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("url", ["redis://h?password_env=NO_SUCH", "mongodb://h?username=u&password_env=NO_SUCH"])
async def test_a_password_in_a_variable_that_is_not_set_is_named(url: str) -> None:
    with pytest.raises(ConfigurationError, match="password_env names NO_SUCH, which is not set"):
        await open_store(url)


def test_a_path_with_nul_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigurationError, match="redis_password_file holds NUL"):
        SessionStorage.from_url("redis://h?password_file=%00")
