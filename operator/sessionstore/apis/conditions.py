"""How the conditions of a store come to be: verdicts in, `status.conditions` out. Pure.

    Provisioned, CredentialsReady, Migrated, Injected: the first in this order that is not True speaks
        any False           -> Ready=False
        else Degraded=True  -> Ready=False
        else any Unknown    -> Ready=Unknown
        else                -> Ready=True

`Shared` and `ConfigurationWarning` inform; they never keep a store from being ready. The order is
that of the work: what comes first is what a person should look at first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sessionstore.apis.meta import Condition
from sessionstore.apis.v1alpha1.reasons import Reason

__all__ = ["FOLDED", "TYPES", "Condition", "Status", "Verdict", "find", "fold"]

Status = Literal["True", "False", "Unknown"]

FOLDED = ("Provisioned", "CredentialsReady", "Migrated", "Injected")
"""What Ready is made of, in the order of the work."""

TYPES = ("Ready", *FOLDED, "Shared", "Degraded", "ConfigurationWarning")
"""Every condition that a store has."""

MAX_MESSAGE = 4096
"""Characters. Kubernetes allows 32768; a status that long helps nobody, and a truncated one is still written."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one pass says of one condition. `reason` is one of `v1alpha1.reasons.Reason`."""

    status: Status
    reason: str
    message: str = ""


NOT_LOOKED_AT = Verdict("Unknown", Reason.DEPENDENCY_NOT_READY, "not looked at yet: what comes before it is not ready")


def fold(
    verdicts: Mapping[str, Verdict], previous: Sequence[Condition], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Make the whole list of conditions, sorted by type.

    Args:
        verdicts: condition type -> verdict. What a pass says nothing about stays as it was, with the
            generation that it was judged for, and is Unknown where it never was. `Ready` given here
            is not folded: an error, or a suspended store, has the word.
        previous: the conditions as they are; a status that stays keeps its transition time.
        generation: the metadata.generation that was looked at.
        now: with a time zone; kept to the second, as Kubernetes does.
    """
    known = {condition.type: condition for condition in previous}
    said = {
        kind: verdicts[kind] if kind in verdicts else _as_before(known.get(kind)) for kind in TYPES if kind != "Ready"
    }
    said["Ready"] = verdicts["Ready"] if "Ready" in verdicts else _ready(said)
    stale = {kind: known[kind].observed_generation for kind in known.keys() - verdicts.keys() - {"Ready"}}
    stamp = now.astimezone(UTC).replace(microsecond=0)
    return tuple(
        _condition(kind, said[kind], known.get(kind), stale.get(kind, generation), stamp) for kind in sorted(said)
    )


def find(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """Return the condition of a type, None where there is none."""
    return next((condition for condition in conditions if condition.type == kind), None)


def _as_before(known: Condition | None) -> Verdict:
    return Verdict(known.status, known.reason, known.message) if known else NOT_LOOKED_AT


def _ready(said: Mapping[str, Verdict]) -> Verdict:
    for status in ("False", "Unknown"):
        for kind in FOLDED:
            if said[kind].status == status:
                return _because(kind, said[kind], status)
        # Degraded stands between: a gateway on its files is worse news than a condition nobody knows yet.
        if status == "False" and said["Degraded"].status == "True":
            return _because("Degraded", said["Degraded"], status)
    return Verdict("True", Reason.READY, "the store is up and every gateway uses it")


def _because(kind: str, verdict: Verdict, status: Status) -> Verdict:
    return Verdict(status, verdict.reason, f"{kind}: {verdict.message}" if verdict.message else kind)


def _condition(
    kind: str, verdict: Verdict, known: Condition | None, generation: int | None, stamp: datetime
) -> Condition:
    unchanged = known is not None and known.status == verdict.status
    return Condition(
        type=kind,
        status=verdict.status,
        reason=str(verdict.reason),
        message=_shortened(verdict.message),
        last_transition_time=known.last_transition_time if known is not None and unchanged else stamp,
        observed_generation=generation,
    )


def _shortened(message: str) -> str:
    return message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 2]} …"
