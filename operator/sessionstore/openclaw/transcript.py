"""A transcript file as lines: streamed, never re-serialised. Archives have the same form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from sessionstore.openclaw.problems import Reason


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


def read_lines(stream: BinaryIO) -> Iterator[Line]:
    """Go through a file's lines. `b"\\n".join(raw) + b"\\n"` is the file, where no line is torn."""
    offset = 0
    for line in stream:
        if line.endswith(b"\n"):
            yield Line(line[:-1], offset, torn=False)
        else:
            yield Line(line, offset, torn=check_line(line) is not None)
        offset += len(line)


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
