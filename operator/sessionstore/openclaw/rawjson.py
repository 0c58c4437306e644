"""JSON that keeps the bytes it was given: what OpenClaw writes must come back as it was.

Python's `json` alone loses number forms, accepts `NaN`, takes the last of two equal keys and dies of deep
nesting. The session library, the file backend and the migration read JSON through here; nothing here does I/O.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

MAX_DEPTH = 256
"""Objects and arrays inside one another. OpenClaw's own entries stay below 20; the bound is ours, so that an
entry is readable or not whatever the interpreter's recursion limit and the depth of the caller's stack."""

_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_SCALAR = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s,:"\[\]{}]+', re.DOTALL)
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)
_SPACE = re.compile(r"[ \t\n\r]*")
_SURROGATES = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile('["\\\\\x00-\x1f\ud800-\udfff]')


class RawJSONError(ValueError):
    """Bytes that are not what was asked for; the message says what and where."""


class DuplicateKeyError(RawJSONError):
    """A key occurs twice in one object."""


class NotAnObjectError(RawJSONError):
    """JSON, but another value than an object."""


def parse_object(raw: bytes) -> dict[str, Any]:
    """Read one JSON object strictly.

    Lone surrogate escapes (`"\\ud800"`) are legal: JavaScript writes them when it cuts text between two halves.

    Raises: RawJSONError for invalid UTF-8 or JSON, NaN or Infinity, a key that occurs twice in one object at any
        depth, another value than an object, or nesting beyond MAX_DEPTH.
    """
    return _object(_parse(_text(raw), _STRICT))


def dump(value: Mapping[str, Any] | str) -> bytes:
    """Write a mapping, or text, without white space, as UTF-8; lone surrogates are escaped.

    Raises: TypeError, ValueError as `json.dumps` does.
    """
    return _encode(_write(value))


def members(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Go through an object's top level: key -> the bytes of its value, in the order of the text.

    A value is delimited, not judged: parse what you use. A key that occurs twice is given twice. So one bad
    entry in a `sessions.json` costs that entry and not its neighbours.

    Raises: RawJSONError when the text is no object, or ends within one.
    """
    text = _text(raw)
    for member in _members(text):
        yield member.key, _encode(text[member.start : member.stop])


def replace_members(raw: bytes, fields: Mapping[str, Any]) -> bytes:
    """Set top-level `fields`: others keep their bytes, all keep their place, new ones go to the end.

    Raises: RawJSONError when `raw` is no object; TypeError, ValueError for a value that is not JSON.
    """
    text = _text(raw)
    left = dict(fields)
    pieces: list[str] = []
    done = 0
    for member in _members(text):
        pieces.append(text[done : member.start])
        pieces.append(_write(left.pop(member.key)) if member.key in left else text[member.start : member.stop])
        done = member.stop
    separator = ","
    if not pieces:
        done, separator = text.index("{") + 1, ""
        pieces.append(text[:done])
    for key, value in left.items():
        pieces.append(f"{separator}{_write(key)}:{_write(value)}")
        separator = ","
    return _encode("".join(pieces) + text[done:])


def replace_values(raw: bytes, values: Mapping[str, bytes]) -> bytes:
    """Put these bytes in place of top-level values; a key that is not there stays away. Nothing else changes.

    They must be JSON values; nothing is checked here.

    Raises: RawJSONError when `raw` is no object.
    """
    text, pieces, done = _text(raw), [], 0
    for member in _members(text):
        value = _text(values[member.key]) if member.key in values else text[member.start : member.stop]
        pieces += [text[done : member.start], value]
        done = member.stop
    return _encode("".join(pieces) + text[done:])


def canonical(raw: bytes) -> bytes:
    """Write an object in the one form that digests use (docs/design/0001-identity.md, "Digest").

    Keys are sorted by their UTF-8 bytes, there is no white space, number literals stay as written; only `"`,
    `\\`, control characters and lone surrogates (which UTF-8 cannot hold) are escaped.

    Raises: RawJSONError as `parse_object`.
    """
    text = _text(raw)
    quick = _quick_canonical(text)
    if quick is not None:
        return quick
    pieces: list[str] = []
    _write_canonical(_object(_parse(text, _LITERAL)), pieces)
    return "".join(pieces).encode("utf-8")


def compact(raw: bytes) -> bytes:
    """Take away the white space between tokens; the tokens keep their bytes."""
    return _encode("".join(match.group() for match in _TOKENS.finditer(_text(raw))))


def indent(raw: bytes, level: int) -> bytes:
    """Lay a value out as `JSON.stringify(…, null, 2)` does at nesting `level`; the tokens keep their bytes.

    The value must be valid JSON; nothing is checked here.
    """
    pieces: list[str] = []
    empty = False
    for match in _TOKENS.finditer(_text(raw)):
        token = match.group()
        if token in ("}", "]"):
            level -= 1
            pieces.append("" if empty else _line(level))
        elif empty:
            pieces.append(_line(level))
        empty = token in ("{", "[")
        level += empty
        pieces.append({":": ": ", ",": "," + _line(level)}.get(token, token))
    return _encode("".join(pieces))


def _line(level: int) -> str:
    return "\n" + "  " * level


class _Literal(str):
    """A number as it was written."""

    __slots__ = ()


class _Member(NamedTuple):
    """Where a top-level value lies in the text."""

    key: str
    start: int
    stop: int


def _refuse_constant(name: str) -> NoReturn:
    raise RawJSONError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise DuplicateKeyError(f"key {max(counts, key=counts.__getitem__)!a} occurs twice in one object")
    return found


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
_LITERAL = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=_Literal, parse_float=_Literal
)
_PLAIN = json.JSONDecoder()
_COMPACT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RawJSONError(f"invalid UTF-8 at byte {error.start}") from error


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return _SURROGATES.sub(_escape, text).encode("utf-8")


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    return f"\\{char}" if char in '"\\' else f"\\u{ord(char):04x}"


