"""Which changes of a status are told as events: reasons that are new, and news."""

from __future__ import annotations

from typing import Any

import pytest

from sessionstore.apis.v1alpha1 import reasons
from sessionstore.kube import events
from sessionstore.reconcile.store import news, perform, plan, status
from tests import builders

R = reasons.Reason


def _told(before: dict[str, Any], after: dict[str, Any]) -> list[events.Event]:
    return list(news.make_events(before, after))


def _with(kind: str, verdict: str, reason: R) -> dict[str, Any]:
    said = {"type": kind, "status": verdict, "reason": reason, "message": "m"}
    return {"conditions": [{**said, "lastTransitionTime": "2026-11-21T12:00:00Z"}]}


@pytest.mark.parametrize(
    ("after", "told"),
    [
        pytest.param(_with("Provisioned", "False", R.CREATING), [], id="unchanged"),
        pytest.param(_with("Provisioned", "True", R.PROVISIONED), [("Provisioned", False)], id="good news"),
        pytest.param(_with("Provisioned", "False", R.VOLUME_PENDING), [("VolumePending", True)], id="bad news"),
        pytest.param(_with("Migrated", "False", R.COPYING), [("Copying", False)], id="what was to be expected"),
        pytest.param(_with("Degraded", "True", R.GATEWAY_ON_FILES), [("GatewayOnFiles", True)], id="degraded"),
        pytest.param(_with("Degraded", "False", R.AS_EXPECTED), [], id="nothing is degraded"),
        pytest.param(
            _with("ConfigurationWarning", "True", R.SHARED_KEYSPACE), [("SharedKeyspace", True)], id="a warning"
        ),
        pytest.param(_with("ConfigurationWarning", "False", R.NO_WARNINGS), [], id="no warning"),
        pytest.param(_with("Ready", "True", R.READY), [("Ready", False)], id="ready"),
        pytest.param(_with("Ready", "False", R.VOLUME_PENDING), [], id="not ready, which another condition tells"),
        pytest.param(_with("Ready", "Unknown", R.SUSPENDED), [("Suspended", False)], id="suspended"),
    ],
)
def test_an_event_is_told_for_a_reason_that_is_new_and_news(
    after: dict[str, Any], told: list[tuple[str, bool]]
) -> None:
    found = _told(_with("Provisioned", "False", R.CREATING), after)

    assert [(event.reason, event.warning) for event in found] == told


def test_another_message_for_the_same_reason_is_no_event() -> None:
    before = _with("Provisioned", "False", R.VOLUME_PENDING)
    after = _with("Provisioned", "False", R.VOLUME_PENDING)
    after["conditions"][0]["message"] = "another"

    assert _told(before, after) == []


def test_all_that_holds_for_a_new_store_is_told_and_nothing_that_did_not_happen() -> None:
    store = builders.a_store()
    seen = builders.observed(store)
    made = plan.make_plan(store, seen, builders.MEANS, builders.NOW)

    told = _told({}, status.make_status(store, seen, made, perform.Applied(), builders.NOW))

    assert sorted(event.reason for event in told) == ["CredentialsReady", "Provisioned", "Ready"]


# -- migrations ---------------------------------------------------------------------------------


def _source(phase: str, reason: str, message: str = "m", **counts: Any) -> dict[str, Any]:
    source = {"source": "old-home", "phase": phase, "reason": reason, "message": message, **counts}
    return {"conditions": [], "migrations": [source]}


COUNTS = {"sessions": 11, "lines": 26, "archives": 3}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        pytest.param(("Planned", "Planned"), ("Planned", "Planned"), [], id="unchanged"),
        pytest.param(None, ("Planning", "Planning"), [], id="that a look has begun is no news"),
        pytest.param(("Planning", "Planning"), ("Planned", "Planned"), [("Planned", False)], id="planned"),
        pytest.param(("Planned", "Planned"), ("PreCopying", "PreCopying"), [("PreCopying", False)], id="pre-copying"),
        pytest.param(
            ("PreCopying", "PreCopying"),
            ("Fencing", "Fencing"),
            [("PreCopied", False), ("Fencing", False)],
            id="pre-copied",
        ),
        pytest.param(("Fencing", "Fencing"), ("Copying", "Copying"), [("Fenced", False)], id="fenced"),
        pytest.param(("Copying", "Copying"), ("CuttingOver", "CuttingOver"), [("Copied", False)], id="copied"),
        pytest.param(("CuttingOver", "CuttingOver"), ("Migrated", "Migrated"), [("CutOver", False)], id="cut over"),
        pytest.param(("Migrated", "Migrated"), ("RollingBack", "RollingBack"), [("RollingBack", False)], id="back"),
        pytest.param(("RollingBack", "RollingBack"), ("RolledBack", "RolledBack"), [("RolledBack", False)], id="there"),
        pytest.param(("Finalizing", "Migrated"), ("Finalized", "Finalized"), [("Finalized", False)], id="finalized"),
        pytest.param(("Copying", "Copying"), ("Failed", "JobFailed"), [("JobFailed", True)], id="failed"),
        pytest.param(("Failed", "JobFailed"), ("Failed", "JobFailed"), [], id="failed still"),
        pytest.param(
            ("PreCopying", "PreCopying"), ("PreCopying", "JobUnschedulable"), [("JobUnschedulable", True)], id="held up"
        ),
        pytest.param(("PreCopying", "JobUnschedulable"), ("PreCopying", "PreCopying"), [], id="held up no longer"),
        pytest.param(
            ("Migrated", "Migrated"), ("Failed", "RollbackRefused"), [("RollbackRefused", True)], id="refused"
        ),
    ],
)
def test_each_step_of_a_source_is_told_once(
    before: tuple[str, str] | None, after: tuple[str, str], told: list[tuple[str, bool]]
) -> None:
    found = _told(_source(*before) if before else {}, _source(*after, **COUNTS))

    assert [(event.reason, event.warning) for event in found] == told


def test_a_step_is_told_with_its_counts() -> None:
    (pre_copied, _) = _told(_source("PreCopying", "PreCopying"), _source("Fencing", "Fencing", **COUNTS))

    assert pre_copied.message == "source 'old-home': 11 sessions, 26 lines, 3 archives copied while the gateway ran"


def test_progress_is_no_event() -> None:
    before = _source("Copying", "Copying", progress={"phase": "Copy", "done": 1})

    assert _told(before, _source("Copying", "Copying", progress={"phase": "Copy", "done": 2})) == []


def test_what_a_source_tells_the_condition_does_not_tell_again() -> None:
    after = {**_source("Failed", "JobFailed"), **_with("Migrated", "False", R.JOB_FAILED)}

    assert [event.reason for event in _told(_source("Copying", "Copying"), after)] == ["JobFailed"]
