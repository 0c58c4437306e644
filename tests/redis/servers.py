"""A server that runs what the operator rendered: redis.conf and ACL file, with only port and paths of its own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import redis.backoff
import redis.retry

from sessionstore.apis.v1alpha1.sessionstore import SessionStore
from sessionstore.engines.engine import Endpoint, EngineFacts, Passwords
from sessionstore.engines.redis import names, objects, standalone
from tests import redis_server
from tests.redis.builders import DEFAULTS

ENGINE = standalone.RedisEngine()
DEADLINE_S = 30


@dataclass(frozen=True)
class Running:
    """A running server."""

    process: subprocess.Popen[bytes]
    endpoint: Endpoint
    directory: Path

    @contextlib.contextmanager
    def client(self, username: str, password: str) -> Iterator[redis.Redis]:
        # No retries: a refused login is a ConnectionError to redis-py, and tests wait for refusals.
        options = {"retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0), "protocol": 2, "decode_responses": True}
        with redis.Redis(port=self.endpoint.port, username=username, password=password, **options) as client:
            yield client

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")


def binaries() -> list[str]:
    """Return the servers to test: Redis, Valkey, and those that SESSIONSTORE_REDIS_SERVERS names (`:` between)."""
    more = os.environ.get("SESSIONSTORE_REDIS_SERVERS", "")
    return [
        shutil.which("redis-server") or "redis-server",
        redis_server.valkey_binary(),
        *filter(None, more.split(":")),
    ]


def rendered(store: SessionStore, passwords: Passwords) -> dict[str, str]:
    """Return the files that the pod would see, by name."""
    made = {manifest["kind"]: manifest for manifest in objects.build_objects(store, passwords, DEFAULTS)}
    secret: Mapping[str, Any] = made["Secret"]["data"]
    return {**made["ConfigMap"]["data"], **{name: base64.b64decode(text).decode() for name, text in secret.items()}}


@contextlib.contextmanager
def started(
    binary: str, directory: Path, store: SessionStore, passwords: Passwords, *options: str
) -> Iterator[Running]:
    """Start a server on the rendered files; it ends with the block."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in rendered(store, passwords).items():
        (directory / name).write_text(_here(text, directory))
    port = _free_port()
    command = [binary, str(directory / "redis.conf"), "--port", str(port), "--bind", "127.0.0.1", *options]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield Running(process, Endpoint("127.0.0.1", port), directory)
    finally:
        process.kill()
        process.wait()


@contextlib.asynccontextmanager
async def serving(
    binary: str, directory: Path, store: SessionStore, passwords: Passwords, *options: str
) -> AsyncIterator[Running]:
    """Start a server, and wait until it answers the operator."""
    with started(binary, directory, store, passwords, *options) as server:
        await facts_of(server, store, passwords)
        yield server


async def facts_of(server: Running, store: SessionStore, passwords: Passwords) -> EngineFacts:
    """Probe until the server answers."""
    end = time.monotonic() + DEADLINE_S
    while not isinstance(found := await ENGINE.probe(store, passwords, server.endpoint), EngineFacts):
        if time.monotonic() > end or server.process.poll() is not None:
            raise AssertionError(f"no answer: {found}\n{server.log}")
        await asyncio.sleep(0.05)
    return found


def _here(text: str, directory: Path) -> str:
    """Put a test's directory in place of the pod's."""
    return text.replace(f"dir {names.DATA_DIR}\n", f"dir {directory}\n").replace(names.USERS_DIR, str(directory))


def _free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])
