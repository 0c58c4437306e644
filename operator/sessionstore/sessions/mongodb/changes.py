"""The change feed: logs without gaps, of which each event is one document. docs/design/0009-mongodb.md, "The feed".

An event is written after the change that it tells, and the changed document remembers it until then: who crashes
between the two leaves an event that anybody can still write, once.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo.errors import BulkWriteError, DuplicateKeyError

from sessionstore.sessions import feed, layout
from sessionstore.sessions.exceptions import FeedLost, Unavailable
from sessionstore.sessions.mongodb import documents
from sessionstore.sessions.mongodb.client import DUPLICATE, Client, Database, insert_one
from sessionstore.sessions.mongodb.strand import Document
from sessionstore.sessions.record import Change, Changes, Operation, SessionKey

STREAMS = 4
"""Logs of one keyspace. Writers of different processes meet at the end of a log; readers ask for each."""
LENGTH = 100_000
"""Events that a log keeps, roughly."""
PAUSE_S = 0.05
"""How often who waits for a change looks."""

_TRIM_EACH = 1_000
_END_IS_FRESH_S = 5.0
_REMEMBERED = 10_000
_UNIQUE = re.compile(r"\be_1\b")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one session."""

    document_id: str
    name: SessionKey
    revision: int
    operation: str

    @property
    def once(self) -> str:
        """Unique in the feed: nobody tells a change twice."""
        return f"{hashlib.sha256(self.document_id.encode()).hexdigest()[:32]}.{self.revision}"


class Feed:
    """The logs of one keyspace."""

    def __init__(self, client: Client, keyspace: str) -> None:
        self._client = client
        self._keyspace = keyspace
        self._streams = [_Stream(client, keyspace, number) for number in range(STREAMS)]
        self._told: OrderedDict[str, int] = OrderedDict()

    def is_told(self, document_id: str, revision: int) -> bool:
        """Return whether this process knows that the feed has a session's changes up to `revision`."""
        return self._told.get(document_id, 0) >= revision

    async def tell(self, document_id: str, name: SessionKey, untold: Sequence[str], revision: int) -> bool:
        """Write the events of a session's last changes, of which the last one led to `revision`.

        Return whether they are written. Where the server is away they are not: the document remembers them.
        """
        known = self._told.get(document_id, 0)
        events = [Event(document_id, name, *one) for one in documents.untold(untold, revision) if one[0] > known]
        stream = self._streams[layout.bucket_of(name.agent, name.key) % STREAMS]
        try:
            await stream.add(events)
        except Unavailable as error:
            _log.warning("a change is made and not told to followers yet: %s", error)
            return False
        self._remember(document_id, revision)
        return True

    async def position(self, store_id: str) -> str:
        """Return the cursor of now."""
        return feed.encode(store_id, await asyncio.gather(*(stream.end() for stream in self._streams)))

    async def after(self, cursor: str, store_id: str, limit: int) -> Changes:
        """Return events behind the cursor. Raises: FeedLost; InvalidKey."""
        seen = [feed.check_reach(0, place, 2**62) for place in feed.decode(cursor, store_id, STREAMS)]
        share = -(-limit // STREAMS)
        parts = await asyncio.gather(
            *(stream.after(place, share) for stream, place in zip(self._streams, seen, strict=True))
        )
        items = tuple(change for part in parts for change in part)
        places = [place + len(part) for place, part in zip(seen, parts, strict=True)]
        return Changes(items, feed.encode(store_id, places))

    def _remember(self, document_id: str, revision: int) -> None:
        self._told[document_id] = max(revision, self._told.pop(document_id, 0))
        while len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)


