"""JSON whose bytes survive, and what is refused."""

from __future__ import annotations

import json

import hypothesis
import pytest
from hypothesis import strategies

from sessionstore.openclaw import rawjson
from sessionstore.openclaw.rawjson import MAX_DEPTH, RawJSONError

JSON_VALUES = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats(allow_nan=False, allow_infinity=False)
    | strategies.text(strategies.characters()),
    lambda inner: strategies.lists(inner, max_size=4) | strategies.dictionaries(strategies.text(), inner, max_size=4),
    max_leaves=20,
)
OBJECTS = strategies.dictionaries(strategies.text(strategies.characters()), JSON_VALUES, max_size=6)


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


REFUSED = [
    pytest.param(b"", "Expecting value", id="nothing"),
    pytest.param(b"[1]", "not an array", id="an array"),
    pytest.param(b'"x"', "not text", id="text"),
    pytest.param(b"1.5", "not a number", id="a number"),
    pytest.param(b"true", "not a boolean", id="a boolean"),
    pytest.param(b"null", "not null", id="null"),
    pytest.param(b'{"a":1', "delimiter at line 1 column 7", id="torn"),
    pytest.param(b'{"a":1}{', "Extra data", id="more behind it"),
    pytest.param(b'{"a":[NaN]}', "NaN", id="NaN"),
    pytest.param(b'{"a":Infinity}', "Infinity", id="Infinity"),
    pytest.param(b'{"a":-Infinity}', "-Infinity", id="minus Infinity"),
    pytest.param(b"{'a':1}", "double quotes", id="single quotes"),
    pytest.param(b'{"a":01}', "delimiter", id="a leading zero"),
    pytest.param(b'{"a":"\t"}', "control character", id="a raw control character"),
    pytest.param(b'{"a":1,"b":2,"a":1}', "'a' occurs twice", id="a key twice"),
    pytest.param(b'{"x":[{"a":1,"\\u0061":2}]}', "'a' occurs twice", id="a key twice, deep and escaped"),
    pytest.param(b'{"a":"\xc3"}', "UTF-8 at byte 6", id="cut UTF-8"),
    pytest.param(b'\xef\xbb\xbf{"a":1}', "Expecting value|BOM", id="a byte order mark"),
    pytest.param(nested(MAX_DEPTH + 1), "nested deeper", id="objects too deep"),
    pytest.param(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested deeper", id="arrays far too deep"),
    pytest.param(b'{"a":' + b"[" * 100_000, "nested deeper", id="arrays too deep and torn"),
]


@pytest.mark.parametrize(("raw", "message"), REFUSED)
def test_what_is_no_strict_object_is_refused_with_the_reason(raw: bytes, message: str) -> None:
    for read in (rawjson.parse_object, rawjson.canonical):
        with pytest.raises(RawJSONError, match=message):
            read(raw)


def test_an_integer_that_python_does_not_read_is_refused_and_keeps_its_digits_in_the_canonical_form() -> None:
    raw = b'{"a":' + b"1" * 5000 + b"}"
    with pytest.raises(RawJSONError, match="4300 digits"):
        rawjson.parse_object(raw)
    assert rawjson.canonical(raw) == raw


def test_nesting_up_to_the_bound_is_read_whatever_the_stack_is() -> None:
    def at_depth(frames: int) -> dict[str, object]:
        return at_depth(frames - 1) if frames else rawjson.parse_object(nested(MAX_DEPTH))

    assert at_depth(300)["a"]
    assert rawjson.canonical(nested(MAX_DEPTH)) == nested(MAX_DEPTH)


def test_brackets_inside_text_are_no_nesting() -> None:
    text = '[{\\"' * 1000
    assert rawjson.parse_object(b'{"a":"%s"}' % text.encode()) == {"a": '[{"' * 1000}


def test_lone_surrogates_are_read_and_written_as_escapes() -> None:
    parsed = rawjson.parse_object(b'{"a":"x\\ud83d","b":"\\ud83d\\ude00"}')
    assert parsed == {"a": "x\ud83d", "b": "😀"}
    assert rawjson.dump(parsed) == '{"a":"x\\ud83d","b":"😀"}'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_not_written(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        rawjson.dump({"a": value})


def test_a_value_too_deep_is_not_written() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(RawJSONError, match="nested deeper"):
        rawjson.dump({"a": value})


@hypothesis.given(OBJECTS)
def test_what_is_written_is_read_again(value: dict[str, object]) -> None:
    assert rawjson.parse_object(rawjson.dump(value)) == value


MEMBERS = [
    pytest.param(b"{}", [], id="none"),
    pytest.param(b' { "a" : 1e2 } \n', [("a", b"1e2")], id="one, with space"),
    pytest.param(b'{"a":[1, 2],"b":{"c":"}"}}', [("a", b"[1, 2]"), ("b", b'{"c":"}"}')], id="two"),
    pytest.param('{"ключ":"空","z":0}'.encode(), [("ключ", '"空"'.encode()), ("z", b"0")], id="not ASCII"),
    pytest.param(b'{"a":1,"a":2}', [("a", b"1"), ("a", b"2")], id="a key twice is given twice"),
    pytest.param(b'{"a":{"x":oops},"b":2}', [("a", b'{"x":oops}'), ("b", b"2")], id="a broken object"),
    pytest.param(b'{"a":oops,"b":2}', [("a", b"oops"), ("b", b"2")], id="a broken word"),
    pytest.param(b'{"a":"\\q","b":2}', [("a", b'"\\q"'), ("b", b"2")], id="a broken escape"),
    pytest.param(b'{"a":NaN,"b":2}', [("a", b"NaN"), ("b", b"2")], id="NaN"),
]


@pytest.mark.parametrize(("raw", "expected"), MEMBERS)
def test_members_are_delimited_and_keep_their_bytes(raw: bytes, expected: list[tuple[str, bytes]]) -> None:
    assert list(rawjson.members(raw)) == expected


def test_a_member_deeper_than_the_interpreter_costs_only_itself() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    assert list(rawjson.members(b'{"a":' + deep + b',"b":2}')) == [("a", deep), ("b", b"2")]


NO_OBJECTS = [
    b"",
    b"[]",
    b"null",
    b'{"a"',
    b'{"a":',
    b'{"a":1',
    b'{"a":{',
    b'{"a":1,}',
    b'{"a":1}x',
    b"{1:2}",
    b'{"a":}',
]


@pytest.mark.parametrize("raw", [*NO_OBJECTS, b'{"\xff":1}'])
def test_members_of_what_is_no_object_are_refused(raw: bytes) -> None:
    with pytest.raises(RawJSONError):
        list(rawjson.members(raw))


@hypothesis.given(OBJECTS)
def test_members_put_together_are_the_object(value: dict[str, object]) -> None:
    raw = json.dumps(value, indent=2).encode()
    assert {key: json.loads(part) for key, part in rawjson.members(raw)} == value


REPLACED = [
    pytest.param(b'{"a":1}', {}, b'{"a":1}', id="nothing"),
    pytest.param(b"{}", {"a": 1}, b'{"a":1}', id="first member"),
    pytest.param(b" { } ", {"a": 1, "b": 2}, b' {"a":1,"b":2 } ', id="first members of a spaced object"),
    pytest.param(b'{"a":1e2,"b":2}', {"b": "x"}, b'{"a":1e2,"b":"x"}', id="the other keeps its form"),
    pytest.param(b'{ "b" : 2 , "a" : 1.0 }', {"b": [1]}, b'{ "b" : [1] , "a" : 1.0 }', id="place and space are kept"),
    pytest.param(b'{"a":1}', {"c": None, "b": 2}, b'{"a":1,"c":null,"b":2}', id="new ones go to the end"),
    pytest.param('{"ü":1,"z":-0}'.encode(), {"ü": "é\ud800"}, '{"ü":"é\\ud800","z":-0}'.encode(), id="not ASCII"),
]


@pytest.mark.parametrize(("raw", "fields", "expected"), REPLACED)
def test_fields_are_replaced_in_place(raw: bytes, fields: dict[str, object], expected: bytes) -> None:
    assert rawjson.replace_members(raw, fields) == expected


@pytest.mark.parametrize("raw", [b"[]", b"", b'{"a"'])
def test_fields_of_what_is_no_object_are_refused(raw: bytes) -> None:
    with pytest.raises(RawJSONError):
        rawjson.replace_members(raw, {"a": 1})


@hypothesis.given(OBJECTS, OBJECTS)
def test_replacing_is_what_updating_a_mapping_is(value: dict[str, object], fields: dict[str, object]) -> None:
    assert rawjson.parse_object(rawjson.replace_members(rawjson.dump(value), fields)) == value | fields


CANONICAL = [
    pytest.param(b"{}", b"{}", id="empty"),
    pytest.param(b' {"b" : 1, "a":[ ] } ', b'{"a":[],"b":1}', id="order and space"),
    pytest.param(b'{"a":[1e2,1.50,-0,9007199254740993]}', b'{"a":[1e2,1.50,-0,9007199254740993]}', id="number forms"),
    pytest.param(b'{"a":[true,false,null]}', b'{"a":[true,false,null]}', id="words"),
    pytest.param(
        b'{"a":"\\u00e9\\/\\n\\u001F\\"\\\\\\u007f"}', '{"a":"é/\\u000a\\u001f\\"\\\\\x7f"}'.encode(), id="one escaping"
    ),
    pytest.param(b'{"a":"\\uD83D"}', b'{"a":"\\ud83d"}', id="a lone surrogate"),
    # U+FF61 sorts before U+1F600 by UTF-8 bytes, and behind it by UTF-16, which is JavaScript's order.
    pytest.param('{"😀":1,"｡":2,"z":3}'.encode(), '{"z":3,"｡":2,"😀":1}'.encode(), id="order by UTF-8 bytes"),
]


@pytest.mark.parametrize(("raw", "expected"), CANONICAL)
def test_the_canonical_form(raw: bytes, expected: bytes) -> None:
    assert rawjson.canonical(raw) == expected


@hypothesis.given(OBJECTS)
def test_the_canonical_form_does_not_depend_on_layout_or_order(value: dict[str, object]) -> None:
    turned = dict(reversed(value.items()))
    assert rawjson.canonical(rawjson.dump(value)) == rawjson.canonical(json.dumps(turned, indent=3).encode())


@hypothesis.given(OBJECTS, strategies.sampled_from([-0.0, 1.5, 2**80, "-0", "2026-01-05", -7]))
def test_the_quick_way_to_the_canonical_form_is_the_long_way(value: dict[str, object], number: object) -> None:
    raw = rawjson.dump(value | {"number": number})
    # An escape, which only the long way takes, somewhere else in the text.
    longer = rawjson.dump(value | {"number": number, "zzz~": "\n"})

    assert rawjson.canonical(longer).replace(b',"zzz~":"\\u000a"', b"") == rawjson.canonical(raw)


@hypothesis.given(OBJECTS)
def test_layout_is_json_stringify_s_and_is_undone_by_compact(value: dict[str, object]) -> None:
    raw = rawjson.dump(value)
    laid_out = rawjson.indent(raw, 0)
    expected = json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert rawjson.compact(laid_out) == raw
    if b"\\ud" not in raw:
        assert laid_out == expected
