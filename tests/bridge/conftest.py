from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest

from tests import redis_server
from tests.redis_server import RedisServer

NewURL = Callable[[], str]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for all races, each in a keyspace of its own."""
    with redis_server.running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def new_url(server: RedisServer) -> NewURL:
    """Give the `--store` URL of a keyspace that nobody has used, each time."""
    return lambda: server.url(server.add_user(f"race-{secrets.token_hex(4)}"))


@pytest.fixture
def url(new_url: NewURL) -> str:
    return new_url()
