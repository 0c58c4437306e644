"""What a user wrote and should know more about, and what a removed gateway keeps."""

from __future__ import annotations

from typing import Any

import pytest

from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import injection
from tests import builders
from tests.unit.gateways import workloads

R = reasons.Reason
MIGRATED = builders.a_record(finished_at="t")
ON_VOLUME = builders.a_store(builders.a_gateway())
NAMED = builders.a_store(builders.a_gateway(), migration=builders.a_migration())
SHARED = builders.a_store(*(builders.a_gateway(name) for name in ("a", "b")))


def _on_volume(store: api.SessionStore) -> dict[str, Any]:
    """See the first gateway injected, with its state on a volume."""
    live = builders.injected(builders.a_workload(store.spec.gateways[0].name), store)
    return {"gateways": (builders.a_gateway_seen(store, workload=live, pods=(builders.a_pod(live),)),)}


@pytest.mark.parametrize(
    ("store", "changes", "reasons_in_order"),
    [
        pytest.param(builders.a_store(), {}, [], id="nothing"),
        pytest.param(
            builders.a_store(backup={"schedule": "0 3 * * *"}), {}, [R.NOT_CARRIED_OUT], id="a wish for a later version"
        ),
        pytest.param(ON_VOLUME, _on_volume(ON_VOLUME), [R.HISTORY_LEFT_BEHIND], id="a volume no source names"),
        pytest.param(ON_VOLUME, {}, [], id="no volume"),
        pytest.param(NAMED, _on_volume(NAMED), [], id="a volume that a source names"),
        pytest.param(
            ON_VOLUME, {**_on_volume(ON_VOLUME), "records": {"old-home": MIGRATED}}, [], id="a volume migrated before"
        ),
        pytest.param(
            ON_VOLUME,
            {**_on_volume(ON_VOLUME), "records": {"old-home": builders.a_record()}},
            [R.HISTORY_LEFT_BEHIND],
            id="a volume inspected and then forgotten",
        ),
        pytest.param(SHARED, {}, [R.SHARED_KEYSPACE], id="two gateways in the store's keyspace"),
        pytest.param(
            builders.a_store(builders.a_gateway("a"), builders.a_gateway("b", keyspace="chat")),
            {},
            [R.SHARED_KEYSPACE],
            id="one by name, one by default",
        ),
        pytest.param(
            builders.a_store(builders.a_gateway("a"), builders.a_gateway("b", keyspace="b")),
            {},
            [],
            id="a keyspace each",
        ),
    ],
)
def test_a_warning_is_given_for_what_the_user_should_know(
    store: api.SessionStore, changes: dict[str, Any], reasons_in_order: list[R]
) -> None:
    warning = builders.planned(store, **changes).verdicts["ConfigurationWarning"]

    expected = ("True", reasons_in_order[0]) if reasons_in_order else ("False", R.NO_WARNINGS)
    assert (warning.status, warning.reason) == expected


def test_of_several_warnings_each_is_told_and_the_first_gives_the_reason() -> None:
    store = builders.a_store(builders.a_gateway("a"), builders.a_gateway("b"), backup={"schedule": "0 3 * * *"})

    warning = builders.planned(store, **_on_volume(store)).verdicts["ConfigurationWarning"]

    assert warning.reason == R.NOT_CARRIED_OUT
    told = warning.message.split("; ")
    places = [next(i for i, text in enumerate(told) if word in text) for word in ("backup", "claim", "keyspace 'chat'")]
    assert places == sorted(places)


def _exported(*managers: str) -> dict[str, Any]:
    """Build a workload that was injected, and whose volume of ours `managers` own."""
    path = (*workloads.POD_SPEC, "f:volumes", workloads.item(name=injection.VOLUME))
    live = builders.injected(builders.a_workload("old"), builders.a_store(builders.a_gateway("old")))
    live["metadata"]["labels"] = {}
    return workloads.with_managed(live, *(workloads.managed(manager, path) for manager in managers))


@pytest.mark.parametrize(
    ("released", "status", "reason"),
    [
        pytest.param((), "True", R.NO_GATEWAYS, id="none"),
        pytest.param((builders.a_workload("old"),), "True", R.NO_GATEWAYS, id="without our parts"),
        pytest.param((_exported("sessionstore.dev/chat"),), "True", R.NO_GATEWAYS, id="ours to take out"),
        pytest.param(
            (_exported("sessionstore.dev/chat", "kubectl"),),
            "True",
            R.NO_GATEWAYS,
            id="ours and another's: not yet known",
        ),
        pytest.param((_exported("kubectl"),), "Unknown", R.LEFT_BEHIND, id="another applied it as its own"),
    ],
)
def test_what_a_removed_gateway_keeps_is_told_with_who_keeps_it(
    released: tuple[dict[str, Any], ...], status: str, reason: R
) -> None:
    said = builders.planned(builders.a_store(), released=released).verdicts["Injected"]

    assert (said.status, said.reason) == (status, reason)
    assert ("kubectl" in said.message) is (reason is R.LEFT_BEHIND)
