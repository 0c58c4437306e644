"""Store to store while the source is in use: copy all of it, follow its feed until the two are level, then prove it.

The place in the feed is taken before the copy, so nothing is missed; what it tells of is brought in as it is when it
is looked at, so an event may be met twice without harm. What a killed follower needs to go on lies in the target
(`followed`). A feed that does not reach back any more costs another copy, which the ledger makes short, and a look at
what the source has no more.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sessionstore.migrate import pipeline
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.followed import Head, Memory
from sessionstore.migrate.follower import Follower
from sessionstore.migrate.journal import Journal
from sessionstore.migrate.keeper import Keeper
from sessionstore.migrate.ledger import Ledger
from sessionstore.migrate.pipeline import Options
from sessionstore.migrate.progress import Watch
from sessionstore.migrate.report import Report
from sessionstore.migrate.stores import StoreSource
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions import clock
from sessionstore.sessions.exceptions import FeedLost
from sessionstore.sessions.store import Capability, Store

WAIT_S = 0.5
LEVEL_S = 1.0
"""A lag below this is level."""
TELL_S = 5.0


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
        self._both, self._terms = both, terms
        self._keeper = Keeper(both.target, options.source_name, options.folder)
        self._memory = Memory(self._keeper, options.patience, both.scratch)
        self._options = replace(options, remembered=self._memory.mark)
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
                await self._begin_again()

    async def _begin(self) -> None:
        """Take the place in the feed that nothing before the copy is missed from."""
        cursor = await self._options.patience.of(self._both.source.store.position)
        stats = await self._options.patience.of(self._both.target.stats)
        was_empty = not (stats.active or stats.archived or stats.expired)
        await self._memory.begin(Head(self._options.origin, cursor, was_empty=was_empty))

    async def _begin_again(self) -> None:
        """Take another place in the feed.

        Raises: SourceError where nothing is left in the source: what was copied may be the last there is of it.
        """
        await self._options.patience.of(self._both.source.check_holds)
        await self._memory.begin_again(await self._options.patience.of(self._both.source.store.position))

    async def _copy(self, *, again: bool) -> Report:
        if again:
            await self._memory.change(replace(self._memory.head, was_interrupted=True))
        report = await self._migrate(replace(self._options, is_live=True))
        if report.accounts:
            made, found = report.accounts.sessions, report.survey.sessions
            self._terms.tell(f"Copy: {made.migrated:,} of {found:,} sessions were brought in; following the source now")
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
        follower = Follower(self._both.source, self._both.target, self._options, self._memory, ledger)
        is_stopped = await self._keep_level(follower)
        await follower.drain()
        await follower.look_for_deleted()
        report = await self._migrate(self._options) if is_stopped else await self._look(follower, copied)
        if report.outcome == "Verified":
            await self._memory.forget()
        pause_s = round(time.monotonic() - self._fenced_at, 3) if is_stopped else None
        return replace(report, following=follower.document(pause_s))

    async def _keep_level(self, follower: Follower) -> bool:
        """Follow until it is time to end; return whether the writers are stopped."""
        # With --follow nobody sees the end but whoever asks for it, so the first line comes at once.
        told_at, fence = (time.monotonic() - TELL_S) if self._terms.stays else time.monotonic(), None
        while not self._terms.stop.is_set():
            lag_s = await follower.step(WAIT_S)
            if time.monotonic() - told_at > TELL_S:
                told_at = time.monotonic()
                self._terms.tell(follower.sentence(lag_s))
                await self._keep_progress(follower)
            if fence and fence.done():
                await fence
                break
            if lag_s is None or lag_s >= LEVEL_S or fence or (self._terms.stays and not self._terms.fence):
                continue
            self._terms.tell(follower.sentence(lag_s))
            if not self._terms.fence:
                return False
            fence = asyncio.create_task(_run_fence(self._terms.fence))
        if fence and not fence.done():
            await fence
        self._fenced_at = time.monotonic()
        return True

    async def _keep_progress(self, follower: Follower) -> None:
        """Leave in the target how it stands."""
        told = {"at": clock.now_ms(), "phase": "Follow", **follower.document(None)}
        await self._options.patience.of(lambda: self._keeper.put("progress", json.dumps(told).encode()))

    async def _look(self, follower: Follower, copied: Report | None) -> Report:
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


async def _run_fence(command: str) -> None:
    """Run the command that stops the writers. What it prints goes to standard error. Raises: MigrationError."""
    process = await asyncio.create_subprocess_shell(command, stdin=subprocess.DEVNULL, stdout=2)
    status = await process.wait()
    if status:
        raise MigrationError(
            "FenceFailed",
            f"the fence command ended with {status}, so the writers may go on; nothing is lost, run again",
        )
