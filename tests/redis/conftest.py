from __future__ import annotations

import os

import pytest

from tests.redis import servers


@pytest.fixture(params=servers.binaries(), ids=os.path.basename)
def binary(request: pytest.FixtureRequest) -> str:
    """The server's program: Redis, Valkey, and what SESSIONSTORE_REDIS_SERVERS adds."""
    assert isinstance(request.param, str)
    return request.param
