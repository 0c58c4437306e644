"""Making a connection: redis-py connects, encrypts and logs in; then a Wire takes the connection over.

The one module that imports the driver. Credentials are read from their files for every connection, so that a rotated
password needs no restart.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis.asyncio as driver
from redis import exceptions
from redis.credentials import CredentialProvider

from sessionstore.sessions.config import SessionStorage
from sessionstore.sessions.exceptions import ConfigurationError
from sessionstore.sessions.redis import resp
from sessionstore.sessions.redis.failures import Failure, closed, failure_of
from sessionstore.sessions.redis.resp import Refusal
from sessionstore.sessions.redis.server_clock import ServerClock
from sessionstore.sessions.redis.wire import Wire

_CLASSES: tuple[tuple[type[Exception], str, str], ...] = (
    # redis-py takes the code off the text and keeps it in the class.
    (exceptions.AuthenticationError, "auth", "NOAUTH"),
    (exceptions.AuthorizationError, "permission", "NOPERM"),
    (exceptions.NoPermissionError, "permission", "NOPERM"),
    (exceptions.BusyLoadingError, "loading", "LOADING"),
    (exceptions.TimeoutError, "timeout", ""),
    (exceptions.ConnectionError, "connection", ""),
)
# Answers to a greeting that say there will be no others.
_NOT_SERVED = frozenset({"NOAUTH", "WRONGPASS"})
_GREETING = resp.pack_all([("HELLO", 2), ("TIME",)])


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are to a server. Secrets are named, and read when they are needed."""

    username: str | None = None
    username_file: str | None = None
    password_file: str | None = None
    password_env: str | None = None

    def __bool__(self) -> bool:
        return bool(self.username or self.username_file or self.password_file or self.password_env)

    def read(self) -> tuple[str] | tuple[str, str]:
        """Return what AUTH takes. Raises: the driver's own error, so that it closes the connection it has opened."""
        username = _secret(self.username_file) if self.username_file else self.username
        password = _secret(self.password_file) if self.password_file else ""
        if self.password_env:
            password = os.environ.get(self.password_env, "")
        return (username, password) if username else (password,)


def _secret(path: str) -> str:
    try:
        # A trailing line feed comes from editors and `echo`, and belongs to no generated password.
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        # The driver's own error, which makes it close the connection: kept open, it would stay logged in as `default`.
        raise exceptions.AuthenticationError(f"the credentials file {path} cannot be read: {error}") from error


