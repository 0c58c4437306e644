"""The mongodb settings: read from a URL, a section and variables; what is refused, and that no secret is kept."""

from __future__ import annotations

from typing import Any

import pytest

from sessionstore.sessions import ConfigurationError, SessionStorage

MONGODB = {"backend": "mongodb", "mongodb_host": "h"}


def test_a_url_names_hosts_database_and_options() -> None:
    url = (
        "mongodb://gate%40way@a:27018,[::1]:27019,c/chats?keyspace=chat&password_file=/run/p&auth_source=users"
        "&replica_set=rs0&tls=true&ca_file=/run/ca&connect_timeout=1&operation_timeout=2"
    )
    assert SessionStorage.from_url(url) == SessionStorage(
        backend="mongodb",
        mongodb_host="a:27018,[::1]:27019,c",
        mongodb_database="chats",
        mongodb_username="gate@way",
        mongodb_password_file="/run/p",
        mongodb_auth_source="users",
        mongodb_replica_set="rs0",
        mongodb_tls=True,
        mongodb_ca_file="/run/ca",
        keyspace="chat",
        connect_timeout=1,
        operation_timeout=2,
    )


def test_what_a_url_leaves_out_has_a_default() -> None:
    config = SessionStorage.from_url("mongodb://h")
    assert (config.mongodb_hosts, config.mongodb_database, config.mongodb_auth_source) == (
        ["h"],
        "sessionstore",
        "admin",
    )


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mongodb://user:geheim@h/db", "password_file"),
        ("mongodb://h/db?password=geheim", "password_file"),
        ("mongodb://", "needs mongodb_host"),
        ("mongodb://h/a/b", "mongodb_database"),
        ("mongodb://h,/db", "mongodb_host ''"),
        ("mongodb://h/db?keyspce=x", "did you mean 'keyspace'"),
        ("mongodb://h/db?geheim", "malformed"),
        ("mongodb://h/db?ca_file=/x", "mongodb_tls"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_secrets(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        SessionStorage.from_url(url)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mongodb_username": "a", "mongodb_username_file": "b"}, "keep one"),
        ({"mongodb_password_env": "A", "mongodb_password_file": "b"}, "keep one"),
        ({"mongodb_password": "geheim"}, "use mongodb_password_file"),
        ({"mongodb_url": "mongodb://a:geheim@h"}, "use mongodb_password_file"),
        ({"mongodb_host": "mongodb://h"}, "host:port"),
        ({"mongodb_database": "a.b"}, "mongodb_database"),
    ],
)
def test_a_section_that_cannot_be_used_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        SessionStorage.from_mapping(MONGODB | values)
    assert "geheim" not in str(caught.value)


def test_a_password_in_a_variable_stays_there() -> None:
    environ = {"SESSION_STORAGE_BACKEND": "mongodb", "SESSION_STORAGE_MONGODB_HOST": "h"}
    config = SessionStorage.from_environment(environ | {"SESSION_STORAGE_MONGODB_PASSWORD": "geheim"})
    assert config.mongodb_password_env == "SESSION_STORAGE_MONGODB_PASSWORD"
    assert "geheim" not in repr(config) + config.to_yaml()


def test_what_is_written_is_read_again() -> None:
    config = SessionStorage.from_url("mongodb://a,b/chats?replica_set=rs0&password_env=P")
    assert SessionStorage.from_yaml(config.to_yaml()) == config
