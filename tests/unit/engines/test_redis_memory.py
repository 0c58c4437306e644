"""How much of a memory limit is data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionstore import errors
from sessionstore.apis.v1alpha1.reasons import Reason
from sessionstore.engines.redis import memory

MI = 1 << 20


@pytest.mark.parametrize(
    ("limit_mi", "percent", "expected_mi"),
    [
        pytest.param(1000, 70, 700, id="the percentage"),
        pytest.param(256, 70, 179.2, id="the default"),
        pytest.param(256, 90, 224, id="never into the reserve"),
        pytest.param(64, 70, 32, id="a small one keeps its reserve"),
        pytest.param(48, 70, 16, id="the smallest that is of use"),
    ],
)
def test_maxmemory_leaves_room_for_forks_and_buffers(limit_mi, percent, expected_mi) -> None:
    assert memory.maxmemory_for(limit_mi * MI, percent) == int(expected_mi * MI)


@given(limit=st.integers(0, 1 << 45), percent=st.integers(1, 100))
def test_maxmemory_is_always_below_the_limit_or_refused(limit, percent) -> None:
    try:
        chosen = memory.maxmemory_for(limit, percent)
    except errors.SpecError:
        assert min(limit * percent // 100, limit - memory.RESERVED_BYTES) < memory.SMALLEST_BYTES
    else:
        assert memory.SMALLEST_BYTES <= chosen <= limit - memory.RESERVED_BYTES


def test_a_limit_that_is_too_small_is_refused_with_what_to_write() -> None:
    with pytest.raises(errors.SpecError, match=r"32Mi .* raise spec\.resources\.limits\.memory") as refused:
        memory.maxmemory_for(32 * MI, 70)

    assert refused.value.reason == Reason.CONFIG_REFUSED


@pytest.mark.parametrize(
    ("resources", "limits"),
    [
        pytest.param(None, {"memory": "256Mi"}, id="nothing"),
        pytest.param({}, {"memory": "256Mi"}, id="empty"),
        pytest.param({"limits": {"memory": "2Gi", "cpu": "1"}}, {"memory": "2Gi", "cpu": "1"}, id="a limit"),
        pytest.param({"limits": {"cpu": "1"}}, {"cpu": "1", "memory": "256Mi"}, id="no memory limit"),
        pytest.param({"requests": {"cpu": "1"}}, {"memory": "256Mi"}, id="a request of something else"),
        pytest.param({"requests": {"memory": "1Gi"}}, {"memory": "1Gi"}, id="a request above the default"),
        pytest.param({"requests": {"memory": "64Mi"}}, {"memory": "256Mi"}, id="a request below the default"),
    ],
)
def test_there_is_always_a_memory_limit(resources, limits) -> None:
    found = memory.with_limit(resources)

    assert found["limits"] == limits
    assert found.get("requests", {}).items() >= (resources or {}).get("requests", {}).items()


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [("256Mi", 256 * MI), ("1G", 10**9), (268435456, 256 * MI), ("1.5Gi", 3 << 29), ("1e9", 10**9)],
)
def test_the_limit_is_read_as_kubernetes_reads_it(quantity, expected) -> None:
    assert memory.limit_bytes({"limits": {"memory": quantity}}) == expected


@pytest.mark.parametrize("quantity", ["lots", "", "-1Gi", "1 Gi", None])
def test_what_is_no_quantity_is_refused(quantity) -> None:
    with pytest.raises(errors.SpecError, match=r"^spec\.resources"):
        memory.limit_bytes({"limits": {"memory": quantity}})


def test_the_defaults_cannot_be_changed_through_what_is_returned() -> None:
    memory.with_limit(None)["limits"]["memory"] = "1Mi"

    assert memory.with_limit(None)["limits"]["memory"] == "256Mi"
