"""The change feed of a directory store: an append-only journal, and what it tells. docs/design/0011-directory.md.

A change is written down before it is made: a writer that is killed between the two leaves a line about a change that
was not made, never a change without its line. A place is a number of bytes from the journal's beginning.

Each line is one write to the end of the file, which local file systems keep whole; it begins with a line feed, so that
what a killed writer left half is ended there and skipped. Writers therefore do not wait for each other, except while
one of them begins a new segment.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from sessionstore.sessions import feed
from sessionstore.sessions.exceptions import FeedLost, InvalidKey
from sessionstore.sessions.plainfiles import Directory
from sessionstore.sessions.record import Change, Changes, Operation, SessionKey

SEGMENT_BYTES = 2 * 1024 * 1024
"""About 20,000 events; a segment that has this much gets no more."""
SEGMENTS = 5
"""Segments that are kept, the newest included."""
BLOCK_BYTES = 1024 * 1024
"""Read at once. A line is far shorter: a session key has 4 KiB at most."""
TAIL_BYTES = 256
"""Of the journal before a place, by which it is known again."""

_SEGMENT = re.compile(r"(\d{20})\.log")


@dataclass(frozen=True, slots=True)
class Note:
    """One line: what was going to change."""

    key: SessionKey
    revision: int
    """As it was going to be."""
    operation: Operation | None
    """None for what is no change, a use, and is none of the feed's."""
    place: int
    """Where the line begins."""
    end: int
    """Where the next one does."""


