"""What the library costs over MongoDB's wire: `get`, `set` and `append` beside PyMongo doing the same bytes.

What ours sends is recorded, command by command. Beside it PyMongo runs as many commands of the same kinds with the same
documents, on a copy of the session; it compares no version, so it need not know what it would compare.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo import monitoring

from sessionstore.sessions import SessionStorage, Store, open_store
from tests import mongo_server
from tests.bench.conftest import session
from tests.bench.side_by_side import OURS, Call, Table, calls, in_turns

KEY = "agent:main:telegram:direct:123456789"
ENTRY = json.dumps(session()).encode()
LINE = json.dumps({"type": "message", "message": {"role": "user", "content": "y" * 500}}).encode()
CALLS = {1: 60, 32: 320}
LINES = 28
"""In the document of a session that is appended to, on average: beyond 32 KB ours begins a new chunk."""


class Recorder(monitoring.CommandListener):
    """Keeps what PyMongo sends. It stays registered for the process; what follows costs ours and theirs the same."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.commands.append(dict(event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


@pytest.fixture(scope="module")
def mongo(tmp_path_factory: pytest.TempPathFactory, table: Table) -> Iterator[mongo_server.MongoServer | None]:
    with contextlib.ExitStack() as running:
        try:
            yield running.enter_context(mongo_server.running(tmp_path_factory.mktemp("mongo")))
        except RuntimeError as error:
            table.left_out.append(f"MongoDB's wire: {error}")
            yield None


def operation(store: Store, name: str) -> Call:
    return {
        "get": lambda: store.get(KEY),
        "set": lambda: store.set(KEY, ENTRY),
        "append": lambda: store.append(KEY, [LINE]),
    }[name]


async def sent_by(config: SessionStorage, name: str) -> list[dict[str, Any]]:
    """The commands that one call of ours sends, with everything warm."""
    recorder = Recorder()
    monitoring.register(recorder)
    async with open_store(config) as store:
        await store.set(KEY, ENTRY)
        for _ in range(3):
            recorder.commands.clear()
            await operation(store, name)()
        return recorder.commands.copy()


@contextlib.asynccontextmanager
async def bare_driver(config: SessionStorage) -> AsyncIterator[pymongo.AsyncMongoClient[dict[str, Any]]]:
    password = Path(config.mongodb_password_file or "").read_text().strip()
    login = {"username": config.mongodb_username, "password": password}
    async with pymongo.AsyncMongoClient(config.mongodb_host, **login, retryWrites=False, w="majority") as client:
        yield client


async def copied(client: pymongo.AsyncMongoClient[dict[str, Any]], source: str, target: str) -> Any:
    """Copy what ours stores, and its indexes, into a database that only theirs uses."""
    for name in ("sessions", "feed"):
        await client[target][name].drop()
        for index, how in (await client[source][name].index_information()).items():
            if index != "_id_":
                await client[target][name].create_index(how["key"], unique=how.get("unique", False))
    await client[target].sessions.insert_many(await client[source].sessions.find().to_list())
    return client[target]


def repeating(database: Any, commands: list[dict[str, Any]]) -> Call:
    numbers = itertools.count()

    async def one(command: dict[str, Any]) -> None:
        kind, name = next(iter(command.items()))
        collection = database[name]
        if kind == "find":
            await collection.find_one(command["filter"], command.get("projection"))
        elif kind == "insert":
            end = f"~{next(numbers)}"
            new = [one | {"_id": one["_id"] + end, "e": one["e"] + end} for one in command["documents"]]
            await collection.insert_many(new)
        elif kind == "update":
            (update,) = command["updates"]
            await collection.update_one({"_id": update["q"]["_id"]}, update["u"])
        else:
            pushed = command["update"]["$push"]["cur.l"]["$each"]
            push = command["update"]["$push"] | {"cur.l": {"$each": pushed, "$slice": -LINES}}
            await collection.find_one_and_update(
                {"_id": command["query"]["_id"]}, command["update"] | {"$push": push}, command["fields"],
                return_document=pymongo.ReturnDocument.AFTER,
            )  # fmt: skip

    async def all_of_them() -> None:
        for command in commands:
            await one(command)

    return all_of_them


@pytest.mark.parametrize(("name", "concurrency"), [("get", 1), ("get", 32), ("set", 1), ("append", 1)])
async def test_beside_pymongo(
    name: str, concurrency: int, mongo: mongo_server.MongoServer | None, table: Table
) -> None:
    if mongo is None:
        return
    config = mongo.add_user(f"wire-{name}-{concurrency}")
    commands = await sent_by(config, name)
    async with open_store(config) as store, bare_driver(config) as client:
        theirs = repeating(await copied(client, config.mongodb_database, "theirs"), commands)
        await operation(store, name)()
        samples = await in_turns({
            OURS: calls(operation(store, name), CALLS[concurrency], concurrency),
            f"PyMongo, the same {len(commands)}": calls(theirs, CALLS[concurrency], concurrency),
        })  # fmt: skip
        table.speed(f"MongoDB's wire: {name}, {concurrency} at once", samples, ">= 0.8" if concurrency == 1 else "")
