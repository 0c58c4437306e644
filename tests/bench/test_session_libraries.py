"""One load and one save of a session beside the session libraries that one would pick else, on the same Redis.

Each is used as its documentation says, with its own JSON, and keeps the same session. Ours keeps a revision, an index
and a feed besides; theirs are GET and SET of one value.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from aiohttp_session.redis_storage import RedisStorage
from starsessions import JsonSerializer
from starsessions.stores.redis import RedisStore

from sessionstore.sessions import open_store
from tests import redis_server
from tests.bench.conftest import session
from tests.bench.node_library import connect_redis
from tests.bench.side_by_side import OURS, Call, Table, calls, in_turns

KEY = "agent:main:telegram:direct:123456789"
SESSION = session()
CALLS = {1: 300, 32: 1600}


def url(server: redis_server.RedisServer) -> str:
    return f"redis://{redis_server.ADMIN}:{redis_server.ADMIN_PASSWORD}@127.0.0.1:{server.port}"


@pytest.fixture
async def connection(server: redis_server.RedisServer) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(url(server)) as connection:
        yield connection


async def starsessions(connection: redis.asyncio.Redis) -> dict[str, Call]:
    """Load and save as its SessionHandler does them."""
    store, serializer = RedisStore(connection=connection), JsonSerializer()

    async def load() -> object:
        return serializer.deserialize(await store.read("one", lifetime=3600))

    async def save() -> object:
        return await store.write("one", serializer.serialize(SESSION), lifetime=3600, ttl=3600)

    return {"load": load, "save": save}


async def aiohttp_session(connection: redis.asyncio.Redis) -> dict[str, Call]:
    storage, response = RedisStorage(connection), web.Response()
    first = await storage.load_session(make_mocked_request("GET", "/"))
    first.update(SESSION)
    await storage.save_session(make_mocked_request("GET", "/"), response, first)
    cookie = f"{storage.cookie_name}={response.cookies[storage.cookie_name].value}"
    request = make_mocked_request("GET", "/", headers={"Cookie": cookie})
    loaded = await storage.load_session(request)
    return {
        "load": lambda: storage.load_session(request),
        "save": lambda: storage.save_session(request, response, loaded),
    }


@pytest.mark.parametrize("concurrency", CALLS)
@pytest.mark.parametrize("name", ["load", "save"])
async def test_beside_session_libraries(
    name: str, concurrency: int, server: redis_server.RedisServer, connection: redis.asyncio.Redis, table: Table
) -> None:
    count = CALLS[concurrency]
    async with (
        open_store(server.add_user(f"libraries-{name}-{concurrency}")) as store,
        connect_redis(url(server), SESSION) as node,
    ):
        await store.set(KEY, SESSION)

        async def load() -> object:
            found = await store.get(KEY)
            return found and found.entry["channel"]

        ours: dict[str, Call] = {"load": load, "save": lambda: store.set(KEY, SESSION)}
        theirs = {"starsessions": await starsessions(connection), "aiohttp-session": await aiohttp_session(connection)}
        await theirs["starsessions"]["save"]()
        contenders = {
            OURS: calls(ours[name], count, concurrency),
            **{who: calls(does[name], count, concurrency) for who, does in theirs.items()},
            "connect-redis (node)": node.turn(name, count, concurrency),
        }
        table.speed(f"{name} a session, {concurrency} at once", await in_turns(contenders), ">= 1.0")
