"""Copies one session into the store. Interrupted anywhere, it goes on from what is there.

What is new is made in one step. Everything else begins by looking at both sides, so a lost answer, a killed process
and a session that someone else touched meanwhile are all the same case: look again.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from sessionstore.migrate import beside, plan, stored
from sessionstore.migrate.bounded import Room
from sessionstore.migrate.claims import Claims
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.items import SourceSession
from sessionstore.migrate.keeper import Keeper, torn_problem
from sessionstore.migrate.plan import Action, Decision, Policy, Sides, Standing
from sessionstore.migrate.report import Account, Accounts
from sessionstore.migrate.rows import CONFLICT, NEW, PRESENT, Ending, Intent, mark_of, name_of
from sessionstore.migrate.stored import Taken
from sessionstore.openclaw import rawjson
from sessionstore.openclaw.blob import Held
from sessionstore.openclaw.transcript import Line
from sessionstore.sessions.exceptions import Conflict, SessionError
from sessionstore.sessions.record import INHERITED, Entry, Lifetime, NewSession, Session, Status
from sessionstore.sessions.store import Store

ATTEMPTS = 5
"""How often a session may change under us before we give up: a gateway is still writing to it."""


@dataclass(frozen=True, slots=True)
class Look:
    """A session as both sides have it now. `held` and `sides` are None where the store has none."""

    held: Session | None
    sides: Sides | None
    here: int
    torn: Line | None = None

    @property
    def common(self) -> int:
        """How many lines need not be copied."""
        return self.sides.common if self.sides else 0

    def is_as_left(self, session: SourceSession, left: bytes | None, intent: Intent) -> bool:
        """Tell whether the store's side is what an earlier run of ours made of this source, and nobody else's.

        That is what its mark says; or, where a run was killed that was replacing it, that our entry is in place and
        nothing has moved since. A session of which the lines are not there any more says nothing of what they were.
        """
        if self.held is None or self.sides is None or session.lines is None:
            return False
        is_planned = intent.ending is Ending.MIGRATED and intent is not NEW
        is_half_done = is_planned and self.sides.entry_same and self.sides.moved_ms <= self.sides.here_ms
        return left is not None and (mark_of(self.held) == left or is_half_done)

    @property
    def revision(self) -> int:
        """What `set` is to expect."""
        return self.held.revision if self.held else 0


@dataclass(frozen=True, slots=True)
class Made:
    """What came of making a session with so many lines in one step: the session, or what the store said."""

    answer: Session | SessionError
    lines: int


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of one thing.

    Attributes:
        is_excused: the store rightly holds something else, so the proof leaves it out.
        kept: documents that keep what was set aside, or lost.
        intent: how it is counted.
        held: what the store has now, where that is all that the source has.
    """

    accounts: Accounts
    is_excused: bool = False
    kept: tuple[str, ...] = ()
    intent: Intent = NEW
    held: Session | None = None


async def look_at(store: Store, session: SourceSession, room: Room) -> Look:
    """Compare both sides without changing anything."""
    held = await store.get(session.key)
    same_transcript = held and held.transcript is not None and held.transcript.id == session.entry.transcript_id
    read = stored.reader(store, session.key) if same_transcript else stored.nothing
    taken = Taken()
    async with contextlib.aclosing(stored.whole(session.lines, room, taken)) as here:
        walk = await stored.walk(here, read)
    return Look(held, _sides(session, held, walk.common, walk.here) if held else None, walk.here, taken.torn)


async def is_later_there(store: Store, session: SourceSession, room: Room) -> bool:
    """Tell whether the store has all lines of the source first, and an entry that is not older.

    Less is asked than `plan` asks: of a session that was just copied, another entry of the same time is a gateway's.
    """
    sides = (await look_at(store, session, room)).sides
    if sides is None or sides.common < sides.here:
        return False
    return sides.entry_same or sides.there_ms >= sides.here_ms


