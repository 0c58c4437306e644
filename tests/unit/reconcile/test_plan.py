"""What one pass does for a store: nothing in sync, passwords first, and nothing at all where it is held up."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from sessionstore.apis import conditions
from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.engines import engine
from sessionstore.reconcile import queue
from sessionstore.reconcile.store import credentials, facts, records
from sessionstore.reconcile.store import plan as plans
from tests import builders

R = reasons.Reason
NOBODY = facts.Credentials()
STALE_USERS = {"_operator": "user _operator off"}
MIGRATED = builders.a_record(finished_at="t")

BARE = builders.a_store()
BOUND = builders.a_store(builders.a_gateway())
TWO = builders.a_store(builders.a_gateway(), builders.a_gateway("mail", keyspace="mail"))
MIGRATING = builders.a_store(builders.a_gateway(), migration=builders.a_migration("Run"))
WITH_SECRET = builders.a_store(builders.a_gateway(), auth={"existingSecret": {"name": "mine"}})


def _nothing_is_done(plan: plans.Plan) -> bool:
    return not (plan.users or plan.forget or plan.objects or plan.injections or plan.step)


def _said(plan: plans.Plan, kind: str) -> tuple[str, str]:
    verdict = plan.verdicts[kind]
    return verdict.status, verdict.reason


def _source(store: api.SessionStore, record: records.Record) -> dict[str, Any]:
    source = builders.a_source_seen(store, record=record)
    return {"sources": (source,), "records": {source.source.name: record}}


# -- in sync ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("store", "changes"),
    [
        pytest.param(BARE, {}, id="without gateways"),
        pytest.param(BOUND, {}, id="one gateway"),
        pytest.param(TWO, {}, id="two gateways"),
        pytest.param(MIGRATING, _source(MIGRATING, MIGRATED), id="migrated"),
        pytest.param(WITH_SECRET, {}, id="a password of the user's"),
    ],
)
def test_in_sync_there_is_no_step_and_the_next_look_is_a_resync(
    store: api.SessionStore, changes: dict[str, Any]
) -> None:
    plan = builders.planned(store, **changes)

    assert plan.step is None
    assert not plan.users | plan.forget
    assert plan.requeue == queue.Requeue(builders.MEANS.resync_s)
    assert {plan.verdicts[kind].status for kind in conditions.FOLDED} == {"True"}


def test_two_looks_at_one_world_give_one_plan() -> None:
    assert builders.planned(TWO) == builders.planned(TWO)


# -- passwords --------------------------------------------------------------------------------


def test_a_new_store_draws_every_password_and_does_nothing_else() -> None:
    plan = builders.planned(BOUND, credentials=NOBODY, engine=None, children={})

    assert plan.users == {"_operator", "_migration", "_health", "app", "gateway-openclaw", credentials.EPOCH}
    assert (plan.objects, plan.injections, plan.step) == ((), (), None)
    assert plan.requeue == queue.Requeue(0.0)


def test_a_new_gateway_draws_its_own_password_alone() -> None:
    plan = builders.planned(BOUND, credentials=facts.Credentials(builders.passwords_of(BARE), "7"))

    assert plan.users == {"gateway-openclaw"}
    assert plan.objects == ()


@pytest.mark.parametrize(
    ("mounted", "forgotten"),
    [
        pytest.param(frozenset(), {"gateway-mail"}, id="no pod has its binding"),
        pytest.param(frozenset({"chat-mail-binding"}), set(), id="a pod still mounts its binding"),
        pytest.param(frozenset({"chat-openclaw-binding"}), {"gateway-mail"}, id="a pod mounts another"),
    ],
)
def test_the_user_of_a_removed_gateway_goes_when_nobody_reads_its_password(
    mounted: frozenset[str], forgotten: set[str]
) -> None:
    plan = builders.planned(BOUND, credentials=facts.Credentials(builders.passwords_of(TWO), "7"), mounted=mounted)

    assert plan.forget == forgotten


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        pytest.param(facts.Refused("there is no Secret 'mine'"), R.SECRET_NOT_FOUND, id="missing"),
        pytest.param(facts.Refused("it is empty", forbidden=True), R.SECRET_INVALID, id="without the key"),
    ],
)
def test_without_the_users_password_nothing_is_changed_and_it_is_looked_for_again(
    refused: facts.Refused, reason: R
) -> None:
    plan = builders.planned(WITH_SECRET, own_password=refused)

    assert _nothing_is_done(plan)
    assert plan.verdicts == {
        "CredentialsReady": conditions.Verdict("False", reason, f"auth.existingSecret: {refused.message}")
    }
    assert plan.requeue == queue.Requeue(5.0)


def test_the_users_password_is_that_of_the_generic_binding() -> None:
    plan = builders.planned(WITH_SECRET)

    (binding,) = (made for made in plan.objects if made["metadata"]["name"] == "chat-binding")
    assert base64.b64decode(binding["data"]["password"]) == b"password-of-mine"


def test_passwords_drawn_anew_roll_the_server_and_a_changed_one_does_not() -> None:
    def marked(**changed: str) -> str:
        passwords = {**builders.passwords_of(BARE), **changed}
        plan = builders.planned(BARE, credentials=facts.Credentials(passwords, "7"))
        (running,) = (made for made in plan.objects if made["kind"] == "StatefulSet")
        return str(running["spec"]["template"]["metadata"]["annotations"][credentials.ANNOTATION])

    assert marked() == marked(app="another") != marked(**{credentials.EPOCH: "another"})


# -- a spec that cannot be carried out ---------------------------------------------------------


@pytest.mark.parametrize(
    ("store", "word"),
    [
        pytest.param(builders.a_store(redis={"config": {"aclfile": "/tmp/x"}}), "aclfile", id="a directive of ours"),
        pytest.param(builders.a_store(builders.a_gateway("migration")), "migration", id="a name of ours"),
    ],
)
def test_a_spec_that_would_break_the_store_changes_nothing_until_it_is_edited(
    store: api.SessionStore, word: str
) -> None:
    plan = builders.planned(store, children={}, engine=None, gateways=())

    assert _nothing_is_done(plan)
    assert _said(plan, "Provisioned") == ("False", R.CONFIG_REFUSED)
    assert word in plan.verdicts["Provisioned"].message
    assert plan.requeue == queue.Requeue.never()


# -- suspended --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="in sync"),
        pytest.param({"credentials": NOBODY, "engine": None, "children": {}}, id="brand-new"),
        pytest.param({"engine": builders.answering(MIGRATING, users=STALE_USERS)}, id="users differ"),
        pytest.param({"children": builders.children_of(MIGRATING, "4Gi")}, id="the volume should grow"),
        pytest.param({"released": (builders.a_workload("old", managers=("sessionstore.dev/chat",)),)}, id="released"),
        pytest.param({"own_password": facts.Refused("there is none")}, id="no password"),
        pytest.param(
            {
                "gateways": (builders.a_gateway_on_files(MIGRATING),),
                **_source(MIGRATING, replace(MIGRATED, copied=None)),
            },
            id="a gateway to inject",
        ),
        pytest.param(
            {
                "own_password": facts.Refused("there is none"),
                "gateways": (
                    builders.a_gateway_on_files(
                        MIGRATING, workload=builders.a_workload(mark=builders.a_fence(MIGRATING))
                    ),
                ),
            },
            id="a fence to lift",
        ),
    ],
)
def test_a_suspended_store_is_observed_and_nothing_is_done(changes: dict[str, Any]) -> None:
    store = builders.a_store(builders.a_gateway(), migration=builders.a_migration("Run"), suspend=True)

    plan = builders.planned(store, **changes)

    assert _nothing_is_done(plan)
    assert _said(plan, "Ready") == ("Unknown", R.SUSPENDED)
    assert plan.requeue.after_s is not None


def test_a_suspended_store_still_says_what_is_seen() -> None:
    store = builders.a_store(suspend=True)

    plan = builders.planned(store, engine=engine.Unreachable("auth", "refused"))

    assert _said(plan, "CredentialsReady") == ("False", R.USERS_OUT_OF_SYNC)
