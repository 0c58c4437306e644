"""Digests: the same for the same session, different for any difference, and pinned for ever."""

from __future__ import annotations

import hashlib

import pytest

from sessionstore.openclaw.rawjson import RawJSONError
from sessionstore.sessions import SessionKey
from sessionstore.sessions.digest import SessionDigest, archive_digest, session_digest, whole_digest

KEY = SessionKey("main", "agent:main:ü")
ENTRY = b'{"sessionId":"s","n":1e2}'
LINES = [b'{"type":"session"}', b"", b"\xff"]


def framed(*parts: bytes) -> str:
    """Write the documented form out: each part behind its length in 8 bytes."""
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()


def test_a_session_s_digest_is_the_documented_one() -> None:
    parts = (b"main", "agent:main:ü".encode(), b'{"n":1e2,"sessionId":"s"}', *LINES)
    assert session_digest(KEY, ENTRY, LINES) == framed(*parts)


def test_an_archive_s_digest_is_the_documented_one() -> None:
    assert archive_digest("main", "s.jsonl.bak.1", LINES) == framed(b"main", b"s.jsonl.bak.1", *LINES)


def test_the_layout_of_an_entry_does_not_count() -> None:
    assert session_digest(KEY, b'{ "n":1e2,\n"sessionId":"\\u0073" }', LINES) == session_digest(KEY, ENTRY, LINES)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param((SessionKey("work", KEY.key), ENTRY, LINES), id="the agent"),
        pytest.param((SessionKey("main", "agent:main:u"), ENTRY, LINES), id="the key"),
        pytest.param((KEY, b'{"sessionId":"s","n":100}', LINES), id="a number's form"),
        pytest.param((KEY, b'{"sessionId":"s","n":1e2,"m":null}', LINES), id="a field more"),
        pytest.param((KEY, ENTRY, LINES[:-1]), id="a line less"),
        pytest.param((KEY, ENTRY, [LINES[0] + LINES[1], *LINES[2:]]), id="two lines as one"),
        pytest.param((KEY, ENTRY, [LINES[1], LINES[0], LINES[2]]), id="the order of lines"),
    ],
)
def test_any_difference_counts(other: tuple[SessionKey, bytes, list[bytes]]) -> None:
    assert session_digest(*other) != session_digest(KEY, ENTRY, LINES)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_lines_one_at_a_time_give_the_same(count: int) -> None:
    digest = SessionDigest.of_session(KEY, ENTRY)
    for line in LINES[:count]:
        digest.line(line)
    assert digest.hexdigest() == session_digest(KEY, ENTRY, LINES[:count])


def test_what_is_no_strict_object_has_no_digest() -> None:
    with pytest.raises(RawJSONError):
        session_digest(KEY, b'{"a":1,"a":2}', [])


def test_the_whole_does_not_depend_on_order_and_does_on_each_part() -> None:
    parts = [hashlib.sha256(bytes([n])).hexdigest() for n in range(3)]
    assert whole_digest(parts) == whole_digest(reversed(parts))
    assert whole_digest(iter(())) == hashlib.sha256().hexdigest()
    assert len({whole_digest(parts), whole_digest(parts[:2]), whole_digest([*parts, parts[0]])}) == 3
