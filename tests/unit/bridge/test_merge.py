"""The field rules, as tables; and what has to hold for whatever two sides did."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sessionstore.bridge import merge
from sessionstore.bridge.fields import same
from tests.unit.bridge.gateways import entry, fields_of

BEFORE: dict[str, Any] = {"sessionId": "s", "updatedAt": 10}


def merged(before: dict[str, Any] | None, mine: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Merge both ways, each side with the fields that `BEFORE` has; both ways give the same."""
    ancestor = None if before is None else entry(**BEFORE | before)
    sides = entry(**BEFORE | mine), entry(**BEFORE | theirs)
    result = merge.merge(ancestor, *sides)
    assert same(result, merge.merge(ancestor, *reversed(sides)))
    return fields_of(result)


@pytest.mark.parametrize(
    ("before", "mine", "theirs", "expected"),
    [
        pytest.param({}, {}, {}, {}, id="in sync"),
        pytest.param({"a": 1}, {"a": 2}, {"a": 1}, {"a": 2}, id="mine changed"),
        pytest.param({"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}, id="theirs changed"),
        pytest.param({}, {"a": 1}, {"b": 2}, {"a": 1, "b": 2}, id="both added"),
        pytest.param({"a": 1, "b": 1}, {"b": 1}, {"a": 1, "b": 2}, {"b": 2}, id="one removed, one changed another"),
        pytest.param({"a": 1}, {}, {"a": 2}, {"a": 2}, id="changed beats removed"),
        pytest.param({"a": 1}, {"x": 1}, {"y": 1}, {"x": 1, "y": 1}, id="both removed"),
        pytest.param(
            {"a": 1}, {"a": 2, "updatedAt": 12}, {"a": 3, "updatedAt": 11}, {"a": 2, "updatedAt": 12}, id="later"
        ),
        pytest.param({"a": 1}, {"a": 2}, {"a": 3}, {"a": 3}, id="by bytes"),
        pytest.param({"a": 1}, {"a": True}, {"a": 1, "b": 1}, {"a": True, "b": 1}, id="true is not 1"),
        pytest.param(
            {"sentAt": 5, "fooTimestamp": 5},
            {"sentAt": 9, "fooTimestamp": 6, "updatedAt": 11},
            {"sentAt": 8, "fooTimestamp": 7, "updatedAt": 12},
            {"sentAt": 9, "fooTimestamp": 7, "updatedAt": 12},
            id="times: the later",
        ),
        pytest.param(
            {"sentAt": 5},
            {"sentAt": "x", "updatedAt": 11},
            {"sentAt": 9},
            {"sentAt": "x", "updatedAt": 11},
            id="no time",
        ),
        pytest.param(
            {"compactionCount": 5},
            {"compactionCount": 7},
            {"compactionCount": 6},
            {"compactionCount": 8},
            id="both counted",
        ),
        pytest.param(
            {"compactionCount": 5},
            {"compactionCount": 6},
            {"compactionCount": 6},
            {"compactionCount": 7},
            id="counted alike",
        ),
        pytest.param(
            {}, {"compactionCount": 1}, {"compactionCount": 1}, {"compactionCount": 2}, id="counted from nothing"
        ),
        pytest.param(
            {"compactionCount": 5},
            {"compactionCount": 0},
            {"compactionCount": 0},
            {"compactionCount": 0},
            id="both began anew",
        ),
        pytest.param(
            None,
            {"compactionCount": 5},
            {"compactionCount": 7},
            {"compactionCount": 7},
            id="counted from who knows where",
        ),
        pytest.param(
            {"o": {"a": 1, "b": {"c": 1}}},
            {"o": {"a": 2, "b": {"c": 1}}},
            {"o": {"a": 1, "b": {"c": 2}}},
            {"o": {"a": 2, "b": {"c": 2}}},
            id="objects go down",
        ),
        pytest.param(
            {"o": 1}, {"o": {"a": 1}}, {"o": {"b": 1}}, {"o": {"a": 1, "b": 1}}, id="objects in place of a number"
        ),
        pytest.param(
            {"o": {}}, {"o": {"a": 1}}, {"o": [1], "updatedAt": 11}, {"o": [1], "updatedAt": 11}, id="of two kinds"
        ),
        pytest.param(
            {"l": [{"id": 1}, {"id": 2}, {"id": 3}]},
            {"l": [{"id": 2}, {"id": 3}, {"id": 4}]},
            {"l": [{"id": 1}, {"id": 2}, {"id": 5}], "updatedAt": 11},
            {"l": [{"id": 2}, {"id": 4}, {"id": 5}], "updatedAt": 11},
            id="lists: what either added, without what either removed",
        ),
        pytest.param(
            {"l": [{"runId": 1, "a": 1, "b": 1}]},
            {"l": [{"runId": 1, "a": 2, "b": 1}]},
            {"l": [{"runId": 1, "a": 1, "b": 2}]},
            {"l": [{"runId": 1, "a": 2, "b": 2}]},
            id="elements go down",
        ),
        pytest.param(
            {"l": []}, {"l": [{"id": 1}], "updatedAt": 11}, {"l": [1]}, {"l": [{"id": 1}], "updatedAt": 11}, id="no ids"
        ),
        pytest.param(
            {"l": []},
            {"l": [{"id": 1}, {"id": 1}], "updatedAt": 11},
            {"l": [{"id": 2}]},
            {"l": [{"id": 1}, {"id": 1}], "updatedAt": 11},
            id="an id twice",
        ),
        pytest.param(
            {"status": "done", "startedAt": 1, "endedAt": 2, "model": "a"},
            {"status": "done", "startedAt": 5, "endedAt": 6, "model": "b", "updatedAt": 20},
            {"status": "running", "startedAt": 7, "model": "c"},
            {"status": "running", "startedAt": 7, "model": "c", "updatedAt": 20},
            id="the later run, whole",
        ),
        pytest.param(
            {"status": "done", "startedAt": 1, "totalTokens": 1},
            {"status": "running", "startedAt": 1, "totalTokens": 1},
            {"status": "done", "startedAt": 1, "totalTokens": 9, "updatedAt": 12},
            {"status": "running", "startedAt": 1, "totalTokens": 9, "updatedAt": 12},
            id="the same run, field by field",
        ),
        pytest.param(
            {"model": "a"},
            {"model": "b", "updatedAt": 20},
            {"model": "a", "startedAt": 3},
            {"model": "a", "startedAt": 3, "updatedAt": 20},
            id="a first run, whole",
        ),
        pytest.param(
            {},
            {"sessionId": "t", "a": 1},
            {"b": 1, "updatedAt": 99},
            {"sessionId": "t", "a": 1},
            id="a reset wins, unmixed",
        ),
        pytest.param(
            {},
            {"sessionId": "t", "sessionStartedAt": 3},
            {"sessionId": "u", "sessionStartedAt": 2, "updatedAt": 99},
            {"sessionId": "t", "sessionStartedAt": 3},
            id="of two resets the later",
        ),
        pytest.param(None, {"sessionId": "t"}, {"sessionId": "u"}, {"sessionId": "u"}, id="two first messages"),
        pytest.param(
            {"sessionId": None},
            {"sessionId": None, "label": "x"},
            {"sessionId": "t"},
            {"sessionId": "t", "label": "x"},
            id="a first session keeps what was set before",
        ),
        pytest.param(None, {"a": 1}, {"b": 2}, {"a": 1, "b": 2}, id="no ancestor: all of both"),
    ],
)
def test_two_sides_become_one(
    before: dict[str, Any] | None, mine: dict[str, Any], theirs: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert merged(before, mine, theirs) == BEFORE | expected


def test_a_side_that_is_right_keeps_its_bytes() -> None:
    before, mine = b'{\n    "a": 1\n  }', b'{"a":1, "price": 1e3}'
    assert merge.merge(before, mine, b'{"a": 1.0}') is mine
    assert merge.merge(before, b'{"a": 1.0}', mine) is mine


def test_what_is_put_together_is_laid_out_with_its_own_numbers() -> None:
    result = merge.merge(b'{"a":1}', b'{"a":1,"b":1e3}', b'{"a":1,"c":{"d":"\\u00e9"}}')
    assert result == b'{\n    "a": 1,\n    "b": 1e3,\n    "c": {\n      "d": "\\u00e9"\n    }\n  }'


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        pytest.param(b"{}", b"nonsense", b"{}", id="mine is one"),
        pytest.param(b"7", b"{}", b"{}", id="theirs is one"),
        pytest.param(b"7", b"8", b"8", id="neither"),
        pytest.param(b'{"a":1,"a":2}', b"{}", b"{}", id="a field twice"),
    ],
)
def test_what_is_no_entry_gives_way_to_one(mine: bytes, theirs: bytes, expected: bytes) -> None:
    assert merge.merge(b'{"a":3}', mine, theirs) == expected


def test_what_comes_again_does_not_count_twice() -> None:
    before, mine, theirs = (entry(**BEFORE, compactionCount=count) for count in (5, 6, 7))
    assert fields_of(merge.merge(before, mine, theirs))["compactionCount"] == 8
    assert fields_of(merge.merge(before, mine, theirs, again=True))["compactionCount"] == 7


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        pytest.param({"a": 2, "compactionCount": 9}, True, id="it, and more of a counter"),
        pytest.param({"a": 2, "b": 1}, True, id="it, and more"),
        pytest.param({"a": 1, "b": 1}, False, id="more, without it"),
        pytest.param({"a": 3, "updatedAt": 11}, True, id="what came after it"),
    ],
)
def test_it_is_told_whether_a_change_is_in(theirs: dict[str, Any], expected: bool) -> None:
    before, mine = entry(**BEFORE, a=1), entry(**BEFORE, a=2, compactionCount=1)
    assert merge.contains(before, mine, entry(**BEFORE | theirs)) is expected