class _Stream:
    """One log: events with the numbers 1, 2, 3…; each is written behind the last one, or not at all."""

    def __init__(self, client: Client, keyspace: str, number: int) -> None:
        self._client = client
        self._prefix = f"{keyspace}/{number:02x}/"
        self._writing = asyncio.Lock()
        self._waiting: dict[str, Event] = {}
        self._end = 0
        self._end_known = float("-inf")

    async def add(self, events: Iterable[Event]) -> None:
        """Write events that are not there yet, in their order, with all that others want to write just now."""
        mine = {event.once: event for event in events}
        self._waiting |= {once: event for once, event in mine.items() if once not in self._waiting}
        deadline = self._client.deadline()
        while not mine.keys().isdisjoint(self._waiting):
            async with self._writing:
                if not mine.keys().isdisjoint(self._waiting):
                    await self._write(list(self._waiting.values()), deadline)

    async def end(self) -> int:
        """Return the number of the last event."""
        last = await self._client.again(self._find_last)
        return _number(last[0]) if last else 0

    async def after(self, seen: int, limit: int) -> list[Change]:
        """Return the events behind number `seen`. Raises: FeedLost."""
        # The one that was seen last is asked for again: it proves that this is the log it was read from.
        found = await self._client.again(lambda database: self._find(database, max(seen, 1), limit + 1))
        if seen:
            self._check_first(found, seen)
            found = found[1:]
        elif found and _number(found[0]) != 1:
            raise _lost("that old are not kept any more")
        return [_change(event) for number, event in enumerate(found, seen + 1) if _number(event) == number]

    @staticmethod
    def _check_first(found: Sequence[Document], seen: int) -> None:
        if not found:
            raise _lost("that were read already are gone")
        if _number(found[0]) != seen:
            raise _lost("behind the cursor are not kept any more")

    async def _write(self, events: list[Event], deadline: float) -> None:
        """Put events behind the last one; each that is there takes its event off the list of those that wait."""
        while events:
            end = await self._known_end(deadline)
            wanted = [self._document(end + place, event) for place, event in enumerate(events, 1)]
            failed = await self._insert(wanted, deadline)
            written = len(events) if failed is None else failed["index"]
            self._end = end + written
            for event in events[:written]:
                self._waiting.pop(event.once, None)
            events = events[written:]
            if failed is not None and _UNIQUE.search(str(failed.get("keyPattern", "")) + failed["errmsg"]):
                self._waiting.pop(events.pop(0).once, None)
            elif failed is not None:
                self._end_known = float("-inf")
            await self._trim(end, self._end, deadline)

    async def _insert(self, wanted: list[Document], deadline: float) -> dict[str, Any] | None:
        """Return the first that could not be written because of another document, or None."""

        async def insert(database: Database) -> None:
            if len(wanted) == 1:
                await insert_one(database, "feed", wanted[0])
            else:
                await database.feed.insert_many(wanted, ordered=True)

        try:
            await self._client.again(insert, deadline, writes=True)
        except DuplicateKeyError as error:
            return {"index": 0, **(error.details or {})}
        except BulkWriteError as error:
            (failed,) = error.details["writeErrors"]
            if failed["code"] != DUPLICATE:
                raise Unavailable(f"{self._client.where}: {failed['errmsg']}") from error
            return dict(failed)
        return None

    async def _known_end(self, deadline: float) -> int:
        # What is known is believed for a short time: a log that others write may have been trimmed past it meanwhile,
        # and an event behind that place would be one that no follower sees.
        loop = asyncio.get_running_loop()
        if loop.time() - self._end_known > _END_IS_FRESH_S:
            last = await self._client.again(self._find_last, deadline)
            self._end, self._end_known = _number(last[0]) if last else 0, loop.time()
        return self._end

    async def _trim(self, before: int, now: int, deadline: float) -> None:
        if before // _TRIM_EACH == now // _TRIM_EACH or now <= LENGTH:
            return
        span = {"$gte": self._prefix, "$lt": self._name(now - LENGTH)}
        await self._client.again(lambda database: database.feed.delete_many({"_id": span}), deadline)

    async def _find_last(self, database: Database) -> list[Document]:
        span = {"$gte": self._prefix, "$lt": self._name(16**12 - 1)}
        return await database.feed.find({"_id": span}).sort("_id", -1).limit(1).to_list()

    async def _find(self, database: Database, first: int, limit: int) -> list[Document]:
        span = {"$gte": self._name(first), "$lt": self._name(16**12 - 1)}
        return await database.feed.find({"_id": span}).sort("_id", 1).limit(limit).to_list()

    def _document(self, number: int, event: Event) -> Document:
        member = layout.member(event.name.agent, event.name.key)
        return {
            "_id": self._name(number),
            "e": event.once,
            "m": member,
            "r": event.revision,
            "o": event.operation,
        }

    def _name(self, number: int) -> str:
        return f"{self._prefix}{number:012x}"


def _number(event: Document) -> int:
    return int(str(event["_id"])[-12:], 16)


def _change(event: Document) -> Change:
    try:
        agent, key = layout.split_member(event["m"])
        return Change(SessionKey(agent, key), int(event["r"]), Operation(event["o"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise documents.unreadable(f"event {event.get('_id')} of the feed", error) from error


def _lost(what: str) -> FeedLost:
    return FeedLost(f"changes {what}; take a new position and walk")