@dataclass(frozen=True, slots=True)
class Carrier:
    """Copies sessions into one store, under one policy.

    Attributes:
        claims: tell other sources what this one takes from them; None outside of a migration, where none is proven.
    """

    store: Store
    keeper: Keeper
    policy: Policy
    room: Room
    claims: Claims | None

    async def create_short(self, sessions: Sequence[SourceSession]) -> list[Made | None]:
        """Make sessions that are not there and have few lines, many in a round trip. Raises: Unavailable.

        Returns: what came of each; None for one of many lines, which was not tried.
        """
        found: list[Made | None] = []
        async with contextlib.aclosing(stored.short(sessions, self.room)) as batches:
            async for batch in batches:
                news = [NewSession(one.key, one.entry, few, _lifetime(one)) for one, few in batch if few is not None]
                made = iter(await self.store.create_many(news))
                found += [None if few is None else Made(next(made), len(few)) for _, few in batch]
        return found

    async def carry(
        self, session: SourceSession, intent: Intent, left: bytes | None = None, made: Made | None = None
    ) -> Carried:
        """Bring a session into the store. Raises: Unavailable, MigrationError, InvalidKey, InvalidEntry.

        Args:
            intent: what was planned, before this or an interrupted run wrote anything.
            left: the mark of what an earlier run has left in the store, where one did.
            made: what came of making it, where that was tried.
        """
        answer = made.answer if made else None
        if made and isinstance(answer, Session):
            return await self._carried(session, Look(answer, None, made.lines), NEW, [])
        if isinstance(answer, SessionError) and not isinstance(answer, Conflict):
            raise answer
        if intent is NEW and made is None:
            with contextlib.suppress(Conflict):
                return await self._create(session)
        # An earlier attempt of ours may have made it, or somebody else.
        return await self._settle(session, intent, left)

    async def _create(self, session: SourceSession) -> Carried:
        """Make a session that is not there, batch by batch. Raises: Conflict where it is."""
        made: Session | None = None
        appended, taken = 0, Taken()
        async with contextlib.aclosing(stored.whole(session.lines, self.room, taken)) as batches:
            async for lines in batches:
                if made is None:
                    made = await self.store.create(session.key, session.entry, lines, lifetime=_lifetime(session))
                else:
                    await self.store.append(session.key, lines, position=taken.lines - len(lines))
                    appended += 1
        if made is None:
            made = await self.store.create(session.key, session.entry, lifetime=_lifetime(session))
        if appended:
            # Appending moves the session's time to the store's clock; a migrated session moved when its talk did.
            made = await self.store.set(session.key, session.entry, expected=made.revision + appended)
        return await self._carried(session, Look(made, None, taken.lines, taken.torn), NEW, [])

    async def _settle(self, session: SourceSession, intent: Intent, left: bytes | None) -> Carried:
        kept: list[str] = []
        settled: Decision | None = None
        for _ in range(ATTEMPTS):
            look = await look_at(self.store, session, self.room)
            was_conflict = settled is not None or intent == CONFLICT
            is_ours = self.keeper.can_keep and look.is_as_left(session, left, intent)
            decision = plan.decide(look.sides, self.policy, was_conflict=was_conflict, is_ours=is_ours)
            if decision.standing is Standing.CONFLICT:
                settled = decision
            kept += await self._keep_superseded(session, look, decision)
            try:
                held = await self._act(session, look, decision.action, kept)
            except Conflict:
                continue
            is_excused = decision.action is Action.KEEP or decision.standing is Standing.NEWER_THERE
            ending = _ending(settled or decision, look, intent)
            now = Look(held or look.held, look.sides, look.here, look.torn)
            return await self._carried(session, now, ending, kept, is_excused=is_excused)
        raise MigrationError("StoreBusy", f"session {session.key} keeps changing in the store; stop what writes to it")

    async def _keep_superseded(self, session: SourceSession, look: Look, decision: Decision) -> list[str]:
        """Keep the older entry where it says more than the later one repeats: its time alone proves no succession.

        A gateway may have set a model or a name on one side while the other only went on.
        """
        if look.held is None or not _differ_beyond_time(session.entry, look.held.entry):
            return []
        if look.sides is not None and look.sides.entry_alike:
            return []
        if decision.action is Action.REPLACE:
            return []  # All of it is kept.
        if decision.standing is Standing.NEWER_HERE:
            return [await self.keeper.keep_entry("store", session.key, look.held.entry)]
        if decision.standing is Standing.NEWER_THERE:
            return [await self.keeper.keep_entry("source", session.key, session.entry)]
        return []

    async def _act(self, session: SourceSession, look: Look, action: Action, kept: list[str]) -> Session | None:
        """Do what was decided; return what the store has then, where that was changed."""
        if action in (Action.CREATE, Action.ADVANCE):
            return await self._advance(session, look)
        if action is Action.FINISH:
            return await self.store.set(session.key, session.entry, expected=look.revision)
        if action is Action.REPLACE:
            return await self.replace(session, look, kept)
        if action is Action.KEEP:
            kept.append(await self.keeper.keep_session(session))
        elif action is Action.REFUSE:
            raise MigrationError("ConflictsFound", f"session {session.key} differs in the store; see --conflicts")
        return None

    async def _advance(self, session: SourceSession, look: Look) -> Session:
        """Write the entry, then the lines that the store lacks, then the entry again.

        The entry comes first since lines need a session to belong to, and last since appending moves the session's
        time to the store's clock, while a migrated session moved when its conversation did.
        """
        made = await self.store.set(session.key, session.entry, expected=look.revision)
        if _lines(made) != look.common:
            raise Conflict("the entry names a transcript that the store has lines of already", made)
        batches = await self._append(session, look.common)
        if batches:
            made = await self.store.set(session.key, session.entry, expected=made.revision + batches)
        return made

    async def _append(self, session: SourceSession, position: int) -> int:
        """Append what comes after the first `position` lines; return how many revisions that took."""
        number = 0
        async with contextlib.aclosing(stored.whole(session.lines, self.room)) as batches:
            async for lines in behind(batches, position):
                await self.store.append(session.key, lines, position=position)
                position += len(lines)
                number += 1
        return number

    async def replace(self, session: SourceSession, look: Look, kept: list[str]) -> Session:
        """Keep the store's side, then write the entry, then the lines.

        The entry comes first: should we end between the two, the next look finds our entry with lines that are not
        ours and whose time has not moved since, and decides for the source again (`plan`).
        """
        assert look.held is not None
        assert look.sides is not None
        kept.append(await self.keeper.keep_stored(look.held))
        if self.claims:
            await self.claims.win(name_of(session))
        made = await self.store.set(session.key, session.entry, expected=look.revision)
        head = look.held.transcript
        if head is None or head.id != session.entry.transcript_id:
            # The store's transcript stays under its own id. What there is under ours, the next look tells.
            raise Conflict("the entry now names the source's transcript", made)
        if look.common == look.here == head.lines:
            return made
        return await self._rewrite(session, made.revision)

    async def _rewrite(self, session: SourceSession, revision: int) -> Session:
        first: Sequence[bytes] = ()
        async with contextlib.aclosing(stored.whole(session.lines, self.room)) as batches:
            async for lines in batches:
                first = lines
                break
        await self.store.rewrite(session.key, first, expected=revision)
        appended = await self._append(session, len(first))
        return await self.store.set(session.key, session.entry, expected=revision + 1 + appended)

    async def _carried(
        self, session: SourceSession, look: Look, ending: Intent, kept: list[str], *, is_excused: bool = False
    ) -> Carried:
        accounts = ending.accounts(name_of(session), look.here)
        if session.lines and look.torn:
            accounts += Accounts(lines=Account(quarantined=1))
            problem = torn_problem(session.lines.path, look.torn, session.key.agent, session.key.key)
            kept.append(await self.keeper.keep_problem(problem, Held(look.torn.raw)))
        held = look.held
        if held is not None and not is_excused:
            held = await beside.put(self.store, session, held)
        return Carried(accounts, is_excused, tuple(filter(None, kept)), ending, None if is_excused else held)


