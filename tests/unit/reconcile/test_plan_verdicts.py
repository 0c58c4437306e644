"""What a plan says of the store itself, and of its migration as a whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sessionstore.apis import conditions
from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.engines import engine
from sessionstore.kube import explain
from sessionstore.reconcile import queue
from sessionstore.reconcile.store import facts, migration, records
from sessionstore.reconcile.store import plan as plans
from tests import builders

R = reasons.Reason
MIGRATED = builders.a_record(finished_at="t")
BARE = builders.a_store()


def _said(plan: plans.Plan, kind: str) -> tuple[str, str]:
    verdict = plan.verdicts[kind]
    return verdict.status, verdict.reason


# -- what the store itself says ----------------------------------------------------------------


def _known(reason: R) -> dict[str, Any]:
    condition = {"type": "Provisioned", "status": "False", "reason": reason, "lastTransitionTime": builders.NOW}
    return {"conditions": [condition]}


@pytest.mark.parametrize(
    ("before", "away", "reason"),
    [
        pytest.param({}, "connection", R.CREATING, id="never seen: it is on its way"),
        pytest.param(_known(R.CREATING), "connection", R.CREATING, id="creating: its Service follows in a moment"),
        pytest.param(_known(R.CREATING), "loading", R.CREATING, id="creating: it reads its data"),
        pytest.param(_known(R.CREATING), "timeout", R.ENGINE_UNREACHABLE, id="creating: connected, and no answer"),
        pytest.param(_known(R.CREATING), "auth", R.ENGINE_UNREACHABLE, id="creating: it refuses us"),
        pytest.param(_known(R.PROVISIONED), "connection", R.ENGINE_UNREACHABLE, id="was up: no connection"),
        pytest.param(_known(R.PROVISIONED), "loading", R.ENGINE_UNREACHABLE, id="was up: it reads its data"),
        pytest.param(_known(R.ENGINE_UNREACHABLE), "connection", R.ENGINE_UNREACHABLE, id="away, and still is"),
    ],
)
def test_a_store_that_does_not_answer_is_new_or_away(before: dict[str, Any], away: Any, reason: R) -> None:
    store = builders.a_store(status=before)

    plan = builders.planned(store, engine=engine.Unreachable(away, "no answer from chat-redis"))

    assert plan.verdicts["Provisioned"] == conditions.Verdict("False", reason, "no answer from chat-redis")
    assert plan.requeue == queue.Requeue(plans.SOON_S)


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        pytest.param(None, R.CREATING, id="nothing is known to be wrong"),
        pytest.param(explain.Explanation(R.IMAGE_PULL_FAILED, "no such image"), R.IMAGE_PULL_FAILED, id="passed on"),
    ],
)
def test_a_store_without_a_ready_pod_says_why(trouble: explain.Explanation | None, reason: R) -> None:
    plan = builders.planned(BARE, engine=None, trouble=trouble)

    assert _said(plan, "Provisioned") == ("False", reason)
    assert _said(plan, "CredentialsReady") == ("Unknown", R.DEPENDENCY_NOT_READY)


def test_a_store_that_cannot_save_is_up_and_says_so() -> None:
    plan = builders.planned(BARE, engine=builders.answering(BARE, persistence_fault="the last save failed"))

    assert _said(plan, "Provisioned") == ("True", R.PROVISIONED)
    assert plan.verdicts["Provisioned"].message == "7.4.0 answers; the last save failed"


# -- the sources together ----------------------------------------------------------------------


def _two_sources(*found: records.Record | None) -> tuple[api.SessionStore, dict[str, Any]]:
    names = ("first", "second")[: len(found)]
    sources = [{"name": name, "persistentVolumeClaim": f"{name}-claim"} for name in names]
    store = builders.a_store(migration={"mode": "Plan", "sources": sources})
    own = [
        replace(record, claim=f"{name}-claim") if record else None for name, record in zip(names, found, strict=True)
    ]
    seen = tuple(builders.a_source_seen(store, index, record=record) for index, record in enumerate(own))
    return store, {"sources": seen}


@pytest.mark.parametrize(
    ("found", "status", "reason", "words"),
    [
        pytest.param((), "True", R.NO_MIGRATION, ["no migration.sources"], id="no source"),
        pytest.param((MIGRATED,), "True", R.MIGRATED, ["1 sessions, 2 lines migrated"], id="one, done"),
        pytest.param((MIGRATED, MIGRATED), "True", R.MIGRATED, ["verified; 1 sessions"], id="two, both done"),
        pytest.param((None, MIGRATED), "False", R.PLANNING, ["'first'"], id="the first is open"),
        pytest.param((MIGRATED, None), "False", R.PLANNING, ["'second'"], id="the second is open"),
        pytest.param((None, None), "False", R.PLANNING, ["'first'"], id="both are open: the first speaks"),
    ],
)
def test_a_migration_is_as_far_as_its_first_open_source(
    found: tuple[records.Record | None, ...], status: str, reason: R, words: list[str]
) -> None:
    store, changes = _two_sources(*found)

    plan = builders.planned(store, **changes)

    assert _said(plan, "Migrated") == (status, reason)
    assert all(word in plan.verdicts["Migrated"].message for word in words)


def test_what_is_remembered_of_a_source_that_left_the_spec_is_kept() -> None:
    plan = builders.planned(BARE, records={"old-home": MIGRATED})

    (kept,) = (made for made in plan.objects if made["metadata"]["name"] == "chat-migrations")
    assert records.read_all(kept) == {"old-home": MIGRATED}


def test_while_a_migration_is_under_way_the_next_look_is_soon() -> None:
    store, changes = _two_sources(None)
    changes["sources"] = (replace(changes["sources"][0], jobs=_running(store)),)

    plan = builders.planned(store, **changes)

    assert plan.sources["first"].phase is migration.Phase.PLANNING
    assert plan.step is None
    assert plan.requeue == queue.Requeue(plans.SOON_S)


def _running(store: api.SessionStore) -> dict[str, facts.JobFacts]:
    job = builders.a_job(store)
    return {job.name: job}
