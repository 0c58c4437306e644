"""Growth of the data volume: the claim is grown, the StatefulSet's template stays, and nothing shrinks."""

from __future__ import annotations

from typing import Any

import pytest

from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.kube import kinds
from sessionstore.reconcile.store import steps, storage
from tests import builders

R = reasons.Reason
KEY = ("StatefulSet", "chat-redis")


def _growth(wanted: str | None, live: str) -> steps.GrowClaim | None:
    store = builders.a_store(**({"storage": {"size": wanted}} if wanted else {}))
    return storage.next_growth(store, builders.observed(store, children=builders.children_of(store, live)))


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        pytest.param("8Gi", "8Gi", id="in sync"),
        pytest.param(None, "8Gi", id="the default size"),
        pytest.param("1Gi", "1024Mi", id="in another unit"),
        pytest.param("1.5Gi", "1536Mi", id="with a fraction"),
    ],
)
def test_a_volume_of_the_right_size_is_left_alone(wanted: str | None, live: str) -> None:
    assert _growth(wanted, live) is None


def test_a_volume_that_is_too_small_is_grown_by_its_claim() -> None:
    growth = _growth("9Gi", "8Gi")

    assert growth is not None
    assert (growth.claim["metadata"]["name"], growth.size, growth.refusal) == ("data-chat-redis-0", "9Gi", None)


@pytest.mark.parametrize("live", [pytest.param("8Gi", id="by a lot"), pytest.param("1074Mi", id="by a little")])
def test_a_volume_does_not_shrink_and_it_is_said_with_both_sizes(live: str) -> None:
    growth = _growth("1Gi", live)

    assert growth is not None
    assert growth.refusal is not None
    assert growth.refusal.reason == R.STORAGE_SHRINK_REFUSED
    assert all(word in growth.refusal.message for word in ("1Gi", live, "data-chat-redis-0"))


def test_before_there_is_a_claim_there_is_nothing_to_grow() -> None:
    store = builders.a_store(storage={"size": "9Gi"})

    assert storage.next_growth(store, builders.observed(store, children={})) is None


# -- the template -----------------------------------------------------------------------------


def _built(store: api.SessionStore) -> tuple[kinds.Manifest, ...]:
    return builders.MEANS.engine.objects(store, builders.passwords_of(store), builders.MEANS.defaults)


def _template(objects: tuple[kinds.Manifest, ...]) -> dict[str, Any]:
    (running,) = (made for made in objects if made["kind"] == "StatefulSet")
    (template,) = running["spec"]["volumeClaimTemplates"]
    return dict(template)


def test_a_template_that_is_as_it_should_be_is_the_one_that_was_built() -> None:
    store = builders.a_store()

    assert storage.keep_template(_built(store), builders.observed(store)) == _built(store)


def test_a_store_that_grew_keeps_the_template_it_was_made_with() -> None:
    store = builders.a_store(storage={"size": "16Gi"})

    kept = storage.keep_template(_built(store), builders.observed(store))

    assert _template(kept)["spec"]["resources"]["requests"]["storage"] == "8Gi"


def test_a_new_store_gets_the_template_of_its_spec() -> None:
    store = builders.a_store(storage={"size": "16Gi"})

    kept = storage.keep_template(_built(store), builders.observed(store, children={}))

    assert _template(kept)["spec"]["resources"]["requests"]["storage"] == "16Gi"


def test_a_storage_class_that_the_spec_leaves_to_the_cluster_is_not_taken_over() -> None:
    store = builders.a_store()
    children = builders.children_of(store)
    children[KEY]["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"] = "standard"

    kept = storage.keep_template(_built(store), builders.observed(store, children=children))

    assert "storageClassName" not in _template(kept)["spec"]
