"""Entries come out with their bytes; what is broken costs itself and not its neighbours, whatever the size."""

from __future__ import annotations

import functools
import io
import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from sessionstore.openclaw import json_index, json_stream, repeated
from sessionstore.openclaw.blob import Blob
from sessionstore.openclaw.json_index import JSONIndex
from sessionstore.openclaw.problems import Reason
from sessionstore.openclaw.reader import BadEntry, RawEntry
from sessionstore.openclaw.scratch import Scratch
from sessionstore.openclaw.tree import Tree

GOOD = b'{\n  "a": {"sessionId": "1", "n": 1e2},\n  "b": {"sessionId": "2"}\n}'
DEEP = b"[" * 100_000 + b"]" * 100_000
LARGE = b'{"a":"' + b"x" * json_index.MAX_ENTRY_BYTES + b'"}'
Found = tuple[str | None, bytes, Reason | None]


def read(raw: bytes, scratch: Scratch) -> list[Found]:
    """Return key, bytes and reason of all that an index of these bytes gives."""
    root = scratch.path()
    root.mkdir()
    (root / "sessions.json").write_bytes(raw)
    with Tree(root) as tree:
        index = JSONIndex(tree, scratch, "sessions.json", "sessions.json", "main", lambda agent: ("",))
        return [_shape(entry) for entry in index.entries()]


def _shape(entry: RawEntry | BadEntry) -> Found:
    if isinstance(entry, RawEntry):
        return entry.key, entry.raw, None
    return entry.key, _bytes(entry.blob), entry.reason


def _bytes(blob: Blob) -> bytes:
    raw = b"".join(blob.chunks())
    assert len(raw) == blob.size
    return raw


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(b"{}", [], id="no entries"),
        pytest.param(b" { }\n", [], id="no entries, laid out"),
        pytest.param(b'{"a":{"n":1e2}}', [("a", b'{"n":1e2}', None)], id="one"),
        pytest.param(
            b'{"a":1,"__proto__":{"x" : 1}}',
            [("a", b"1", None), ("__proto__", b'{"x" : 1}', None)],
            id="two, not judged",
        ),
        pytest.param(b'\xef\xbb\xbf{"a":{}}', [("a", b"{}", None)], id="a byte order mark before it"),
        pytest.param(b'{\r\n"a" : {}\r\n}\r\n', [("a", b"{}", None)], id="carriage returns"),
        pytest.param(b'{"\\u0061\\"":{}}', [('a"', b"{}", None)], id="a key with escapes"),
        pytest.param(
            b'{"a":{},"a":{"x":1}}',
            [("a", b"{}", Reason.DUPLICATE_KEY), ("a", b'{"x":1}', None)],
            id="the later counts",
        ),
        pytest.param(
            b'{"a":1,"\\u0061":3,"a":4}',
            [("a", b"1", Reason.DUPLICATE_KEY), ("a", b"3", Reason.DUPLICATE_KEY), ("a", b"4", None)],
            id="three times, once with an escape",
        ),
        pytest.param(b"[]", [(None, b"[]", Reason.NOT_AN_OBJECT)], id="an array"),
        pytest.param(b"", [(None, b"", Reason.INVALID_JSON)], id="empty"),
        pytest.param(
            b'{"a":{}',
            [("a", b"{}", None), (None, b'{"a":{}', Reason.INVALID_JSON)],
            id="torn: what came before is given",
        ),
        pytest.param(
            b'{"a":{},}', [("a", b"{}", None), (None, b'{"a":{},}', Reason.INVALID_JSON)], id="a comma too many"
        ),
        pytest.param(b'{"a":1}{', [("a", b"1", None), (None, b'{"a":1}{', Reason.INVALID_JSON)], id="more behind it"),
        pytest.param(
            b'{"a":{"x":nope},"b":{}}', [("a", b'{"x":nope}', None), ("b", b"{}", None)], id="an entry not judged"
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
            b'{"\\xa":{},"b":{}}',
            [("\\xa", b"{}", Reason.INVALID_JSON), ("b", b"{}", None)],
            id="a key with an escape that is none",
        ),
        pytest.param(b'{"a":"x"}\xff', [("a", b'"x"', None), (None, b'{"a":"x"}\xff', Reason.INVALID_UTF8)],
            id="not UTF-8 behind it"),
        pytest.param(b'{"a":' + DEEP + b',"b":{}}', [("a", DEEP, None), ("b", b"{}", None)], id="nested deeply"),
        pytest.param(
            b'{"a":' + LARGE + b',"b":{}}', [("a", LARGE, Reason.TOO_LARGE), ("b", b"{}", None)], id="too large"
        ),
    ],
)  # fmt: skip
def test_entries_are_given_or_told(scratch: Scratch, raw: bytes, expected: list[Found]) -> None:
    assert read(raw, scratch) == expected


@hypothesis.given(strategies.binary())
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_any_bytes_can_be_read(scratch: Scratch, raw: bytes) -> None:
    for _, found, reason in read(raw, scratch):
        assert found == raw or reason or found in raw


