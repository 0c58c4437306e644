"""The cutting of a sheet: as a JSON parser reads it, with the bytes as they stand, and nothing where it is damaged."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionstore.bridge import layout

_TEXT = st.text(max_size=12) | st.sampled_from(['": ', '\n  "', "\\", "\ud800", "é😀", '"', "},\n"])
_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)
_SHEETS = st.dictionaries(_TEXT, _VALUE, max_size=5)


def _openclaw(value: object) -> bytes:
    """Write as `JSON.stringify(…, null, 2)` does."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return "".join(f"\\u{ord(char):04x}" if "\ud800" <= char <= "\udfff" else char for char in text).encode()


def _split(text: bytes, known: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    return layout.split(io.BytesIO(text).read, known or {})


@given(_SHEETS)
def test_what_openclaw_wrote_is_read_as_a_parser_reads_it(sheet: dict[str, object]) -> None:
    text = _openclaw(sheet)
    try:
        found = _split(text)
    except layout.OtherLayout:
        # Of keys that hold what stands behind a key, and of values that are no entries, it may not be sure.
        found = layout.split_any(text, {})
    assert list(found) == list(sheet)
    assert {key: json.loads(raw) for key, raw in found.items()} == sheet
    again = b"{\n  " + b",\n  ".join(_openclaw(key) + b": " + raw for key, raw in found.items()) + b"\n}"
    assert again == text or not sheet


@given(_SHEETS, st.integers(min_value=1, max_value=9))
def test_pieces_of_any_size_give_the_same(sheet: dict[str, object], size: int) -> None:
    text = _openclaw({key: {"a": 'x\n  "y": 1'} for key in sheet})
    stream = io.BytesIO(text)
    try:
        assert layout.split(lambda _: stream.read(size), {}) == _split(text)
    except layout.OtherLayout:
        with pytest.raises(layout.OtherLayout):
            _split(text)


@given(_SHEETS, st.sampled_from([None, 1, 4, "\t"]))
def test_another_layout_gives_the_same_bytes(sheet: dict[str, object], indent: int | str | None) -> None:
    text = json.dumps(sheet, indent=indent).encode()
    expected = layout.split_any(json.dumps(sheet, indent=2).encode(), {})
    assert layout.split_any(text, {}) == expected
    with contextlib.suppress(layout.OtherLayout):
        assert _split(text) == expected


@given(_SHEETS, st.data())
def test_a_damaged_text_is_never_half_read(sheet: dict[str, object], data: st.DataObject) -> None:
    text = bytearray(_openclaw(sheet))
    at = data.draw(st.integers(0, len(text) - 1))
    if data.draw(st.booleans()):
        del text[at:]
    else:
        text[at] = data.draw(st.integers(0, 255))
    try:
        found = _split(bytes(text))
    except layout.OtherLayout:
        return
    # What is taken as it stands is what a parser would have read.
    assert {key: json.loads(raw) for key, raw in found.items()} == json.loads(text.strip() or b"{}")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'{\n  "a": {}', id="cut off"),
        pytest.param(b'{\n  "a": {},\n}', id="a comma too many"),
        pytest.param(b'{\n  "a": {}\n  "b": {}\n}', id="a comma too few"),
        pytest.param(b'{\n  "a": {\n    "b": NaN\n  }\n}', id="no number"),
        pytest.param(b'{\n  "a": {\n    "b": \n  }\n}', id="no value"),
        pytest.param(b'{\n  "a": {},\n  "a": {}\n}', id="a key twice"),
        pytest.param(b'{\n  "a": {\n    "b": "\xff"\n  }\n}', id="no UTF-8"),
        pytest.param(b'{\n  "a": {}\n}\n}', id="more behind it"),
        pytest.param(b"[]", id="an array"),
        pytest.param(b"\xef\xbb\xbf{}", id="a byte order mark"),
        pytest.param(b"\0\0\0\0", id="zero bytes"),
    ],
)
def test_what_openclaw_could_not_read_is_damaged(text: bytes) -> None:
    with pytest.raises(layout.OtherLayout):
        _split(text)
    with pytest.raises(layout.Damaged):
        layout.split_any(text, {})


@pytest.mark.parametrize("text", [b"{}", b"{}\n", b"", b"\n"])
def test_an_empty_sheet_has_no_entries(text: bytes) -> None:
    assert _split(text) == {}


def test_a_line_feed_at_the_end_is_no_other_layout() -> None:
    assert _split(b'{\n  "a": {}\n}\n') == {"a": b"{}"}


@pytest.mark.parametrize("split", [_split, layout.split_any])
def test_what_is_known_is_not_copied(split: object) -> None:
    known = {"a": b'{\n    "n": 1\n  }', "b": b'{\n    "n": 2\n  }'}
    text = b'{\n  "a": {\n    "n": 1\n  },\n  "b": {\n    "n": 3\n  }\n}'
    found = split(text, known)  # type: ignore[operator]
    assert found["a"] is known["a"]
    assert found["b"] == b'{\n    "n": 3\n  }'