class _Credentials(CredentialProvider):
    def __init__(self, login: Login) -> None:
        self._login = login

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        return self._login.read()

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        # Two short files on a memory file system; a thread would cost more than it saves.
        return self._login.read()


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a server says of itself; "" where it does not."""

    role: str = ""
    mode: str = ""
    version: str = ""
    server: str = ""


class Dialer:
    """Makes connections of one kind: to the data, or to the sentinels."""

    def __init__(self, config: SessionStorage, login: Login, clock: ServerClock | None, database: int = 0) -> None:
        """Prepare. Raises: ConfigurationError.

        Args:
            clock: is set by each connection; None where the server's clock is of no interest.
        """
        if config.redis_ca_file and not Path(config.redis_ca_file).is_file():
            raise ConfigurationError(f"redis_ca_file {config.redis_ca_file} is not there")
        self._timeout = config.connect_timeout
        self._clock = clock
        self._closed = False
        self._class = driver.SSLConnection if config.redis_tls else driver.Connection
        self._options: dict[str, Any] = {
            "db": database,
            # RESP2 gives every server version's answers in one shape, whatever the driver's default is.
            "protocol": 2,
            # No CLIENT SETINFO: Redis 7.0 has no ACL rule for it, and a refusal for every connection fills `ACL LOG`.
            "driver_info": None,
            "socket_connect_timeout": config.connect_timeout,
            "socket_timeout": config.connect_timeout,
        }
        if config.redis_tls and config.redis_ca_file:
            self._options["ssl_ca_certs"] = config.redis_ca_file
        if login:
            self._options["credential_provider"] = _Credentials(login)

    async def dial(self, address: Address) -> tuple[Wire, Greeting]:
        """Connect, log in and greet, within `connect_timeout`. Raises: Failure; nothing was carried out."""
        self.check_open()
        connection: Any = self._class(host=address.host, port=address.port, **self._options)
        try:
            async with asyncio.timeout(self._timeout):
                await connection.connect()
                wire, greeting = await self._greet(_take_over(connection), address)
        except TimeoutError as error:
            raise Failure(f"no connection to {address} within {self._timeout:g} s", "timeout") from error
        except exceptions.RedisError as error:
            raise _failure_of(error) from error
        if self._closed:
            wire.close()
        self.check_open()
        return wire, greeting

    def close(self) -> None:
        """Make no connection any more, and let go of one that is being made."""
        self._closed = True

    def check_open(self) -> None:
        """Raises: Failure, once closed."""
        if self._closed:
            raise closed()

    async def _greet(self, wire: Wire, address: Address) -> tuple[Wire, Greeting]:
        try:
            began = wire.loop.time()
            hello, time = await wire.send(_GREETING, began, began + self._timeout, 2)
            for answer in (hello, time):
                if isinstance(answer, Refusal) and answer.code in _NOT_SERVED:
                    raise failure_of(answer)
        except BaseException as error:
            wire.close()
            if isinstance(error, Failure):
                raise Failure(f"{address}: {error.text}", error.reason, code=error.code) from error
            raise
        if self._clock is not None and isinstance(time, list):
            self._clock.set(time, wire.loop.time())
        return wire, greeting_of(hello)


def _take_over(connection: Any) -> Wire:
    """Let a Wire speak on what `connection` opened. Nothing has been sent that is not answered, so nothing is lost."""
    # redis-py keeps its streams to itself; tests/redis/test_client_sharing.py tells when a version moves them.
    transport: asyncio.Transport = connection._writer.transport
    streams = transport.get_protocol()

    def release(error: Exception | None) -> None:
        # The streams would warn that they were never closed, and the connection that it still has them.
        streams.connection_lost(error)
        connection._reader = connection._writer = None

    wire = Wire(transport, asyncio.get_running_loop(), release)
    transport.set_protocol(wire)
    return wire


def greeting_of(hello: Any) -> Greeting:
    """Read HELLO's answer; a server that refuses it is spoken to all the same."""
    if not isinstance(hello, list):
        return Greeting()
    said = {name.decode(): value for name, value in zip(hello[::2], hello[1::2], strict=True)}
    words = {name: said[name].decode() for name in ("role", "mode", "version", "server") if name in said}
    return Greeting(**words)


def _failure_of(error: exceptions.RedisError) -> Failure:
    text = str(error) or type(error).__name__
    if isinstance(error.__context__, ssl.SSLCertVerificationError):
        # It will not be another certificate in a moment, so there is no use in waiting.
        return Failure(text, "connection", code="CERTIFICATE")
    for kind, reason, code in _CLASSES:
        if isinstance(error, kind):
            return Failure(text, reason, code=code)
    refused = failure_of(Refusal(text))
    # Whatever was refused was no command of a caller's.
    return Failure(text, refused.reason, code=refused.code)


def data_login(config: SessionStorage) -> Login:
    """Return who we are to the servers that keep the data."""
    return Login(
        config.redis_username, config.redis_username_file, config.redis_password_file, config.redis_password_env
    )


def sentinel_login(config: SessionStorage) -> Login:
    """Return who we are to the sentinels."""
    return Login(
        config.redis_sentinel_username, config.redis_sentinel_username_file, config.redis_sentinel_password_file
    )


def address_of(text: str, default_port: int) -> Address:
    """Read `host`, `host:port` or `[::1]:port`, as the configuration has checked it."""
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port:
        host, port = text, str(default_port)
    return Address(host.strip("[]"), int(port))
