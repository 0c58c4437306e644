"""From one status to the next: which changes are told as events. Pure.

A condition tells what is; an event tells what happened. One for each condition whose reason changed, and for each
source of a migration that came a step further or was held up; what stays is told by the status.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.kube import events

R = reasons.Reason
Phase = api.MigrationPhase


def make_events(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[events.Event, ...]:
    """Find what happened between two statuses, as the API server has them."""
    return (*_of_conditions(before, after), *_of_sources(before, after))


# -- conditions ---------------------------------------------------------------------------------


def _of_conditions(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[events.Event]:
    known = {found["type"]: (found["status"], found["reason"]) for found in before.get("conditions", ())}
    told = {source.get("reason") for source in after.get("migrations", ())}
    for condition in after["conditions"]:
        if known.get(condition["type"]) == (condition["status"], condition["reason"]):
            continue
        if condition["reason"] in _QUIET or (condition["type"] == "Ready" and condition["status"] == "False"):
            continue  # What keeps a store from being ready is a condition with an event of its own.
        if condition["type"] in ("Migrated", "Injected") and condition["reason"] in told:
            continue  # The source that it speaks of tells it, with its counts.
        yield events.Event(condition["reason"], condition["message"], warning=_is_bad(condition))


_QUIET = frozenset({R.AS_EXPECTED, R.NO_WARNINGS, R.NO_GATEWAYS, R.NO_MIGRATION, R.NOT_PROBED, R.DEPENDENCY_NOT_READY})
"""That nothing happened is no event."""

_UNDER_WAY = frozenset(
    {
        R.PLANNING,
        R.PLANNED,
        R.PRE_COPYING,
        R.FENCING,
        R.COPYING,
        R.CUTTING_OVER,
        R.MIGRATED,
        R.ROLLING_BACK,
        R.ROLLED_BACK,
        R.FINALIZED,
    }
)
_EXPECTED = _UNDER_WAY | {R.CREATING, R.AWAITING_MIGRATION, R.ROLLOUT_PENDING}


def _is_bad(condition: Mapping[str, Any]) -> bool:
    if condition["type"] in ("Degraded", "ConfigurationWarning"):
        return bool(condition["status"] == "True")
    return condition["status"] == "False" and condition["reason"] not in _EXPECTED


# -- sources ------------------------------------------------------------------------------------


def _of_sources(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[events.Event]:
    known = {source["source"]: source for source in before.get("migrations", ())}
    for source in after.get("migrations", ()):
        earlier = known.get(source["source"], {})
        is_held_up = source.get("reason") not in _UNDER_WAY
        if is_held_up and source.get("reason") != earlier.get("reason"):
            yield events.Event(str(source.get("reason")), source["message"], warning=True)
        elif not is_held_up and source["phase"] != earlier.get("phase"):
            yield from _step(earlier.get("phase"), source)


def _step(before: str | None, source: Mapping[str, Any]) -> Iterator[events.Event]:
    """Tell the step that a source has made: what was done, in the past tense."""
    phase = source["phase"]
    if before == Phase.PRE_COPYING and phase in _PAST_PRE_COPY:
        text = f"{_counts(source)} copied while the gateway ran"
        yield events.Event("PreCopied", _about(source, text))
    if phase in _STEPS:
        reason, text = _STEPS[phase]
        yield events.Event(reason, _about(source, text.format(counts=_counts(source))) if text else source["message"])


_PAST_PRE_COPY = (Phase.FENCING, Phase.COPYING, Phase.PLANNED)
_STEPS = {
    Phase.PLANNED: ("Planned", ""),
    Phase.PRE_COPYING: ("PreCopying", ""),
    Phase.FENCING: ("Fencing", ""),
    Phase.COPYING: ("Fenced", "nothing writes to the source any more; what changed is copied"),
    Phase.CUTTING_OVER: ("Copied", "{counts} copied and verified"),
    Phase.MIGRATED: ("CutOver", ""),
    Phase.ROLLING_BACK: ("RollingBack", ""),
    Phase.ROLLED_BACK: ("RolledBack", ""),
    Phase.FINALIZED: ("Finalized", ""),
}
"""What is told when a source comes to a phase; without a text of its own, what the status says of it."""


def _about(source: Mapping[str, Any], text: str) -> str:
    return f"source {source['source']!r}: {text}"


def _counts(source: Mapping[str, Any]) -> str:
    names = ("sessions", "lines", "archives")
    return ", ".join(f"{source[name]} {name}" for name in names if name in source)
