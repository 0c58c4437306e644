"""What a keyspace is in a database: its mark, its indexes."""

from __future__ import annotations

import asyncio
from typing import Any

from pymongo.errors import DuplicateKeyError

from sessionstore.sessions import feed
from sessionstore.sessions.exceptions import ConfigurationError
from sessionstore.sessions.mongodb.client import Client, Database
from sessionstore.sessions.mongodb.strand import Document

LAYOUT = 1

# Collection -> its index. FerretDB sorts by none of them, but finds ranges.
_INDEXES: dict[str, list[tuple[list[tuple[str, int]], dict[str, Any]]]] = {
    "sessions": [
        # `list`, `search`, `count`.
        ([("k", 1), ("s", 1), ("u", -1), ("m", -1)], {}),
        # What somebody should look at: events to be told, chunks to be forgotten, a time that is over.
        ([("z", 1)], {"sparse": True}),
    ],
    # Nobody tells a change twice.
    "feed": [([("e", 1)], {"unique": True})],
}


class Keyspace:
    """One keyspace of one database."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name
        self._id: str | None = None
        self._making = asyncio.Lock()

    async def id(self) -> str:
        """Return the keyspace's id, which change feed cursors carry; where there is none yet, make it.

        Raises: ConfigurationError for a layout that this version does not know.
        """
        if self._id is None:
            async with self._making:
                self._id = self._id or await self._found() or await self._made()
        return self._id

    async def _found(self) -> str | None:
        name = self._name
        mark = await self._client.again(lambda database: database.meta.find_one({"_id": name}))
        if mark is None:
            return None
        if mark.get("layout") != LAYOUT:
            raise ConfigurationError(
                f"keyspace {name} has layout {mark.get('layout')}, and this version knows {LAYOUT}; "
                "use the version that wrote it, or a later one"
            )
        return str(mark["id"])

    async def _made(self) -> str:
        mark: Document = {"_id": self._name, "layout": LAYOUT, "id": feed.new_id()}
        # The mark comes last: where it is, the indexes are.
        await self._client.again(_index)

        async def insert(database: Database) -> None:
            await database.meta.insert_one(mark)

        try:
            await self._client.again(insert, writes=True)
        except DuplicateKeyError:
            return await self._found() or str(mark["id"])
        return str(mark["id"])


async def _index(database: Database) -> None:
    for collection, indexes in _INDEXES.items():
        for keys, options in indexes:
            await database[collection].create_index(keys, **options)
