"""Finding and counting sessions by the buckets' indexes."""

from __future__ import annotations

from collections.abc import Sequence

from sessionstore.sessions import layout, paging
from sessionstore.sessions.exceptions import Unreadable
from sessionstore.sessions.paging import Position
from sessionstore.sessions.query import Query
from sessionstore.sessions.record import Page, SessionInfo, SessionKey, Stats, Status
from sessionstore.sessions.redis import records
from sessionstore.sessions.redis.client import Client, Command
from sessionstore.sessions.redis.listing import Merge

_STEP = 500
"""Rows that are looked at in one round trip where not every one is wanted."""

_BUCKETS = range(layout.BUCKETS)


class Searcher:
    """Reads rows. Nothing is kept between calls."""

    def __init__(self, client: Client, names: layout.KeyNames) -> None:
        self._client = client
        self._names = names
        active, archived = [names.index(b) for b in _BUCKETS], [names.archived(b) for b in _BUCKETS]
        self._indexes = {Status.ACTIVE: active, Status.ARCHIVED: archived, Status.DELETED: [], None: active + archived}
        self._expiring = [names.expiring(b) for b in _BUCKETS]

    async def page(self, query: Query, limit: int, cursor: str | None, most: int | None) -> Page:
        """Return the next page of what `query` finds, after looking at about `most` rows at most.

        Raises: Unreadable, with the page without what cannot be read.
        """
        paging.check_limit(limit)
        merge = Merge(
            self._client, self._indexes[query.status], _after(query, cursor), limit, oldest_ms=query.updated_from_ms
        )
        found: dict[str, tuple[Position, SessionInfo]] = {}
        damaged: dict[SessionKey, Unreadable] = {}
        looked, last = 0, None
        while len(found) <= limit and (most is None or looked < most):
            positions = await merge.take(_step(query, limit + 1 - len(found)))
            if not positions:
                last = None
                break
            looked, last = looked + len(positions), positions[-1]
            for position, row in await self._rows(query.agent, positions, damaged):
                if query.matches(row):
                    found[position.member] = position, row
        kept = list(found.values())[:limit]
        if len(found) > limit:
            last = kept[-1][0]
        page = Page(tuple(row for _, row in kept), last.encode() if last else None)
        if damaged:
            raise Unreadable(str(next(iter(damaged.values()))), keys=tuple(damaged), page=page)
        return page

    async def count(self, agent: str | None, status: Status | None) -> int:
        """Return how many rows a query for `agent` and `status` finds. Without an agent, no row is looked at."""
        if agent is not None:
            return await self._count_of(agent, status)
        commands: list[Command] = [("ZCARD", index) for index in self._indexes[status]]
        total = sum(await self._numbers(commands))
        # Archived ones do not expire.
        return total - (await self.expired_count() if status in (None, Status.ACTIVE) else 0)

    async def expired_count(self) -> int:
        """Return how many sessions have expired and are not swept."""
        return sum(await self.expired_counts())

    async def expired_counts(self) -> list[int]:
        """Return the same for each bucket."""
        now = self._client.now_ms()
        return await self._numbers([("ZCOUNT", key, "-inf", now) for key in self._expiring])

    async def stats(self) -> Stats:
        """Return what the keyspace holds, read in one round trip."""
        now = self._client.now_ms()
        commands: list[Command] = [("ZCARD", key) for key in self._indexes[None]]
        commands += [("ZCOUNT", key, "-inf", now) for key in self._expiring]
        commands += [("HLEN", self._names.archives(bucket)) for bucket in _BUCKETS]
        found = await self._numbers(commands)
        size = layout.BUCKETS
        active, archived, expired, archives = (sum(found[i : i + size]) for i in range(0, 4 * size, size))
        return Stats(active - expired, archived, expired, archives)

    async def _count_of(self, agent: str, status: Status | None) -> int:
        expired: set[str] = set()
        till_now = Position(self._client.now_ms() + 1, "")
        async for positions in Merge(self._client, self._expiring, till_now, paging.MAX_LIMIT).rest():
            expired.update(position.member for position in positions)
        total = 0
        async for positions in Merge(self._client, self._indexes[status], None, paging.MAX_LIMIT).rest():
            total += sum(_is_of(agent, position) and position.member not in expired for position in positions)
        return total

    async def _rows(
        self, agent: str | None, positions: Sequence[Position], damaged: dict[SessionKey, Unreadable]
    ) -> list[tuple[Position, SessionInfo]]:
        """Read the rows that an index names; those deleted or expired meanwhile are left out.

        Args:
            damaged: takes those that cannot be read.
        """
        wanted = [position for position in positions if agent is None or _is_of(agent, position)]
        names = [records.session_key_of(*layout.split_member(position.member)) for position in wanted]
        answers = await self._client.read_many(
            [("HMGET", self._names.entry(name.agent, name.key), *records.ROW_FIELDS) for name in names]
        )
        now = self._client.now_ms()
        rows: list[tuple[Position, SessionInfo]] = []
        for position, name, answer in zip(wanted, names, answers, strict=True):
            try:
                if isinstance(answer, Unreadable):
                    raise records.unreadable(name, str(answer))
                row = records.row_of(name, answer)
            except Unreadable as error:
                damaged[name] = error
                continue
            if row is not None and (row.expires_ms is None or row.expires_ms > now):
                rows.append((position, row))
        return rows

    async def _numbers(self, commands: Sequence[Command]) -> list[int]:
        answers = await self._client.read_many(commands)
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, Unreadable):
                raise Unreadable(f"{command[1]!s} cannot be read: {answer}")
        return answers


def _after(query: Query, cursor: str | None) -> Position | None:
    """Return the place behind which to look; the earlier of the cursor's and the query's."""
    places = [] if cursor is None else [Position.decode(cursor)]
    if query.updated_before_ms is not None:
        places.append(Position(query.updated_before_ms, ""))
    return min(places, key=lambda place: place.rank, default=None)


def _step(query: Query, missing: int) -> int:
    return missing if query == Query(status=query.status) else max(missing, _STEP)


def _is_of(agent: str, position: Position) -> bool:
    return position.member.startswith(f"{agent}:")
