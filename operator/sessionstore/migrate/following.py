"""Store to store while the source is in use: copy all of it, follow its feed until the two are level, then prove it.

The place in the feed is taken before the copy, so nothing is missed; what it tells of is brought in as it is when it
is looked at, so an event may be met twice without harm. What a killed follower needs to go on lies in the target
(`followed`). A feed that does not reach back any more costs another copy, which the ledger makes short, and a look at
what the source has no more.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

from sessionstore.migrate import pipeline, rows
from sessionstore.migrate.bounded import Room
from sessionstore.migrate.carry import Carrier
from sessionstore.migrate.claims import Claims
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.followed import GONE, Head, Left, Memory
from sessionstore.migrate.journal import Journal
from sessionstore.migrate.keeper import Keeper
from sessionstore.migrate.ledger import Ledger
from sessionstore.migrate.mirroring import Mirror
from sessionstore.migrate.pipeline import Options
from sessionstore.migrate.progress import Watch
from sessionstore.migrate.report import Report
from sessionstore.migrate.stores import StoreSource
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions.exceptions import FeedLost, InvalidKey, Unavailable, Unreadable
from sessionstore.sessions.record import Changes, Session, SessionKey
from sessionstore.sessions.store import Capability, Store

EVENTS = 1000
"""Of one request. Fewer in an answer means that the end of the feed was reached."""
WAIT_S = 0.5
LEVEL_S = 1.0
"""A lag below this is level."""
TELL_S = 5.0
WIDTH = 16
"""Sessions that are brought in at once."""
GROUP = 100


@dataclass(frozen=True, slots=True)
class Terms:
    """When following ends.

    Attributes:
        stays: until `stop` is set, which says that the writers are stopped.
        fence: a command that stops them; it is run once the two are level.
        tell: takes a sentence for people, now and then.
    """

    stays: bool = False
    fence: str | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tell: Callable[[str], None] = lambda text: None


@dataclass(frozen=True, slots=True)
class Both:
    """Where from and where to. `watch` is told of the phases of the copy and of the proof."""

    source: StoreSource
    target: Store
    scratch: Scratch
    watch: Watch


def can_follow(source: Store, target: Store) -> bool:
    """Tell whether the one has a feed, and the other a place to remember how far it was followed."""
    return Capability.FEED in source.capabilities and Capability.DOCUMENTS in target.capabilities


async def migrate(both: Both, options: Options, terms: Terms) -> Report:
    """Copy, follow, and prove once nobody writes any more.

    The outcome is `Verified` where the writers were stopped, or the feed shows that none wrote; else `PreCopied`.

    Raises: as pipeline.migrate; MigrationError where the fence fails.
    """
    return await _Following(both, options, terms).run()


class _Following:
    """One run."""

    def __init__(self, both: Both, options: Options, terms: Terms) -> None:
        self._both, self._options, self._terms = both, options, terms
        self._keeper = Keeper(both.target, options.source_name, options.folder)
        self._memory = Memory(self._keeper, options.patience, both.scratch)
        self._fenced_at = 0.0

    async def run(self) -> Report:
        goes_on = await self._memory.load(self._options.origin)
        if not goes_on:
            await self._begin()
        copied: Report | None = None
        while True:
            if not self._memory.head.is_copied:
                copied = await self._copy(again=goes_on)
                if copied.mismatches:
                    return copied
            try:
                return await self._follow(copied)
            except FeedLost as error:
                self._terms.tell(f"{error}; copying again what differs")
                goes_on = True
                await self._begin(again=True)

    async def _begin(self, *, again: bool = False) -> None:
        """Take the place in the feed that nothing before the copy is missed from."""
        cursor = await self._options.patience.of(self._both.source.store.position)
        stats = await self._options.patience.of(self._both.target.stats)
        was_empty = self._memory.head.was_empty if again else not (stats.active or stats.archived or stats.expired)
        await self._memory.begin(Head(self._options.origin, cursor, was_empty=was_empty))

    async def _copy(self, *, again: bool) -> Report:
        if again:
            await self._memory.change(replace(self._memory.head, was_interrupted=True))
        report = await self._migrate(replace(self._options, is_live=True))
        await self._memory.change(replace(self._memory.head, is_copied=True))
        return report

    async def _migrate(self, options: Options) -> Report:
        """Go over everything; what did not change since it was proven is not read again."""
        both = self._both
        return await pipeline.migrate(both.source, both.target, both.scratch, options, both.watch)

    async def _follow(self, copied: Report | None) -> Report:
        """Follow to the end, and prove. Raises: FeedLost."""
        ledger = Ledger(self._both.scratch)
        await Journal(self._keeper, self._options.patience, self._options.origin).load(ledger)
        follower = _Follower(self._both, self._options, self._memory, ledger)
        is_stopped = await self._keep_level(follower)
        await follower.drain()
        await follower.look_for_deleted()
        report = await self._migrate(self._options) if is_stopped else await self._look(follower, copied)
        if report.outcome == "Verified":
            await self._memory.forget()
        pause_s = round(time.monotonic() - self._fenced_at, 3) if is_stopped else None
        return replace(report, following=follower.document(pause_s))

    async def _keep_level(self, follower: _Follower) -> bool:
        """Follow until it is time to end; return whether the writers are stopped."""
        told_at, fence = time.monotonic(), None
        while not self._terms.stop.is_set():
            lag_s = await follower.step(WAIT_S)
            if time.monotonic() - told_at > TELL_S:
                told_at = time.monotonic()
                self._terms.tell(follower.sentence(lag_s))
            if fence and fence.done():
                await fence
                break
            if lag_s is None or lag_s >= LEVEL_S or fence:
                continue
            self._terms.tell(follower.sentence(lag_s))
            if self._terms.fence:
                fence = asyncio.create_task(_run_fence(self._terms.fence))
            elif not self._terms.stays:
                return False
        if fence and not fence.done():
            await fence
        self._fenced_at = time.monotonic()
        return True

    async def _look(self, follower: _Follower, copied: Report | None) -> Report:
        """Prove where the feed shows that there was nobody to stop: no change came since before the copy began."""
        if not follower.seen:
            # Should somebody write after all, this will write more than is remembered.
            await self._memory.change(replace(self._memory.head, was_interrupted=True))
            copied = await self._migrate(replace(self._options, is_live=True))
            if copied.outcome == "PreCopied" and await follower.is_still() and copied.imbalance() is None:
                return replace(copied, outcome="Verified", moving=None)
        if follower.seen:
            self._terms.tell(
                f"{follower.seen:,} changes came meanwhile and were carried, too; stop what writes to the source and "
                "run this again, with --fence true: that takes as long as reading the list of sessions"
            )
        if copied is None:
            copied = replace(await self._migrate(replace(self._options, is_dry_run=True)), plan=None)
        return replace(copied, outcome="PreCopied")


class _Follower:
    """Reads the feed, and brings in what it tells of."""

    def __init__(self, both: Both, options: Options, memory: Memory, ledger: Ledger) -> None:
        self._source, self._target = both.source, both.target
        self._options, self._memory, self._ledger = options, memory, ledger
        keeper = Keeper(both.target, options.source_name, options.folder)
        claims = Claims(both.target, options.source_name, ledger)
        carrier = Carrier(both.target, keeper, options.policy, Room(), claims)
        self._mirror = Mirror(both.source, both.target, carrier, self._is_ours)
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
        return Left(row.mark, row.facts.stamp) if row else None

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


async def _run_fence(command: str) -> None:
    """Run the command that stops the writers. What it prints goes to standard error. Raises: MigrationError."""
    process = await asyncio.create_subprocess_shell(command, stdin=subprocess.DEVNULL, stdout=2)
    status = await process.wait()
    if status:
        raise MigrationError(
            "FenceFailed",
            f"the fence command ended with {status}, so the writers may go on; nothing is lost, run again",
        )


def _groups(keys: Iterator[SessionKey]) -> Iterator[list[SessionKey]]:
    while group := list(islice(keys, GROUP)):
        yield group