def _ending(decision: Decision, look: Look, intent: Intent) -> Intent:
    """Tell how a session is counted: as it was planned, unless somebody changed it since."""
    if decision.standing is Standing.CONFLICT:
        return CONFLICT
    if intent == PRESENT and decision.action is not Action.NOTHING:
        return plan.intent(decision, look.common)
    return intent


async def behind(batches: AsyncIterator[Sequence[bytes]], position: int) -> AsyncIterator[Sequence[bytes]]:
    """Go through lines from `position` on."""
    async for lines in batches:
        if position < len(lines):
            yield lines[position:]
        position = max(0, position - len(lines))


def _lifetime(session: SourceSession) -> Lifetime | None:
    return None if session.lifetime == INHERITED else session.lifetime


def _lines(session: Session) -> int:
    return session.transcript.lines if session.transcript else 0


def _differ_beyond_time(mine: Entry, its: Entry) -> bool:
    rest = [{name: value for name, value in entry.items() if name != "updatedAt"} for entry in (mine, its)]
    return rest[0] != rest[1]


def _are_alike(mine: Entry, held: Session) -> bool:
    """Tell whether entries differ at most in what an export writes of its own (export/placing.py).

    Of `sessionFile` only the name counts, which is the transcript's id; the rest is the place of one state directory.
    `archivedAt` is what files have for a session that is archived in the store.
    """
    own = {"sessionFile"} | ({"archivedAt"} if held.status is Status.ARCHIVED else set())
    rest = [{name: value for name, value in entry.items() if name not in own} for entry in (mine, held.entry)]
    return mine.transcript_id == held.entry.transcript_id and rest[0] == rest[1]


def _sides(session: SourceSession, held: Session, common: int, here: int) -> Sides:
    mine, its = session.entry, held.entry
    return Sides(
        entry_same=mine.raw == its.raw or rawjson.canonical(mine.raw) == rawjson.canonical(its.raw),
        common=common,
        here=here,
        there=_lines(held),
        here_ms=mine.updated_ms or 0,
        there_ms=its.updated_ms or 0,
        moved_ms=held.updated_ms,
        entry_alike=_are_alike(mine, held),
    )
