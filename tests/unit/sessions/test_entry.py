"""An entry that was made of a mapping, or is known from before, says what its bytes say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionstore.sessions import InvalidEntry
from sessionstore.sessions.record import Entry

# Lone surrogates too: JavaScript writes them, and two of them may be one character when they are read back.
TEXTS = st.text(st.characters(codec=None, exclude_categories=()), max_size=5)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(TEXTS | st.integers(0, 3) | st.booleans(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS | st.integers(0, 3), VALUES, max_size=4))
def test_a_mapping_gives_what_its_bytes_give(fields: dict[Any, Any]) -> None:
    try:
        entry = Entry.of(fields)
    except InvalidEntry:
        return
    assert dict(entry) == dict(Entry(entry.raw))
    assert repr(dict(entry)) == repr(dict(Entry.known(entry.raw)))


@pytest.mark.parametrize(
    "fields", [{1: "a", "1": "b"}, {"x": {True: 1, "true": 2}}, {"\ud83d\ude00": 1, "😀": 2}], ids=repr
)
def test_keys_that_become_one_are_refused(fields: dict[Any, Any]) -> None:
    with pytest.raises(InvalidEntry, match="twice"):
        Entry.of(fields)


def test_a_mapping_that_nests_too_deeply_is_refused() -> None:
    fields: dict[str, Any] = {}
    for _ in range(256):
        fields = {"a": fields}
    with pytest.raises(InvalidEntry, match="nested deeper"):
        Entry.of(fields)
    assert Entry.of(fields["a"]) == Entry(Entry.of(fields["a"]).raw)


def test_what_becomes_of_the_mapping_is_not_the_entrys() -> None:
    fields = {"tags": ["a"], "at": {"n": 1}}
    entry = Entry.of(fields)
    fields["tags"].append("b")
    fields["at"]["n"] = 2
    assert dict(entry) == {"tags": ["a"], "at": {"n": 1}}


def test_a_known_entry_is_looked_into_when_it_is_asked() -> None:
    entry = Entry.known(b'{"sessionId":"s","n":1e2}')
    assert (entry.session_id, entry["n"], entry.get("x", 7), len(entry)) == ("s", 100.0, 7, 2)
    assert entry == Entry(b'{"sessionId":"s","n":1e2}')
