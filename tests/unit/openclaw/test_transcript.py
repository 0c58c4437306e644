"""Lines are what the file says, and only a crash makes a torn one."""

from __future__ import annotations

import io

import hypothesis
import pytest
from hypothesis import strategies

from sessionstore.openclaw import transcript
from sessionstore.openclaw.problems import Reason


@pytest.mark.parametrize(
    ("raw", "lines", "torn"),
    [
        pytest.param(b"", [], None, id="an empty file"),
        pytest.param(b"{}\n", [b"{}"], None, id="one line"),
        pytest.param(b"{}\n{}\n", [b"{}", b"{}"], None, id="two lines"),
        pytest.param(b"{}\n{}", [b"{}", b"{}"], None, id="a complete last line without line feed"),
        pytest.param(b'{}\n{"a', [b"{}"], b'{"a', id="a torn last line"),
        pytest.param(b"{}\n\0\0", [b"{}"], b"\0\0", id="zeros that a power loss left"),
        pytest.param(b"\n\n", [b"", b""], None, id="blank lines"),
        pytest.param(b"{}\r\n", [b"{}\r"], None, id="a carriage return belongs to the line"),
        pytest.param(b'{"a":"\xe2\x80\xa8"}\n', [b'{"a":"\xe2\x80\xa8"}'], None, id="U+2028 ends no line"),
    ],
)
def test_a_file_is_its_lines_and_perhaps_a_torn_end(raw: bytes, lines: list[bytes], torn: bytes | None) -> None:
    found = list(transcript.read_lines(io.BytesIO(raw)))

    assert [line.raw for line in found if not line.torn] == lines
    assert [line.raw for line in found if line.torn] == ([] if torn is None else [torn])


@hypothesis.given(strategies.binary())
def test_no_byte_is_lost_and_each_line_knows_its_place(raw: bytes) -> None:
    found = list(transcript.read_lines(io.BytesIO(raw)))

    assert b"\n".join(line.raw for line in found) == raw.removesuffix(b"\n")
    assert all(raw[line.offset :].startswith(line.raw) for line in found)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(b'{"type":"session"}', None, id="an object"),
        pytest.param(b"", None, id="blank"),
        pytest.param(b"nope", Reason.NOT_JSON_LINE, id="no JSON"),
        pytest.param(b"\xff", Reason.INVALID_UTF8, id="no UTF-8"),
        pytest.param(b"[" * 100_000, Reason.NOT_JSON_LINE, id="deeper than can be read"),
    ],
)
def test_a_line_is_judged(line: bytes, reason: Reason | None) -> None:
    assert transcript.check_line(line) is reason
