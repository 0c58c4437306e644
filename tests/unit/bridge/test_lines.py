"""Who is ahead, and how two rows of lines become one: tables, and a model of two sides that each do as they like."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionstore.bridge import lines
from sessionstore.bridge.lines import (
    TAIL_BYTES,
    Agreed,
    Ahead,
    Behind,
    Forked,
    Outcome,
    Rewritten,
    Same,
    Superseded,
    Walk,
)

AGREED = Agreed(3, 10, 1000, b"end")


def walk(count: int, own: bool, theirs: bool) -> Walk:
    return Walk(count, count * 100, own=own, theirs=theirs)


@pytest.mark.parametrize(
    ("at", "generation", "is_kept", "outcome"),
    [
        pytest.param(walk(10, False, False), 3, True, Same(), id="in sync"),
        pytest.param(walk(10, True, False), 3, True, Ahead(10), id="file went on"),
        pytest.param(walk(10, False, True), 3, True, Behind(10), id="store went on"),
        pytest.param(walk(12, True, True), 3, True, Forked(12, 1200), id="both went on, two lines alike"),
        pytest.param(walk(4, False, True), 3, False, Rewritten(10), id="file lost its end"),
        pytest.param(walk(1, True, True), 3, False, Rewritten(10), id="file compacted"),
        pytest.param(walk(0, True, True), 3, False, Rewritten(10), id="file with another first line"),
        pytest.param(walk(0, False, True), 3, False, Behind(0), id="file empty"),
        pytest.param(walk(1, False, True), 3, False, Behind(1), id="file has but a header"),
        pytest.param(walk(10, False, True), 3, False, Behind(10), id="file with another header, store went on"),
        pytest.param(walk(11, True, True), 3, False, Forked(11, 1100), id="file with another header, both went on"),
        pytest.param(walk(10, True, False), 3, False, Ahead(10), id="file with another header went on"),
        pytest.param(walk(1, True, True), 4, True, Superseded(1000), id="store compacted"),
        pytest.param(walk(4, True, False), 4, True, Superseded(1000), id="store lost its end on purpose"),
        pytest.param(walk(10, True, False), 4, True, Ahead(10), id="store rewritten as it was, file went on"),
        pytest.param(walk(10, False, True), 4, True, Behind(10), id="store rewritten longer"),
        pytest.param(walk(2, True, True), 4, False, Forked(2, 200), id="both compacted"),
        pytest.param(walk(2, True, False), 4, False, Ahead(2), id="we rewrote the store and were killed half-way"),
        pytest.param(walk(4, True, False), 3, True, Ahead(4), id="store forgot the end"),
        pytest.param(walk(4, True, False), 2, True, Ahead(4), id="store forgot a rewrite and more"),
        pytest.param(walk(4, True, True), 2, False, Forked(4, 400), id="store forgot, file compacted"),
    ],
)
def test_who_is_ahead(at: Walk, generation: int, is_kept: bool, outcome: Outcome) -> None:
    assert lines.compare(at, AGREED, generation, is_kept=is_kept) == outcome


@pytest.mark.parametrize(
    ("at", "outcome"),
    [
        pytest.param(walk(5, False, False), Same(), id="same"),
        pytest.param(walk(5, True, False), Ahead(5), id="file longer"),
        pytest.param(walk(0, False, True), Behind(0), id="first copy"),
        pytest.param(walk(1, True, True), Forked(1, 100), id="no word of who was first"),
    ],
)
def test_who_is_ahead_where_nothing_is_known(at: Walk, outcome: Outcome) -> None:
    assert lines.compare(at, None, 7, is_kept=False) == outcome


HEADER, OTHER_HEADER = b'{"type":"session","id":"s","cwd":"/a"}', b'{"type":"session","id":"s","cwd":"/b"}'


@pytest.mark.parametrize(
    ("own", "theirs", "at", "count"),
    [
        ([], [], 0, 0),
        ([b"a"], [], 0, 0),
        ([b"a"], [b"a"], 0, 1),
        ([b"a", b"b"], [b"a", b"c"], 4, 1),
        ([b"a", b"b"], [b"a"], 4, 1),
        ([HEADER, b"a"], [OTHER_HEADER, b"a"], 0, 2),
        ([HEADER, b"a"], [OTHER_HEADER, b"a"], 1, 0),
        ([HEADER], [b"a"], 0, 0),
        ([b'{"type":"message","text":"\\"session\\""}'], [HEADER], 0, 0),
    ],
)
def test_common_lines_are_counted_and_headers_not_compared(
    own: list[bytes], theirs: list[bytes], at: int, count: int
) -> None:
    assert lines.count_common(own, theirs, at) == count


def message(name: str, parent: str | None, **more: Any) -> bytes:
    return json.dumps({"type": "message", "id": name, "parentId": parent} | more).encode()


def test_the_first_own_line_hangs_on_the_last_of_the_store() -> None:
    own = [message("x", "base", text="1e2"), message("y", "x")]

    assert lines.rebased(own, "last") == [message("x", "last", text="1e2"), own[1]]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(HEADER, id="header"),
        pytest.param(b"", id="blank"),
        pytest.param(b'{"type":"message","id":"x"', id="torn"),
        pytest.param(b"\xff\xfe{}", id="no UTF-8"),
        pytest.param(b'["id"]', id="no object"),
        pytest.param(b'{"type":"custom"}', id="without an id"),
    ],
)
def test_what_is_in_no_tree_stays_and_what_follows_is_hung(line: bytes) -> None:
    assert lines.rebased([line, message("x", "gone")], "last") == [line, message("x", "last")]


def test_a_line_that_hangs_there_already_keeps_its_bytes() -> None:
    own = [b'{ "parentId" : "last", "id":"x", "n":1e2, "cut":"\\ud800" }']

    assert lines.rebased(own, "last") == own


def test_other_bytes_of_a_line_that_is_hung_elsewhere_stay() -> None:
    own = [b'{ "parentId" : "base", "id":"x", "n":1e2, "cut":"\\ud800" }']

    assert lines.rebased(own, "last") == [b'{ "parentId" : "last", "id":"x", "n":1e2, "cut":"\\ud800" }']


def test_nothing_is_hung_where_there_is_nothing_to_hang_on() -> None:
    assert lines.rebased([message("x", "base")], None) == [message("x", "base")]
    assert lines.rebased([], "last") == []


def test_a_line_is_the_same_wherever_it_hangs_but_not_with_another_text() -> None:
    here, there = message("x", "a", text="t"), message("x", "b", text="t")

    assert lines.identity(here) == lines.identity(there)
    assert lines.identity(here) != lines.identity(message("x", "a", text="u"))
    assert lines.identity(b"no json") != lines.identity(b"no  json")


def test_the_last_id_is_that_of_no_header() -> None:
    assert lines.last_id([HEADER]) is None
    assert lines.last_id([HEADER, message("x", None), b"torn"]) == "x"


text = st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b" "))


@given(st.lists(st.lists(text, max_size=6), max_size=6))
def test_what_is_agreed_grows_piece_by_piece_as_the_file_does(parts: list[list[bytes]]) -> None:
    agreed = lines.NOTHING
    for part in parts:
        agreed = agreed.after(part)

    data = b"".join(line + b"\n" for part in parts for line in part)
    assert (agreed.lines, agreed.size, agreed.tail) == (sum(map(len, parts)), len(data), data[-TAIL_BYTES:])
