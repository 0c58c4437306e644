"""What this library keeps beside `sessions.json`: one file of an agent, to which each change adds a line.

The line is written, and on the disk, before the change is carried out in OpenClaw's files; it is the session's new Row
and the feed's event in one. So nothing changes untold, and after a crash the files tell which of the last two Rows is
true. docs/design/0012-file.md.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import zlib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sessionstore.sessions import feed, layout
from sessionstore.sessions.exceptions import Unavailable, Unreadable
from sessionstore.sessions.file import revisions
from sessionstore.sessions.file.index import Mark, mark_of
from sessionstore.sessions.file.revisions import Extent, Row
from sessionstore.sessions.leases import LeaseState
from sessionstore.sessions.plainfiles import Directory
from sessionstore.sessions.record import Operation

FILE_NAME = ".sessionstore-log"
"""Not `.jsonl`: OpenClaw takes what ends so for a transcript."""
VERSION = 1
SLACK = 10_000
"""Lines beyond those that are needed before the file is written anew."""

_HEADER_BYTES = 512
_BEFORE_BYTES = 256
"""Of what was read already, by which the file is known again."""
_DONE, _LEASE = "done", "lease"
_ENTRY_OPERATIONS = frozenset({Operation.SET, Operation.DELETE, Operation.EXPIRE})

Line = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Event:
    """A change, as the feed tells it."""

    number: int
    """Counts an agent's changes, from 1."""
    key: str
    revision: int
    operation: Operation


@dataclass(frozen=True, slots=True)
class Unsettled:
    """The last change: its line is there, and nobody has said that it was carried out."""

    key: str
    before: Row | None
    event: int


