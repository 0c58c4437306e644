"""What is remembered of migrations: nothing is lost on the way through the ConfigMap, whoever has touched it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionstore.reconcile.store import records
from tests import builders

TEXT = st.text(max_size=20)
STAMPS = st.none() | TEXT
SUMMARIES = st.none() | st.dictionaries(TEXT, st.integers() | TEXT, max_size=3)
RECORDS = st.builds(
    records.Record,
    claim=TEXT,
    path=TEXT,
    planned=SUMMARIES,
    copied=SUMMARIES,
    node=STAMPS,
    fenced_at=STAMPS,
    cut_over_at=STAMPS,
    finished_at=STAMPS,
    attempt=st.integers(1),
    deltas=st.integers(0),
    failure=st.none() | st.builds(records.Failure, reason=TEXT, message=TEXT, token=TEXT),
)
NAMES = st.from_regex("[a-z0-9]{1,10}", fullmatch=True)


@given(st.dictionaries(NAMES, RECORDS, max_size=3))
def test_what_is_written_is_read_again(known: dict[str, records.Record]) -> None:
    assert records.read_all(records.config_map("chat", known)) == known


def test_the_same_records_are_the_same_bytes() -> None:
    first, second = builders.a_record("first"), builders.a_record("second", finished_at="t")

    one = records.config_map("chat", {"a": first, "b": second})
    other = records.config_map("chat", {"b": second, "a": first})

    assert json.dumps(one["data"], sort_keys=True) == json.dumps(other["data"], sort_keys=True)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(None, id="no ConfigMap"),
        pytest.param({}, id="without data"),
        pytest.param({"data": None}, id="data taken out"),
        pytest.param({"data": {"notes.txt": "{}"}}, id="a key of someone else's"),
    ],
)
def test_where_nothing_was_remembered_there_are_no_records(found: dict[str, object] | None) -> None:
    assert records.read_all(found) == {}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="cut off"),
        pytest.param("[]", id="a list"),
        pytest.param("null", id="null"),
        pytest.param('{"claim": "c"}', id="without its path"),
        pytest.param('{"claim": "c", "path": "/", "failure": {"why": "x"}}', id="a failure of other parts"),
        pytest.param('{"claim": "c", "path": "/", "failure": "x"}', id="a failure that is a text"),
    ],
)
def test_a_record_that_cannot_be_read_starts_anew_and_the_others_stay(text: str) -> None:
    kept = builders.a_record()

    assert records.from_data(text) is None
    assert records.read_all({"data": {"a.json": text, "b.json": records.to_data(kept)}}) == {"b": kept}


def test_what_a_later_version_adds_is_left_out() -> None:
    known = builders.a_record()

    assert records.from_data(json.dumps({**json.loads(records.to_data(known)), "of_later": 1})) == known


@pytest.mark.parametrize(("cut_over_at", "expected"), [(None, False), ("2026-11-21T12:00:00Z", True)])
def test_the_store_counts_from_the_cutover_on(cut_over_at: str | None, expected: bool) -> None:
    assert builders.a_record(cut_over_at=cut_over_at).is_cut_over is expected
