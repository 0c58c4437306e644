"""A transcript file as lines: streamed, never re-serialised. Archives have the same form."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

from sessionstore.openclaw.problems import Reason, Refused


class Line(NamedTuple):
    """A raw line without its line feed, and where in the file it begins.

    `torn` marks the end of a file that stops within a line: half a record, as a crash leaves it. A last line
    that lacks only its line feed is complete JSON, and is not torn.
    """

    raw: bytes
    offset: int
    torn: bool


class Batch(NamedTuple):
    """Some whole lines of a transcript, and where in the file the first of them begins.

    `torn` is the end of a file that stops within a line; it comes with the last batch, which may have no lines.
    A batch has at most BATCH_LINES lines, and no further line once it holds BATCH_BYTES.
    """

    lines: list[bytes]
    offset: int = 0
    torn: Line | None = None


BATCH_LINES = 1000
BATCH_BYTES = 4 * 1024 * 1024
MAX_LINE_BYTES = 256 * 1024 * 1024
"""A longer line fits into no store, and a file of zeros may be one line of any length."""
_CHUNK = 1024 * 1024


def batches(read: Callable[[int], bytes], size: int = _CHUNK) -> Iterator[Batch]:
    """Go through a file's lines, many at a time.

    All lines, each with a line feed, are the file, where it has no torn end and its last line has a line feed.

    Args:
        read: gives the next bytes, at most as many as asked for; none at the file's end.
        size: of the file, as far as it is known: a small one is read at once.

    Raises: Refused where a line is longer than MAX_LINE_BYTES.
    """
    offset = 0
    started: list[bytes] = []
    while chunk := read(min(size + 1, _CHUNK)):
        whole, feed, rest = chunk.rpartition(b"\n")
        if feed:
            lines = b"".join([*started, whole]).split(b"\n")
            yield from _slices(lines, offset)
            offset += sum(map(len, lines)) + len(lines)
            started = []
        if rest:
            started.append(rest)
            _check_length(started, offset)
    if started:
        yield _last(b"".join(started), offset)


def few(raw: bytes) -> list[bytes] | None:
    """Return the lines of a file of these bytes, as `batches` has them; None where they are not one whole batch."""
    whole, feed, rest = raw.rpartition(b"\n")
    if rest:
        return None
    lines = whole.split(b"\n") if feed else []
    return lines if len(lines) <= BATCH_LINES else None


def _slices(lines: list[bytes], offset: int) -> Iterator[Batch]:
    """Cut lines into batches. Only the first of them can be longer than a chunk, and is alone then."""
    at = 0
    while at < len(lines):
        stop = at + (1 if len(lines[at]) >= BATCH_BYTES else BATCH_LINES)
        some = lines[at:stop]
        yield Batch(some, offset)
        offset += sum(map(len, some)) + len(some)
        at = stop


def _check_length(started: list[bytes], offset: int) -> None:
    # Counting pieces is cheap; only where they may be enough are they measured.
    if len(started) > MAX_LINE_BYTES // _CHUNK and sum(map(len, started)) > MAX_LINE_BYTES:
        detail = f"the line at byte {offset} is longer than {MAX_LINE_BYTES} bytes, which no store takes"
        raise Refused(Reason.TOO_LARGE, detail)


def _last(raw: bytes, offset: int) -> Batch:
    """Take the end of a file that has no line feed."""
    return Batch([], offset, Line(raw, offset, torn=True)) if check_line(raw) else Batch([raw], offset)


def check_line(raw: bytes) -> Reason | None:
    """Tell what is wrong with a line. Blank lines are not wrong: OpenClaw skips them, and so they stay."""
    if not raw.strip():
        return None
    try:
        json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return Reason.INVALID_UTF8
    except (ValueError, RecursionError):
        return Reason.NOT_JSON_LINE
    return None
