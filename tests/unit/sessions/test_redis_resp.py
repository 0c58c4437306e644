"""RESP2: what is sent is what the protocol says, and what arrives is the same in whatever pieces it comes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionstore.sessions.redis.resp import Malformed, Parser, Refusal, pack, pack_all


@pytest.mark.parametrize(
    ("command", "wire"),
    [
        pytest.param(("PING",), b"*1\r\n$4\r\nPING\r\n", id="a word"),
        pytest.param(("GET", "ä"), b"*2\r\n$3\r\nGET\r\n$2\r\n\xc3\xa4\r\n", id="text is UTF-8"),
        pytest.param(
            ("SET", b"\r\n\x00", -5), b"*3\r\n$3\r\nSET\r\n$3\r\n\r\n\x00\r\n$2\r\n-5\r\n", id="bytes, a number"
        ),
        pytest.param(("SET", "k", ""), b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", id="nothing"),
    ],
)
def test_a_command_is_an_array_of_bulk_strings(command: tuple[Any, ...], wire: bytes) -> None:
    assert pack(command) == wire
    assert pack_all([command, command]) == wire * 2


ANSWERS = [
    pytest.param(b"+OK\r\n", b"OK", id="status"),
    pytest.param(b":-12\r\n", -12, id="integer"),
    pytest.param(b"$5\r\na\r\nb\n\r\n", b"a\r\nb\n", id="bulk with line ends in it"),
    pytest.param(b"$0\r\n\r\n", b"", id="empty bulk"),
    pytest.param(b"$-1\r\n", None, id="no bulk"),
    pytest.param(b"*0\r\n", [], id="empty array"),
    pytest.param(b"*-1\r\n", None, id="no array"),
    pytest.param(b"*3\r\n$1\r\na\r\n*2\r\n:1\r\n*0\r\n$-1\r\n", [b"a", [1, []], None], id="nested"),
]


@pytest.mark.parametrize(("wire", "value"), ANSWERS)
def test_an_answer_is_read(wire: bytes, value: Any) -> None:
    assert Parser().feed(wire) == [value]


@pytest.mark.parametrize("wire", [case.values[0] for case in ANSWERS], ids=[case.id for case in ANSWERS])
def test_an_answer_is_not_there_before_its_last_byte(wire: bytes) -> None:
    parser = Parser()
    assert [parser.feed(wire[at : at + 1]) for at in range(len(wire) - 1)] == [[]] * (len(wire) - 1)
    assert len(parser.feed(wire[-1:])) == 1


def test_a_refusal_is_a_value_with_its_code() -> None:
    (refusal,) = Parser().feed(b"-WRONGTYPE Operation against a key\r\n")
    assert (refusal.code, refusal.text) == ("WRONGTYPE", "WRONGTYPE Operation against a key")


@pytest.mark.parametrize(
    "wire", [b"!3\r\n", b"$x\r\n", b"*1.5\r\n", b":\r\n", b"HTTP/1.1 400\r\n", b"$1000000000\r\n", b"+" * 70_000]
)
def test_what_is_no_resp_is_said(wire: bytes) -> None:
    with pytest.raises(Malformed):
        Parser().feed(wire)


VALUES = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=40) | st.just(Refusal("ERR no")),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


def encoded(value: Any) -> bytes:
    if isinstance(value, Refusal):
        return b"-%s\r\n" % value.text.encode()
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%s\r\n" % (len(value), value)
    return b"*%d\r\n%s" % (len(value), b"".join(map(encoded, value)))


@given(values=st.lists(VALUES, max_size=5), cuts=st.lists(st.integers(0, 400), max_size=8))
def test_pieces_make_no_difference(values: list[Any], cuts: list[int]) -> None:
    wire = b"".join(map(encoded, values))
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    parser, found = Parser(), []
    for begin, end in itertools.pairwise(edges):
        found += parser.feed(wire[begin:end])
    assert list(map(encoded, found)) == list(map(encoded, values))


def test_a_large_answer_is_put_together_once() -> None:
    parser, body = Parser(), bytes(range(256)) * 40_000
    wire = encoded([1, body])
    found = [parser.feed(wire[at : at + 65536]) for at in range(0, len(wire), 65536)]
    assert found[-1] == [[1, body]]
    assert parser.unfinished_bytes == 0


def test_how_much_is_still_to_come_is_known() -> None:
    parser = Parser()
    parser.feed(b"$1000\r\nxxx")
    assert parser.unfinished_bytes == len(b"$1000\r\n") + 1000 + 2
