"""`session_storage`: where the sessions are, and the factory that opens the store there.

Read from `SESSION_STORAGE_CONFIG` (a YAML file), from `SESSION_STORAGE_*` variables or from a URL; the operator
renders it with `to_yaml`. Secrets are named by file or variable and never held here, so a configuration can be
logged. yaml and the drivers are imported only when they are needed.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sessionstore.sessions import extras, layers, layout, nearest, record
from sessionstore.sessions.exceptions import ConfigurationError
from sessionstore.sessions.store import Store

CONFIG_VARIABLE = "SESSION_STORAGE_CONFIG"
VARIABLE_PREFIX = "SESSION_STORAGE_"
BACKENDS = ("file", "directory", "redis", "mongodb", "memory")

_SECTION = "session_storage"
_INLINE_SECRETS = frozenset(
    {"password", "redis_password", "mongodb_password", "secret", "redis_url", "mongodb_url", "uri"}
)
# What Kubernetes sets in every pod beside a Service that is called `session-storage`.
_SERVICE_LINK = re.compile(r"PORT|PORT_\d+_.*|SERVICE_HOST|SERVICE_PORT.*")

_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_DATABASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStorage:
    """One `session_storage` section. Field names are the YAML keys, and in capitals the variables' endings.

    Raises: ConfigurationError for values that cannot be used, alone or together.
    """

    backend: str = "file"
    """`file` (OpenClaw's own layout), `directory` (one file per session), `redis`, `mongodb`, or `memory`."""
    state_dir: str | None = None
    """`file`: OpenClaw's state directory. Default: `$OPENCLAW_STATE_DIR`, else `~/.openclaw`, as OpenClaw has it.
    `directory`: one of the store's own, which has to be said."""
    keyspace: str = "default"
    """The part of a store that is seen; a DNS label. Gateways with the same one share their sessions."""
    redis_host: str | None = None
    redis_port: int = 6379
    redis_db: int = 0
    """The database number; Redis Cluster knows only 0."""
    redis_tls: bool = False
    redis_ca_file: str | None = None
    """PEM file of the authority that signed the server's certificate; default: the system's."""
    redis_username: str | None = None
    redis_username_file: str | None = None
    redis_password_file: str | None = None
    """Read again for every connection, so a rotated password needs no restart."""
    redis_password_env: str | None = None
    """The *name* of the variable that holds the password."""
    redis_sentinels: tuple[str, ...] = ()
    """`host:port` of the sentinels, instead of `redis_host`: they are asked which server is the primary."""
    redis_sentinel_service: str | None = None
    """What the sentinels call the set of servers they watch."""
    redis_sentinel_username: str | None = None
    redis_sentinel_username_file: str | None = None
    redis_sentinel_password_file: str | None = None
    """Of the sentinels themselves, which have users of their own; left out where they ask for no password."""
    redis_cluster: bool = False
    """`redis_host` is a node of a Redis Cluster; the others are learnt from it."""
    redis_cluster_nodes: tuple[str, ...] = ()
    """`host:port` of several nodes to learn the others from, instead of `redis_host`, so that any may be away."""
    mongodb_host: str | None = None
    """`host:port`, or several with commas between: members of one replica set."""
    mongodb_database: str = "sessionstore"
    mongodb_username: str | None = None
    mongodb_username_file: str | None = None
    mongodb_password_file: str | None = None
    """Read again when the server refuses us, so a rotated password needs no restart."""
    mongodb_password_env: str | None = None
    """The *name* of the variable that holds the password."""
    mongodb_auth_source: str = "admin"
    """The database that knows the user."""
    mongodb_tls: bool = False
    mongodb_ca_file: str | None = None
    """PEM file of the authority that signed the server's certificate; default: the system's."""
    mongodb_replica_set: str | None = None
    """Its name: writes then find the primary. Left out for a single server and for FerretDB."""
    connect_timeout: float = 2.0
    """Seconds until a server that does not take a connection counts as away."""
    operation_timeout: float = 5.0
    """Seconds for one request to the server, waiting for a connection and retries included. Most calls are one."""
    failover_timeout: float = 30.0
    """Redis with sentinels or Cluster: seconds for one request, waiting for another server to take over included."""
    default_ttl: int = 0
    """Seconds from the last write until a session expires that has no lifetime of its own; 0 is never."""
    idle_ttl: int = 0
    """Seconds from the last read or write until such a session expires; 0 is never. The earlier of the two counts."""
    count_uses: bool = True
    """Whether reads count as uses, from which the idle time runs. Off for who only looks: a migration, a dashboard."""
    encryption_key_files: tuple[str, ...] = ()
    """Files with one key each, the oldest first: the last one encrypts, each decrypts. None: nothing is encrypted."""
    encryption_fields: tuple[str, ...] = ()
    """Encrypt these top-level fields of entries alone, and `transcript` and `title` if they are here. None: all."""
    encryption_require: bool = False
    """Refuse what is stored in plain; for stores in which nothing is any more."""

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ConfigurationError(
                f"backend {self.backend!r} is not known{nearest.hint(self.backend, sorted(BACKENDS))}"
            )
        layout.check_keyspace(self.keyspace)
        if self.backend == "directory" and not self.state_dir:
            raise ConfigurationError("backend directory needs state_dir, a directory of its own")
        if self.backend == "redis" and not (self.redis_host or self.redis_sentinels or self.redis_cluster_nodes):
            raise ConfigurationError("backend redis needs redis_host, or redis_sentinels, or redis_cluster_nodes")
        if self.backend == "mongodb" and not self.mongodb_host:
            raise ConfigurationError("backend mongodb needs mongodb_host")
        for first, second in (
            ("redis_username", "redis_username_file"),
            ("redis_password_file", "redis_password_env"),
            ("redis_sentinel_username", "redis_sentinel_username_file"),
            ("redis_host", "redis_sentinels"),
            ("redis_host", "redis_cluster_nodes"),
            ("redis_sentinels", "redis_cluster"),
            ("mongodb_username", "mongodb_username_file"),
            ("mongodb_password_file", "mongodb_password_env"),
        ):
            if getattr(self, first) and getattr(self, second):
                raise ConfigurationError(f"{first} and {second} are both set; keep one of them")
        if self.redis_ca_file and not self.redis_tls:
            raise ConfigurationError("redis_ca_file is set but redis_tls is not; set redis_tls: true, or leave it out")
        if self.mongodb_ca_file and not self.mongodb_tls:
            raise ConfigurationError(
                "mongodb_ca_file is set but mongodb_tls is not; set mongodb_tls: true, or leave it out"
            )
        self._check_encryption()
        self._check_topology()
        self._check_mongodb()
        self._check_numbers()

    def _check_encryption(self) -> None:
        if self.encryption_key_files and self.backend == "file":
            raise ConfigurationError(
                "encryption_key_files is set and backend is file: OpenClaw reads these files itself and could not any "
                "more; use directory, redis or mongodb, or leave encryption to the disk"
            )
        for name in ("encryption_fields", "encryption_require"):
            if getattr(self, name) and not self.encryption_key_files:
                raise ConfigurationError(f"{name} is set but encryption_key_files is not; nothing would be encrypted")

    def _check_topology(self) -> None:
        for address in (*self.redis_sentinels, *self.redis_cluster_nodes):
            if not _HOST.fullmatch(address):
                raise ConfigurationError(f"{address!r} is not host:port; user and options have keys of their own")
        if bool(self.redis_sentinels) != bool(self.redis_sentinel_service):
            raise ConfigurationError("redis_sentinels and redis_sentinel_service go together; set both, or neither")
        if self.redis_cluster_nodes and not self.redis_cluster:
            raise ConfigurationError("redis_cluster_nodes is set but redis_cluster is not; set redis_cluster: true")
        if self.redis_cluster and self.redis_db:
            raise ConfigurationError("Redis Cluster has the one database 0; leave redis_db out")

    def _check_mongodb(self) -> None:
        for host in self.mongodb_hosts:
            if not _HOST.fullmatch(host):
                raise ConfigurationError(
                    f"mongodb_host {host!r} is not host:port, or several with commas between; "
                    "user, database and options have keys of their own"
                )
        if not _DATABASE.fullmatch(self.mongodb_database):
            raise ConfigurationError(
                f"mongodb_database {self.mongodb_database!r} is not 1-63 of A-Z a-z 0-9 _ -, first a letter or digit"
            )

    def _check_numbers(self) -> None:
        if not 1 <= self.redis_port <= 65535:
            raise ConfigurationError(f"redis_port {self.redis_port} is not 1-65535")
        for name in ("connect_timeout", "operation_timeout", "failover_timeout"):
            if not 0 < getattr(self, name) <= 3600:
                raise ConfigurationError(
                    f"{name} {getattr(self, name)} is not a number of seconds from above 0 to 3600"
                )
        for name in ("redis_db", "default_ttl", "idle_ttl"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name} {getattr(self, name)} is below 0")
        for name in ("default_ttl", "idle_ttl"):
            if getattr(self, name) * 1000 > record.MAX_LIFETIME_MS:
                raise ConfigurationError(f"{name} {getattr(self, name)} is more than a hundred years; 0 is never")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Read the content of a `session_storage` section. Raises: ConfigurationError."""
        known = {field.name: field for field in dataclasses.fields(cls)}
        read: dict[str, Any] = {}
        for name, value in values.items():
            if name in _INLINE_SECRETS:
                kind = "mongodb" if name.startswith("mongodb") else "redis"
                raise ConfigurationError(f"{name} would be a secret in the configuration; use {kind}_password_file")
            if name not in known:
                raise ConfigurationError(
                    f"{name!r} is not a session_storage key{nearest.hint(str(name), sorted(known))}"
                )
            if value is not None:
                read[name] = _typed(name, value, str(known[name].type))
        if "backend" not in read:
            raise ConfigurationError(f"backend is not set; it is one of {', '.join(BACKENDS)}")
        return cls(**read)

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Read a YAML document with a `session_storage` section; other sections are not ours.

        Raises: ConfigurationError.
        """
        import yaml  # noqa: PLC0415  a gateway on variables or URLs needs no yaml

        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            # PyYAML's own message quotes the text, in which somebody may have put a password.
            mark = getattr(error, "problem_mark", None)
            raise ConfigurationError(f"invalid YAML{f' at line {mark.line + 1}' if mark else ''}") from None
        if not isinstance(document, dict) or not isinstance(document.get(_SECTION), dict):
            names = document if isinstance(document, dict) else ()
            raise ConfigurationError(f"there is no {_SECTION} section{nearest.hint(_SECTION, sorted(map(str, names)))}")
        return cls.from_mapping(document[_SECTION])

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Read `file:///dir`, `directory:///dir`, `redis[s]://host:port/db?…`, `mongodb://…`, `memory://`.

        Raises: ConfigurationError.
        """
        from sessionstore.sessions import url as urls  # noqa: PLC0415  it imports this module

        return cls.from_mapping(urls.parse(url))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the environment: the file that `SESSION_STORAGE_CONFIG` names, else `SESSION_STORAGE_*`, else `file`.

        Where the file is named, variables do not count. A file that is named and cannot be used is an error and
        never `file`: a gateway on a store would start new conversations on its own disk, unnoticed.

        Raises: ConfigurationError.
        """
        environ = os.environ if environ is None else environ
        if CONFIG_VARIABLE in environ:
            path = environ[CONFIG_VARIABLE]
            text = _read_file(path)
            try:
                return cls.from_yaml(text)
            except ConfigurationError as error:
                raise ConfigurationError(f"{CONFIG_VARIABLE}={path}: {error}") from error
        found = {
            name.removeprefix(VARIABLE_PREFIX).lower(): value
            for name, value in environ.items()
            if name.startswith(VARIABLE_PREFIX) and not _SERVICE_LINK.fullmatch(name.removeprefix(VARIABLE_PREFIX))
        }
        for kind in ("redis", "mongodb"):
            if found.pop(f"{kind}_password", None) is not None:
                found[f"{kind}_password_env"] = f"{VARIABLE_PREFIX}{kind.upper()}_PASSWORD"
        if not found:
            return cls()
        try:
            return cls.from_mapping(found)
        except ConfigurationError as error:
            raise ConfigurationError(f"{VARIABLE_PREFIX}* variables: {error}") from error

    def to_yaml(self) -> str:
        """Write the section: the same bytes for the same values. Defaults are left to the reader."""
        import yaml  # noqa: PLC0415

        always = {"backend", "keyspace"}
        section = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name in always or getattr(self, field.name) != field.default
        }
        return str(yaml.safe_dump({_SECTION: section}, sort_keys=False, allow_unicode=True))

    @property
    def mongodb_hosts(self) -> list[str]:
        """`mongodb_host`, one by one."""
        return self.mongodb_host.split(",") if self.mongodb_host else []

    @property
    def lifetime(self) -> record.Lifetime:
        """What a session has that says nothing itself."""
        return record.Lifetime(self.default_ttl * 1000, self.idle_ttl * 1000)

    def directory(self, environ: Mapping[str, str] | None = None) -> Path:
        """Return the state directory of the `file` backend, or the one of the `directory` backend."""
        environ = os.environ if environ is None else environ
        return Path(self.state_dir or environ.get("OPENCLAW_STATE_DIR") or "~/.openclaw").expanduser()


