"""Splitting a `sessions.json` into the bytes of its entries, piece by piece. Pure; called by `sheet`.

OpenClaw writes `JSON.stringify(…, null, 2)`. In such a text a line that begins with two spaces and a quotation mark
begins an entry: strings hold no line feeds, and what lies deeper is indented further. So a sheet is cut there, and of
each piece only that is looked at which was not known before: of 30 MB, seldom more than one entry.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping

from sessionstore.openclaw import rawjson

CHUNK_BYTES = 1024 * 1024

_SEPARATOR = b'\n  "'
_LAID_OUT = re.compile(rb"[{\[]\n    \S[\s\S]*\S\n  [}\]]|\{\}|\[\]|[^{\[][\s\S]*")
_PLAIN = json.JSONDecoder(parse_constant=lambda name: _refuse(f"{name} is not JSON"))


class OtherLayout(ValueError):
    """Not what OpenClaw writes; it may be JSON all the same."""


class Damaged(ValueError):
    """No JSON object with one value a key; the message says why."""


def split(read: Callable[[int], bytes], known: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return key -> the bytes of its value, laid out as at level 1, in the order of the text.

    A value that is as `known` has it is the very object that `known` has, so it takes no memory of its own.

    Args:
        read: gives up to so many of the next bytes; none at the end.
        known: key -> what the value was when last seen.
    Raises: OtherLayout; begin anew with `split_any`.
    """
    pieces = _pieces(read)
    if (before := next(pieces)) != b"{":
        return _empty(before, pieces)
    found: dict[str, bytes] = {}
    held = next(pieces, b"")
    for piece in pieces:
        _enter(found, held, b",", known)
        held = piece
    _enter(found, held.rstrip(b" \t\r\n"), b"\n}", known)
    return found


def split_any(data: bytes, known: Mapping[str, bytes]) -> dict[str, bytes]:
    """Do as `split` with a text of whatever layout. Raises: Damaged."""
    found: dict[str, bytes] = {}
    try:
        for key, raw in rawjson.members(data):
            if key in found:
                raise Damaged(f"it holds the key {key!a} twice")
            _check(raw)
            found[key] = _shared(rawjson.indent(raw, 1), known.get(key))
    except rawjson.RawJSONError as error:
        raise Damaged(str(error)) from error
    return found


def _pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Cut a text at its separators. A piece that is not at its end yet is read on in ever larger steps."""
    left = b""
    while chunk := read(max(CHUNK_BYTES, len(left))):
        *whole, left = (left + chunk).split(_SEPARATOR)
        yield from whole
    yield left


def _empty(text: bytes, rest: Iterator[bytes]) -> dict[str, bytes]:
    # A file without a byte is what a power cut leaves; OpenClaw takes it for an empty one, too.
    if text.strip() not in (b"{}", b"") or next(rest, None) is not None:
        raise OtherLayout("the text does not begin as OpenClaw's")
    return {}


def _enter(found: dict[str, bytes], piece: bytes, end: bytes, known: Mapping[str, bytes]) -> None:
    """Take one piece apart: the key without its first quotation mark, the value, and what stands behind it."""
    middle = piece.find(b'": ') + 1
    key = _key(piece[:middle])
    if key in found or not piece.endswith(end):
        raise OtherLayout("an entry is not where it is looked for")
    value = piece[middle + 2 : -len(end)]
    before = known.get(key)
    if before != value:
        _check_laid_out(value)
        before = value
    found[key] = before


def _key(quoted: bytes) -> str:
    try:
        text = '"' + quoted.decode()
        key, stop = _PLAIN.raw_decode(text)
    except ValueError as error:
        raise OtherLayout("a key is not where it is looked for") from error
    if stop != len(text):
        raise OtherLayout("a key is not where it is looked for")
    return str(key)


def _check_laid_out(value: bytes) -> None:
    if _LAID_OUT.fullmatch(value) is None:
        raise OtherLayout("an entry is laid out otherwise")
    try:
        _check(value)
    except Damaged as error:
        raise OtherLayout(str(error)) from error


def _check(value: bytes) -> None:
    """Raises: Damaged for what `JSON.parse` would not take: for OpenClaw the whole file is nothing then."""
    try:
        text = value.decode()
        if _PLAIN.raw_decode(text)[1] != len(text):
            raise Damaged("an entry does not end where it should")
    except (ValueError, RecursionError) as error:
        raise Damaged(f"an entry is no JSON: {error}") from error


def _refuse(problem: str) -> None:
    raise Damaged(problem)


def _shared(value: bytes, before: bytes | None) -> bytes:
    return before if before == value and before is not None else value
