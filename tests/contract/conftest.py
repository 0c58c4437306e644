"""The backends that the one suite runs on. Redis is real, and spoken to with a gateway's rights and no more."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sessionstore.sessions import SessionStorage, Store, open_store
from tests import mongo_server, redis_server, redis_topologies

DECLARED: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "capabilities.yaml").read_text())
_keyspaces = (f"contract-{number}" for number in itertools.count(1))


@dataclass(frozen=True)
class Backend:
    """One backend, empty, as one test has it."""

    name: str
    config: SessionStorage
    url: str
    declared: dict[str, Any]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_server.RedisServer]:
    with redis_server.running(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_server.RedisServer]:
    with redis_server.running(tmp_path_factory.mktemp("valkey"), binary=redis_server.valkey_binary()) as running:
        yield running


@pytest.fixture(scope="session")
def sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_topologies.SentinelTopology]:
    with redis_topologies.with_sentinels(tmp_path_factory.mktemp("sentinel")) as running:
        yield running


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_topologies.ClusterTopology]:
    with redis_topologies.cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="session")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mongo_server.MongoServer]:
    with mongo_server.running(tmp_path_factory.mktemp("mongodb")) as running:
        yield running


@pytest.fixture
def keyspace() -> str:
    return next(_keyspaces)


@pytest.fixture
def redis_config(server: redis_server.RedisServer, keyspace: str) -> SessionStorage:
    return server.add_user(keyspace)


@pytest.fixture(params=DECLARED)
def backend(request: pytest.FixtureRequest, tmp_path: Path, keyspace: str) -> Backend:
    plain = _plain(request, tmp_path, keyspace)
    return encrypted(plain, tmp_path) if "over" in plain.declared else plain


def encrypted(plain: Backend, directory: Path) -> Backend:
    """Encrypt with the second of two keys."""
    files = [directory / "old.key", directory / "new.key"]
    for number, file in enumerate(files):
        file.write_bytes(bytes([number]) * 32)
        file.chmod(0o600)
    named = ",".join(map(str, files))
    config = dataclasses.replace(plain.config, encryption_key_files=tuple(map(str, files)))
    separator = "&" if "?" in plain.url else "?"
    return dataclasses.replace(plain, config=config, url=f"{plain.url}{separator}encryption_key_files={named}")


def _plain(request: pytest.FixtureRequest, tmp_path: Path, keyspace: str) -> Backend:
    name = request.param
    declared = DECLARED[name]
    if "server" in declared:
        server = request.getfixturevalue(declared["server"])
        config = server.add_user(keyspace)
        return Backend(name, config, server.url(config), declared)
    if declared["processes"]:
        directory = str(tmp_path / "state")
        return Backend(name, SessionStorage(backend=name, state_dir=directory), f"{name}://{directory}", declared)
    kind = declared.get("over", name)
    return Backend(name, SessionStorage(backend=kind), f"{kind}://", declared)


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    async with open_store(backend.config) as opened:
        yield opened
