"""Durations and quantities: what can be written, what it means, and what is refused with which words."""

from __future__ import annotations

import re

import hypothesis.strategies as st
import pytest
from hypothesis import given

from sessionstore.apis import quantities


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("15m", 900, id="minutes"),
        pytest.param("0s", 0, id="never"),
        pytest.param("1h30m", 5400, id="two units"),
        pytest.param("7d", 604800, id="days"),
        pytest.param("2w", 1209600, id="weeks"),
        pytest.param("250ms", 0.25, id="milliseconds are not minutes"),
        pytest.param("1m1s", 61, id="m before s is minutes"),
    ],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    assert quantities.parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "m", "soon", "15 m", "-5m", "1.5h", "15m ", "15M", "1h-30m", "٣m", "15m\n"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write a duration such as"):
        quantities.parse_duration_s(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        pytest.param("8Gi", 8 * 2**30, id="binary"),
        pytest.param("8G", 8 * 10**9, id="decimal"),
        pytest.param("512", 512, id="bytes"),
        pytest.param("1.5Ti", 3 * 2**39, id="fraction"),
        pytest.param("100m", 1, id="thousandths are rounded up to a whole byte"),
        pytest.param("128974848000m", 128974848, id="as the API server may write it"),
        pytest.param("129e6", 129_000_000, id="exponent"),
        pytest.param("1E", 10**18, id="E alone is exa"),
        pytest.param("1Ei", 2**60, id="exbi"),
        pytest.param(".5Gi", 2**29, id="no digit before the point"),
        pytest.param("5.", 5, id="no digit after the point"),
        pytest.param("+1Ki", 1024, id="with a sign"),
        pytest.param("0", 0, id="nothing"),
    ],
)
def test_a_quantity_is_bytes(text: str, size: int) -> None:
    assert quantities.parse_quantity_bytes(text) == size


@pytest.mark.parametrize("text", ["", "banana", "8 Gi", "8gi", "-1Gi", "8GiB", "1e", "Gi", ".", "1e9999", "8Gi\n"])
def test_what_is_no_quantity_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write a size above 0 such as"):
        quantities.parse_quantity_bytes(text)


@given(st.from_regex(quantities.DURATION_PATTERN, fullmatch=True))
def test_every_duration_that_the_schema_admits_can_be_read(text: str) -> None:
    assert quantities.parse_duration_s(text.rstrip("\n")) >= 0


@given(st.from_regex(quantities.SIZE_PATTERN, fullmatch=True))
def test_every_size_that_the_schema_admits_can_be_read_and_is_not_nothing(text: str) -> None:
    assert quantities.parse_quantity_bytes(text.rstrip("\n")) > 0


@pytest.mark.parametrize("text", ["0", "0Gi", "0.0Gi", "00", "0.000", "-1Gi", "banana", "8gi", "8GiB", " 8Gi"])
def test_the_schema_admits_no_size_of_nothing(text: str) -> None:
    assert re.search(quantities.SIZE_PATTERN, text) is None
