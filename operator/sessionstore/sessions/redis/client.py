"""Speaking to one Redis: connections, deadlines, credentials, scripts, and errors in our words.

The one place that retries. Only the store above calls this; no driver type or error leaves it.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.resources
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import redis.asyncio as driver
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider

from sessionstore.sessions.config import SessionStorage
from sessionstore.sessions.exceptions import ConfigurationError, Unavailable, Unreadable

MAX_CONNECTIONS = 32
READ_RETRIES = 2
RETRY_PAUSE_S = 0.05

Argument = bytes | str | int
T = TypeVar("T")

# What the server's error texts begin with, or hold -> our reason. Redis 7.0.15 and Valkey 8, `redis.conf` and source.
_REASONS: tuple[tuple[str, str], ...] = (
    ("NOAUTH", "auth"),
    ("WRONGPASS", "auth"),
    ("NOPERM", "permission"),
    ("can't run this command", "permission"),
    ("can't access at least one of the keys", "permission"),
    ("READONLY", "readonly"),
    ("NOREPLICAS", "readonly"),
    ("MISCONF", "readonly"),
    ("OOM", "full"),
    ("LOADING", "loading"),
    ("MASTERDOWN", "loading"),
)
_CLASSES: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.AuthenticationError, "auth"),
    (exceptions.AuthorizationError, "permission"),
    (exceptions.NoPermissionError, "permission"),
    (exceptions.ReadOnlyError, "readonly"),
    (exceptions.OutOfMemoryError, "full"),
    (exceptions.BusyLoadingError, "loading"),
    (exceptions.TimeoutError, "timeout"),
    (exceptions.ConnectionError, "connection"),
)
# How redis-py words a failure before anything was sent; then a write has certainly not happened.
_NOT_SENT = re.compile(r"connecting to|No connection available")


def _lua(name: str) -> str:
    return importlib.resources.files(__package__).joinpath("lua", f"{name}.lua").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script and the name the server knows it by."""

    text: str
    sha: str

    @classmethod
    def load(cls, *names: str) -> Script:
        """Join the files `names` of lua/ to one script."""
        text = "\n".join(_lua(name) for name in names)
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class _Credentials(CredentialProvider):
    """Reads the files again for every connection, so a rotated password needs no restart."""

    def __init__(self, config: SessionStorage) -> None:
        self._config = config

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        config = self._config
        username = _secret(config.redis_username_file) if config.redis_username_file else config.redis_username
        password = _secret(config.redis_password_file) if config.redis_password_file else ""
        if config.redis_password_env:
            password = os.environ.get(config.redis_password_env, "")
        return (username, password) if username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        # Two short files on a memory file system; a thread would cost more than it saves.
        return self.get_credentials()


def _secret(path: str) -> str:
    try:
        # A trailing line feed comes from editors and `echo`, and belongs to no generated password.
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        # The driver's own error, which makes it close the connection: kept open, it would stay logged in as `default`.
        raise exceptions.AuthenticationError(f"the credentials file {path} cannot be read: {error}") from error


def _has_credentials(config: SessionStorage) -> bool:
    return bool(
        config.redis_username or config.redis_username_file or config.redis_password_file or config.redis_password_env
    )


def _make_pool(config: SessionStorage) -> driver.BlockingConnectionPool:
    options: dict[str, Any] = {
        "host": config.redis_host,
        "port": config.redis_port,
        "db": config.redis_db,
        # RESP2 gives every server version's answers in one shape, whatever the driver's default is.
        "protocol": 2,
        # No CLIENT SETINFO: Redis 7.0 has no ACL rule for it, and a refusal for every connection fills `ACL LOG`.
        "driver_info": None,
        "socket_connect_timeout": config.connect_timeout,
        "socket_timeout": config.operation_timeout,
        # redis-py 8 would retry ten times on its own, writes included; what may be repeated is decided here.
        "retry": Retry(NoBackoff(), 0),
        "connection_class": driver.SSLConnection if config.redis_tls else driver.Connection,
    }
    if config.redis_tls and config.redis_ca_file:
        options["ssl_ca_certs"] = config.redis_ca_file
    if _has_credentials(config):
        options["credential_provider"] = _Credentials(config)
    return driver.BlockingConnectionPool(max_connections=MAX_CONNECTIONS, timeout=config.operation_timeout, **options)


