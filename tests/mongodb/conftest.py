"""One server for the tests that leave it alone, and one of its own for each that does not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionstore.sessions import SessionStorage
from tests import mongo_server
from tests.mongo_server import MongoServer

_keyspaces = (f"mongodb-{number}" for number in itertools.count(1))


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    with mongo_server.running(tmp_path_factory.mktemp("mongodb")) as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[MongoServer]:
    with mongo_server.running(tmp_path / "server") as running:
        yield running


@pytest.fixture
def config(shared_server: MongoServer) -> SessionStorage:
    return shared_server.add_user(next(_keyspaces))