def test_a_running_session_is_shown_with_its_last_end() -> None:
    raw = entry(**BEFORE, status="running", endedAt=5)
    assert merge.masked(raw) == raw.replace(b"running", b"done")
    assert merge.masked(entry(**BEFORE, status="running", x=1)) == entry(**BEFORE, x=1)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(entry(**BEFORE), id="never ran"),
        pytest.param(entry(**BEFORE, status="done", label="running"), id="the word elsewhere"),
        pytest.param(b'nonsense "running"', id="no entry"),
    ],
)
def test_what_does_not_run_is_shown_as_it_is(raw: bytes) -> None:
    assert merge.masked(raw) is raw


def test_a_change_beside_a_running_session_leaves_it_running() -> None:
    running = entry(**BEFORE, status="running", startedAt=7, endedAt=5)
    shown = merge.masked(running)
    labelled = entry(**{**json.loads(shown), "label": "x", "updatedAt": 11})
    assert fields_of(merge.merge(shown, labelled, running)) == {
        **BEFORE, "status": "running", "startedAt": 7, "endedAt": 5, "label": "x", "updatedAt": 11,
    }  # fmt: skip


FIELD_NAMES = ("updatedAt", "startedAt", "status", "compactionCount", "label", "o", "l")
SMALL = st.integers(0, 3)
VALUES = {
    "status": st.sampled_from(["running", "done"]),
    "o": st.dictionaries(st.sampled_from(["x", "y", "zAt"]), SMALL, max_size=3),
    "l": st.lists(st.builds(lambda name, value: {"id": name, "v": value}, SMALL, SMALL), max_size=3),
}
ENTRIES = st.fixed_dictionaries(
    {"sessionId": st.sampled_from(["s", "t"])}, optional={name: VALUES.get(name, SMALL) for name in FIELD_NAMES}
).map(lambda fields: entry(**fields))


