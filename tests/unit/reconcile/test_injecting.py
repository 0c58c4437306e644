"""Which gateways are injected in a pass, what holds one back, and when one is on its files after its migration.

What goes into a pod template is in tests/unit/gateways/test_injection.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import injection
from sessionstore.kube import explain
from sessionstore.reconcile.store import facts, injecting, records
from sessionstore.reconcile.store import plan as plans
from tests import builders
from tests.unit.gateways import workloads

R = reasons.Reason
STORE = builders.a_store(builders.a_gateway())
TWO = builders.a_store(builders.a_gateway(), builders.a_gateway("mail", keyspace="mail"))
MIGRATING = builders.a_store(builders.a_gateway(), migration=builders.a_migration())
MIGRATED = builders.a_record(finished_at="t")

LIVE = builders.a_workload()
INJECTED = builders.injected(LIVE, STORE)
TAKEN = builders.a_workload(managers=("sessionstore.dev/mail",))
CONTROLLED = builders.a_workload(
    ownerReferences=[{"controller": True, "kind": "App", "name": "a", "apiVersion": "example.com/v1"}]
)
BARE_POD = builders.a_pod(LIVE, "bare")
OLD_POD = builders.a_pod(INJECTED, "old", annotations={injection.HASH_ANNOTATION: "of-an-earlier-configuration"})
CURRENT_POD = builders.a_pod(INJECTED, "current")


def _seen(store: api.SessionStore = STORE, **changes: Any) -> facts.GatewayFacts:
    return builders.a_gateway_on_files(store, **changes)


def _injected(plan: plans.Plan) -> list[str]:
    return [chosen.gateway for chosen in plan.injections]


def _said(plan: plans.Plan, kind: str = "Injected") -> tuple[str, str]:
    return plan.verdicts[kind].status, plan.verdicts[kind].reason


# -- who is injected --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        pytest.param(builders.a_gateway_seen(STORE), ("True", R.INJECTED), id="in sync"),
        pytest.param(_seen(), ("False", R.ROLLOUT_PENDING), id="not yet"),
        pytest.param(_seen(workload=INJECTED, pods=()), ("True", R.INJECTED), id="scaled to 0 by its owner"),
        pytest.param(builders.a_gateway_seen(STORE, workload=LIVE), ("False", R.ROLLOUT_PENDING), id="stripped of it"),
    ],
)
def test_a_gateway_is_applied_to_in_every_pass(seen: facts.GatewayFacts, said: tuple[str, str]) -> None:
    """In sync too: what of ours someone changed by hand is put back, and an apply of the same bytes is no write."""
    plan = builders.planned(STORE, gateways=(seen,))

    assert _injected(plan) == ["openclaw"]
    assert _said(plan) == said


def _refused(**fields: Any) -> facts.GatewayFacts:
    return _seen(rehearsal=facts.Refused("the API server's words", **fields))


@pytest.mark.parametrize(
    ("seen", "reason", "word"),
    [
        pytest.param(_seen(workload=None), R.GATEWAY_NOT_FOUND, "no Deployment 'openclaw'", id="no workload"),
        pytest.param(
            _seen(workload=facts.Refused("may not get deployments", forbidden=True)),
            R.FORBIDDEN,
            "may not get deployments",
            id="a workload we may not read",
        ),
        pytest.param(
            _seen(workload=workloads.a_workload(workloads.a_container("a"), workloads.a_container("b"))),
            R.CONTAINER_NOT_FOUND,
            "(a, b)",
            id="two containers and none is named",
        ),
        pytest.param(_seen(workload=TAKEN), R.GATEWAY_TAKEN, "'mail'", id="taken"),
        pytest.param(
            _seen(workload=CONTROLLED),
            R.CONTROLLED_BY_OWNER,
            "App 'a'",
            id="controlled",
        ),
        pytest.param(
            _refused(managers={"helm": (".spec.x",)}), R.FIELD_CONFLICT, "'helm' owns .spec.x", id="a conflict"
        ),
        pytest.param(_refused(forbidden=True), R.FORBIDDEN, "the API server's words", id="forbidden"),
        pytest.param(_refused(), R.INJECTION_REFUSED, "the API server's words", id="refused by a webhook"),
    ],
)
def test_what_cannot_be_injected_is_left_alone_and_said(seen: facts.GatewayFacts, reason: R, word: str) -> None:
    plan = builders.planned(STORE, gateways=(seen,))

    assert _injected(plan) == []
    assert _said(plan) == ("False", reason)
    assert plan.verdicts["Injected"].message.startswith("gateway 'openclaw'")
    assert word in plan.verdicts["Injected"].message


def test_one_gateway_that_cannot_be_injected_holds_no_other_up() -> None:
    plan = builders.planned(TWO, gateways=(_seen(TWO, workload=None), builders.a_gateway_seen(TWO, 1)))

    assert _injected(plan) == ["mail"]
    assert _said(plan) == ("False", R.GATEWAY_NOT_FOUND)


# -- who waits --------------------------------------------------------------------------------


def test_a_gateway_waits_for_the_store() -> None:
    plan = builders.planned(STORE, engine=None, gateways=(_seen(),))

    assert _injected(plan) == []
    assert _said(plan) == ("False", R.ROLLOUT_PENDING)
    assert plan.verdicts["Injected"].message == "gateway 'openclaw' is injected when the store is ready"


@pytest.mark.parametrize(
    ("record", "is_injected"),
    [
        pytest.param(None, False, id="nobody has looked into its volume"),
        pytest.param(builders.a_record(), False, id="inspected"),
        pytest.param(builders.a_record(copied={"sessions": 1}), False, id="copied, and its fence is gone"),
        pytest.param(builders.a_record(copied={"sessions": 1}, cut_over_at="t"), True, id="cut over"),
        pytest.param(MIGRATED, True, id="migrated"),
        pytest.param(builders.a_record("another", finished_at="t"), False, id="another volume was migrated"),
    ],
)
def test_a_gateway_stays_on_its_files_until_they_are_copied(record: records.Record | None, is_injected: bool) -> None:
    source = builders.a_source_seen(MIGRATING, record=record)

    plan = builders.planned(MIGRATING, gateways=(_seen(MIGRATING),), sources=(source,))

    assert _injected(plan) == (["openclaw"] if is_injected else [])
    assert (_said(plan)[1] == R.AWAITING_MIGRATION) is not is_injected


def test_a_gateway_behind_the_fence_is_injected_once_its_copy_is_proven() -> None:
    live = builders.a_workload(replicas=0, mark=builders.a_fence(MIGRATING, 3))
    seen = facts.GatewayFacts(MIGRATING.spec.gateways[0], live)
    store = MIGRATING.model_copy(update={"spec": MIGRATING.spec.model_copy(update={"migration": _running()})})
    source = builders.a_source_seen(
        store, record=builders.a_record(copied={"sessions": 1}, generations="uid-of-openclaw:0")
    )

    plan = builders.planned(store, gateways=(seen,), sources=(source,))

    assert _injected(plan) == ["openclaw"]


def _running() -> api.Migration:
    migration = builders.a_store(migration=builders.a_migration("Run")).spec.migration
    assert migration is not None
    return migration


# -- what runs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pods", "waits_for"),
    [
        pytest.param((CURRENT_POD,), None, id="current"),
        pytest.param((), None, id="none"),
        pytest.param((CURRENT_POD, BARE_POD), "bare", id="one without it"),
        pytest.param((CURRENT_POD, OLD_POD), "old", id="one with an earlier configuration"),
        pytest.param((builders.a_pod(LIVE, "new", phase="Pending"),), "new", id="one that does not run yet"),
        pytest.param((builders.a_pod(LIVE, "ended", phase="Failed"),), None, id="one that has ended"),
        pytest.param((builders.a_pod(LIVE, "ending", deletionTimestamp="t"),), None, id="one that is going"),
    ],
)
def test_injected_means_every_pod_that_runs(pods: tuple[dict[str, Any], ...], waits_for: str | None) -> None:
    plan = builders.planned(STORE, gateways=(builders.a_gateway_seen(STORE, workload=INJECTED, pods=pods),))

    assert _said(plan) == (("False", R.ROLLOUT_PENDING) if waits_for else ("True", R.INJECTED))
    assert f"({waits_for})" in plan.verdicts["Injected"].message or waits_for is None


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        pytest.param(R.CREATING, R.ROLLOUT_PENDING, id="it starts"),
        pytest.param(R.IMAGE_PULL_FAILED, R.IMAGE_PULL_FAILED, id="passed on"),
    ],
)
def test_a_gateway_whose_pods_do_not_come_up_says_why(trouble: R, reason: R) -> None:
    seen = builders.a_gateway_seen(STORE, trouble=explain.Explanation(trouble, "because"))

    plan = builders.planned(STORE, gateways=(seen,))

    assert _said(plan) == ("False", reason)
    assert plan.verdicts["Injected"].message == "gateway 'openclaw': because"


# -- on files after the cutover ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "pod", "is_degraded"),
    [
        pytest.param(MIGRATED, CURRENT_POD, False, id="in sync"),
        pytest.param(None, BARE_POD, False, id="before the migration"),
        pytest.param(builders.a_record(), BARE_POD, False, id="before the fence"),
        pytest.param(MIGRATED, BARE_POD, True, id="after it"),
        pytest.param(MIGRATED, OLD_POD, False, id="after it, with an earlier configuration: on the store"),
    ],
)
def test_a_gateway_on_its_files_is_bad_news_only_after_its_migration(
    record: records.Record | None, pod: dict[str, Any], is_degraded: bool
) -> None:
    source = builders.a_source_seen(MIGRATING, record=record)
    gateway = facts.GatewayFacts(MIGRATING.spec.gateways[0], INJECTED, pods=(pod,))

    plan = builders.planned(MIGRATING, gateways=(gateway,), sources=(source,))

    assert _said(plan, "Degraded") == (("True", R.GATEWAY_ON_FILES) if is_degraded else ("False", R.AS_EXPECTED))


@pytest.mark.parametrize(
    ("record", "pods", "deltas"),
    [
        pytest.param(MIGRATED, (CURRENT_POD,), 0, id="in sync"),
        pytest.param(MIGRATED, (BARE_POD,), 1, id="found on its files"),
        pytest.param(MIGRATED, (BARE_POD, BARE_POD), 1, id="with two pods"),
        pytest.param(replace(MIGRATED, deltas=1), (BARE_POD,), 1, id="found again before that was copied"),
        pytest.param(
            replace(MIGRATED, deltas=1, deltas_done=1), (BARE_POD,), 2, id="found again after that was copied"
        ),
        pytest.param(MIGRATED, (OLD_POD,), 0, id="on the store, with an earlier configuration"),
        pytest.param(builders.a_record(copied={}, cut_over_at="t"), (BARE_POD,), 0, id="the first cutover is not done"),
    ],
)
def test_what_is_written_to_files_after_the_migration_counts_once(
    record: records.Record, pods: tuple[dict[str, Any], ...], deltas: int
) -> None:
    gateway = facts.GatewayFacts(MIGRATING.spec.gateways[0], INJECTED, pods=pods)
    looked_at = injecting.look(
        MIGRATING, builders.observed(MIGRATING, gateways=(gateway,)), builders.MEANS.engine, ready=True
    )

    counted = injecting.with_delta(builders.a_source_seen(MIGRATING, record=record), looked_at)

    assert counted.record is not None
    assert counted.record.deltas == deltas