def _write(value: Any) -> str:
    try:
        return _COMPACT.encode(value)
    except RecursionError as error:
        raise RawJSONError(f"nested deeper than {MAX_DEPTH}") from error


def _check_depth(text: str) -> None:
    # Counting brackets costs next to nothing and settles almost every text; only a text with many needs a scan
    # that knows which of them lie inside strings.
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return
    depth = 0
    for token in _BRACKETS.finditer(text):
        char = token.group()
        depth += (char in "{[") - (char in "}]")
        if depth > MAX_DEPTH:
            raise RawJSONError(f"nested deeper than {MAX_DEPTH} at character {token.start()}")


def _parse(text: str, decoder: json.JSONDecoder) -> Any:
    _check_depth(text)
    try:
        return _decoded(text, decoder)
    except json.JSONDecodeError as error:
        raise RawJSONError(f"invalid JSON: {error.msg} at line {error.lineno} column {error.colno}") from error
    except RawJSONError:
        raise
    except ValueError as error:
        # The only other complaint Python has. JavaScript reads such a number as Infinity and writes null.
        raise RawJSONError(f"an integer has more than {sys.get_int_max_str_digits()} digits") from error


def _decoded(text: str, decoder: json.JSONDecoder) -> Any:
    try:
        value, end = decoder.raw_decode(text)
        if end == len(text):
            return value
    except json.JSONDecodeError:
        pass
    # There is white space around it, or it is no JSON, which the long way tells in words.
    return decoder.decode(text)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        kind = {list: "an array", str: "text", bool: "a boolean", type(None): "null"}.get(type(value), "a number")
        raise NotAnObjectError(f"a JSON object is needed, not {kind}")
    return value


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _expect(text: str, at: int, chars: str) -> str:
    char = text[at : at + 1]
    if not char or char not in chars:
        found = repr(char) if char else "the end"
        raise RawJSONError(f"invalid JSON: {' or '.join(chars)} expected at character {at}, not {found}")
    return char


def _members(text: str) -> Iterator[_Member]:
    at = _after_space(text, 0)
    _expect(text, at, "{")
    at = _after_space(text, at + 1)
    closed = text[at : at + 1] == "}"
    while not closed:
        _expect(text, at, '"')
        key, at = _key(text, at)
        at = _after_space(text, at)
        _expect(text, at, ":")
        start = _after_space(text, at + 1)
        stop = _value_end(text, start)
        yield _Member(key, start, stop)
        at = _after_space(text, stop)
        closed = _expect(text, at, ",}") == "}"
        at = at if closed else _after_space(text, at + 1)
    at = _after_space(text, at + 1)
    if at != len(text):
        raise RawJSONError(f"invalid JSON: more text after the object, at character {at}")


def _key(text: str, at: int) -> tuple[str, int]:
    try:
        key, stop = _PLAIN.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise RawJSONError(f"invalid JSON: {error.msg} at line {error.lineno} column {error.colno}") from error
    return str(key), stop


def _value_end(text: str, start: int) -> int:
    try:
        return _PLAIN.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        # The value is broken, or deeper than the interpreter goes. Where it ends can still be told.
        return _closing(text, start) if text[start : start + 1] in ("{", "[") else _scalar_end(text, start)


def _scalar_end(text: str, start: int) -> int:
    match = _SCALAR.match(text, start)
    if match is None:
        raise RawJSONError(f"invalid JSON: a value expected at character {start}")
    return match.end()


def _closing(text: str, start: int) -> int:
    depth = 0
    for token in _BRACKETS.finditer(text, start):
        char = token.group()
        depth += (char in "{[") - (char in "}]")
        if depth == 0:
            return token.end()
    raise RawJSONError(f"invalid JSON: what opens at character {start} is never closed")


class _NotQuick(Exception):
    """A number that Python would write otherwise."""


def _not_quick(literal: str) -> NoReturn:
    raise _NotQuick


_QUICK = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_not_quick, parse_float=_not_quick)
_MINUS_ZERO = re.compile(r"-0(?!\d)")
_SORTED = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _quick_canonical(text: str) -> bytes | None:
    """Write what nearly every entry is, without escapes and fractions, as Python's own encoder does; else None.

    It sorts by code points, which is the order of UTF-8, and what has no escapes needs none.
    """
    if "\\" in text or _MINUS_ZERO.search(text):
        return None
    try:
        value = _parse(text, _QUICK)
        return _SORTED.encode(value).encode() if isinstance(value, dict) else None
    except (_NotQuick, ValueError, RecursionError):
        # The long way finds the same, or says what is wrong.
        return None


def _write_canonical(value: Any, pieces: list[str]) -> None:
    if isinstance(value, dict):
        separator = "{"
        for key in sorted(value, key=lambda key: key.encode("utf-8", "surrogatepass")):
            pieces.append(f'{separator}"{_ESCAPED.sub(_escape, key)}":')
            _write_canonical(value[key], pieces)
            separator = ","
        pieces.append("}" if value else "{}")
    elif isinstance(value, list):
        separator = "["
        for item in value:
            pieces.append(separator)
            _write_canonical(item, pieces)
            separator = ","
        pieces.append("]" if value else "[]")
    elif isinstance(value, _Literal):
        pieces.append(value)
    elif isinstance(value, str):
        pieces.append(f'"{_ESCAPED.sub(_escape, value)}"')
    else:
        pieces.append(_write(value))
