"""What a pass says: a status that stays where nothing changed, events for what did, and no secret in either."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.engines import engine
from sessionstore.gateways import fence
from sessionstore.reconcile.store import facts, news, perform, plan, status, steps
from tests import builders

R = reasons.Reason
BARE = builders.a_store()
BOUND = builders.a_store(builders.a_gateway())
MIGRATING = builders.a_store(builders.a_gateway(), migration=builders.a_migration())
AWAY = engine.Unreachable("timeout", "no answer")
TAKEN = facts.Refused("there is one that is not this store's")
NOT_OURS = facts.Refused("may not patch services", forbidden=True)
CONFLICT = facts.Refused("409", {"helm": (".spec",)})
LATER = builders.NOW + timedelta(hours=1)


def _status(
    store: api.SessionStore,
    before: dict[str, Any] | None = None,
    applied: perform.Applied | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Run the pure stages of one pass over a store whose status is `before`; an hour later where there is one."""
    known = store.model_copy(update={"status": api.StoreStatus.model_validate(before or {})})
    seen = builders.observed(known, live=builders.live_store(store, before), **changes)
    now = LATER if before else builders.NOW
    made = plan.make_plan(known, seen, builders.MEANS, now)
    return status.make_status(known, seen, made, applied or perform.Applied(), now)


def _condition(shown: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = (condition for condition in shown["conditions"] if condition["type"] == kind)
    return dict(found)


# -- nothing changed --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("store", "changes"),
    [
        pytest.param(BARE, {}, id="in sync"),
        pytest.param(BOUND, {}, id="a gateway"),
        pytest.param(MIGRATING, {}, id="a source"),
        pytest.param(BARE, {"engine": None}, id="coming up"),
        pytest.param(BARE, {"engine": AWAY}, id="away"),
        pytest.param(builders.a_store(suspend=True), {}, id="suspended"),
        pytest.param(BARE, {"credentials": facts.Credentials(), "engine": None, "children": {}}, id="brand-new"),
    ],
)
def test_a_second_pass_in_the_same_world_writes_nothing_and_tells_nothing(
    store: api.SessionStore, changes: dict[str, Any]
) -> None:
    first = _status(store, **changes)
    settled = _status(store, first, **changes)

    again = _status(store, settled, **changes)

    assert again == settled
    assert news.make_events(settled, again) == ()


@pytest.mark.parametrize(
    ("used", "shown"),
    [
        pytest.param(10_000_000, 10_000_000, id="in sync"),
        pytest.param(10_999_999, 10_000_000, id="breathes within 1 % of the limit"),
        pytest.param(9_000_001, 10_000_000, id="breathes out"),
        pytest.param(11_000_001, 11_000_001, id="grew"),
        pytest.param(8_999_999, 8_999_999, id="shrank"),
    ],
)
def test_the_memory_that_is_shown_moves_only_when_it_counts(used: int, shown: int) -> None:
    first = _status(BARE)

    second = _status(BARE, first, engine=builders.answering(BARE, used_bytes=used))

    assert second["engine"]["usedBytes"] == shown
    assert second["engine"]["usedPercent"] == shown // 1_000_000


def test_without_a_limit_the_memory_that_is_shown_is_steady_too() -> None:
    first = _status(BARE, engine=builders.answering(BARE, limit_bytes=0))

    second = _status(BARE, first, engine=builders.answering(BARE, limit_bytes=0, used_bytes=10_065_000))

    assert second["engine"] == first["engine"]
    assert "usedPercent" not in second["engine"]


def test_a_store_that_is_away_is_shown_as_it_was_known() -> None:
    first = _status(BARE)

    away = _status(BARE, first, engine=AWAY)

    assert away["engine"] == first["engine"]
    assert _condition(away, "Ready")["reason"] == R.ENGINE_UNREACHABLE


def test_what_was_known_of_a_migration_stays_while_a_pass_is_held_up() -> None:
    first = _status(MIGRATING, engine=None)
    assert [shown["source"] for shown in first["migrations"]] == ["old-home"]

    held_up = _status(MIGRATING, first, own_password=facts.Refused("there is none"))

    assert held_up["migrations"] == first["migrations"]


def test_a_source_that_left_the_spec_leaves_the_status() -> None:
    first = _status(MIGRATING)

    assert "migrations" not in _status(BOUND, first)


# -- what is shown ----------------------------------------------------------------------------


def test_a_replica_is_never_shown_as_the_primary() -> None:
    shown = _status(BARE, engine=builders.answering(BARE, role="replica"))["engine"]

    assert shown["primary"] == ""
    assert shown["members"] == [{"name": "chat-redis-0", "role": "replica", "ready": True}]


