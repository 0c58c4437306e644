"""A rollback as a whole pass sees it: which fence stands, who is injected, what cannot be told apart."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.reconcile.store import facts, migration, records, steps
from sessionstore.reconcile.store import plan as plans
from tests import builders

R = reasons.Reason
Phase = migration.Phase
SINCE = builders.NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
OURS = "sessionstore.dev/chat"

BACK = builders.a_store(builders.a_gateway(), migration=builders.a_migration("Rollback"))
RUN = builders.a_store(builders.a_gateway(), migration=builders.a_migration("Run"))
MIGRATED = builders.a_record(finished_at=SINCE)
HELD = dataclasses.replace(MIGRATED, rollback_at=SINCE)
EXPORTED = dataclasses.replace(HELD, exported={"outcome": "Exported", "sessions": 1})
ROLLED_BACK = EXPORTED.after_rollback(SINCE, 7.0)


def _fenced(store: api.SessionStore, *, is_injected: bool = True) -> facts.GatewayFacts:
    live = builders.a_workload(replicas=0, mark=builders.a_fence(store))
    live = builders.injected(live, store) if is_injected else live
    return facts.GatewayFacts(store.spec.gateways[0], live)


def _planned(store: api.SessionStore, record: records.Record, gateway: facts.GatewayFacts | None = None) -> plans.Plan:
    changes: dict[str, Any] = {"gateways": (gateway,)} if gateway else {}
    source = builders.a_source_seen(store, record=record)
    return builders.planned(store, sources=(source,), records={source.source.name: record}, **changes)


def test_the_fence_of_a_rollback_stands_although_its_source_is_migrated() -> None:
    plan = _planned(BACK, HELD, _fenced(BACK))

    assert isinstance(plan.step, steps.CreateJob)
    assert plan.sources["old-home"].phase is Phase.ROLLING_BACK


def test_a_fence_over_a_migrated_source_that_nobody_rolls_back_is_lifted() -> None:
    plan = _planned(RUN, MIGRATED, _fenced(RUN))

    assert isinstance(plan.step, steps.LiftFence)


@pytest.mark.parametrize(
    ("record", "injected"),
    [
        pytest.param(HELD, ["openclaw"], id="until the export is proven its configuration is kept up"),
        pytest.param(EXPORTED, [], id="then nothing is put into it any more"),
        pytest.param(ROLLED_BACK, [], id="nor once it is on its files"),
    ],
)
def test_who_is_rolled_back_is_not_injected_again(record: records.Record, injected: list[str]) -> None:
    plan = _planned(BACK, record, _fenced(BACK, is_injected=record is HELD))

    assert [chosen.gateway for chosen in plan.injections] == injected


def test_a_gateway_that_was_rolled_back_waits_for_another_wish_and_says_so() -> None:
    plan = _planned(BACK, ROLLED_BACK, builders.a_gateway_on_files(BACK))

    assert plan.step is None
    assert plan.sources["old-home"].phase is Phase.ROLLED_BACK
    for kind in ("Injected", "Migrated"):
        assert (plan.verdicts[kind].status, plan.verdicts[kind].reason) == ("False", R.ROLLED_BACK)
    assert plan.verdicts["Degraded"].status == "False"


@pytest.mark.parametrize(
    "record", [pytest.param(ROLLED_BACK, id="after a rollback"), pytest.param(EXPORTED, id="before its end was seen")]
)
def test_a_gateway_that_was_rolled_back_stays_on_its_files_when_the_source_leaves_the_spec(
    record: records.Record,
) -> None:
    store = builders.a_store(builders.a_gateway())
    live = builders.a_workload()
    gateway = facts.GatewayFacts(store.spec.gateways[0], live, pods=(builders.a_pod(live),))

    plan = builders.planned(store, gateways=(gateway,), records={"old-home": record})

    assert (plan.injections, plan.step) == ((), None)
    verdict = plan.verdicts["Injected"]
    assert (verdict.status, verdict.reason) == ("False", R.ROLLED_BACK)
    assert "source 'old-home'" in verdict.message and "mode Run" in verdict.message


def test_a_gateway_that_reads_the_store_is_kept_up_when_its_source_leaves_the_spec_within_a_rollback() -> None:
    store = builders.a_store(builders.a_gateway())
    gateway = facts.GatewayFacts(store.spec.gateways[0], builders.injected(builders.a_workload(), store))

    plan = builders.planned(store, gateways=(gateway,), records={"old-home": EXPORTED})

    assert [chosen.gateway for chosen in plan.injections] == ["openclaw"]


def test_what_files_have_no_place_for_is_said() -> None:
    record = dataclasses.replace(ROLLED_BACK, exported={"outcome": "Exported", "sessions": 1, "leftOut": 2})

    plan = _planned(BACK, record, builders.a_gateway_on_files(BACK))

    assert "2 sessions that files have no place for stay in the store" in plan.verdicts["Migrated"].message


def test_pods_that_start_on_files_at_the_end_of_a_rollback_are_no_delta() -> None:
    plan = _planned(BACK, EXPORTED, builders.a_gateway_on_files(BACK))

    assert plan.sources["old-home"].record.deltas == 0
    assert plan.verdicts["Degraded"].status == "False"


SECOND = {"name": "second", "persistentVolumeClaim": "another"}


@pytest.mark.parametrize(
    ("store", "words"),
    [
        pytest.param(
            builders.a_store(
                builders.a_gateway(), builders.a_gateway("mail"), migration=builders.a_migration("Rollback")
            ),
            "'openclaw' and 'mail' mount one claim",
            id="two gateways on one claim",
        ),
        pytest.param(
            builders.a_store(
                builders.a_gateway(),
                builders.a_gateway("mail", workloadRef={"kind": "Deployment", "name": "absent"}),
                migration=builders.a_migration("Rollback"),
            ),
            "gateways 'openclaw' and 'mail' share keyspace 'chat'",
            id="two gateways in one keyspace",
        ),
    ],
)
def test_what_cannot_be_told_apart_is_refused_before_anything_is_fenced(store: api.SessionStore, words: str) -> None:
    gateways = [builders.a_gateway_seen(store, 0)]
    for index, gateway in enumerate(store.spec.gateways[1:], start=1):
        is_there = gateway.workload_ref is not None and gateway.workload_ref.name != "absent"
        seen = builders.a_gateway_seen(store, index) if is_there else facts.GatewayFacts(gateway, None)
        gateways.append(seen)
    source = builders.a_source_seen(store, record=MIGRATED)

    plan = builders.planned(store, sources=(source,), gateways=tuple(gateways))

    assert plan.step is None
    verdict = plan.sources["old-home"].verdict
    assert verdict.reason == R.ROLLBACK_REFUSED and words in verdict.message


def test_two_sources_under_one_gateway_are_refused() -> None:
    spec = builders.a_migration("Rollback")
    store = builders.a_store(builders.a_gateway(), migration={**spec, "sources": [*spec["sources"], SECOND]})
    live = builders.a_workload()
    volumes = live["spec"]["template"]["spec"]["volumes"]
    volumes.append({"name": "second", "persistentVolumeClaim": {"claimName": "another"}})
    gateway = facts.GatewayFacts(store.spec.gateways[0], builders.injected(live, store))
    sources = (
        builders.a_source_seen(store, 0, record=MIGRATED),
        builders.a_source_seen(store, 1, record=dataclasses.replace(MIGRATED, claim="another")),
    )

    plan = builders.planned(store, sources=sources, gateways=(gateway,))

    assert plan.step is None
    for source in plan.sources.values():
        assert "sources 'old-home' and 'second' went into one keyspace" in source.verdict.message


def test_a_gateway_with_a_keyspace_of_its_own_is_rolled_back_beside_another() -> None:
    store = builders.a_store(
        builders.a_gateway(),
        builders.a_gateway("mail", keyspace="mail", workloadRef={"kind": "Deployment", "name": "absent"}),
        migration=builders.a_migration("Rollback"),
    )
    source = builders.a_source_seen(store, record=MIGRATED)
    gateways = (builders.a_gateway_seen(store, 0), facts.GatewayFacts(store.spec.gateways[1], None))

    plan = builders.planned(store, sources=(source,), gateways=gateways)

    assert isinstance(plan.step, steps.FenceWorkload)
