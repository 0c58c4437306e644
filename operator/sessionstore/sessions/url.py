"""A store's URL, as the command line and tests name it. Pure.

`file:///dir` · `directory:///dir` · `redis://host:port/db?keyspace=…` · `redis+sentinel://host:port,…/db?service=…` ·
`redis+cluster://host:port,…` · `rediss://…`, `rediss+…` (TLS) · `mongodb://host:port,…/database` · `memory://`
Any of them with `?encryption_key_files=/old,/new`, `encryption_fields=…`, `encryption_require=true`.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from typing import Any

from sessionstore.sessions import nearest
from sessionstore.sessions.exceptions import ConfigurationError

_SCHEMES = (
    "file", "directory", "redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster",
    "mongodb", "memory",
)  # fmt: skip
_PARAMETERS = {
    "keyspace": "keyspace",
    "username": "redis_username",
    "username_file": "redis_username_file",
    "password_file": "redis_password_file",
    "password_env": "redis_password_env",
    "ca_file": "redis_ca_file",
    "connect_timeout": "connect_timeout",
    "operation_timeout": "operation_timeout",
}
_FAILING_OVER = _PARAMETERS | {"failover_timeout": "failover_timeout"}
_SENTINEL_PARAMETERS = _FAILING_OVER | {
    "service": "redis_sentinel_service",
    "sentinel_username": "redis_sentinel_username",
    "sentinel_username_file": "redis_sentinel_username_file",
    "sentinel_password_file": "redis_sentinel_password_file",
}
_MONGODB_PARAMETERS = {
    "keyspace": "keyspace",
    "username": "mongodb_username",
    "username_file": "mongodb_username_file",
    "password_file": "mongodb_password_file",
    "password_env": "mongodb_password_env",
    "auth_source": "mongodb_auth_source",
    "tls": "mongodb_tls",
    "ca_file": "mongodb_ca_file",
    "replica_set": "mongodb_replica_set",
    "connect_timeout": "connect_timeout",
    "operation_timeout": "operation_timeout",
}


def parse(url: str) -> dict[str, Any]:
    """Return the `session_storage` section that `url` stands for.

    Raises: ConfigurationError, which never quotes the URL: somebody may have put a password into it.
    """
    where, _, query = url.partition("?")
    parameters = query.split("&") if query else []
    encryption = [parameter for parameter in parameters if parameter.startswith("encryption_")]
    others = [parameter for parameter in parameters if parameter not in encryption]
    section = _store(f"{where}?{'&'.join(others)}" if others else where)
    return section | dict(urllib.parse.parse_qsl("&".join(encryption), keep_blank_values=True))


def _store(url: str) -> dict[str, Any]:
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise ConfigurationError(
            "a store is named by a URL: file:///dir, redis://host:port, rediss://, mongodb://host:port or memory://"
        )
    if scheme == "mongodb":
        return _mongodb(url)
    if scheme in _SCHEMES and "+" in scheme:
        return _redis_servers(url, scheme)
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise ConfigurationError(
            f"this {scheme} URL is malformed; its form is redis://host:port/db?keyspace=…"
        ) from error
    if parts.password is not None:
        raise ConfigurationError("a password inside a URL ends in logs; put it in a file and write ?password_file=PATH")
    if parts.scheme in ("file", "directory"):
        return {"backend": parts.scheme, "state_dir": _file_path(parts)}
    if parts.scheme == "memory":
        return {"backend": "memory"}
    if parts.scheme not in _SCHEMES:
        raise ConfigurationError(f"{scheme}:// is not a store that is known; known are {', '.join(_SCHEMES)}")
    section: dict[str, Any] = {"backend": "redis", "redis_host": parts.hostname, "redis_tls": parts.scheme == "rediss"}
    section |= {"redis_port": port} if port is not None else {}
    section |= {"redis_db": _database(parts.path)} if parts.path.strip("/") else {}
    section |= {"redis_username": urllib.parse.unquote(parts.username)} if parts.username else {}
    return section | {_field(name): value for name, value in query.items()}


def _redis_servers(url: str, scheme: str) -> dict[str, Any]:
    kind, _, topology = scheme.partition("+")
    parts, user, hosts, query = _several(url, f"{scheme}://host:port,host:port?keyspace=…")
    section: dict[str, Any] = {"backend": "redis", "redis_tls": kind == "rediss"}
    section |= {"redis_sentinels": hosts} if topology == "sentinel" else {}
    section |= {"redis_cluster": True, "redis_cluster_nodes": hosts} if topology == "cluster" else {}
    section |= {"redis_db": _database(parts.path)} if parts.path.strip("/") else {}
    section |= {"redis_username": user} if user else {}
    known = _SENTINEL_PARAMETERS if topology == "sentinel" else _FAILING_OVER
    return section | {_field(name, known, scheme): value for name, value in query.items()}


def _mongodb(url: str) -> dict[str, Any]:
    parts, user, hosts, query = _several(url, "mongodb://host:port,host:port/database?keyspace=…")
    section: dict[str, Any] = {"backend": "mongodb", "mongodb_host": hosts}
    section |= {"mongodb_database": parts.path.strip("/")} if parts.path.strip("/") else {}
    section |= {"mongodb_username": user} if user else {}
    return section | {_field(name, _MONGODB_PARAMETERS, "mongodb"): value for name, value in query.items()}


def _several(url: str, form: str) -> tuple[urllib.parse.SplitResult, str, str, dict[str, str]]:
    """Return the parts, user, hosts and parameters of a URL with several hosts.

    They have commas between, which is no URL as the standard library knows it.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as error:
        kind = url.partition("://")[0]
        raise ConfigurationError(f"this {kind} URL is malformed; its form is {form}") from error
    user, _, hosts = parts.netloc.rpartition("@")
    if ":" in user:
        raise ConfigurationError("a password inside a URL ends in logs; put it in a file and write ?password_file=PATH")
    return parts, urllib.parse.unquote(user), hosts, query


def _file_path(parts: urllib.parse.SplitResult) -> str:
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise ConfigurationError(
            f"a {parts.scheme} URL has three slashes and an absolute path: {parts.scheme}:///home/node/.openclaw"
        )
    if parts.query:
        raise ConfigurationError(f"a {parts.scheme} URL takes no parameters")
    return urllib.parse.unquote(parts.path)


def _database(path: str) -> str:
    number = path.strip("/")
    if not number.isdecimal():
        raise ConfigurationError(f"the path of a redis URL is a database number, not {number!r}; see ?keyspace=")
    return number


def _field(parameter: str, known: Mapping[str, str] = _PARAMETERS, kind: str = "redis") -> str:
    if parameter in known:
        return known[parameter]
    if parameter == "password":
        raise ConfigurationError("a password inside a URL ends in logs; put it in a file and write ?password_file=PATH")
    raise ConfigurationError(f"{parameter!r} is not a parameter of a {kind} URL{nearest.hint(parameter, known)}")
