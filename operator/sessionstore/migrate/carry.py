"""Copies one session into the store. Interrupted anywhere, it goes on from what is there.

Every attempt begins by looking at both sides, so a lost answer, a killed process and a session that someone else
touched meanwhile are all the same case: look again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from sessionstore.migrate import plan, stored
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.keeper import Keeper, torn_problem
from sessionstore.migrate.plan import Action, Decision, Policy, Sides, Standing
from sessionstore.migrate.report import Account, Accounts
from sessionstore.migrate.source import SourceSession
from sessionstore.openclaw import rawjson
from sessionstore.openclaw.blob import Held
from sessionstore.sessions.exceptions import Conflict
from sessionstore.sessions.record import Entry, Session
from sessionstore.sessions.store import Store

ATTEMPTS = 5
"""How often a session may change under us before we give up: a gateway is still writing to it."""


@dataclass(frozen=True, slots=True)
class Look:
    """A session as both sides have it now. `held` and `sides` are None where the store has none."""

    held: Session | None
    sides: Sides | None
    here: int

    @property
    def common(self) -> int:
        """How many lines need not be copied."""
        return self.sides.common if self.sides else 0

    @property
    def revision(self) -> int:
        """What `set` is to expect."""
        return self.held.revision if self.held else 0


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of one thing. `is_excused`: the store rightly holds something else, so the proof leaves it out."""

    accounts: Accounts
    is_excused: bool = False
    kept: tuple[str, ...] = ()


async def look_at(store: Store, session: SourceSession) -> Look:
    """Compare both sides without changing anything."""
    held = await store.get(session.key)
    if held is None:
        return Look(None, None, sum(1 for _ in session.whole()))
    same_transcript = held.transcript is not None and held.transcript.id == session.entry.transcript_id
    there = stored.of_session(store, session.key) if same_transcript else stored.nothing()
    common, here = await stored.count_common(session.whole(), there)
    return Look(held, _sides(session, held, common, here), here)


async def is_later_there(store: Store, session: SourceSession) -> bool:
    """Tell whether the store has all lines of the source first, and an entry that is not older.

    Less is asked than `plan` asks: of a session that was just copied, another entry of the same time is a gateway's.
    """
    sides = (await look_at(store, session)).sides
    if sides is None or sides.common < sides.here:
        return False
    return sides.entry_same or sides.there_ms >= sides.here_ms


@dataclass(frozen=True, slots=True)
class Carrier:
    """Copies sessions into one store, under one policy."""

    store: Store
    keeper: Keeper
    policy: Policy

    async def carry(self, session: SourceSession) -> Carried:
        """Bring a session into the store. Raises: Unavailable, MigrationError."""
        kept: list[str] = []
        settled: Decision | None = None
        for _ in range(ATTEMPTS):
            look = await look_at(self.store, session)
            decision = plan.decide(look.sides, self.policy)
            if decision.standing is Standing.CONFLICT:
                settled = decision
            kept += await self._keep_superseded(session, look, decision)
            try:
                await self._act(session, look, decision.action, kept)
            except Conflict:
                continue
            return await self._carried(session, look, settled or decision, kept)
        raise MigrationError("StoreBusy", f"session {session.key} keeps changing in the store; stop what writes to it")

    async def _keep_superseded(self, session: SourceSession, look: Look, decision: Decision) -> list[str]:
        """Keep the older entry where it says more than the later one repeats: its time alone proves no succession.

        A gateway may have set a model or a name on one side while the other only went on.
        """
        if look.held is None or not _differ_beyond_time(session.entry, look.held.entry):
            return []
        if decision.standing is Standing.NEWER_HERE:
            return [await self.keeper.keep_entry("store", session.key, look.held.entry)]
        if decision.standing is Standing.NEWER_THERE:
            return [await self.keeper.keep_entry("source", session.key, session.entry)]
        return []

    async def _act(self, session: SourceSession, look: Look, action: Action, kept: list[str]) -> None:
        if action in (Action.CREATE, Action.ADVANCE):
            await self._advance(session, look)
        elif action is Action.FINISH:
            await self.store.set(session.key, session.entry, expected=look.revision)
        elif action is Action.REPLACE:
            await self._replace(session, look, kept)
        elif action is Action.KEEP:
            kept.append(await self.keeper.keep_session(session.item()))
        elif action is Action.REFUSE:
            raise MigrationError("ConflictsFound", f"session {session.key} differs in the store; see --conflicts")

    async def _advance(self, session: SourceSession, look: Look) -> None:
        """Write the entry, then the lines that the store lacks, then the entry again.

        The entry comes first since lines need a session to belong to, and last since appending moves the session's
        time to the store's clock, while a migrated session moved when its conversation did.
        """
        made = await self.store.set(session.key, session.entry, expected=look.revision)
        if _lines(made) != look.common:
            raise Conflict("the entry names a transcript that the store has lines of already", made)
        batches = await self._append(session, stored.batches(islice(session.whole(), look.common, None)), look.common)
        if batches:
            await self.store.set(session.key, session.entry, expected=made.revision + batches)

    async def _append(self, session: SourceSession, batches: Iterator[list[bytes]], position: int) -> int:
        """Append; return how many batches there were, each of which is one revision."""
        number = 0
        for batch in batches:
            await self.store.append(session.key, batch, position=position)
            position += len(batch)
            number += 1
        return number

    async def _replace(self, session: SourceSession, look: Look, kept: list[str]) -> None:
        """Keep the store's side, then write the entry, then the lines.

        The entry comes first: should we end between the two, the next look finds our entry with lines that are not
        ours and whose time has not moved since, and decides for the source again (`plan`).
        """
        assert look.held is not None
        assert look.sides is not None
        kept.append(await self.keeper.keep_stored(look.held))
        made = await self.store.set(session.key, session.entry, expected=look.revision)
        head = look.held.transcript
        if head is None or head.id != session.entry.transcript_id:
            # The store's transcript stays under its own id. What there is under ours, the next look tells.
            raise Conflict("the entry now names the source's transcript", made)
        if look.common < max(look.here, head.lines):
            batches = stored.batches(session.whole())
            first = next(batches, [])
            await self.store.rewrite(session.key, first, expected=made.revision)
            appended = await self._append(session, batches, len(first))
            await self.store.set(session.key, session.entry, expected=made.revision + 1 + appended)

    async def _carried(self, session: SourceSession, look: Look, decision: Decision, kept: list[str]) -> Carried:
        accounts = plan.account(decision, common=look.common, here=look.here)
        torn = session.lines.torn() if session.lines else None
        if session.lines and torn:
            accounts += Accounts(lines=Account(quarantined=1))
            problem = torn_problem(session.lines.path, torn, session.key.agent, session.key.key)
            kept.append(await self.keeper.keep_problem(problem, Held(torn.raw)))
        is_excused = decision.action is Action.KEEP or decision.standing is Standing.NEWER_THERE
        return Carried(accounts, is_excused, tuple(filter(None, kept)))


def _lines(session: Session) -> int:
    return session.transcript.lines if session.transcript else 0


def _differ_beyond_time(mine: Entry, its: Entry) -> bool:
    rest = [{name: value for name, value in entry.items() if name != "updatedAt"} for entry in (mine, its)]
    return rest[0] != rest[1]


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
    )
