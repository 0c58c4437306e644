"""What one call may carry."""

from __future__ import annotations

from collections.abc import Sequence

from sessionstore.sessions import record
from sessionstore.sessions.exceptions import InvalidEntry
from sessionstore.sessions.redis.resp import Argument

MAX_CALL_BYTES = 256 * 1024 * 1024
"""Of one append, rewrite, archive part or document. Redis takes 512 MiB a value and 1 GiB a command, and a client that
goes beyond is cut off without a word (`client-query-buffer-limit`); half of that leaves room for the protocol."""
MAX_CALL_LINES = 1_000_000
"""Redis takes 1,048,576 arguments in one command."""
JOINED_BYTES = 64 * 1024
"""Lines of so many bytes at most go to and fro as one text: each value by itself costs this side a microsecond, and the
server joins and cuts faster. What is more would be in its memory twice."""

_FAR = 2**53  # Lua's numbers are exact up to here; no transcript is as long.


def checked_lines(lines: Sequence[bytes]) -> Sequence[bytes]:
    """Return `lines`, or raise InvalidEntry for more than one call may carry, or for a line with a line feed in it."""
    size = sum(map(len, lines))
    if size > MAX_CALL_BYTES or len(lines) > MAX_CALL_LINES:
        raise InvalidEntry(
            f"{len(lines)} lines of {size} bytes are more than one call may carry "
            f"({MAX_CALL_LINES} lines, {MAX_CALL_BYTES} bytes); append them in parts, each with its position"
        )
    return record.check_lines(lines)


def clamped(index: int) -> int:
    """Return an index of a slice that Lua can count with."""
    return max(-_FAR, min(index, _FAR))


def joined_lines(lines: Sequence[bytes]) -> tuple[Argument, ...]:
    """Return how many lines there are, and the lines as create.lua takes them. Raises: InvalidEntry."""
    if not lines or sum(map(len, lines)) > JOINED_BYTES:
        return len(lines), *checked_lines(lines)
    text = b"\n".join(lines)
    if text.count(b"\n") >= len(lines):
        record.check_lines(lines)
    return len(lines), text


def cut_lines(found: bytes | Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the lines of read.lua's answer."""
    return tuple(found.split(b"\n")) if isinstance(found, bytes) else tuple(found)
