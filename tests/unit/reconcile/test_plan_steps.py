"""At most one step a pass, and which: the order in which a store is changed where changing disrupts.

Whether a fence is put up at all, and what is done behind it, is in test_migration.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.engines import engine
from sessionstore.gateways import fence
from sessionstore.reconcile import queue
from sessionstore.reconcile.store import facts, records, steps
from sessionstore.reconcile.store import plan as plans
from tests import builders

STORE = builders.a_store(
    builders.a_gateway(),
    migration=builders.a_migration("Run"),
    storage={"size": "8Gi"},
)
OURS = "sessionstore.dev/chat"
FENCED = builders.a_workload("fenced", replicas=0, mark=builders.a_fence(STORE, 3))
HELD = builders.a_workload("held", claim=None, managers=(OURS,))

USERS_DIFFER = {"engine": builders.answering(STORE, users={"stranger": "user stranger on"})}
VOLUME_SMALL = {"children": builders.children_of(STORE, "4Gi")}
VOLUME_LARGE = {"children": builders.children_of(STORE, "16Gi")}
ON_FILES = {
    "gateways": (builders.a_gateway_on_files(STORE),),
    "sources": (builders.a_source_seen(STORE, record=builders.a_record()),),
}


DONE = {"sources": (builders.a_source_seen(STORE, record=builders.a_record(finished_at="2026-11-21T11:00:00Z")),)}


def _released(*workloads: dict[str, Any]) -> dict[str, Any]:
    return {"released": workloads}


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        pytest.param(USERS_DIFFER | VOLUME_SMALL | _released(FENCED, HELD) | ON_FILES, steps.LiftFence, id="fences"),
        pytest.param(USERS_DIFFER | VOLUME_SMALL | _released(HELD) | ON_FILES, steps.SyncUsers, id="then users"),
        pytest.param(VOLUME_SMALL | _released(HELD) | ON_FILES, steps.FenceWorkload, id="then the migration"),
        pytest.param(
            VOLUME_SMALL | _released(HELD) | DONE, steps.ReleaseWorkload, id="then our parts in removed gateways"
        ),
        pytest.param(VOLUME_SMALL | DONE, steps.GrowClaim, id="then the volume"),
        pytest.param(VOLUME_LARGE | ON_FILES, steps.FenceWorkload, id="a volume that cannot shrink holds nothing up"),
    ],
)
def test_of_all_that_is_due_one_step_is_taken(changes: dict[str, Any], step: type[steps.Step]) -> None:
    plan = builders.planned(STORE, **changes)

    assert type(plan.step) is step
    assert plan.requeue == queue.Requeue(plans.SOON_S)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(USERS_DIFFER["engine"], id="its users differ"),
        pytest.param(None, id="it is not up"),
        pytest.param(engine.Unreachable("connection", "no answer"), id="it does not answer"),
    ],
)
def test_no_gateway_is_fenced_while_the_store_is_not_ready_for_it(
    answer: engine.EngineFacts | engine.Unreachable | None,
) -> None:
    plan = builders.planned(STORE, **{**ON_FILES, "engine": answer})

    assert not isinstance(plan.step, steps.FenceWorkload)
    assert plan.injections == ()


# -- giving back ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workload", "expected"),
    [
        pytest.param(builders.a_workload("old"), None, id="nothing of ours is left"),
        pytest.param(
            builders.a_workload("old", labels={"sessionstore.dev/store": "chat"}),
            None,
            id="a label that is not ours to take",
        ),
        pytest.param(HELD, steps.ReleaseWorkload(HELD, "chat"), id="our parts"),
        pytest.param(FENCED, steps.LiftFence(FENCED, builders.a_fence(STORE, 3)), id="our fence"),
        pytest.param(
            builders.a_workload("old", mark=builders.a_fence(builders.a_store(name="mail"))),
            None,
            id="a fence of another store",
        ),
    ],
)
def test_a_removed_gateway_is_given_back_what_is_ours(workload: dict[str, Any], expected: steps.Step | None) -> None:
    store = builders.a_store()

    assert builders.planned(store, **_released(workload)).step == expected


def test_removed_gateways_are_let_go_one_a_pass() -> None:
    first, second = (builders.a_workload(name, managers=(OURS,)) for name in ("first", "second"))
    store = builders.a_store()

    assert builders.planned(store, **_released(first, second)).step == steps.ReleaseWorkload(first, "chat")
    assert builders.planned(store, **_released(second)).step == steps.ReleaseWorkload(second, "chat")


def _held(store: api.SessionStore, mark: fence.Fence, claim: str | None = builders.CLAIM) -> dict[str, Any]:
    workload = builders.a_workload(replicas=0, mark=mark, claim=claim)
    return {"gateways": (facts.GatewayFacts(store.spec.gateways[0], workload),)}


def _lifted(plan: plans.Plan) -> fence.Fence | None:
    return plan.step.fence if isinstance(plan.step, steps.LiftFence) else None


@pytest.mark.parametrize(
    ("store", "mark", "claim", "is_lifted"),
    [
        pytest.param(STORE, builders.a_fence(STORE, 3), builders.CLAIM, False, id="a source is being migrated"),
        pytest.param(
            builders.a_store(builders.a_gateway()),
            builders.a_fence(STORE, 3),
            builders.CLAIM,
            True,
            id="migration was removed",
        ),
        pytest.param(STORE, builders.a_fence(STORE, 3), "another", True, id="it mounts no source any more"),
        pytest.param(
            STORE,
            builders.a_fence(STORE, 3, uid="earlier"),
            builders.CLAIM,
            True,
            id="of an earlier store of this name",
        ),
        pytest.param(
            builders.a_store(builders.a_gateway()),
            builders.a_fence(builders.a_store(name="mail"), 3),
            builders.CLAIM,
            False,
            id="of another store",
        ),
    ],
)
def test_a_fence_that_no_source_will_lift_is_lifted(
    store: api.SessionStore, mark: fence.Fence, claim: str, is_lifted: bool
) -> None:
    plan = builders.planned(store, **_held(store, mark, claim))

    assert _lifted(plan) == (mark if is_lifted else None)


@pytest.mark.parametrize(
    ("spec", "changes"),
    [
        pytest.param({}, {"own_password": facts.Refused("there is none")}, id="without its password"),
        pytest.param({"redis": {"config": {"aclfile": "/tmp/x"}}}, {}, id="with a directive of ours"),
    ],
)
def test_a_spec_that_cannot_be_carried_out_holds_no_gateway_at_0(spec: dict[str, Any], changes: dict[str, Any]) -> None:
    store = builders.a_store(builders.a_gateway(), migration=builders.a_migration("Run"), **spec)
    mark = builders.a_fence(store, 3)
    held = _held(store, mark)

    plan = builders.planned(store, children={}, **{**held, **changes})
    after = builders.planned(store, children={}, **{"gateways": (builders.a_gateway_on_files(store),), **changes})

    assert _lifted(plan) == mark
    assert plan.requeue == queue.Requeue(plans.SOON_S)
    assert (plan.objects, plan.injections, after.step) == ((), (), None)


def test_nothing_is_grown_to_where_it_cannot_go() -> None:
    plan = builders.planned(STORE, **VOLUME_LARGE)

    assert not isinstance(plan.step, steps.GrowClaim)
    assert plan.verdicts["Provisioned"].reason == "StorageShrinkRefused"


def test_what_is_remembered_is_written_in_the_pass_that_takes_the_step() -> None:
    record = builders.a_record(node=builders.NODE)

    plan = builders.planned(STORE, **{**ON_FILES, "sources": (builders.a_source_seen(STORE, record=record),)})

    assert isinstance(plan.step, steps.FenceWorkload)
    (kept,) = (made for made in plan.objects if made["metadata"]["name"] == "chat-migrations")
    assert records.read_all(kept) == {"old-home": record}
