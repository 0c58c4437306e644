"""Merging the buckets' indexes into one order, a page at a time, without reading more than a page needs.

Each bucket is sorted by itself. A page of 50 takes few rows from each of 64 buckets, so a bucket is first asked for
its share and again only when that is used up.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from sessionstore.sessions import layout
from sessionstore.sessions.exceptions import Unreadable
from sessionstore.sessions.paging import Position
from sessionstore.sessions.redis.client import Argument, Client

MAX_WINDOW = 1024


@dataclass(slots=True)
class _Bucket:
    """What was read of one bucket's index, and where to go on."""

    index: str
    window: int
    after: Position | None
    oldest_ms: int | None
    """Rows from before are not wanted."""
    found: list[Position] = field(default_factory=list)
    """Read and not yet given out, the next one last."""
    complete: bool = False

    @property
    def dry(self) -> bool:
        return not self.found and not self.complete

    def command(self) -> tuple[Argument, ...]:
        newest = "+inf" if self.after is None else str(self.after.updated_ms)
        oldest = "-inf" if self.oldest_ms is None else str(self.oldest_ms)
        return "ZREVRANGEBYSCORE", self.index, newest, oldest, "WITHSCORES", "LIMIT", 0, self.window

    def take_in(self, rows: Sequence[Position]) -> None:
        """Keep what is behind `after`; Redis cuts by score, so rows of its very millisecond come again.

        Going on from a row and not from an offset, a row that moves to the front meanwhile makes no other be skipped.
        """
        self.complete = len(rows) < self.window
        self.found = [row for row in reversed(rows) if self.after is None or row.rank < self.after.rank]
        self.after = rows[-1] if self.found else self.after
        # A walk that goes on takes larger steps; so does one through more rows of one millisecond than a window holds.
        self.window = min(self.window * 2, MAX_WINDOW) if self.found else self.window * 4


class Merge:
    """Rows of all buckets behind `after`, newest first."""

    def __init__(
        self, client: Client, indexes: Sequence[str], after: Position | None, limit: int, oldest_ms: int | None = None
    ) -> None:
        """Prepare; nothing is read yet. `limit` is what the caller will want, roughly."""
        self._client = client
        window = 4 + 2 * limit // layout.BUCKETS
        self._buckets = [_Bucket(index, window, after, oldest_ms) for index in indexes]

    async def rest(self) -> AsyncIterator[list[Position]]:
        """Go through all rows in no order, some of them at a time."""
        while left := [bucket for bucket in self._buckets if bucket.dry]:
            await self._fill(left)
            for bucket in left:
                yield bucket.found
                bucket.found = []

    async def take(self, count: int) -> list[Position]:
        """Return the next `count` rows, fewer at the end."""
        taken: list[Position] = []
        while len(taken) < count:
            await self._fill([bucket for bucket in self._buckets if bucket.dry])
            if any(bucket.dry for bucket in self._buckets):
                continue
            heap = [(_newest_first(bucket.found[-1]), i) for i, bucket in enumerate(self._buckets) if bucket.found]
            if not heap:
                break
            heapq.heapify(heap)
            self._drain(heap, taken, count)
        return taken

    def _drain(self, heap: list[tuple[_Order, int]], taken: list[Position], count: int) -> None:
        """Move rows to `taken` until there are `count`, or a bucket must be asked again before the order is known."""
        while heap and len(taken) < count:
            _, i = heapq.heappop(heap)
            bucket = self._buckets[i]
            taken.append(bucket.found.pop())
            if bucket.dry:
                return
            if bucket.found:
                heapq.heappush(heap, (_newest_first(bucket.found[-1]), i))

    async def _fill(self, buckets: Sequence[_Bucket]) -> None:
        answers = await self._client.read_many([bucket.command() for bucket in buckets])
        for bucket, answer in zip(buckets, answers, strict=True):
            if isinstance(answer, Unreadable):
                raise Unreadable(f"the index {bucket.index} cannot be read: {answer}")
            bucket.take_in([_position(*row, bucket.index) for row in zip(answer[::2], answer[1::2], strict=True)])


class _Order:
    """Turns an order around for a heap, which gives its smallest first."""

    __slots__ = ("rank",)

    def __init__(self, rank: tuple[int, bytes]) -> None:
        self.rank = rank

    def __lt__(self, other: _Order) -> bool:
        return self.rank > other.rank


def _newest_first(position: Position) -> _Order:
    return _Order(position.rank)


def _position(member: bytes, score: bytes, index: str) -> Position:
    try:
        return Position(int(float(score)), member.decode())
    except ValueError as error:
        raise Unreadable(f"the index {index} holds what is no session") from error