@given(ENTRIES | st.none(), ENTRIES, ENTRIES)
def test_both_bridges_come_to_the_same(before: bytes | None, mine: bytes, theirs: bytes) -> None:
    one, other = merge.merge(before, mine, theirs), merge.merge(before, theirs, mine)
    assert (
        one == other
        or (same(one, other) and same(mine, theirs))
        or (before and same(mine, before) and same(theirs, before))
    )


@given(ENTRIES | st.none(), ENTRIES, ENTRIES)
def test_who_changed_nothing_takes_nothing_away(before: bytes | None, mine: bytes, theirs: bytes) -> None:
    assert merge.merge(mine, mine, theirs) == theirs
    assert merge.merge(theirs, mine, theirs) in (mine, theirs)
    assert same(merge.merge(before, mine, mine, again=True), mine)


@given(ENTRIES, ENTRIES, ENTRIES)
def test_what_is_merged_contains_both(before: bytes, mine: bytes, theirs: bytes) -> None:
    # Who changes an entry gives it a later time; who goes back in time may look like who changed nothing.
    times = [json.loads(raw).get("updatedAt", 0) for raw in (before, mine, theirs)]
    assume(times[0] == min(times))
    result = merge.merge(before, mine, theirs)
    assert merge.contains(before, mine, result)
    assert merge.contains(before, theirs, result)
