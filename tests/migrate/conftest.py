"""Stores to migrate into: Redis with a gateway's rights, and the others that the library has."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sessionstore.migrate import pipeline
from sessionstore.migrate.directory import open_directory
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.progress import Watch
from sessionstore.migrate.report import Report
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions import Store, open_store
from tests import redis_server
from tests.migrate import states

_keyspaces = (f"migrate-{number}" for number in itertools.count(1))


@dataclass(frozen=True)
class Answer:
    """What a command left: its exit status, and its JSON document where it printed one."""

    status: int
    document: dict[str, Any]
    stderr: str


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_server.RedisServer]:
    with redis_server.running(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def url(server: redis_server.RedisServer) -> str:
    """A keyspace of its own in a real Redis."""
    return server.url(server.add_user(next(_keyspaces)))


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with open_store(url) as opened:
        yield opened


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """The state directory that OpenClaw wrote."""
    return states.unpack(tmp_path / "real")


@pytest.fixture
def state(tmp_path: Path) -> states.State:
    """An empty state directory."""
    return states.State(tmp_path / "state")


async def migrate(
    root: Path, store: Any, options: pipeline.Options | None = None, watch: Watch = lambda seen: None
) -> Report:
    """Migrate a state directory in this process."""
    with Scratch() as scratch, open_directory(root, scratch) as source:
        return await pipeline.migrate(source, store, scratch, options or pipeline.Options("s", Patience(0)), watch)


async def verify(root: Path, store: Any) -> Report:
    """Compare a state directory with a store in this process."""
    with Scratch() as scratch, open_directory(root, scratch) as source:
        return await pipeline.prove(source, store, scratch, pipeline.Options("s", Patience(0)), lambda seen: None)


def command(*arguments: object) -> list[str]:
    """Return the program's command line."""
    return [sys.executable, "-m", "sessionstore", *map(str, arguments)]


def run(*arguments: object) -> Answer:
    """Run the program with `--json`."""
    done = subprocess.run(command(*arguments, "--json"), capture_output=True, timeout=120, check=False)
    return Answer(done.returncode, json.loads(done.stdout or b"{}"), done.stderr.decode())
