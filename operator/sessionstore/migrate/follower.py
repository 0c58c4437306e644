"""Reads a store's feed, and brings what it tells of into the target, so that a kill anywhere in it does no harm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

from sessionstore.migrate import rows
from sessionstore.migrate.bounded import Room
from sessionstore.migrate.carry import Carrier
from sessionstore.migrate.claims import Claims
from sessionstore.migrate.followed import GONE, Left, Memory
from sessionstore.migrate.keeper import Keeper
from sessionstore.migrate.ledger import Ledger
from sessionstore.migrate.mirroring import Mirror
from sessionstore.migrate.pipeline import Options
from sessionstore.migrate.stores import StoreSource
from sessionstore.sessions.exceptions import FeedLost, InvalidKey, Unavailable, Unreadable
from sessionstore.sessions.record import Changes, Session, SessionKey
from sessionstore.sessions.store import Store

EVENTS = 1000
"""Of one request. Fewer in an answer means that the end of the feed was reached."""
WIDTH = 16
"""Sessions that are brought in at once."""
GROUP = 100


class Follower:
    """Reads the feed, and brings in what it tells of."""

    def __init__(self, source: StoreSource, target: Store, options: Options, memory: Memory, ledger: Ledger) -> None:
        """Go on from where `memory` says. `ledger` knows what the copy left."""
        self._source, self._target = source, target
        self._options, self._memory, self._ledger = options, memory, ledger
        keeper = Keeper(target, options.source_name, options.folder)
        claims = Claims(target, options.source_name, ledger)
        carrier = Carrier(target, keeper, options.policy, Room(), claims)
        self._mirror = Mirror(source, target, carrier, self._is_ours)
        self.seen = 0
        """Events so far."""
        self._lag_s: float | None = None
        self._unsure: set[SessionKey] = set()
        """Sessions that we may have written, and do not know."""

    async def step(self, wait_s: float) -> float | None:
        """Read what comes next and bring it in; return the lag in seconds, None where there is more.

        The lag is the age of the oldest change that the target may lack, where the end of the feed was reached.
        """
        asked_at = time.monotonic()
        found = await self._read(wait_s)
        if not found.items:
            asked_at = time.monotonic()
        self.seen += len(found.items)
        await self._bring_all(dict.fromkeys(change.key for change in found.items), found.cursor)
        self._lag_s = time.monotonic() - asked_at if len(found.items) < EVENTS else None
        return self._lag_s

    async def is_still(self) -> bool:
        """Tell whether nobody has changed the source since it is followed in this run."""
        await self.drain()
        return not self.seen

    async def drain(self) -> None:
        """Bring in all that the feed has."""
        before = -1
        while before != self.seen:
            before = self.seen
            await self.step(0.0)

    async def look_for_deleted(self) -> None:
        """Delete what we brought in and the source has no more: an expiry that nobody met is in no feed."""
        for group in _groups(key for key in self._known() if self._memory.left(key) != GONE):
            absent = [key for key, there in zip(group, await self._are_there(group), strict=True) if not there]
            held = await self._options.patience.of(partial(self._target.get_many, absent)) if absent else []
            gone = [key for key, session in zip(absent, held, strict=True) if session is not None]
            if gone:
                await self._bring_all(gone, self._memory.cursor)

    def sentence(self, lag_s: float | None) -> str:
        """Say how it stands."""
        counts = self._mirror.counts
        told = ", ".join(f"{counts[name]:,} {name}" for name in ("created", "changed", "deleted", "conflicts"))
        lag = f"{lag_s:.2f} s behind" if lag_s is not None else "catching up"
        return f"Follow: {lag}, {self.seen:,} changes read: {told}"

    def document(self, pause_s: float | None) -> dict[str, int | float | None]:
        """Return what the report says of it."""
        names = ("created", "changed", "deleted", "conflicts")
        lag_s = None if self._lag_s is None else round(self._lag_s, 3)
        counts = {name: self._mirror.counts[name] for name in names}
        return {"changes": self.seen, **counts, "lagSeconds": lag_s, "pauseSeconds": pause_s}

    # -- the inner workings ---------------------------------------------------------------------

    async def _read(self, wait_s: float) -> Changes:
        store, cursor = self._source.store, self._memory.cursor
        try:
            return await self._options.patience.of(lambda: store.changes(cursor, limit=EVENTS, wait_s=wait_s))
        except InvalidKey as error:
            raise FeedLost("the source is another store than the one that was followed") from error

    async def _bring_all(self, keys: Iterable[SessionKey], cursor: str) -> None:
        """Bring sessions in, and remember that, so that a kill anywhere in it does no harm."""
        self._unsure |= self._memory.doubtful
        wanted = list({*keys, *self._memory.doubtful})
        if not wanted:
            if cursor != self._memory.cursor:
                await self._memory.settle(cursor, {})
            return
        await self._memory.intend([key for group in _groups(iter(wanted)) for key in await self._writable(group)])
        left: dict[SessionKey, Left] = {}
        free = asyncio.Semaphore(WIDTH)

        async def bring(key: SessionKey) -> None:
            async with free:
                left[key] = await self._options.patience.of(partial(self._bring, key))

        try:
            async with asyncio.TaskGroup() as group:
                for key in wanted:
                    group.create_task(bring(key))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        await self._memory.settle(cursor, left)
        self._unsure.clear()

    async def _bring(self, key: SessionKey) -> Left:
        try:
            return await self._mirror.bring(key, self._memory.left(key) or self._carried(key))
        except Unavailable:
            # What was sent may have been done.
            self._unsure.add(key)
            raise

    async def _writable(self, keys: Sequence[SessionKey]) -> list[SessionKey]:
        """Return those that are not in the target, or are ours there."""
        held = await self._options.patience.of(partial(self._target.get_many, keys))
        return [key for key, session in zip(keys, held, strict=True) if session is None or self._is_ours(key, session)]

    def _carried(self, key: SessionKey) -> Left | None:
        """Return how the copy left a session."""
        row = self._ledger.known(rows.Name("session", key.agent, key.key))
        return Left(row.mark, row.facts.stamp) if row and row.run > rows.ELSEWHERE else None

    def _is_ours(self, key: SessionKey, held: Session) -> bool:
        """Tell whether a session of the target is as we left it, or was made by us in any case.

        What was being written when we were killed is ours, whatever became of it. So is what a copy made that was
        killed, or that met a session while it changed, and had no time to note, where the target was empty before.
        """
        if key in self._unsure:
            return True
        left, carried, head = self._memory.left(key), self._carried(key), self._memory.head
        known = [one.mark for one in (left, carried) if one]
        if not known:
            return head.was_empty
        if rows.mark_of(held) in known:
            return True
        return head.was_empty and head.was_interrupted and known[0] is not None

    def _known(self) -> Iterator[SessionKey]:
        for name in self._ledger.known_names("session"):
            yield SessionKey(name.agent, name.name)
        yield from self._memory.keys()

    async def _are_there(self, keys: Sequence[SessionKey]) -> list[bool]:
        try:
            found = await self._options.patience.of(partial(self._source.store.get_many, keys))
        except Unreadable:
            return (
                [True] * len(keys) if len(keys) == 1 else [one for key in keys for one in await self._are_there([key])]
            )
        return [session is not None for session in found]


def _groups(keys: Iterator[SessionKey]) -> Iterator[list[SessionKey]]:
    while group := list(islice(keys, GROUP)):
        yield group
