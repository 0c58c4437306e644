"""Which wishes are named as not carried out: those the user wrote, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from sessionstore.apis.v1alpha1 import carried_out
from sessionstore.apis.v1alpha1 import sessionstore as api

WORKLOAD = {"workloadRef": {"name": "openclaw"}}


def sentences(spec: dict[str, Any]) -> tuple[str, ...]:
    manifest = {"metadata": {"name": "chat"}, "spec": {"engine": "redis", **spec}}
    return carried_out.not_carried_out(api.SessionStore.model_validate(manifest))


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({}, id="the smallest store"),
        pytest.param({"redis": {}, "storage": {}, "auth": {}, "sessions": {}, "tls": {}}, id="empty blocks"),
        pytest.param({"redis": {"replicas": 1}}, id="one replica is what standalone has"),
        pytest.param({"auth": {"rotation": {"every": None}}}, id="rotation never"),
        pytest.param(
            {"sessions": {"defaultTTL": "7d", "idleTTL": "1h"}}, id="lifetimes, which the library carries out"
        ),
        pytest.param({"gateways": [{"name": "a", "stickiness": "Report", **WORKLOAD}]}, id="stickiness reported"),
        pytest.param({"networkPolicy": {"enabled": False}}, id="no network policy"),
        pytest.param({"monitoring": {"exporter": False}}, id="no monitoring"),
        pytest.param({"backup": {"schedule": None, "keep": 3}}, id="no backup"),
    ],
)
def test_nothing_is_said_where_nothing_is_missing(spec: dict[str, Any]) -> None:
    assert sentences(spec) == ()


@pytest.mark.parametrize(
    ("spec", "start"),
    [
        pytest.param({"redis": {"replicas": 3}}, "redis.replicas is 3", id="replicas of a standalone"),
        pytest.param({"auth": {"rotation": {"every": "30d"}}}, "auth.rotation ", id="rotation"),
        pytest.param({"gateways": [{"name": "a", "scaling": {}, **WORKLOAD}]}, "gateways[a].scaling ", id="scaling"),
        pytest.param(
            {"gateways": [{"name": "a", "stickiness": "Remove", **WORKLOAD}]},
            "gateways[a].stickiness ",
            id="stickiness",
        ),
        pytest.param({"networkPolicy": {"enabled": True}}, "networkPolicy ", id="network policy"),
        pytest.param({"monitoring": {"exporter": True}}, "monitoring ", id="exporter"),
        pytest.param({"monitoring": {"serviceMonitor": True}}, "monitoring ", id="service monitor"),
        pytest.param({"monitoring": {"prometheusRule": True}}, "monitoring ", id="alerts"),
        pytest.param({"backup": {"schedule": "0 3 * * *"}}, "backup ", id="backup"),
    ],
)
def test_one_sentence_names_what_was_written(spec: dict[str, Any], start: str) -> None:
    (sentence,) = sentences(spec)

    assert sentence.startswith(start)


def test_each_gateway_is_named_by_itself() -> None:
    gateways = [{"name": name, "scaling": {}, **WORKLOAD} for name in ("a", "b")]

    assert [sentence.split(".")[0] for sentence in sentences({"gateways": gateways})] == ["gateways[a]", "gateways[b]"]
