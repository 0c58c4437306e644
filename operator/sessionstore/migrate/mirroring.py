"""Makes one session of the target what it is in the source, now: its entry, its lines, and all that is set on it.

Only what is ours is changed so: a session that the target has as we left it, or that we made. What somebody else
changed there is a conflict, and settled as one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from sessionstore.migrate import rows, stored
from sessionstore.migrate.carry import Carrier
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.followed import GONE, Left
from sessionstore.migrate.items import SetAside, SourceSession
from sessionstore.migrate.kept import Kind, Shelf, once
from sessionstore.migrate.plan import Policy
from sessionstore.migrate.store_lines import SessionLines
from sessionstore.migrate.stores import StoreSource
from sessionstore.openclaw.problems import Refused
from sessionstore.sessions.exceptions import Conflict, InvalidEntry, InvalidKey
from sessionstore.sessions.record import Session, SessionKey, Status, TranscriptHead
from sessionstore.sessions.store import Store

ATTEMPTS = 20
"""How often a session may change under us before we give up."""
LOOKS = 10
"""At a session that is gone from the source and has no tombstone there, before it is believed to be lost."""

IsOurs = Callable[[SessionKey, Session], bool]


@dataclass(frozen=True, slots=True)
class Mirror:
    """Brings sessions of one store into another, one at a time.

    Attributes:
        carrier: brings in what is new, and settles conflicts.
        is_ours: tells whether a session of the target is as we left it.
        counts: what was done: `created`, `changed`, `deleted`, `conflicts`, `refused`.
    """

    source: StoreSource
    target: Store
    carrier: Carrier
    is_ours: IsOurs
    counts: Counter[str] = field(default_factory=Counter)

    async def bring(self, key: SessionKey, left: Left | None) -> Left:
        """Bring one session in as it is now; return how it was left. Raises: Unavailable, MigrationError."""
        for _ in range(ATTEMPTS):
            try:
                return await self._bring(key, left)
            except Conflict:
                continue
            except (InvalidKey, InvalidEntry):
                # The target cannot hold it. The last run over everything sets it aside, and says why.
                self.counts["refused"] += 1
                return GONE
        raise MigrationError("StoreBusy", f"session {key} keeps changing; stop what writes to it")

    async def _bring(self, key: SessionKey, left: Left | None) -> Left:
        item, held = await self.source.session(key), await self.target.get(key)
        if item is None:
            return await self._delete(held) if held else GONE
        if isinstance(item, SetAside):
            return left or GONE
        stamp = item.lines.stamp if item.lines else None
        if held and left and left.stamp == stamp and left.mark == rows.mark_of(held):
            # The copy only adds to what is set on a session; what was taken away since is still to be.
            return Left(rows.mark_of(await _match(self.target, item, held)), stamp)
        if held is not None and not self.is_ours(key, held):
            return await self._settle(item, stamp)
        made, is_whole = await (self._change(item, held, left) if held else self._create(item))
        made = await _match(self.target, item, made)
        return Left(rows.mark_of(made), stamp if is_whole else None)

    async def _create(self, item: SourceSession) -> tuple[Session, bool]:
        carried = await self.carrier.carry(item, rows.NEW)
        if carried.held is None:
            raise Conflict("somebody made it meanwhile", None)
        self.counts["created"] += 1
        return carried.held, _count(carried.held) == _head_lines(item)

    async def _settle(self, item: SourceSession, stamp: str | None) -> Left:
        """Settle a conflict by the policy; both sides are there afterwards, one of them as a document."""
        carried = await self.carrier.carry(item, rows.PRESENT)
        if carried.accounts.sessions.conflicts:
            self.counts["conflicts"] += 1
        if carried.held is None:
            return Left(None, stamp)
        return Left(rows.mark_of(carried.held), None)

    async def _delete(self, held: Session) -> Left:
        """Delete what the source has no more; what somebody changed in the target since is a conflict.

        So is what the source does not say it has deleted: it was lost there, and this may be the last there is of it.
        """
        if not (await self._was_deleted(held.key) and self.is_ours(held.key, held)):
            self.counts["conflicts"] += 1
            if self.carrier.policy is Policy.FAIL:
                raise MigrationError(
                    "ConflictsFound",
                    f"session {held.key} is gone from the source, and was changed here or lost there; see --conflicts",
                )
            if self.carrier.policy is not Policy.KEEP_SOURCE:
                await self._keep_deletion(held.key)
                return GONE
            await self.carrier.keeper.keep_stored(held)
        await self.target.delete(held.key, expected=held.revision)
        self.counts["deleted"] += 1
        return GONE

    async def _was_deleted(self, key: SessionKey) -> bool:
        """Tell whether a session that was not in the source was deleted there. Raises: Conflict where it is back.

        Its absence and its tombstone are two questions, and a session that was made again between them has neither.
        Only what is neither there nor deleted at any look was lost.
        """
        for _ in range(LOOKS):
            if await self.source.store.tombstone(key) is not None:
                return True
            if await self.source.session(key) is not None:
                raise Conflict(f"session {key} was made again in the source", None)
        return False

    async def _keep_deletion(self, key: SessionKey) -> None:
        """Leave a note that the source had deleted what the target keeps."""
        header = {"side": "source", "kind": Kind.BYTES, "agent": key.agent, "key": key.key, "deleted": True}
        await self.carrier.keeper.keep(Shelf.CONFLICTS, header, once(b""))

    # -- a session that is ours -----------------------------------------------------------------

    async def _change(self, item: SourceSession, held: Session, left: Left | None) -> tuple[Session, bool]:
        """Write what differs: new lines behind the others, or all of them; then the entry, which sets the time."""
        head = item.lines.head if isinstance(item.lines, SessionLines) else None
        self.counts["changed"] += 1
        if head is None:
            return await self._entry(item, held, held.revision, is_same=True), True
        common = await self._common(item, head, held, left)
        if common is None:
            return await self._rewrite(item, head, held)
        added, revisions = await self._append(item, head, held, common)
        made = await self._entry(item, held, held.revision + revisions, is_same=not revisions)
        return made, common + added == head.lines

    async def _common(self, item: SourceSession, head: TranscriptHead, held: Session, left: Left | None) -> int | None:
        """Return how many lines the target has, where these are the first of the source's; None where they are not."""
        its = held.transcript
        if its is None or its.id != head.id or its.lines > head.lines:
            return None
        if left and left.stamp and _is_grown(left.stamp, head, its.lines):
            return its.lines
        async with aclosing(stored.whole(item.lines, self.carrier.room)) as here:
            walk = await stored.walk(here, stored.reader(self.target, item.key))
        return its.lines if walk.common == its.lines else None

    async def _append(self, item: SourceSession, head: TranscriptHead, held: Session, start: int) -> tuple[int, int]:
        """Append the lines from `start` on; return how many, and how many revisions that took."""
        assert held.transcript is not None
        added = revisions = 0
        async with aclosing(self._lines(item, start if start < head.lines else head.lines)) as batches:
            async for lines in batches:
                await self.target.append(item.key, lines, position=start + added, generation=held.transcript.generation)
                added += len(lines)
                revisions += 1
        return added, revisions

    async def _rewrite(self, item: SourceSession, head: TranscriptHead, held: Session) -> tuple[Session, bool]:
        session: Session | None = await self.target.set(item.key, item.entry, expected=held.revision)
        assert session is not None
        start = 0
        if _count(session):
            start = await self._replace(item, session.revision)
            session = await self.target.get(item.key)
        if session is None or _count(session) != start:
            raise Conflict("it changed while it was rewritten", session)
        added, revisions = await self._append(item, head, session, start)
        made = await self._entry(item, session, session.revision + revisions, is_same=False)
        return made, start + added == head.lines

    async def _replace(self, item: SourceSession, revision: int) -> int:
        """Put the first of the source's lines in place of all of the target's; return how many."""
        first: Sequence[bytes] = ()
        async with aclosing(self._lines(item, 0)) as batches:
            async for lines in batches:
                first = lines
                break
        return (await self.target.rewrite(item.key, first, expected=revision)).lines

    async def _entry(self, item: SourceSession, held: Session, revision: int, *, is_same: bool) -> Session:
        """Write the entry, unless all is as it was."""
        if is_same and held.entry.raw == item.entry.raw:
            return held
        return await self.target.set(item.key, item.entry, expected=revision)

    async def _lines(self, item: SourceSession, start: int) -> AsyncGenerator[Sequence[bytes], None]:
        assert isinstance(item.lines, SessionLines)
        try:
            async for batch in item.lines.batches_from(start):
                yield batch.lines
        except Refused:
            # Damaged in the source; the last run over everything says so.
            return


