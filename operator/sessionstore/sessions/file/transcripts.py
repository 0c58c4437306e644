"""Transcript files as bytes: compared, counted and read a part at a time, so that a long one need not be read whole."""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import os
from collections.abc import Iterator

from sessionstore.openclaw.names import file_of
from sessionstore.sessions.file.revisions import NOTHING, Extent, Fate, Seen
from sessionstore.sessions.plainfiles import Directory, lines_of

WINDOW = 1024
"""Bytes at a file's beginning and end that stand for the whole when another program's append is told from a rewrite."""
BLOCK = 256 * 1024


class Moved(Exception):
    """The file is not the one that was looked at: look again."""


def compare(directory: Directory, transcript_id: str, known: Extent | None, lines: int) -> Seen:
    """See what became of a transcript's file since it had `lines` lines and was as `known`. Raises: Unreadable."""
    name = file_of(transcript_id)
    found = directory.stat(name)
    if found is None:
        gone = known is not None and known.size > 0
        return Seen(Fate.REPLACED, Extent(), 0) if gone else NOTHING
    if known is not None and known.mtime_ns and (known.size, known.mtime_ns) == (found.st_size, found.st_mtime_ns):
        # A directory that was restored or moved has all its files under other numbers, and they are the same.
        return Seen(Fate.SAME, dataclasses.replace(known, inode=found.st_ino), lines)
    with directory.file(name, os.O_RDONLY) as file:
        return NOTHING if file is None else _seen(file, known, lines)


def _seen(file: int, known: Extent | None, lines: int) -> Seen:
    found = os.fstat(file)
    size = found.st_size
    now = Extent(size, found.st_mtime_ns, found.st_ino, check_of(file, size))
    if known is None:
        return Seen(Fate.NEW, now, count(file, 0, size))
    if known.size == 0:
        return Seen(Fate.GROWN if size else Fate.SAME, now, count(file, 0, size))
    if _is_replaced(file, known, now):
        return Seen(Fate.REPLACED, now, count(file, 0, size))
    if size == known.size:
        return Seen(Fate.SAME, now, lines)
    # A last line that had no line feed goes on in what was added.
    ended = _ends_line(file, known.size)
    return Seen(Fate.GROWN, now, lines - (not ended) + count(file, known.size, size))


def _is_replaced(file: int, known: Extent, now: Extent) -> bool:
    """Return whether the known bytes are not there any more; one generation too many costs a retry at most."""
    if now.size < known.size or (known.inode and known.inode != now.inode):
        return True
    if now.size == known.size and known.mtime_ns:
        return True
    return check_of(file, known.size) != known.check


def check_of(file: int, size: int) -> str:
    """Digest how the first `size` bytes of a file begin and end."""
    return _check(*edges(file, size))


def edges(file: int, size: int) -> tuple[bytes, bytes]:
    """Return the beginning and the end of the first `size` bytes."""
    width = min(WINDOW, size)
    return os.pread(file, width, 0), os.pread(file, width, size - width)


def grown_extent(directory: Directory, transcript_id: str, known: Extent, data: bytes) -> tuple[Extent, bytes]:
    """Return what a file will be once `data` is added, and the bytes to add: a last line without its end is ended."""
    with directory.file(file_of(transcript_id), os.O_RDONLY) as file:
        if file is None:
            return Extent(len(data), 0, 0, _check(data[:WINDOW], data[-WINDOW:])), data
        head, tail = edges(file, known.size)
        inode = os.fstat(file).st_ino
    data = data if not tail or tail.endswith(b"\n") else b"\n" + data
    return Extent(known.size + len(data), 0, inode, _check((head + data)[:WINDOW], (tail + data)[-WINDOW:])), data


def whole_extent(data: bytes, found: os.stat_result) -> Extent:
    """Return what a file is that holds `data`."""
    return Extent(len(data), found.st_mtime_ns, found.st_ino, _check(data[:WINDOW], data[-WINDOW:]))


def settled(extent: Extent, directory: Directory, transcript_id: str) -> Extent:
    """Return the extent with what is known only after the write: the file's time and number."""
    found = directory.stat(file_of(transcript_id))
    if found is None or found.st_size != extent.size:
        return extent
    return dataclasses.replace(extent, mtime_ns=found.st_mtime_ns, inode=found.st_ino)