class Opening:
    """What `open_store` returns: await it for a Store, or enter it for one that is closed at the end."""

    __slots__ = ("_config", "_store")

    def __init__(self, config: SessionStorage) -> None:
        self._config = config
        self._store: Store | None = None

    def __await__(self) -> Generator[Any, None, Store]:
        return self._open().__await__()

    async def __aenter__(self) -> Store:
        self._store = await self._open()
        return self._store

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store is not None:
            await self._store.close()

    async def _open(self) -> Store:
        _check_variables(self._config)
        return layers.over(_backend(self._config), self._config)


def open_store(where: str | SessionStorage | Mapping[str, Any] | None = None) -> Opening:
    """Return a store to enter or to await.

    `async with open_store(url) as store` closes it at the end; `store = await open_store(url)` leaves that to you. A
    server is first spoken to by the first call, so a store may be opened while its server is away.

    Args:
        where: a URL, a configuration, the content of a `session_storage` section, or None for the environment.
    Raises: ConfigurationError, at once.
    """
    if where is None:
        return Opening(SessionStorage.from_environment())
    if isinstance(where, SessionStorage):
        return Opening(where)
    return Opening(SessionStorage.from_url(where) if isinstance(where, str) else SessionStorage.from_mapping(where))


def _check_variables(config: SessionStorage) -> None:
    """Refuse a password that is to be in a variable and is not: a server would only say that it is the wrong one."""
    for field in ("redis_password_env", "mongodb_password_env"):
        variable = getattr(config, field)
        if variable and variable not in os.environ:
            raise ConfigurationError(f"{field} names {variable}, which is not set; it holds the password itself")


