"""Two entries that were changed apart, and what they were before -> one entry. Pure; the field rules are here.

Every rule is symmetric but for the order of arguments, so two bridges that meet the same conflict, each from its own
side, write the same bytes. docs/design/0015-bridge.md tells the rules, and why.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sessionstore.bridge.fields import Fields, elements_of, fields_of, number_of, same, same_or_absent, text_of, whole
from sessionstore.openclaw import rawjson

COUNTERS = frozenset({"compactionCount", "memoryFlushFailureCount", "pendingFinalDeliveryAttemptCount"})
"""Fields to which each side adds."""
RUN = frozenset(
    {
        "status", "startedAt", "endedAt", "runtimeMs", "abortedLastRun", "agentHarnessId", "model", "modelProvider",
        "inputTokens", "outputTokens", "totalTokens", "totalTokensFresh", "cacheRead", "cacheWrite", "contextTokens",
        "estimatedCostUsd", "contextBudgetStatus", "systemPromptReport",
    }
)  # fmt: skip
"""What one run writes; of two runs, never some of one and some of the other."""


def merge(ancestor: bytes | None, mine: bytes, theirs: bytes, *, again: bool = False) -> bytes:
    """Return the entry that has what both sides did since `ancestor`, laid out as OpenClaw does.

    The bytes are those of a side wherever that side is right as it is.

    Args:
        ancestor: None where it is not known, or both made the entry.
        again: a part of one side may be in the other already, so counters are not added up: the higher one it is.
    """
    if ancestor is not None and same(mine, ancestor):
        return theirs
    if ancestor is not None and same(theirs, ancestor):
        return mine
    sides = [fields_of(mine), fields_of(theirs)]
    if sides[0] is None or sides[1] is None:
        return mine if sides[0] is not None else theirs if sides[1] is not None else max(mine, theirs)
    before = fields_of(ancestor) if ancestor is not None else None
    older, newer = sorted((_Side(mine, sides[0]), _Side(theirs, sides[1])), key=_Side.age)
    if _is_another_session(older, newer):
        return _session_that_stays(before, older, newer).raw
    adds = before is not None and not again
    fork = _Fork(before or {}, older.fields, newer.fields, older.updated() == newer.updated(), adds)
    result = whole(_fields(fork))
    return next((side.raw for side in (newer, older) if same(side.raw, result)), rawjson.indent(result, 1))


def contains(ancestor: bytes | None, mine: bytes, theirs: bytes) -> bool:
    """Return whether `theirs` has all that `mine` changed, counters aside: those do not tell who added to them."""
    merged, present = fields_of(merge(ancestor, mine, theirs)), fields_of(theirs)
    if merged is None or present is None:
        return same(mine, theirs)
    return all(same_or_absent(merged.get(name), present.get(name)) for name in {*merged, *present} - COUNTERS)


def masked(raw: bytes) -> bytes:
    """Return the entry as a gateway is shown it that does not run the session: with the last end that is known.

    A gateway that starts takes every session that is `running` for one that it crashed in, and resumes it.
    """
    if b'"running"' not in raw:
        return raw
    fields = fields_of(raw)
    if fields is None or fields.get("status") != b'"running"':
        return raw
    if "endedAt" in fields:
        return rawjson.replace_values(raw, {"status": b'"done"'})
    return rawjson.indent(whole({name: value for name, value in fields.items() if name != "status"}), 1)


@dataclass(frozen=True, slots=True)
class _Side:
    raw: bytes
    fields: Fields

    def updated(self) -> float:
        return number_of(self.fields.get("updatedAt")) or 0

    def age(self) -> tuple[float, bytes]:
        """Sort the side that was changed last behind the other; its bytes decide where nothing else does."""
        return self.updated(), self.raw

    def session(self) -> str | None:
        return text_of(self.fields.get("sessionId"))

    def rank(self) -> tuple[float, float, str, bytes]:
        started = number_of(self.fields.get("sessionStartedAt")) or 0
        return started, self.updated(), self.session() or "", self.raw


@dataclass(frozen=True, slots=True)
class _Fork:
    """One object before, and as each side has it now."""

    before: Fields
    older: Fields
    newer: Fields
    is_draw: bool
    """Whether neither was changed later, so that each field's bytes decide."""
    adds: bool = False
    """Whether counters add up."""