@hypothesis.given(strategies.integers(0, len(GOOD) - 1), strategies.binary(max_size=3))
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_damage_anywhere_is_told_or_harmless(scratch: Scratch, at: int, what: bytes) -> None:
    damaged = GOOD[:at] + what + GOOD[at + 1 :]

    found = read(damaged, scratch)

    assert (None, damaged) in [(key, raw) for key, raw, _ in found] or _is_accounted_for(damaged, len(found))
    assert all(raw in damaged for _, raw, _ in found)


def _is_accounted_for(damaged: bytes, found: int) -> bool:
    """Tell whether every top-level member was given: as many as a lenient reader of pairs sees, where one can read."""
    try:
        pairs = json.loads(damaged.decode("utf-8", "replace"), object_pairs_hook=lambda pairs: pairs)
    except ValueError:
        return True
    return len(pairs) == found


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(GOOD, id="two entries"),
        pytest.param(b'{"k\\"k":"v\\"v" , "l":[[["]"],{"}":"\\\\"}]],"m":nope}', id="brackets and quotes in texts"),
        pytest.param(b'{"a":' + b"[" * 40 + b'"]\\""' + b"]" * 40 + b',"b":1}', id="deeper than the pattern goes"),
    ],
)
def test_members_are_the_same_however_the_bytes_arrive(raw: bytes, step: int) -> None:
    stream = io.BytesIO(raw)
    in_steps = list(json_stream.members(lambda size: stream.read(min(step, size))))

    at_once = list(json_stream.members(io.BytesIO(raw).read))
    assert [(m.key, m.start, m.stop) for m in in_steps] == [(m.key, m.start, m.stop) for m in at_once]
    assert [raw[m.start : m.stop] for m in in_steps] == [m.raw or raw[m.start : m.stop] for m in at_once]


_texts = strategies.text(alphabet=strategies.sampled_from('ab"\\{}[],: \n\u00e9/\t'), max_size=12)
_values = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda inner: strategies.lists(inner, max_size=4) | strategies.dictionaries(_texts, inner, max_size=4),
    max_leaves=15,
)
_deep = strategies.builds(
    lambda value, depth: functools.reduce(lambda v, _: [v], range(depth), value), _values, strategies.integers(20, 40)
)


@hypothesis.given(
    whole=strategies.dictionaries(_texts, _values | _deep, max_size=5),
    indent=strategies.sampled_from([None, 0, 2]),
    step=strategies.integers(1, 9),
    chunk=strategies.integers(1, 40),
    window=strategies.integers(150, 250),
)
def test_members_are_those_that_json_finds_wherever_chunks_and_windows_end(
    whole: dict[str, Any], indent: int | None, step: int, chunk: int, window: int
) -> None:
    raw = json.dumps(whole, indent=indent, ensure_ascii=False).encode()
    stream = io.BytesIO(raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "CHUNK", chunk)
        patch.setattr(json_stream, "WINDOW", window)
        found = list(json_stream.members(lambda size: stream.read(min(size, step))))

    assert {json_stream.key_of(m.key): json.loads(raw[m.start : m.stop]) for m in found} == whole
    assert all(m.raw in (None, raw[m.start : m.stop]) for m in found)


@pytest.mark.parametrize("in_memory", [1, 2, 100])
def test_keys_that_occur_more_than_once_are_found_in_memory_or_beyond(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    monkeypatch.setattr(repeated, "_IN_MEMORY", in_memory)
    path = scratch.path()
    path.write_bytes(b'{"a":1,"b":2,"c":3,"b":4,"a":5,"b":6,"d":7}')

    with path.open("rb", buffering=0) as file:
        found = repeated.find_repeated(file.fileno(), scratch)

    assert found == {"a": 2, "b": 3}


def test_a_key_is_repeated_only_as_far_as_the_file_can_be_read(scratch: Scratch) -> None:
    raw = b'{"a":1,"a":2,nonsense,"a":3}'

    assert read(raw, scratch) == [
        ("a", b"1", Reason.DUPLICATE_KEY),
        ("a", b"2", None),
        (None, raw, Reason.INVALID_JSON),
    ]


def test_a_value_larger_than_the_window_is_delimited_and_not_held() -> None:
    large = b'{"a":"' + b'\\"' * json_stream.WINDOW + b'","b":[' + b'{"c":[]},' * 1000 + b"1]}"

    *_, found, last = json_stream.members(io.BytesIO(b'{"k":' + large + b',"l":{}}').read)

    assert (found.key, found.start, found.stop, found.raw) == (b'"k"', 5, 5 + len(large), None)
    assert last.raw == b"{}"


def test_reading_takes_as_many_bytes_as_it_is_given() -> None:
    """A stream may give fewer bytes than it was asked for, as a file that another machine serves does."""
    read_some = functools.partial(io.BytesIO(GOOD).read, 3)

    assert len(list(json_stream.members(lambda _: read_some()))) == 2
