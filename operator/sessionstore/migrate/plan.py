"""Decides about one session: what the source and the store each hold, and so what is to be done. Pure.

How two sides can stand, seen from the source:

    the store has            lines                          entry              standing
    nothing                                                                    New
    the same                 the same                       the same           Same
    a part of ours           its lines begin ours           alike, or older    NewerHere    append, set
    ours and more            our lines begin its            alike, or newer    NewerThere   nothing
    anything else, and it is what an earlier run of ours has left              NewerHere    replace
    anything else                                                              Conflict     the policy decides
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sessionstore.migrate.rows import CONFLICT, NEW, PRESENT, Ending, Intent


class Policy(StrEnum):
    """Who wins a conflict. The side that loses is kept as a document of the migration."""

    NEWEST = "Newest"
    KEEP_STORE = "KeepStore"
    KEEP_SOURCE = "KeepSource"
    FAIL = "Fail"
    """Nothing is written at all, if there is any conflict."""


class Standing(StrEnum):
    """How source and store stand to each other."""

    NEW = "New"
    SAME = "Same"
    NEWER_HERE = "NewerHere"
    NEWER_THERE = "NewerThere"
    CONFLICT = "Conflict"


class Action(StrEnum):
    """What is done. Each can be interrupted anywhere; planning again from what is there then ends the same way."""

    CREATE = "Create"
    NOTHING = "Nothing"
    FINISH = "Finish"
    """Write the entry once more: all lines are there, but appending them has moved the session's time."""
    ADVANCE = "Advance"
    """Write the entry, append the lines that the store lacks."""
    REPLACE = "Replace"
    """Keep the store's side as a document, then put the source's in its place."""
    KEEP = "Keep"
    """Keep the source's side as a document; the store stays as it is."""
    REFUSE = "Refuse"


@dataclass(frozen=True, slots=True)
class Sides:
    """Both sides of a session that the store has, as facts.

    Attributes:
        entry_same: the canonical entries are equal.
        common: how many lines both begin with; 0 where their transcripts have different ids.
        here, there: how many lines the source and the store have.
        here_ms: the source entry's `updatedAt`, 0 where it has none.
        there_ms: the same of the store's entry.
        moved_ms: when the store's session last moved; not before `there_ms`, later where lines were appended.
        entry_alike: the entries differ at most in what an export writes of its own: where the transcript lies.
    """

    entry_same: bool
    common: int
    here: int
    there: int
    here_ms: int
    there_ms: int
    moved_ms: int
    entry_alike: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why."""

    standing: Standing
    action: Action


def decide(sides: Sides | None, policy: Policy, *, was_conflict: bool = False, is_ours: bool = False) -> Decision:
    """Decide about a session.

    Args:
        sides: None where the store has none.
        was_conflict: the two went apart before we, or an interrupted run of ours, wrote anything.
        is_ours: nobody has touched the store's side since an earlier run of ours made it of this source.
    """
    if sides is None:
        return Decision(Standing.NEW, Action.CREATE)
    standing = Standing.CONFLICT if was_conflict and _is_half_replaced(sides) else _standing(sides)
    if standing is Standing.CONFLICT and is_ours:
        # A gateway that was copied while it ran has reset the session since, say: there is one side, and two states.
        return Decision(Standing.NEWER_HERE, Action.REPLACE)
    if standing is Standing.CONFLICT:
        return Decision(standing, _settle(sides, policy))
    return Decision(standing, _ACTIONS.get(standing) or _same(sides))


_ACTIONS = {Standing.NEWER_HERE: Action.ADVANCE, Standing.NEWER_THERE: Action.NOTHING}


def _standing(sides: Sides) -> Standing:
    store_begins_source = sides.common == sides.there
    source_begins_store = sides.common == sides.here
    if sides.entry_same and store_begins_source and source_begins_store:
        return Standing.SAME
    is_alike = sides.entry_same or sides.entry_alike
    if store_begins_source and (is_alike or sides.here_ms > sides.there_ms):
        return Standing.NEWER_HERE
    if source_begins_store and (is_alike or sides.there_ms > sides.here_ms):
        return Standing.NEWER_THERE
    return Standing.CONFLICT


def _is_half_replaced(sides: Sides) -> bool:
    """Tell whether the entry is put in place and the lines are not: the store's, which begin with ours, go on."""
    return sides.entry_same and sides.common == sides.here < sides.there and sides.moved_ms <= sides.here_ms


def _same(sides: Sides) -> Action:
    # Only appending moves a session's time past its entry's, and a session with the same lines was appended to by
    # nobody but an earlier run of ours that ended before its last write.
    return Action.FINISH if sides.here and sides.here_ms and sides.moved_ms != sides.here_ms else Action.NOTHING


def _settle(sides: Sides, policy: Policy) -> Action:
    if policy is Policy.NEWEST and sides.entry_same:
        # A gateway that writes lines moves the session's time. Where it has not moved past our entry's, an earlier
        # run of ours was putting the source's side in place and ended between the entry and the lines.
        return Action.REPLACE if sides.moved_ms <= sides.here_ms else Action.KEEP
    if policy is Policy.NEWEST:
        # Of two that moved at the same time the longer has more to lose; of equals the store's is live.
        source_wins = (sides.here_ms, sides.here) > (sides.moved_ms, sides.there)
        return Action.REPLACE if source_wins else Action.KEEP
    return {Policy.KEEP_SOURCE: Action.REPLACE, Policy.KEEP_STORE: Action.KEEP, Policy.FAIL: Action.REFUSE}[policy]


def intent(decision: Decision, common: int) -> Intent:
    """Return how a session is to be counted, of whose lines the store has `common`."""
    if decision.standing is Standing.CONFLICT:
        return CONFLICT
    return PRESENT if decision.action is Action.NOTHING else Intent(Ending.MIGRATED, common)


def decide_archive(*, exists: bool, is_longer: bool, common: int, here: int) -> Standing:
    """Tell how an archive stands. Archives are written once and have no time: the store's side wins a conflict.

    Args:
        exists: the store has an archive of this name, perhaps without lines.
        is_longer: the store's has more lines than the `common` ones.
        common: how many lines both begin with.
        here: how many lines the source's has.
    """
    if not exists:
        return Standing.NEW
    if common < here:
        return Standing.CONFLICT if is_longer else Standing.NEWER_HERE
    return Standing.NEWER_THERE if is_longer else Standing.SAME


def archive_intent(standing: Standing) -> Intent:
    """Return how an archive is to be counted."""
    if standing is Standing.CONFLICT:
        return CONFLICT
    return PRESENT if standing in (Standing.SAME, Standing.NEWER_THERE) else NEW