@pytest.mark.parametrize(
    ("gateways", "ready"),
    [
        pytest.param(0, None, id="none"),
        pytest.param(1, "1/1", id="one"),
        pytest.param(2, "2/2", id="two"),
    ],
)
def test_gateways_are_counted(gateways: int, ready: str | None) -> None:
    store = builders.a_store(*(builders.a_gateway(name) for name in ("a", "b")[:gateways]))

    assert _status(store).get("gatewaysReady") == ready


@pytest.mark.parametrize(
    ("seen", "shown"),
    [
        pytest.param(builders.a_gateway_seen(BOUND), {"injected": True, "replicas": 1}, id="in sync"),
        pytest.param(builders.a_gateway_on_files(BOUND), {"injected": False, "replicas": 1}, id="on files"),
        pytest.param(
            builders.a_gateway_seen(BOUND, pods=(builders.a_pod(builders.a_workload()),)),
            {"injected": False, "replicas": 1},
            id="injected, and a pod still on files",
        ),
        pytest.param(builders.a_gateway_seen(BOUND, workload=None), {"injected": False, "replicas": 0}, id="gone"),
    ],
)
def test_a_gateway_is_shown_as_it_runs(seen: facts.GatewayFacts, shown: dict[str, Any]) -> None:
    (gateway,) = _status(BOUND, gateways=(seen,))["gateways"]

    assert gateway == {"name": "openclaw", "workload": "Deployment/openclaw", **shown}


def test_no_password_is_in_a_status_or_an_event() -> None:
    own = builders.a_store(builders.a_gateway(), auth={"existingSecret": {"name": "mine"}})
    refused = perform.Applied(children={"Secret/x": facts.Refused("no")}, step=facts.Refused("no", forbidden=True))
    worlds = [{}, {"engine": AWAY}, {"engine": builders.answering(own, users={})}, {"gateways": ()}]

    told = [_status(own, applied=applied, **world) for world in worlds for applied in (None, refused)]

    text = json.dumps([[shown, [event.message for event in news.make_events({}, shown)]] for shown in told])
    assert "password-of" not in text


# -- what was refused while applying ------------------------------------------------------------


def _step(kind: type[steps.Step]) -> steps.Step:
    workload = builders.a_workload()
    built: dict[type[steps.Step], steps.Step] = {
        steps.GrowClaim: steps.GrowClaim(builders.a_claim(), "9Gi", None),
        steps.ReleaseWorkload: steps.ReleaseWorkload(workload, "chat"),
        steps.CreateJob: steps.CreateJob({}),
        steps.FenceWorkload: steps.FenceWorkload(workload, fence.Fence(1, "t", "chat", "u", "old-home")),
    }
    return built[kind]


@pytest.mark.parametrize(
    ("kind", "forbidden", "condition", "reason"),
    [
        pytest.param(steps.GrowClaim, False, "Provisioned", R.STORAGE_GROWTH_REFUSED, id="growth"),
        pytest.param(
            steps.GrowClaim, True, "Provisioned", R.STORAGE_GROWTH_REFUSED, id="growth: 403 is the class's no"
        ),
        pytest.param(steps.CreateJob, False, "Migrated", R.JOB_FAILED, id="a Job"),
        pytest.param(steps.CreateJob, True, "Migrated", R.FORBIDDEN, id="a Job that we may not create"),
        pytest.param(steps.FenceWorkload, True, "Migrated", R.FORBIDDEN, id="a fence that we may not put up"),
        pytest.param(steps.ReleaseWorkload, False, "Injected", R.INJECTION_REFUSED, id="a release"),
        pytest.param(steps.ReleaseWorkload, True, "Injected", R.FORBIDDEN, id="a release that we may not send"),
    ],
)
def test_a_step_that_is_refused_is_told_where_it_belongs(
    kind: type[steps.Step], forbidden: bool, condition: str, reason: R
) -> None:
    applied = perform.Applied(step=facts.Refused("the API server's words", forbidden=forbidden))

    shown = status.make_status(BARE, builders.observed(BARE), plan.Plan(step=_step(kind)), applied, builders.NOW)

    found = _condition(shown, condition)
    assert (found["status"], found["reason"]) == ("False", reason)
    assert found["message"] == f"{kind.__name__} was refused: the API server's words"


@pytest.mark.parametrize(
    ("refused", "condition", "reason"),
    [
        pytest.param({"children": {"Service/x": TAKEN}}, "Provisioned", R.CHILD_CONFLICT, id="a child"),
        pytest.param({"children": {"Service/x": NOT_OURS}}, "Provisioned", R.FORBIDDEN, id="a child we may not write"),
        pytest.param({"gateways": {"openclaw": CONFLICT}}, "Injected", R.FIELD_CONFLICT, id="an injection"),
    ],
)
def test_what_was_refused_outweighs_what_was_planned(refused: dict[str, Any], condition: str, reason: R) -> None:
    found = _condition(_status(BOUND, applied=perform.Applied(**refused)), condition)

    assert (found["status"], found["reason"]) == ("False", reason)
