"""Which changes of a status are told as events: reasons that are new, and news."""

from __future__ import annotations

from typing import Any

import pytest

from sessionstore.apis import conditions
from sessionstore.apis.v1alpha1 import reasons
from sessionstore.kube import events
from sessionstore.reconcile.store import perform, plan, status
from tests import builders

R = reasons.Reason


def _told(before: dict[str, Any], after: dict[str, Any]) -> list[events.Event]:
    known = [conditions.Condition.model_validate(condition) for condition in before.get("conditions", [])]
    return list(status.make_events(known, after))


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