class Journal:
    """The journal in an open directory of its own."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def write(self, name: SessionKey, revision: int, operation: Operation | None) -> None:
        """Add a line, and wait until it is on the disk. Raises: Unavailable."""
        line = json.dumps([name.agent, name.key, revision, operation or ""], ensure_ascii=False, separators=(",", ":"))
        data = b"\n" + line.encode() + b"\n"
        while not self._written(data):
            continue

    @property
    def first(self) -> int:
        """The place from which on everything is kept."""
        return min(self._starts(), default=0)

    @property
    def end(self) -> int:
        """The place behind the last whole line."""
        start = self._newest()
        with self._directory.file(_name(start), os.O_RDONLY) as file:
            return start if file is None else start + _whole(file, os.fstat(file).st_size)

    def before(self, place: int) -> bytes:
        """Return what stands before a place: what tells this journal from a copy of it that went another way."""
        start = max((start for start in self._starts() if start < place), default=None)
        if start is None:
            return b""
        with self._directory.file(_name(start), os.O_RDONLY) as file:
            width = min(TAIL_BYTES, place - start)
            return b"" if file is None else os.pread(file, width, place - start - width)

    def read(self, place: int) -> tuple[list[Note], int]:
        """Return the notes of one block from `place` on, and the place behind them: `place` itself at the end.

        Raises: FeedLost where no line begins there.
        """
        starts = sorted(self._starts())
        start = max((start for start in starts if start <= place), default=None)
        if start is None:
            return [], place
        data = self._block(start, place)
        if not data and starts[-1] > start:
            # What has a successor gets no more: the rest of it is what a killed writer left half.
            following = starts[starts.index(start) + 1]
            return self.read(following)
        return _notes(data, place), place + len(data)

    def _block(self, start: int, place: int) -> bytes:
        """Return whole lines of the segment at `start`."""
        with self._directory.file(_name(start), os.O_RDONLY) as file:
            if file is None:
                return b""
            if place > start and os.pread(file, 1, place - start - 1) != b"\n":
                raise FeedLost("the journal is another one now; take a new position and walk")
            data = os.pread(file, BLOCK_BYTES, place - start)
            return data[: data.rfind(b"\n") + 1]

    def _written(self, data: bytes) -> bool:
        """Add to the newest segment; where it is full, see to it that there is a next one and return False."""
        starts = self._starts()
        start = max(starts, default=0)
        # Only the very first is made here: one that was listed and is gone by now is old, and must not come back.
        making = 0 if starts else os.O_CREAT
        with self._directory.file(_name(start), os.O_WRONLY | os.O_APPEND | making) as file:
            if file is None:
                return False
            # Shared among writers; alone, for a moment, is who begins a new segment: this one must not grow after that.
            fcntl.flock(file, fcntl.LOCK_SH)
            size = os.fstat(file).st_size
            if size < SEGMENT_BYTES:
                if os.write(file, data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fdatasync(file)
                if size == 0:
                    self._directory.sync()
                return True
            fcntl.flock(file, fcntl.LOCK_EX)
            if self._newest() == start:
                self._begin(start + os.fstat(file).st_size)
            return False

    def _begin(self, start: int) -> None:
        with self._directory.file(_name(start), os.O_WRONLY | os.O_CREAT):
            pass
        for old in sorted(self._starts())[:-SEGMENTS]:
            self._directory.remove(_name(old))
        self._directory.sync()

    def _newest(self) -> int:
        return max(self._starts(), default=0)

    def _starts(self) -> list[int]:
        """Return the places at which the segments begin."""
        found = (_SEGMENT.fullmatch(name) for name in self._directory.names())
        return [int(match.group(1)) for match in found if match]


def changes(journal: Journal, store_id: str, cursor: str, limit: int, is_settled: Callable[[Note], bool]) -> Changes:
    """Return events behind a cursor, up to the first that is still being carried out.

    Args:
        is_settled: whether who reads the session now finds it changed, or it never will be: its writer is done or dead.
    Raises: FeedLost; InvalidKey.
    """
    place = _check(journal, feed.decode(cursor, store_id, 1)[0])
    found: list[Change] = []
    while len(found) < limit:
        notes, end = journal.read(place)
        for note in notes:
            if len(found) == limit or not is_settled(note):
                return Changes(tuple(found), cursor_of(journal, store_id, note.place))
            if note.operation is not None:
                found.append(Change(note.key, note.revision, note.operation))
        if end == place:
            break
        place = end
    return Changes(tuple(found), cursor_of(journal, store_id, place))


def settled_end(journal: Journal, since: int, is_settled: Callable[[Note], bool]) -> int:
    """Return the first place behind `since` at which a change is still being carried out, or the journal's end.

    What was before is found by a walk that begins now, so a cursor of this place misses nothing.
    """
    place = max(since, journal.first)
    while True:
        notes, end = journal.read(place)
        open_ones = [note.place for note in notes if not is_settled(note)]
        if open_ones or end == place:
            return min(open_ones, default=place)
        place = end


def cursor_of(journal: Journal, store_id: str, place: int) -> str:
    """Return the cursor of a place, and of what stands before it."""
    return feed.encode(store_id, [f"{place}:{_mark(journal.before(place))}"])


def _mark(before: bytes) -> str:
    return hashlib.blake2b(before, digest_size=8).hexdigest() if before else ""


def _check(journal: Journal, told: feed.Place) -> int:
    number, _, mark = str(told).partition(":")
    if not number.isdecimal():
        raise InvalidKey("the cursor is not one that position or changes gave out")
    place = int(number)
    if place < journal.first:
        raise FeedLost("changes behind the cursor are not kept any more; take a new position and walk")
    if place > journal.end:
        raise FeedLost("the store lost changes that were read already; take a new position and walk")
    if mark and _mark(journal.before(place)) not in ("", mark):
        raise FeedLost("the store has other changes than were read, as of a backup; take a new position and walk")
    return place


def _name(start: int) -> str:
    return f"{start:020d}.log"


def _whole(file: int, size: int) -> int:
    """Return how many of a segment's bytes are whole lines."""
    at = size
    while at > 0:
        begin = max(at - BLOCK_BYTES, 0)
        found = os.pread(file, at - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        at = begin
    return 0


def _notes(data: bytes, place: int) -> list[Note]:
    found = []
    for line in data.split(b"\n")[:-1]:
        end = place + len(line) + 1
        note = _note(line, place, end)
        if note is not None:
            found.append(note)
        place = end
    return found


def _note(line: bytes, place: int, end: int) -> Note | None:
    """Read a line; None for what a killed writer left half, and for the line feed before each."""
    try:
        agent, key, revision, operation = json.loads(line)
        if type(revision) is not int:
            return None
        return Note(SessionKey(agent, key), revision, Operation(operation) if operation else None, place, end)
    except (ValueError, TypeError, RecursionError):
        return None