def cut_torn(directory: Directory, transcript_id: str, before: Extent, after: Extent, begins: bytes) -> None:
    """Take away what a killed writer left of an append. What does not begin as its bytes did is another program's."""
    with directory.file(file_of(transcript_id), os.O_RDWR) as file:
        if file is None:
            return
        size = os.fstat(file).st_size
        if not before.size <= size < after.size or check_of(file, before.size) != (before.check or _check(b"", b"")):
            return
        if begins.startswith(os.pread(file, min(len(begins), size - before.size), before.size)):
            os.ftruncate(file, before.size)
            if before.mtime_ns:
                # It is the file that it was, and must not look as if another program had replaced it.
                os.utime(file, ns=(before.mtime_ns, before.mtime_ns))
            os.fsync(file)


def count(file: int, start: int, stop: int) -> int:
    """Count the lines between two offsets; a last one without a line feed counts."""
    found = sum(block.count(b"\n") for _, block in _blocks(file, start, stop))
    return found + (stop > start and not _ends_line(file, stop))


class LineReader:
    """Reads lines by number, and remembers where some of them begin: a later slice starts from the nearest of these."""

    def __init__(self) -> None:
        self._known = [(0, 0)]
        """Line number and offset, sorted. One list, so that threads need no lock."""

    def read(self, file: int, size: int, total: int, start: int, stop: int) -> tuple[bytes, ...]:
        """Return lines `start` to `stop` of the `total` in the first `size` bytes; 0 <= start < stop <= total."""
        begin = self._offset(file, size, total, start)
        end = size if stop == total else self._offset(file, size, total, stop, (start, begin))
        return tuple(lines_of(_read(file, begin, end)))

    def _offset(self, file: int, size: int, total: int, number: int, near: tuple[int, int] = (0, 0)) -> int:
        known = max(near, self._known[bisect.bisect_right(self._known, (number, size)) - 1])
        if total - number < number - known[0]:
            return _backward(file, size, total - number)
        return self._forward(file, size, number, *known)

    def _forward(self, file: int, size: int, number: int, line: int, offset: int) -> int:
        """Return where line `number` begins, which is not before `line`, whose offset is known."""
        for start, block in _blocks(file, offset, size):
            found = block.count(b"\n")
            if line + found >= number:
                return start + _nth(block, number - line)
            line += found
            if found:
                self._remember(line, start + block.rfind(b"\n") + 1)
        return size

    def _remember(self, line: int, offset: int) -> None:
        if (line, offset) not in self._known[bisect.bisect_left(self._known, (line, offset)) :][:1]:
            bisect.insort(self._known, (line, offset))


def _nth(block: bytes, number: int) -> int:
    """Return the offset behind the `number`-th line feed of a block; 0 for none."""
    at = 0
    for _ in range(number):
        at = block.index(b"\n", at) + 1
    return at


def _backward(file: int, size: int, left: int) -> int:
    """Return where the `left`-th line from the end begins."""
    if left == 0:
        return size
    end = size - _ends_line(file, size)
    while end > 0:
        start = max(end - BLOCK, 0)
        block = _read(file, start, end)
        found = block.count(b"\n")
        if found >= left:
            at = len(block)
            for _ in range(left):
                at = block.rindex(b"\n", 0, at)
            return start + at + 1
        left -= found
        end = start
    return 0


def _ends_line(file: int, size: int) -> bool:
    return size > 0 and os.pread(file, 1, size - 1) == b"\n"


def _blocks(file: int, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """Go through the bytes between two offsets. Raises: Moved where the file ends before."""
    while start < stop:
        block = os.pread(file, min(BLOCK, stop - start), start)
        if not block:
            raise Moved
        yield start, block
        start += len(block)


def _read(file: int, start: int, stop: int) -> bytes:
    return b"".join(block for _, block in _blocks(file, start, stop))


def _check(head: bytes, tail: bytes) -> str:
    return hashlib.blake2b(head + tail, digest_size=8).hexdigest()
