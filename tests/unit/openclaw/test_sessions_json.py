"""Entries come out with their bytes; what is broken costs itself and not its neighbours."""

from __future__ import annotations

import json

import hypothesis
import pytest
from hypothesis import strategies

from sessionstore.openclaw import sessions_json
from sessionstore.openclaw.problems import Reason
from sessionstore.openclaw.sessions_json import BadEntry, RawEntry

GOOD = b'{\n  "a": {"sessionId": "1", "n": 1e2},\n  "b": {"sessionId": "2"}\n}'


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(b"{}", [], id="no entries"),
        pytest.param(b'{"a":{"n":1e2}}', [("a", b'{"n":1e2}', None)], id="one"),
        pytest.param(
            b'{"a":1,"__proto__":{"x" : 1}}',
            [("a", b"1", None), ("__proto__", b'{"x" : 1}', None)],
            id="two, not judged",
        ),
        pytest.param(
            b'{"a":{},"a":{"x":1}}',
            [("a", b"{}", Reason.DUPLICATE_KEY), ("a", b'{"x":1}', None)],
            id="the later counts",
        ),
        pytest.param(b"[]", [(None, b"[]", Reason.NOT_AN_OBJECT)], id="an array"),
        pytest.param(b"", [(None, b"", Reason.INVALID_JSON)], id="empty"),
        pytest.param(
            b'{"a":{}',
            [("a", b"{}", None), (None, b'{"a":{}', Reason.INVALID_JSON)],
            id="torn: what came before is given",
        ),
        pytest.param(
            b'{"a":{"x":"\xff"},"b":{}}',
            [("a", b'{"x":"\xff"}', Reason.INVALID_UTF8), ("b", b"{}", None)],
            id="one entry is not UTF-8",
        ),
        pytest.param(
            b'{"\xffa":{},"b":{}}',
            [("\\xffa", b"{}", Reason.INVALID_UTF8), ("b", b"{}", None)],
            id="a key is not UTF-8",
        ),
        pytest.param(
            '{"a":"\U0010ff80"}'.encode() + b"\xff",
            [(None, '{"a":"\U0010ff80"}'.encode() + b"\xff", Reason.INVALID_UTF8)],
            id="not UTF-8, and holds what stands in for such bytes",
        ),
    ],
)
def test_entries_are_given_or_told(raw: bytes, expected: list[tuple[str | None, bytes, Reason | None]]) -> None:
    found = list(sessions_json.read_entries(raw))

    assert [(e.key, e.raw, e.reason if isinstance(e, BadEntry) else None) for e in found] == expected


@hypothesis.given(strategies.binary())
def test_any_bytes_can_be_read(raw: bytes) -> None:
    for found in sessions_json.read_entries(raw):
        assert isinstance(found, BadEntry) or found.raw in raw


@hypothesis.given(strategies.integers(0, len(GOOD) - 1), strategies.binary(max_size=3))
def test_damage_anywhere_is_told_or_harmless(at: int, what: bytes) -> None:
    damaged = GOOD[:at] + what + GOOD[at + 1 :]

    found = list(sessions_json.read_entries(damaged))

    is_whole = any(isinstance(entry, BadEntry) and entry.key is None for entry in found)
    entries = [entry for entry in found if isinstance(entry, RawEntry)]
    assert is_whole or _is_accounted_for(damaged, len(found))
    assert all(entry.raw in damaged for entry in entries)


def _is_accounted_for(damaged: bytes, found: int) -> bool:
    """Tell whether every top-level member was given: as many as a lenient reader of pairs sees, where one can read."""
    try:
        pairs = json.loads(damaged.decode("utf-8", "replace"), object_pairs_hook=lambda pairs: pairs)
    except ValueError:
        return True
    return len(pairs) == found
