"""The feed of a keyspace, read: one stream for each bucket, merged by time.

A place in a stream is the id of the last event that was read, 0 where there was none. Reading goes on *at* that event
and not behind it: that it is still there shows that nothing between was trimmed, and that the server has not lost what
was read already (docs/design/0007-protocol.md, "The feed").
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sessionstore.sessions import feed, layout
from sessionstore.sessions.exceptions import FeedLost, InvalidKey, Unreadable
from sessionstore.sessions.feed import Place
from sessionstore.sessions.record import Change, Changes, Operation
from sessionstore.sessions.redis import records
from sessionstore.sessions.redis.client import Client, Command

Event = tuple[bytes, list[bytes]]
"""A stream's entry: id, and field, value, field, value…"""

_NEW = ""
"""The id in the cursor of a keyspace that nobody has written to yet: it is anybody's who begins there."""
_ID = re.compile(r"\d{1,20}-\d{1,20}")
_EVENT = re.compile(rb"(\d+) (\w+) ([A-Za-z0-9._-]+):(.+)", re.DOTALL)
_TRIMMED = "changes behind the cursor are not kept any more, or the store lost them; take a new position and walk"


@dataclass(slots=True)
class _Stream:
    """One bucket's stream, as one call reads it."""

    key: str
    place: Place
    found: list[Event]
    """Behind `place`, read and not yet told."""
    full: bool = True
    """There may be more than was read."""

    def command(self, count: int) -> Command:
        return "XRANGE", self.key, self._last or "-", "+", "COUNT", count + bool(self._last)

    def take_in(self, answer: list[Event] | Unreadable, count: int) -> None:
        """Raises: FeedLost; Unreadable."""
        if isinstance(answer, Unreadable):
            raise Unreadable(f"the feed {self.key} cannot be read: {answer}")
        last = self._last
        if last:
            if not answer or answer[0][0] != last:
                raise FeedLost(_TRIMMED)
            answer = answer[1:]
        self.found += answer
        self.full = len(answer) == count

    @property
    def _last(self) -> bytes:
        return self.found[-1][0] if self.found else str(self.place or "").encode()


class FeedReader:
    """Reads the feed. A cursor is all it goes by; nothing is kept between calls."""

    def __init__(self, client: Client, names: layout.KeyNames) -> None:
        self._client = client
        self._id_of: Command = ("HGET", names.meta, "id")
        self._streams = [names.feed(bucket) for bucket in range(layout.BUCKETS)]

    async def position(self) -> str:
        """Return the cursor of now. Raises: Unreadable."""
        ends: list[Command] = [("XREVRANGE", key, "+", "-", "COUNT", 1) for key in self._streams]
        store_id, *answers = await self._client.read_many([self._id_of, *ends])
        for key, answer in zip(self._streams, answers, strict=True):
            if isinstance(answer, Unreadable):
                raise Unreadable(f"the feed {key} cannot be read: {answer}")
        return feed.encode(_text(store_id), [answer[0][0].decode() if answer else 0 for answer in answers])

    async def read(self, cursor: str, limit: int, wait_s: float) -> Changes:
        """Return what follows, after waiting for it if need be. Raises: FeedLost; InvalidKey; Unreadable."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_s
        while True:
            found = await self._read(cursor, limit)
            left = end - loop.time()
            if found.items or left <= 0:
                return found
            cursor = found.cursor
            await self._wait(cursor, left)

    async def _read(self, cursor: str, limit: int) -> Changes:
        share = 1 + 2 * limit // layout.BUCKETS
        store_id, streams = await self._first(cursor, share)
        while (left := limit - sum(len(stream.found) for stream in streams)) > 0:
            busy = [stream for stream in streams if stream.full]
            if not busy:
                break
            # What one bucket does not need, those that have more may have.
            await self._fill(busy, max(share, left // len(busy)))
        events = sorted(
            ((_order(event[0]), number, event) for number, stream in enumerate(streams) for event in stream.found)
        )[:limit]
        for _, number, (place, _) in events:
            streams[number].place = place.decode()
        items = tuple(_change(event, streams[number].key) for _, number, event in events)
        return Changes(items, feed.encode(store_id, [stream.place for stream in streams]))

    async def _first(self, cursor: str, count: int) -> tuple[str, list[_Stream]]:
        """Read the first part of each stream, and the store's id at the same time."""
        of, places = _split(cursor)
        streams = [_Stream(key, place, []) for key, place in zip(self._streams, places, strict=True)]
        commands = [stream.command(count) for stream in streams]
        store_id, *answers = await self._client.read_many([self._id_of, *commands])
        if of != _NEW:
            feed.decode(cursor, _text(store_id), layout.BUCKETS)
        for stream, answer in zip(streams, answers, strict=True):
            stream.take_in(answer, count)
        await self._check_beginnings(streams)
        return _text(store_id), streams

    async def _fill(self, streams: Sequence[_Stream], count: int) -> None:
        answers = await self._client.read_many([stream.command(count) for stream in streams])
        for stream, answer in zip(streams, answers, strict=True):
            stream.take_in(answer, count)

    async def _check_beginnings(self, streams: Sequence[_Stream]) -> None:
        """Raise FeedLost where a stream that was empty at the cursor has been trimmed since."""
        doubtful = [stream for stream in streams if not stream.place and stream.full]
        lengths = await self._client.read_many([("XLEN", stream.key) for stream in doubtful])
        if any(length >= layout.FEED_LENGTH for length in lengths):
            raise FeedLost(_TRIMMED)

    async def _wait(self, cursor: str, seconds: float) -> None:
        """Return when there may be something behind the cursor, or time is over."""
        places = (place or "0-0" for place in _split(cursor)[1])
        await self._client.wait_for_any(dict(zip(self._streams, places, strict=True)), seconds, count=1)


def _split(cursor: str) -> tuple[Place, list[Place]]:
    """Return the id of a cursor's store, and its places. Raises: InvalidKey."""
    of, places = feed.split(cursor, layout.BUCKETS)
    for place in places:
        if place != 0 and not (isinstance(place, str) and _ID.fullmatch(place)):
            raise InvalidKey("the cursor is not one that position or changes gave out")
    return of, places


def _order(place: bytes) -> tuple[int, int]:
    moment, _, number = place.partition(b"-")
    return int(moment), int(number)


def _change(event: Event, key: str) -> Change:
    found = _EVENT.fullmatch(event[1][1]) if len(event[1]) == 2 else None
    try:
        if found is None:
            raise ValueError("it is of another form")
        name = records.session_key_of(found[3].decode(), found[4].decode())
        return Change(name, int(found[1]), Operation(found[2].decode()))
    except ValueError as error:
        raise Unreadable(f"the feed {key} holds what is no event, at {event[0].decode()}: {error}") from error


def _text(value: bytes | None) -> str:
    return (value or b"").decode()