async def _match(store: Store, item: SourceSession, held: Session) -> Session:
    """Set what is set on the source's session, and take away what is not."""
    key, marks, its = item.key, item.marks, held.marks
    if item.lifetime != held.lifetime:
        await store.touch(key, lifetime=item.lifetime)
    if marks.title != its.title:
        await store.title(key, marks.title)
    if marks.tags != its.tags:
        await store.tag(key, add=set(marks.tags) - set(its.tags), remove=set(its.tags) - set(marks.tags))
    if marks.pinned != its.pinned:
        await store.pin(key, marks.pinned)
    if item.status is Status.ARCHIVED and (held.status, its.reason) != (item.status, marks.reason):
        await store.archive(key, reason=marks.reason)
    if item.status is Status.ACTIVE and held.status is Status.ARCHIVED:
        await store.restore(key)
    same = (item.lifetime, item.status, marks) == (held.lifetime, held.status, its)
    found = held if same else await store.get(key)
    if found is None:
        raise Conflict(f"session {key} was deleted meanwhile", None)
    return found


def _is_grown(stamp: str, head: TranscriptHead, lines: int) -> bool:
    """Tell whether a session of that stamp had just these first lines, and more came behind them since."""
    _, _, generation, count, name = stamp.split(":", 4) if stamp.count(":") >= 4 else ("", "", "", "", "")
    return (generation, count, name) == (str(head.generation), str(lines), head.id)


def _count(session: Session) -> int:
    return session.transcript.lines if session.transcript else 0


def _head_lines(item: SourceSession) -> int:
    head = item.lines.head if isinstance(item.lines, SessionLines) else None
    return head.lines if head else 0
