"""Lines are what the file says, and only a crash makes a torn one."""

from __future__ import annotations

import io

import hypothesis
import pytest
from hypothesis import strategies

from sessionstore.openclaw import transcript
from sessionstore.openclaw.problems import Reason, Refused
from sessionstore.openclaw.transcript import Batch


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
    found = list(transcript.batches(io.BytesIO(raw).read))

    assert [line for batch in found for line in batch.lines] == lines
    assert [batch.torn.raw for batch in found if batch.torn] == ([] if torn is None else [torn])
    assert transcript.few(raw) in (lines, None)
    assert (transcript.few(raw) == lines) == (raw.endswith(b"\n") or not raw)


def test_few_lines_are_one_batch() -> None:
    assert transcript.few(b"1\n" * transcript.BATCH_LINES) == [b"1"] * transcript.BATCH_LINES
    assert transcript.few(b"1\n" * (transcript.BATCH_LINES + 1)) is None


@hypothesis.given(strategies.binary(), strategies.integers(1, 10))
def test_no_byte_is_lost_and_each_batch_knows_its_place(raw: bytes, step: int) -> None:
    found = _batches(raw, step)

    lines = [line for batch in found for line in batch.lines] + [batch.torn.raw for batch in found if batch.torn]
    assert b"\n".join(lines) == raw.removesuffix(b"\n")
    assert all(raw[batch.offset :].startswith(b"\n".join(batch.lines)) for batch in found)
    assert all(raw[batch.torn.offset :] == batch.torn.raw for batch in found if batch.torn)
    assert [batch.torn for batch in found[:-1]] == [None] * len(found[:-1])


def _batches(raw: bytes, step: int) -> list[Batch]:
    stream = io.BytesIO(raw)
    return list(transcript.batches(lambda size: stream.read(min(step, size))))


def test_a_batch_has_not_too_many_lines_and_a_long_line_is_alone() -> None:
    many, long = [b"{}"] * (transcript.BATCH_LINES + 1), b"x" * transcript.BATCH_BYTES
    raw = b"\n".join([*many, long, b"{}", b""])

    found = list(transcript.batches(io.BytesIO(raw).read))

    assert [line for batch in found for line in batch.lines] == [*many, long, b"{}"]
    assert max(len(batch.lines) for batch in found) == transcript.BATCH_LINES
    assert [len(batch.lines) for batch in found if long in batch.lines] == [1]


def test_a_line_that_no_store_takes_is_refused_and_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "MAX_LINE_BYTES", 2 * 1024 * 1024)
    reading = transcript.batches(io.BytesIO(b"{}\n" + b"\0" * 8 * 1024 * 1024).read)

    assert next(reading).lines == [b"{}"]
    with pytest.raises(Refused) as caught:
        next(reading)
    assert caught.value.reason is Reason.TOO_LARGE


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