class Log:
    """The file as far as it was read. Changed only by reading it again, by one thread at a time."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.id = ""
        self.number = 0
        """Of the last event."""
        self.rows: dict[str, Row] = {}
        self.leases: dict[str, LeaseState] = {}
        self.unsettled: Unsettled | None = None
        self.writes = 0
        """How often an entry was changed, as far as this file tells."""
        self._events: deque[Event] = deque(maxlen=layout.FEED_LENGTH)
        self._header, self._offset, self._lines = b"", 0, 0
        self._before = b""
        """The end of what was read."""
        self._mark: Mark | None = None

    @property
    def first(self) -> int:
        """The number of the last event that is not kept any more; 0 for none."""
        return self.number - len(self._events)

    @property
    def settled(self) -> int:
        """The number of the last event whose change whoever looks now finds."""
        return self.number if self.unsettled is None else min(self.number, self.unsettled.event - 1)

    def events(self, seen: int, limit: int) -> list[Event]:
        """Return events behind number `seen`, up to the last whose change is settled."""
        return [event for event in self._events if seen < event.number <= self.settled][:limit]

    def check_of(self, number: int) -> int:
        """Return what tells an event from another of its number, in a copy that went another way; 0 for none kept."""
        at = number - self.first - 1
        if not 0 <= at < len(self._events):
            return 0
        event = self._events[at]
        return zlib.crc32(repr((event.key, event.revision, event.operation.value)).encode()) or 1

    def refresh(self, directory: Directory) -> None:
        """Read what was added since. Raises: Unreadable for a file that is not ours."""
        found = directory.stat(FILE_NAME)
        if found is None:
            if self._mark is not None:
                self._forget()
            return
        if mark_of(found) == self._mark:
            return
        with directory.file(FILE_NAME, os.O_RDONLY) as file:
            if file is not None:
                self._read(file, str(directory.path / FILE_NAME))

    def write(self, directory: Directory, lines: Iterable[Line], *, sync: bool = True) -> None:
        """Add lines, all or none, and read them. To be called with the directory locked and the file read to its end.

        Args:
            sync: wait until they are on the disk.
        Raises: Unavailable.
        """
        data = b"".join(_text(line) for line in lines)
        if self._offset == 0:
            directory.replace(FILE_NAME, _text(_header(feed.new_id(), 0)) + data)
        else:
            with directory.file(FILE_NAME, os.O_WRONLY | os.O_APPEND) as file:
                assert file is not None
                if os.fstat(file).st_size != self._offset:
                    os.ftruncate(file, self._offset)  # what a killed writer left half
                _write_whole(file, data, self._offset)
                if sync:
                    os.fdatasync(file)
        self.refresh(directory)

    def tell(self, key: str, row: Row, operation: Operation | None, *, settled: bool, after: int = 0) -> Line:
        """Make the line of a change. With `settled`, it is carried out by being written down.

        Args:
            after: how many lines of the same write come before it.
        """
        number = self.number + 1 + after if operation else 0
        return [number, operation or "", key, revisions.to_values(row), *([] if settled else [1])]

    @staticmethod
    def done(extents: Mapping[str, Extent]) -> Line:
        """Make the line that says that the last change was carried out, and how its files are now."""
        return [_DONE, {name: [extent.mtime_ns, extent.inode] for name, extent in extents.items()}]

    @staticmethod
    def lease(key: str, state: LeaseState) -> Line:
        """Make the line of a lease."""
        return [_LEASE, key, state.holder, state.token, state.until_ms]

    def shorten(self, directory: Directory) -> None:
        """Write the file anew without what is not needed, once there is enough of that. Directory locked, as above."""
        if self._lines < len(self.rows) + len(self.leases) + layout.FEED_LENGTH + SLACK or self.unsettled:
            return
        lines: list[Line] = [_header(self.id, self.first)]
        lines += [[event.number, event.operation, event.key, event.revision] for event in self._events]
        lines += [[0, "", key, revisions.to_values(row)] for key, row in self.rows.items()]
        lines += [self.lease(key, state) for key, state in self.leases.items()]
        # There is enough room for what is there already: the longer file does for now where the disk is full.
        with contextlib.suppress(Unavailable):
            directory.replace(FILE_NAME, b"".join(_text(line) for line in lines))
        self.refresh(directory)

    def _read(self, file: int, path: str) -> None:
        found = os.fstat(file)
        header = os.pread(file, _HEADER_BYTES, 0).partition(b"\n")[0]
        # A backup that was brought back, and written to since, is the same file by its header and has other lines.
        before = os.pread(file, len(self._before), self._offset - len(self._before))
        if header != self._header or found.st_size < self._offset or before != self._before:
            self._forget()
        data = _read_from(file, self._offset)
        whole = data[: data.rfind(b"\n") + 1]
        try:
            if self._offset == 0:
                self._begin(header, whole)
            for line in json.loads(b"[" + whole.rstrip(b"\n").replace(b"\n", b",") + b"]"):
                self._take(line)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
            self._forget()
            raise Unreadable(
                f"{path} is damaged ({error}); move it away while no gateway runs, and revisions start anew"
            ) from error
        self._offset += len(whole)
        self._before = (self._before + whole)[-_BEFORE_BYTES:]
        self._mark = mark_of(found)

    def _begin(self, header: bytes, whole: bytes) -> None:
        made = json.loads(header)
        if not whole or made["version"] != VERSION:
            raise ValueError(f"this library reads version {VERSION} of it")
        self._header = header

    def _take(self, line: Any) -> None:
        self._lines += 1
        if isinstance(line, dict):
            self.id, self.number = str(line["id"]), int(line["number"])
        elif line[0] == _DONE:
            self._settle(line[1])
        elif line[0] == _LEASE:
            self.leases[line[1]] = LeaseState(*line[2:])
        else:
            self._take_change(*line)

    def _take_change(self, number: int, operation: str, key: str, what: Any, unsettled: int = 0) -> None:
        row = revisions.from_values(what) if isinstance(what, dict) else None
        if operation:
            revision = what if row is None else row.record.revision
            self._events.append(Event(number, key, revision, Operation(operation)))
            self.number = number
            self.writes += operation in _ENTRY_OPERATIONS
        if row is not None:
            self.unsettled = Unsettled(key, self.rows.get(key), number) if unsettled else None
            self.rows[key] = row

    def _settle(self, files: Mapping[str, list[int]]) -> None:
        if self.unsettled is None:
            return
        row = self.rows[self.unsettled.key]
        extents = {
            name: dataclasses.replace(row.extents[name], mtime_ns=mtime_ns, inode=inode)
            for name, (mtime_ns, inode) in files.items()
        }
        self.rows[self.unsettled.key] = dataclasses.replace(row, extents={**row.extents, **extents}, begins=b"")
        self.unsettled = None


def _header(id: str, number: int) -> Any:
    # The last member tells a file that was written anew from the one before it, whatever the file system reuses.
    return {"version": VERSION, "id": id, "number": number, "made": secrets.token_hex(4)}


def _text(line: Any) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _read_from(file: int, offset: int) -> bytes:
    blocks = []
    while block := os.pread(file, 1024 * 1024, offset):
        blocks.append(block)
        offset += len(block)
    return b"".join(blocks)


def _write_whole(file: int, data: bytes, size: int) -> None:
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]
    except OSError:
        os.ftruncate(file, size)
        raise
