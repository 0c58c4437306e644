"""Folding verdicts into conditions: what Ready says, which times stay, what is never lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from sessionstore.apis import conditions
from sessionstore.apis.conditions import Verdict

NOW = datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)
EARLIER = datetime(2026, 11, 20, 9, 0, 0, tzinfo=UTC)

GOOD = {
    "Provisioned": Verdict("True", "Provisioned"),
    "CredentialsReady": Verdict("True", "CredentialsReady"),
    "Migrated": Verdict("True", "NoMigration"),
    "Injected": Verdict("True", "Injected"),
    "Shared": Verdict("Unknown", "NotProbed"),
    "Degraded": Verdict("False", "AsExpected"),
    "ConfigurationWarning": Verdict("False", "NoWarnings"),
}


def ready(verdicts: dict[str, Verdict], previous: tuple[conditions.Condition, ...] = ()) -> conditions.Condition:
    found = conditions.find(conditions.fold(verdicts, previous, generation=3, now=NOW), "Ready")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("change", "status", "reason", "message"),
    [
        pytest.param({}, "True", "Ready", "the store is up and every gateway uses it", id="all is well"),
        pytest.param(
            {"Injected": Verdict("False", "GatewayNotFound", "no Deployment 'a'")},
            "False",
            "GatewayNotFound",
            "Injected: no Deployment 'a'",
            id="one is false",
        ),
        pytest.param(
            {"Injected": Verdict("False", "RolloutPending", "x"), "Provisioned": Verdict("False", "Creating", "y")},
            "False",
            "Creating",
            "Provisioned: y",
            id="two are false: the one that comes first in the work speaks",
        ),
        pytest.param(
            {"Provisioned": Verdict("Unknown", "DependencyNotReady"), "Injected": Verdict("False", "FieldConflict")},
            "False",
            "FieldConflict",
            "Injected",
            id="false wins over unknown",
        ),
        pytest.param(
            {"CredentialsReady": Verdict("Unknown", "DependencyNotReady", "not up")},
            "Unknown",
            "DependencyNotReady",
            "CredentialsReady: not up",
            id="one is unknown",
        ),
        pytest.param(
            {"Degraded": Verdict("True", "GatewayOnFiles", "pod a")},
            "False",
            "GatewayOnFiles",
            "Degraded: pod a",
            id="degraded is not ready",
        ),
        pytest.param(
            {"Degraded": Verdict("True", "GatewayOnFiles", "pod a"), "Injected": Verdict("Unknown", "LeftBehind")},
            "False",
            "GatewayOnFiles",
            "Degraded: pod a",
            id="degraded wins over unknown",
        ),
        pytest.param(
            {"ConfigurationWarning": Verdict("True", "SharedKeyspace", "a and b")},
            "True",
            "Ready",
            "the store is up and every gateway uses it",
            id="a warning does not count",
        ),
        pytest.param(
            {"Shared": Verdict("False", "NotProbed")},
            "True",
            "Ready",
            "the store is up and every gateway uses it",
            id="sharing does not count",
        ),
        pytest.param(
            {"Ready": Verdict("Unknown", "Suspended", "spec.suspend is true")},
            "Unknown",
            "Suspended",
            "spec.suspend is true",
            id="a verdict on Ready itself is not folded",
        ),
    ],
)
def test_ready_folds_the_others(change: dict[str, Verdict], status: str, reason: str, message: str) -> None:
    found = ready({**GOOD, **change})

    assert (found.status, found.reason, found.message) == (status, reason, message)


def test_every_condition_is_there_sorted_and_judged_for_the_generation() -> None:
    folded = conditions.fold(GOOD, (), generation=7, now=NOW)

    assert [condition.type for condition in folded] == sorted(conditions.TYPES)
    assert {condition.observed_generation for condition in folded} == {7}


def test_a_status_that_stays_keeps_its_time_and_one_that_moves_gets_a_new_one() -> None:
    before = conditions.fold(GOOD, (), generation=1, now=EARLIER)

    after = conditions.fold({**GOOD, "Injected": Verdict("False", "FieldConflict")}, before, generation=2, now=NOW)

    moved = {condition.type for condition in after if condition.last_transition_time != EARLIER}
    assert moved == {"Ready", "Injected"}


def test_another_reason_with_the_same_status_keeps_the_time_and_is_shown() -> None:
    before = conditions.fold({**GOOD, "Migrated": Verdict("False", "Copying")}, (), generation=1, now=EARLIER)

    after = conditions.fold({**GOOD, "Migrated": Verdict("False", "CuttingOver")}, before, generation=1, now=NOW)

    migrated = conditions.find(after, "Migrated")
    assert migrated is not None
    assert (migrated.reason, migrated.last_transition_time) == ("CuttingOver", EARLIER)


def test_folding_the_same_again_changes_nothing() -> None:
    once = conditions.fold(GOOD, (), generation=1, now=EARLIER)

    assert conditions.fold(GOOD, once, generation=1, now=NOW) == once


def test_what_a_pass_says_nothing_about_stays_with_the_generation_it_was_judged_for() -> None:
    before = conditions.fold({**GOOD, "Injected": Verdict("True", "Injected", "3 pods")}, (), generation=1, now=EARLIER)

    after = conditions.fold({"CredentialsReady": Verdict("False", "SecretNotFound")}, before, generation=2, now=NOW)

    assert conditions.find(after, "Injected") == conditions.find(before, "Injected")
    told = conditions.find(after, "CredentialsReady")
    assert told is not None and told.observed_generation == 2
    assert ready({"CredentialsReady": Verdict("False", "SecretNotFound")}, before).reason == "SecretNotFound"


def test_what_was_never_looked_at_is_unknown_and_keeps_the_store_from_ready() -> None:
    folded = conditions.fold({"Provisioned": Verdict("True", "Provisioned")}, (), generation=3, now=NOW)

    unknown = {condition.type for condition in folded if condition.reason == "DependencyNotReady"}
    assert unknown == set(conditions.TYPES) - {"Provisioned"}
    assert {condition.observed_generation for condition in folded} == {3}


def test_a_condition_of_another_version_is_not_carried_on() -> None:
    alien = conditions.Condition(type="Blessed", status="True", reason="Yes", last_transition_time=EARLIER)

    folded = conditions.fold(GOOD, (alien,), generation=1, now=NOW)

    assert conditions.find(folded, "Blessed") is None


@pytest.mark.parametrize(
    "now", [NOW, NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))], ids=["UTC", "another time zone"]
)
def test_times_are_written_as_kubernetes_writes_them(now: datetime) -> None:
    folded = conditions.fold(GOOD, (), generation=1, now=now)

    written = folded[0].model_dump(by_alias=True, exclude_none=True, mode="json")
    assert written["lastTransitionTime"] == "2026-11-21T10:00:00Z"
    assert conditions.Condition.model_validate(written) == folded[0]
    assert written.keys() == {"type", "status", "reason", "message", "lastTransitionTime", "observedGeneration"}


def test_a_message_that_is_too_long_is_shortened_and_says_so() -> None:
    found = ready({**GOOD, "Provisioned": Verdict("False", "CrashLooping", "x" * 40_000)})

    assert len(found.message) == conditions.MAX_MESSAGE
    assert found.message.endswith(" …")