def _is_another_session(older: _Side, newer: _Side) -> bool:
    # A side without an id has not begun a session of its own, and is not lost to one that has.
    return None not in (older.session(), newer.session()) and older.session() != newer.session()


def _session_that_stays(before: Fields | None, older: _Side, newer: _Side) -> _Side:
    known = text_of(before.get("sessionId")) if before else None
    for side, other in ((older, newer), (newer, older)):
        if side.session() == known:
            return other
    return max(older, newer, key=_Side.rank)


def _fields(fork: _Fork) -> Fields:
    """Merge an entry, field by field."""
    run = _later_run(fork)
    found = {
        name: run.get(name) if run is not None and name in RUN else _field(fork, name)
        for name in dict.fromkeys([*fork.older, *fork.newer])
    }
    return {name: value for name, value in found.items() if value is not None}


def _later_run(fork: _Fork) -> Fields | None:
    """Return the side whose run is to be kept whole; None where both tell of the same run."""
    sides = (fork.newer, fork.older)
    for side, other in zip(sides, reversed(sides), strict=True):
        if all(same_or_absent(side.get(name), fork.before.get(name)) for name in RUN):
            return other
    started = [number_of(side.get("startedAt")) for side in sides]
    if started[0] == started[1]:
        return None
    return max(sides, key=lambda side: -1 if (at := number_of(side.get("startedAt"))) is None else at)


def _field(fork: _Fork, name: str) -> bytes | None:
    return _counter(fork, name) if name in COUNTERS else _value(fork, name)


def _counter(fork: _Fork, name: str) -> bytes | None:
    before, older, newer = (number_of(side.get(name)) for side in (fork.before, fork.older, fork.newer))
    if not fork.adds:
        return fork.newer.get(name) if (newer or 0) >= (older or 0) else fork.older.get(name)
    if older is None and newer is None:
        return fork.newer.get(name)
    total = max(0, (older or 0) + (newer or 0) - (before or 0))
    return json.dumps(int(total) if total == int(total) else total).encode()


def _value(fork: _Fork, name: str) -> bytes | None:
    before, older, newer = fork.before.get(name), fork.older.get(name), fork.newer.get(name)
    if same_or_absent(older, before):
        return newer
    if same_or_absent(newer, before) or newer is None:
        return older
    if older is None or same(older, newer):
        return newer
    return _settled(fork, name, older, newer)


def _settled(fork: _Fork, name: str, older: bytes, newer: bytes) -> bytes:
    """Merge what is there on both sides, and differs from what it was."""
    if name.endswith(("At", "Timestamp")) and None not in (number_of(older), number_of(newer)):
        return max(newer, older, key=lambda raw: number_of(raw) or 0)
    for split, join in ((fields_of, _merged_object), (elements_of, _merged_list)):
        parts = split(older), split(newer)
        if parts[0] is not None and parts[1] is not None:
            before = split(fork.before[name]) if name in fork.before else None
            return join(_Fork(before or {}, parts[0], parts[1], fork.is_draw))
    return max(older, newer) if fork.is_draw else newer


def _merged_object(fork: _Fork) -> bytes:
    found = {name: _value(fork, name) for name in dict.fromkeys([*fork.older, *fork.newer])}
    return whole({name: value for name, value in found.items() if value is not None})


def _merged_list(fork: _Fork) -> bytes:
    """Put together what either side has, without what one of them took away; the longer list gives the order."""
    gone = {name for name in fork.before if name not in fork.older or name not in fork.newer}
    first, second = sorted((fork.older, fork.newer), key=len, reverse=True)
    names = [name for name in dict.fromkeys([*first, *second]) if name not in gone]
    return b"[" + b",".join(value for name in names if (value := _value(fork, name)) is not None) + b"]"
