"""JSON values as the bytes they were written with, and what those mean. Pure; `merge.py` makes entries of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sessionstore.openclaw import rawjson

IDENTIFIERS = ("id", "checkpointId", "runId", "pluginId")
"""What tells one element of a list from another."""

Fields = Mapping[str, bytes]

_DECODER = json.JSONDecoder()


def same(one: bytes, other: bytes) -> bool:
    """Return whether two JSON values mean the same to JavaScript, whatever their layout and their order of fields."""
    return one == other or (_form(one) or one) == (_form(other) or other)


def same_or_absent(one: bytes | None, other: bytes | None) -> bool:
    """Return whether two fields mean the same, or both are not there."""
    return one is other or (one is not None and other is not None and same(one, other))


def fields_of(raw: bytes) -> Fields | None:
    """Return the fields of an entry in their order; None where it is no JSON object."""
    try:
        rawjson.parse_object(raw)
    except rawjson.RawJSONError:
        return None
    return dict(rawjson.members(raw))


def elements_of(raw: bytes) -> Fields | None:
    """Return the elements of a list by what identifies them; None where one has nothing that does, or two the same."""
    if not raw.startswith(b"["):
        return None
    items = _items(raw.decode())
    found = {name: item for item in items if (name := _identifier(item)) is not None}
    return found if len(found) == len(items) else None


def _items(text: str) -> list[bytes]:
    """Split a valid JSON list into the bytes of its elements."""
    found, at = [], 1
    while (start := _item_start(text, at)) is not None:
        _, at = _DECODER.raw_decode(text, start)
        found.append(text[start:at].encode())
    return found


def _item_start(text: str, at: int) -> int | None:
    while text[at] in " \t\r\n,":
        at += 1
    return None if text[at] == "]" else at


def _identifier(item: bytes) -> str | None:
    fields = fields_of(item) or {}
    return next((f"{name}={_form(fields[name])}" for name in IDENTIFIERS if name in fields), None)


def whole(fields: Fields) -> bytes:
    return b"{" + b",".join(rawjson.dump(name) + b":" + value for name, value in fields.items()) + b"}"


def _form(raw: bytes) -> str | None:
    """Return what two values have in common that mean the same: JavaScript knows one kind of number."""
    try:
        return json.dumps(json.loads(raw, parse_int=float), sort_keys=True)
    except (ValueError, RecursionError):
        return None


def _scalar(raw: bytes | None) -> Any:
    return None if raw is None or raw[:1] in (b"{", b"[") else json.loads(raw, parse_int=float)


def number_of(raw: bytes | None) -> float | None:
    value = _scalar(raw)
    return value if isinstance(value, float) else None


def text_of(raw: bytes | None) -> str | None:
    value = _scalar(raw)
    return value if isinstance(value, str) else None
