"""Whose an object is: what the garbage collector goes by, and what a forced apply must never take over."""

from __future__ import annotations

from typing import Any

import pytest

from sessionstore.kube import owner
from tests import builders

STORE = builders.live_store(builders.a_store())
ANEW = {**STORE, "metadata": {**STORE["metadata"], "uid": "another"}}
LABELS = {owner.MANAGED_BY: owner.FIELD_MANAGER, owner.STORE_LABEL: "chat"}
SOMEONE = {"kind": "Deployment", "name": "app", "uid": "uid-of-app", "controller": True}


def _child(labels: dict[str, str] | None = None, *references: dict[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "chat-redis"}
    if labels is not None:
        metadata["labels"] = labels
    return {"metadata": {**metadata, **({"ownerReferences": list(references)} if references else {})}}


@pytest.mark.parametrize(
    ("child", "is_adoptable"),
    [
        pytest.param(_child(LABELS, owner.owner_reference(STORE)), True, id="ours"),
        pytest.param(_child(None, owner.owner_reference(STORE)), True, id="ours, and its labels were taken off"),
        pytest.param(_child(LABELS), True, id="ours, and orphaned"),
        pytest.param(_child(LABELS, owner.owner_reference(ANEW)), False, id="of an earlier store of this name"),
        pytest.param(_child(LABELS | {owner.STORE_LABEL: "mail"}), False, id="an orphan of another store"),
        pytest.param(_child(LABELS | {owner.MANAGED_BY: "Helm"}), False, id="of another tool"),
        pytest.param(_child(LABELS, SOMEONE), False, id="of someone else, with our labels"),
        pytest.param(_child({}), False, id="of nobody we know"),
        pytest.param(_child(), False, id="without labels"),
    ],
)
def test_an_object_of_our_name_is_taken_only_when_it_is_ours(child: dict[str, Any], is_adoptable: bool) -> None:
    assert owner.is_adoptable(child, STORE) is is_adoptable


@pytest.mark.parametrize(
    ("references", "is_owned"),
    [
        pytest.param([], False, id="none"),
        pytest.param([owner.owner_reference(STORE)], True, id="one"),
        pytest.param([SOMEONE, owner.owner_reference(STORE)], True, id="among two"),
        pytest.param([SOMEONE], False, id="someone else's"),
        pytest.param([owner.owner_reference(ANEW)], False, id="of another of the same name"),
    ],
)
def test_an_owner_is_known_by_its_uid(references: list[dict[str, Any]], is_owned: bool) -> None:
    assert owner.is_owned(_child({}, *references), STORE) is is_owned


def test_a_child_goes_with_its_store_and_never_holds_it_back() -> None:
    (reference,) = owner.owned(_child(LABELS), STORE)["metadata"]["ownerReferences"]

    assert reference == {
        "apiVersion": "sessionstore.dev/v1alpha1",
        "kind": "SessionStore",
        "name": "chat",
        "uid": "uid-of-chat",
        "controller": True,
        "blockOwnerDeletion": False,
    }


def test_a_child_is_in_the_namespace_of_its_store_and_otherwise_as_it_was_built() -> None:
    built = {**_child(LABELS), "spec": {"replicas": 1}}

    made = owner.owned(built, STORE)

    assert made["metadata"]["namespace"] == "openclaw"
    assert made["metadata"]["labels"] == LABELS
    assert made["spec"] == built["spec"]
    assert "namespace" not in built["metadata"]