def _backend(config: SessionStorage) -> Store:
    if config.backend == "memory":
        from sessionstore.sessions.memory import MemoryStore  # noqa: PLC0415

        return MemoryStore(defaults=config.lifetime, count_uses=config.count_uses)
    if config.backend == "file":
        from sessionstore.sessions.file import FileStore  # noqa: PLC0415

        return FileStore(config.directory(), defaults=config.lifetime, count_uses=config.count_uses)
    if config.backend == "directory":
        from sessionstore.sessions.directory import DirectoryStore  # noqa: PLC0415

        return DirectoryStore(config.directory(), defaults=config.lifetime, count_uses=config.count_uses)
    if config.backend == "mongodb":
        with extras.needed("backend mongodb", "pymongo", "mongodb"):
            from sessionstore.sessions.mongodb import MongoStore  # noqa: PLC0415

        return MongoStore(config)
    with extras.needed("backend redis", "redis", "redis"):
        from sessionstore.sessions.redis import RedisStore  # noqa: PLC0415

    return RedisStore(config)


def _read_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigurationError(
            f"{CONFIG_VARIABLE}={path} cannot be read: {why}; correct the path or the file's permissions, "
            "or unset the variable to use files"
        ) from error


def _typed(name: str, value: Any, annotation: str) -> Any:
    """Turn a YAML value, or the text of a variable, into the field's type."""
    text = str(value).strip()
    kind = annotation.removesuffix(" | None")
    if kind == "bool":
        if text.lower() in ("true", "1", "yes"):
            return True
        if text.lower() in ("false", "0", "no", ""):
            return False
    elif "\0" in text:
        raise ConfigurationError(f"{name} holds NUL, which no path, name or address has")
    elif kind == "str" and isinstance(value, str):
        return value
    elif kind == "tuple[str, ...]" and isinstance(value, str | list | tuple):
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(str(part).strip() for part in parts)
    elif kind == "int" and not isinstance(value, bool) and re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    elif kind == "float" and not isinstance(value, bool) and re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        return float(text)
    wanted = {
        "bool": "true or false",
        "str": "text",
        "tuple[str, ...]": "a list of texts",
        "int": "a whole number",
        "float": "a number of seconds",
    }[kind]
    raise ConfigurationError(f"{name} must be {wanted}, not {value!r}")
