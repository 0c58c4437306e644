"""`list`, `search` and `count`: walking the sessions of a keyspace, newest first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from sessionstore.sessions import paging
from sessionstore.sessions.mongodb import documents
from sessionstore.sessions.mongodb.client import Client, Database
from sessionstore.sessions.mongodb.strand import Document
from sessionstore.sessions.paging import Position
from sessionstore.sessions.query import Query
from sessionstore.sessions.record import Page, SessionInfo, Status

_BATCH = 1_000
_FIRST_WINDOW_MS, _GROWTH = 60_000, 8
_ORDER = [("u", -1), ("m", -1)]
_END_MS = 2**53


class Rows:
    """The rows of one keyspace."""

    def __init__(self, client: Client, keyspace: str) -> None:
        self._client = client
        self._keyspace = keyspace

    async def page(self, query: Query, limit: int, cursor: str | None, now_ms: int, *, ordered: bool) -> Page:
        """Return up to `limit` rows that match; it looks at `paging.SCAN_LIMIT` at most.

        Args:
            ordered: the server finds the newest rows by an index; FerretDB sorts all that it finds.
        """
        paging.check_limit(limit)
        after = Position.decode(cursor) if cursor is not None else None
        items: list[SessionInfo] = []
        looked = 0
        size = min(limit + 1, _BATCH)
        async for info in self._walk(self._filter(query.agent, query.status), after, size, now_ms, ordered):
            looked += 1
            if (info.expires_ms is None or info.expires_ms > now_ms) and query.matches(info):
                items.append(info)
            if len(items) > limit:
                return Page(tuple(items[:limit]), paging.position_of(items[limit - 1]).encode())
            if looked >= paging.SCAN_LIMIT:
                return Page(tuple(items), paging.position_of(info).encode())
        return Page(tuple(items), None)

    async def count(self, agent: str | None, status: Status | None, now_ms: int) -> tuple[int, int]:
        """Return how many there are, and how many more are past their time."""
        chosen = self._filter(agent, status)
        both = await self._client.again(lambda database: database.sessions.count_documents(chosen))
        late = chosen | {"x": {"$lte": now_ms}}
        expired = await self._client.again(lambda database: database.sessions.count_documents(late))
        return both - expired, expired

    def _filter(self, agent: str | None, status: Status | None) -> Document:
        chosen: Document = {"k": self._keyspace}
        # A tombstone is no row, whatever is asked for.
        chosen["s"] = {"$in": list(documents.LIVE)} if status is None else _shown(status)
        return chosen | ({"a": agent} if agent is not None else {})

    async def _walk(
        self, chosen: Document, after: Position | None, size: int, now_ms: int, ordered: bool
    ) -> AsyncIterator[SessionInfo]:
        """Go through all rows behind `after`, `size` at a time."""
        newest = _END_MS
        if after is not None:
            newest = after.updated_ms - 1
            async for info in self._same_moment(chosen, after, size):
                yield info
        for low, high in _windows(newest, now_ms, ordered):
            async for info in self._between(chosen, low, high, size):
                yield info

    async def _between(self, chosen: Document, low: int, high: int, size: int) -> AsyncIterator[SessionInfo]:
        while found := await self._find(chosen | {"u": {"$gte": low, "$lte": high}}, size):
            for info in found:
                yield info
            if len(found) < size:
                return
            last = paging.position_of(found[-1])
            async for info in self._same_moment(chosen, last, size):
                yield info
            high, size = last.updated_ms - 1, _BATCH

    async def _same_moment(self, chosen: Document, after: Position, size: int) -> AsyncIterator[SessionInfo]:
        while True:
            found = await self._find(chosen | {"u": after.updated_ms, "m": {"$lt": after.member}}, size)
            for info in found:
                yield info
            if len(found) < size:
                return
            after = paging.position_of(found[-1])

    async def _find(self, chosen: Document, size: int) -> list[SessionInfo]:
        async def find(database: Database) -> list[Document]:
            return await database.sessions.find(chosen, documents.ROW).sort(_ORDER).limit(size).to_list()

        return [documents.row_of(found) for found in await self._client.again(find)]


def _shown(status: Status) -> str:
    return status.value if status.value in documents.LIVE else ""


def _windows(newest: int, now_ms: int, ordered: bool) -> Iterator[tuple[int, int]]:
    """Cut all times up to `newest` into parts that grow the further back they lie.

    FerretDB sorts everything that a filter finds before it gives the first row: among a million sessions the newest
    are found by asking for those of the last minute first, then of the last nine…
    """
    if ordered:
        yield 0, newest
        return
    width = _FIRST_WINDOW_MS
    low = min(newest, now_ms) - width
    high = newest
    while high >= 0:
        yield max(low, 0), high
        high = low - 1
        width *= _GROWTH
        low = high - width
