"""The SessionStore as the operator reads it: what is refused, what is filled in, what is left alone."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

from sessionstore.apis.v1alpha1 import sessionstore as api


def a_store(**spec: Any) -> api.SessionStore:
    return api.SessionStore.model_validate(
        {"metadata": {"name": "chat", "namespace": "openclaw"}, "spec": {"engine": "redis", **spec}}
    )


A_GATEWAY = {"name": "openclaw", "workloadRef": {"name": "openclaw"}}


def test_an_engine_is_a_complete_store() -> None:
    store = a_store()

    assert store.key == "openclaw/chat"
    assert (store.topology, store.storage_size, store.storage_class_name) == ("standalone", "8Gi", None)
    assert (store.spec.redis_or_default.max_memory_percent, store.spec.redis_or_default.eviction_policy.value) == (
        70,
        "noeviction",
    )
    assert store.spec.deletion_policy == api.DeletionPolicy.RETAIN
    assert store.spec.gateways == ()


def test_nothing_counts_as_written_that_was_not() -> None:
    assert a_store().spec.model_fields_set == {"engine"}


@pytest.mark.parametrize(
    ("spec", "topology"),
    [
        pytest.param({"redis": {"topology": "sentinel"}}, "sentinel", id="redis"),
        pytest.param({"engine": "mongodb"}, "replicaSet", id="mongodb without a block"),
        pytest.param({"engine": "mongodb", "mongodb": {"flavor": "ferretdb"}}, "ferretdb", id="ferretdb"),
        pytest.param({"external": {"secretRef": {"name": "x"}}}, "external", id="external"),
    ],
)
def test_the_topology_is_one_word_whatever_the_engine(spec: dict[str, Any], topology: str) -> None:
    assert a_store(**spec).topology == topology


def test_a_gateway_is_filled_in() -> None:
    (gateway,) = a_store(gateways=[A_GATEWAY]).spec.gateways

    assert gateway.workload_ref is not None
    assert (gateway.workload_ref.api_version, gateway.workload_ref.kind) == ("apps/v1", "Deployment")
    assert (gateway.run_as_user, gateway.delivery, gateway.container) == (1000, api.Delivery.CONFIG, None)
    assert gateway.keyspace_or("chat") == "chat"


def test_a_keyspace_that_is_given_wins() -> None:
    (gateway,) = a_store(gateways=[{**A_GATEWAY, "keyspace": "own"}]).spec.gateways

    assert gateway.keyspace_or("chat") == "own"


def test_a_migration_only_plans_unless_told_otherwise() -> None:
    migration = a_store(migration={"sources": [{"name": "old", "persistentVolumeClaim": "home"}]}).spec.migration

    assert migration is not None
    assert (migration.mode, migration.fence_timeout, migration.conflicts.value) == (
        api.MigrationMode.PLAN,
        "15m",
        "Newest",
    )
    assert migration.sources[0].path == "/"


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"rediss": {}}, id="in the spec"),
        pytest.param({"redis": {"replica": 3}}, id="in a block"),
        pytest.param({"gateways": [{**A_GATEWAY, "kind": "Deployment"}]}, id="in a list"),
    ],
)
def test_an_unknown_field_of_the_spec_is_refused_not_dropped(spec: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError, match="Extra inputs are not permitted"):
        a_store(**spec)


def test_unknown_metadata_and_status_are_left_alone() -> None:
    store = api.SessionStore.model_validate(
        {
            "apiVersion": "sessionstore.dev/v1alpha1",
            "kind": "SessionStore",
            "metadata": {"name": "chat", "managedFields": [], "generation": 4, "uid": "u"},
            "spec": {"engine": "redis"},
            "status": {"novelty": 1, "migrations": [{"source": "old", "phase": "Dreaming", "depth": 2}]},
        }
    )

    assert (store.metadata.generation, store.metadata.uid) == (4, "u")
    assert store.status.migrations[0].phase == "Dreaming"


def test_a_store_cannot_be_changed_once_read() -> None:
    store = a_store()

    with pytest.raises(pydantic.ValidationError, match="frozen"):
        store.spec.suspend = True  # type: ignore[misc]