class Client:
    """One server, for one configuration."""

    def __init__(self, config: SessionStorage) -> None:
        """Prepare to connect; the first call does."""
        if config.redis_ca_file and not Path(config.redis_ca_file).is_file():
            raise ConfigurationError(f"redis_ca_file {config.redis_ca_file} is not there")
        self._config = config
        self._redis = driver.Redis.from_pool(_make_pool(config))
        self._send: Callable[..., Awaitable[Any]] = self._redis.execute_command

    async def close(self) -> None:
        """Let go of all connections."""
        await self._redis.aclose()

    async def read(self, *command: Argument) -> Any:
        """Run one command that changes nothing; it may be sent again."""
        return await self._attempt(lambda: self._send(*command), writes=False)

    async def write(self, *command: Argument) -> Any:
        """Run one command that changes something; it is sent once."""
        return await self._attempt(lambda: self._send(*command), writes=True)

    async def read_many(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        """Run commands that change nothing, in one round trip; an error of one stands in its place as Unreadable."""
        if not commands:
            return []
        answers = await self._attempt(lambda: self._pipeline(commands), writes=False)
        return [self._in_place(answer) for answer in answers]

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument], *, writes: bool) -> list[Any]:
        """Run a script. Raises: Unavailable; Unreadable when a key is of another type."""
        operands = (len(keys), *keys, *args)
        found = await self._attempt(lambda: self._evaluate(script, operands), writes=writes)
        assert isinstance(found, list)
        return found

    async def _evaluate(self, script: Script, operands: Sequence[Argument]) -> Any:
        try:
            return await self._send("EVALSHA", script.sha, *operands)
        except exceptions.NoScriptError:
            # A server that was restarted, or failed over, knows no scripts. Nothing was run, so writes may come again.
            return await self._send("EVAL", script.text, *operands)

    async def _pipeline(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        queue: Callable[..., Any] = pipeline.execute_command
        for command in commands:
            queue(*command)
        return list(await pipeline.execute(raise_on_error=False))

    async def _attempt(self, work: Callable[[], Awaitable[T]], *, writes: bool) -> T:
        """Do `work` within the operation's deadline, again where that cannot do harm."""
        try:
            async with asyncio.timeout(self._config.operation_timeout):
                return await self._repeat(work, 0 if writes else READ_RETRIES)
        except TimeoutError as error:
            raise self._unavailable(
                f"no answer within {self._config.operation_timeout:g} s", "timeout", writes
            ) from error
        except exceptions.RedisError as error:
            raise self._translate(error, writes) from error

    async def _repeat(self, work: Callable[[], Awaitable[T]], retries: int) -> T:
        refused = False
        while True:
            try:
                return await work()
            except exceptions.AuthenticationError:
                # The server refused us before it ran anything. The files may just have been rotated: once more.
                if refused:
                    raise
                refused = True
            except (exceptions.ConnectionError, exceptions.TimeoutError):
                if retries == 0:
                    raise
                retries -= 1
            await asyncio.sleep(RETRY_PAUSE_S)

    def _in_place(self, answer: Any) -> Any:
        if not isinstance(answer, exceptions.RedisError):
            return answer
        translated = self._translate(answer, False)
        if isinstance(translated, Unreadable):
            return translated
        raise translated from answer

    def _translate(self, error: exceptions.RedisError, writes: bool) -> Unavailable | Unreadable:
        text = str(error)
        if text.startswith("WRONGTYPE"):
            return Unreadable("it is of another type than this library writes")
        for mark, reason in _REASONS:
            if text.startswith(mark) or (" " in mark and mark in text):
                return self._unavailable(text, reason, False)
        for kind, reason in _CLASSES:
            if isinstance(error, kind):
                # A refusal is an answer: only silence, or a lost connection, leaves open what became of a write.
                silent = reason in ("timeout", "connection")
                return self._unavailable(text or type(error).__name__, reason, writes and silent)
        return self._unavailable(text, "connection", writes)

    def _unavailable(self, text: str, reason: str, writes: bool) -> Unavailable:
        unknown = writes and not _NOT_SENT.search(text)
        doubt = "; whether the write happened is not known, so read before you write again" if unknown else ""
        where = f"redis at {self._config.redis_host}:{self._config.redis_port}"
        return Unavailable(f"{where}: {text.rstrip('.')}{doubt}", reason)
