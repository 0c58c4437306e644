"""A sheet, `agents/<agent>/sessions/sessions.json`, as raw slices: how it is read, and what is written.

Called by a room. Nothing here decides about entries, and nothing is written here (`exchange` does that).
"""

from __future__ import annotations

import errno
import json
import os
import stat
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sessionstore.bridge import layout
from sessionstore.openclaw import rawjson
from sessionstore.openclaw.names import INDEX
from sessionstore.sessions.exceptions import Unreadable

_MARKER_TAIL = ":cron:sessionstore-bridge:run:marker"
_MARKER_FIELD = "sessionstoreBridge"
_ATTEMPTS = 3


class Pin:
    """An open descriptor of a file. While it is there, no other file can get the same number (inode)."""

    def __init__(self, descriptor: int) -> None:
        """Take the descriptor over; it is closed when nobody knows the pin any more."""
        self.descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells one state of a file from another.

    The time of the last change of the inode (ctime) is left out: a rename moves it, and so does OpenClaw, which sets
    the mode of a sheet once more after it has put it in place.
    """

    inode: int
    size: int
    modified_ns: int
    pin: Pin | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a file said: the marker that it carries, if any, and key -> the bytes of an entry, without the marker's."""

    mark: Mark
    marker: str | None
    entries: dict[str, bytes]


def look(directory: int, name: str = INDEX) -> Mark | None:
    """Return the mark of a file without opening it; None where there is none. It pins nothing."""
    try:
        return _mark(os.stat(name, dir_fd=directory, follow_symlinks=False))
    except FileNotFoundError:
        return None


def pinned(descriptor: int) -> Mark:
    """Return the mark of an open file; the descriptor is taken over."""
    return _mark(os.fstat(descriptor), Pin(descriptor))


def read(directory: int, agent: str, known: Mapping[str, bytes], name: str = INDEX) -> Sheet | None:
    """Read a sheet; None where there is no file.

    Args:
        directory: descriptor of the sessions directory.
        agent: whose directory it is.
        known: key -> bytes seen before. An entry that is still the same shares them.
        name: another one for a sheet that came back from an exchange, or was left over.
    Raises: Unreadable for what is no such file, half written say: nothing must be inferred from it. OSError.
    """
    for _ in range(_ATTEMPTS):
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENXIO):
                raise
            raise _unreadable(agent, name, "it is a link, or no plain file") from error
        mark = pinned(descriptor)
        entries = _entries(descriptor, known)
        # What was changed in place meanwhile may have been read half. OpenClaw never does that; an editor may.
        if _mark(os.fstat(descriptor)) == mark and isinstance(entries, dict):
            marker = _marker_of(entries.get(marker_key(agent)))
            return Sheet(mark, marker, {key: raw for key, raw in entries.items() if not key.endswith(_MARKER_TAIL)})
    problem = entries if isinstance(entries, str) else "it changes while it is read"
    raise _unreadable(agent, name, problem)


def text(agent: str, marker: str, entries: Mapping[str, bytes], now_ms: int) -> Iterator[bytes]:
    """Go through the bytes of a sheet, laid out as OpenClaw's `JSON.stringify(…, null, 2)` does, the marker first.

    Args:
        entries: key -> bytes laid out at level 1, in order.
        now_ms: since the epoch; OpenClaw takes a marker away that was not touched for a day.
    """
    ours = json.dumps({"updatedAt": now_ms, _MARKER_FIELD: marker}).encode()
    yield _member(b"{\n  ", marker_key(agent), rawjson.indent(ours, 1))
    for key, raw in entries.items():
        yield _member(b",\n  ", key, raw)
    yield b"\n}"


def marker_key(agent: str) -> str:
    """Return the key of the marker. It names a run of a cron job, which OpenClaw shows in no list."""
    return f"agent:{agent}{_MARKER_TAIL}"


def _unreadable(agent: str, name: str, problem: str) -> Unreadable:
    return Unreadable(f"{name} of agent {agent} cannot be read: {problem}; it is left as it is until it is mended")


def _mark(found: os.stat_result, pin: Pin | None = None) -> Mark:
    return Mark(found.st_ino, found.st_size, found.st_mtime_ns, pin)


def _entries(descriptor: int, known: Mapping[str, bytes]) -> dict[str, bytes] | str:
    """Return all members of an open file, or what is wrong with it, in words."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return "it is no plain file"
    try:
        return layout.split(lambda size: os.read(descriptor, size), known)
    except layout.OtherLayout:
        os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        try:
            return layout.split_any(file.read(), known)
        except layout.Damaged as error:
            return str(error)


def _marker_of(raw: bytes | None) -> str | None:
    try:
        value = rawjson.parse_object(raw or b"{}").get(_MARKER_FIELD)
    except rawjson.RawJSONError:
        return None
    return value if isinstance(value, str) else None


def _member(before: bytes, key: str, raw: bytes) -> bytes:
    return b"".join((before, rawjson.dump(key), b": ", raw))
