"""Which pods a workload's selector chooses."""

from __future__ import annotations

from typing import Any

import pytest

from sessionstore.kube import selectors

LABELS = {"app": "openclaw", "tier": "web"}


def _expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        pytest.param({"matchLabels": {"app": "openclaw"}}, True, id="one label"),
        pytest.param({"matchLabels": LABELS}, True, id="all labels"),
        pytest.param({"matchLabels": {"app": "other"}}, False, id="another value"),
        pytest.param({"matchLabels": {**LABELS, "x": "y"}}, False, id="one label too many"),
        pytest.param(_expression("app", "In", "a", "openclaw"), True, id="In"),
        pytest.param(_expression("app", "In", "a"), False, id="not In"),
        pytest.param(_expression("gone", "In", "a"), False, id="In, absent"),
        pytest.param(_expression("app", "NotIn", "a"), True, id="NotIn"),
        pytest.param(_expression("gone", "NotIn", "a"), True, id="NotIn, absent"),
        pytest.param(_expression("app", "NotIn", "openclaw"), False, id="not NotIn"),
        pytest.param(_expression("app", "Exists"), True, id="Exists"),
        pytest.param(_expression("gone", "Exists"), False, id="not Exists"),
        pytest.param(_expression("gone", "DoesNotExist"), True, id="DoesNotExist"),
        pytest.param(_expression("app", "DoesNotExist"), False, id="not DoesNotExist"),
        pytest.param(
            {"matchLabels": {"app": "openclaw"}, **_expression("tier", "In", "db")}, False, id="both, one holds"
        ),
        pytest.param({}, False, id="empty"),
        pytest.param({"matchLabels": None, "matchExpressions": None}, False, id="null"),
    ],
)
def test_a_selector_chooses(selector: dict[str, Any], chosen: bool) -> None:
    assert selectors.matches(selector, LABELS) is chosen
