"""Files of lines that only grow: transcripts and archives.

How many lines count, and how many bytes they are, is kept elsewhere (a record); what a file holds beyond that is what
a writer left that was killed, and is cut off by the next one. So an append costs what is appended, and a slice what is
read and the way to it from the nearest place known.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from sessionstore.sessions.exceptions import Unreadable
from sessionstore.sessions.plainfiles import Directory

BLOCK_BYTES = 64 * 1024
FILES_KNOWN = 256
"""Files in which places are remembered; one of a million lines takes about 100 KiB."""


class Gone(Unreadable):
    """A file of lines is not there: another generation took its place after its record was read, or it is lost."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of a file counts."""

    lines: int = 0
    size: int = 0
    """Bytes."""


def append(directory: Directory, name: str, have: Extent, lines: Sequence[bytes]) -> Extent:
    """Put lines behind those there are, and wait until they are on the disk.

    Raises: Unreadable where there is less than there must be; Unavailable, and then `have` still holds.
    """
    data = b"".join(line + b"\n" for line in lines)
    with directory.file(name, os.O_RDWR | os.O_CREAT) as file:
        assert file is not None
        _check_size(directory, name, file, have)
        try:
            os.ftruncate(file, have.size)
            _write(file, data, have.size)
            os.fsync(file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(file, have.size)
            raise
    if have.size == 0:
        directory.sync()
    return Extent(have.lines + len(lines), have.size + len(data))


def _write(file: int, data: bytes, at: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(file, left, at)
        left, at = left[written:], at + written


def _read(file: int, start: int, stop: int) -> bytes:
    parts = []
    while start < stop and (part := os.pread(file, stop - start, start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _check_size(directory: Directory, name: str, file: int, have: Extent) -> None:
    size = os.fstat(file).st_size
    if size < have.size:
        raise Unreadable(f"{directory.path / name} has {size} bytes; {have.size} belong to what is on record")


@dataclass(slots=True)
class _Points:
    """Places known in one file: at byte `offsets[i]` begins line `numbers[i]`; both grow."""

    numbers: list[int] = field(default_factory=lambda: [0])
    offsets: list[int] = field(default_factory=lambda: [0])

    def add(self, number: int, offset: int) -> None:
        """Remember a place, unless one is known that is hardly a block away."""
        at = bisect.bisect_left(self.numbers, number)
        near = self.offsets[max(at - 1, 0) : at + 1]
        if all(abs(offset - known) >= BLOCK_BYTES // 2 for known in near):
            self.numbers.insert(at, number)
            self.offsets.insert(at, offset)


class LineReader:
    """Reads slices, and remembers where lines begin. Safe to use from several threads."""

    def __init__(self) -> None:
        """Know no place yet."""
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, int], _Points] = OrderedDict()

    def read(self, directory: Directory, name: str, have: Extent, start: int, stop: int) -> tuple[bytes, ...]:
        """Return lines `start:stop`; 0 <= start <= stop <= have.lines. Raises: Gone; Unreadable."""
        if start == stop:
            return ()
        with directory.file(name, os.O_RDONLY) as file:
            if file is None:
                raise Gone(f"{directory.path / name} is not there, and a record says that it has lines")
            _check_size(directory, name, file, have)
            seeker = _Seeker(file, have, self._points(str(directory.path / name), os.fstat(file).st_ino), self._lock)
            data = _read(file, seeker.offset(start), seeker.offset(stop))
        lines = tuple(data.split(b"\n")[:-1])
        if len(lines) != stop - start:
            raise Unreadable(f"{directory.path / name} holds other lines than are on record")
        return lines

    def _points(self, path: str, inode: int) -> _Points:
        with self._lock:
            points = self._known.setdefault((path, inode), _Points())
            self._known.move_to_end((path, inode))
            if len(self._known) > FILES_KNOWN:
                self._known.popitem(last=False)
            return points


class _Seeker:
    """Finds the beginning of a line, from the nearest place known, forwards or backwards."""

    def __init__(self, file: int, have: Extent, points: _Points, lock: threading.Lock) -> None:
        self._file, self._have, self._points, self._lock = file, have, points, lock

    def offset(self, number: int) -> int:
        """Return the byte at which a line begins; of the number behind the last, where it would."""
        below, above = self._around(number)
        if number == above[0]:
            return above[1]
        if number - below[0] <= above[0] - number:
            return self._forward(number, *below)
        return self._backward(number, *above)

    def _around(self, number: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the nearest places known, (line, byte), at or before a line and at or behind it."""
        with self._lock:
            numbers, offsets = self._points.numbers, self._points.offsets
            at = bisect.bisect_right(numbers, number) - 1
            below = numbers[at], offsets[at]
            if below[0] == number:
                return below, below
            if at + 1 < len(numbers) and numbers[at + 1] <= self._have.lines:
                return below, (numbers[at + 1], offsets[at + 1])
        return below, (self._have.lines, self._have.size)

    def _forward(self, number: int, line: int, offset: int) -> int:
        while line < number:
            block = self._block(offset, BLOCK_BYTES)
            count = block.count(b"\n")
            if line + count >= number:
                return offset + _behind(block, number - line)
            line += count
            offset += block.rindex(b"\n") + 1 if count else len(block)
            if count:
                self._remember(line, offset)
        return offset

    def _remember(self, line: int, offset: int) -> None:
        with self._lock:
            self._points.add(line, offset)

    def _backward(self, number: int, line: int, offset: int) -> int:
        """`offset` is where `line` begins, so the byte before it is a line feed."""
        end = offset
        while end > 0:
            begin = max(end - BLOCK_BYTES, 0)
            block = self._block(begin, end - begin)
            count = block.count(b"\n")
            # The line feeds here end the lines `line - count` to `line - 1`; the one that ends `number - 1` is wanted.
            if line - count < number:
                return begin + _behind(block, count - (line - number))
            line -= count
            end = begin
            if count:
                self._remember(line + 1, begin + block.index(b"\n") + 1)
        return 0

    def _block(self, offset: int, size: int) -> bytes:
        block = os.pread(self._file, min(size, self._have.size - offset), offset)
        if not block:
            raise Unreadable("a transcript holds fewer lines than are on record")
        return block


def _behind(block: bytes, count: int) -> int:
    """Return the index behind the `count`th line feed of a block, counting from 1."""
    at = 0
    for _ in range(count):
        at = block.index(b"\n", at) + 1
    return at
