"""`sessions.json`: one object, session key -> entry. Every entry comes out with the bytes it has in the file.

A broken entry costs itself and not its neighbours: values are delimited here and judged by the caller.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from sessionstore.openclaw import rawjson
from sessionstore.openclaw.problems import Reason

# Stand-ins for bytes that are not UTF-8, one for each, so that the text around them can be read. They lie in a
# private area at the far end of Unicode; a file that holds one already and is not UTF-8 either is not taken apart.
_STAND_IN = 0x10FF00
_INVALID_BYTE = re.compile("[\udc80-\udcff]")
_STAND_INS = re.compile(f"[{chr(_STAND_IN)}-{chr(_STAND_IN + 0xFF)}]")


@dataclass(frozen=True, slots=True)
class RawEntry:
    """An entry as it stands in the file: `raw` has not been judged."""

    key: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class BadEntry:
    """An entry that cannot be taken, or with `key` None the file as far as it cannot be taken apart."""

    key: str | None
    raw: bytes
    reason: Reason
    detail: str


def read_entries(raw: bytes) -> Iterator[RawEntry | BadEntry]:
    """Go through the entries of a whole `sessions.json`.

    Of a key that occurs twice the last entry is given, as JavaScript has it; earlier ones are bad. Where the text
    ends too early or makes no sense, the entries before that point are given, and then the whole file as bad.
    """
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        yield from _read_damaged(raw, error.start)
        return
    yield from _read_text(raw)


def _read_text(raw: bytes) -> Iterator[RawEntry | BadEntry]:
    left = _occurrences(raw)
    try:
        for key, value in rawjson.members(raw):
            left[key] -= 1
            if left[key]:
                yield BadEntry(key, value, Reason.DUPLICATE_KEY, f"key {key!a} has a later entry, which counts")
            else:
                yield RawEntry(key, value)
    except rawjson.RawJSONError as error:
        reason = Reason.NOT_AN_OBJECT if _is_other_value(raw) else Reason.INVALID_JSON
        yield BadEntry(None, raw, reason, str(error) if raw.strip() else "the file is empty")


def _occurrences(raw: bytes) -> Counter[str]:
    """Count each key as far as the text can be read."""
    found: Counter[str] = Counter()
    # The caller meets the same error at the same place, and reports it there.
    with contextlib.suppress(rawjson.RawJSONError):
        found.update(key for key, _ in rawjson.members(raw))
    return found


def _is_other_value(raw: bytes) -> bool:
    """Tell whether the text is whole JSON, of which only the type is wrong."""
    try:
        return not isinstance(json.loads(raw.decode("utf-8")), dict)
    except (ValueError, RecursionError):
        return False


def _read_damaged(raw: bytes, first: int) -> Iterator[RawEntry | BadEntry]:
    """Read a file that is not UTF-8: the entries that the damage did not touch are as good as ever."""
    detail = f"invalid UTF-8, first at byte {first}"
    text = raw.decode("utf-8", "surrogateescape")
    if _STAND_INS.search(text):
        yield BadEntry(None, raw, Reason.INVALID_UTF8, detail)
        return
    readable = _INVALID_BYTE.sub(lambda match: chr(_STAND_IN + ord(match.group()) - 0xDC00), text)
    for entry in _read_text(readable.encode("utf-8")):
        if entry.key is None:
            yield BadEntry(None, raw, Reason.INVALID_UTF8, detail)
            continue
        value = entry.raw.decode("utf-8")
        if _STAND_INS.search(value) or _STAND_INS.search(entry.key):
            yield BadEntry(_shown(entry.key), _restored(value), Reason.INVALID_UTF8, detail)
        else:
            yield entry


def _shown(key: str) -> str:
    return _STAND_INS.sub(lambda match: f"\\x{ord(match.group()) - _STAND_IN:02x}", key)


def _restored(text: str) -> bytes:
    back = _STAND_INS.sub(lambda match: chr(ord(match.group()) - _STAND_IN + 0xDC00), text)
    return back.encode("utf-8", "surrogateescape")
