"""One transcript's file: read in pieces, gone on with in place, written anew. It never decides.

The gateway appends to the same file, or writes it anew, whenever it runs a turn; what was looked at is therefore looked
at again before anything is changed (`State`), and changed only while a door keeps the gateway out.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from sessionstore.bridge.lines import TAIL_BYTES, is_header
from sessionstore.openclaw import transcript
from sessionstore.openclaw.names import file_of
from sessionstore.openclaw.problems import Refused
from sessionstore.sessions.exceptions import Unreadable
from sessionstore.sessions.plainfiles import Directory, translated

PIECE_BYTES = 1024 * 1024
"""About how much of a transcript is in memory at once; a single line may be longer."""
_BLOCK = 64 * 1024


class Moved(Exception):
    """One of the sides is not what was looked at: look again."""


@dataclass(frozen=True, slots=True)
class State:
    """A file at one moment. `whole` is where its last complete line ends; what is behind that is torn."""

    inode: int
    size: int
    mtime_ns: int
    whole: int

    @property
    def is_torn(self) -> bool:
        """Whether it stops within a line."""
        return self.whole < self.size


@dataclass(frozen=True, slots=True)
class TranscriptFile:
    """An open transcript file. Make it with `opened`."""

    directory: Directory
    name: str
    descriptor: int

    @classmethod
    @contextlib.contextmanager
    def opened(cls, directory: Directory, transcript_id: str) -> Iterator[TranscriptFile | None]:
        """Open a transcript's file; None where there is none. Raises: Unreadable for a link; Unavailable."""
        with cls.named(directory, file_of(transcript_id)) as file:
            yield file

    @classmethod
    @contextlib.contextmanager
    def named(cls, directory: Directory, name: str) -> Iterator[TranscriptFile | None]:
        """Open a file of lines by its name; None where there is none. Raises: as `opened`."""
        with directory.file(name, os.O_RDWR | os.O_APPEND) as descriptor:
            yield None if descriptor is None else cls(directory, name, descriptor)

    def state(self) -> State:
        """Look at the file."""
        found = os.fstat(self.descriptor)
        return State(found.st_ino, found.st_size, found.st_mtime_ns, self._whole(found.st_size))

    def is_still(self, seen: State) -> bool:
        """Return whether the name stands for the very file that was seen, unchanged."""
        found = self.directory.stat(self.name)
        if found is None:
            return False
        return (found.st_ino, found.st_size, found.st_mtime_ns) == (seen.inode, seen.size, seen.mtime_ns)

    def is_of_size(self, size: int) -> bool:
        """Return whether the name still stands for this file, and it has so many bytes."""
        found, mine = self.directory.stat(self.name), os.fstat(self.descriptor)
        return found is not None and found.st_ino == mine.st_ino and mine.st_size == size

    def header(self, whole: int) -> bytes | None:
        """Return the first line, where it is a header; `whole` is where the last complete line ends."""
        first = next((piece[0] for piece in self.pieces(0, whole)), b"")
        return first if is_header(first) else None

    def tail(self, size: int) -> bytes:
        """Return the end of the first `size` bytes."""
        width = min(TAIL_BYTES, size)
        return os.pread(self.descriptor, width, size - width)

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes between two offsets. Raises: Moved where they are not there."""
        data = os.pread(self.descriptor, stop - start, start)
        if len(data) < stop - start:
            raise Moved
        return data

    def pieces(self, start: int, stop: int) -> Iterator[list[bytes]]:
        """Go through the lines between two offsets, each of which is the end of a line.

        Raises: Moved where they are not that any more; Unreadable for a line beyond all measure.
        """
        at = start

        def read(most: int) -> bytes:
            nonlocal at
            data = os.pread(self.descriptor, min(most, stop - at), at)
            at += len(data)
            return data

        try:
            for batch in transcript.batches(read, stop - start):
                if batch.torn is not None:
                    raise Moved
                yield batch.lines
        except Refused as error:
            raise Unreadable(f"{self.directory.path / self.name}: {error}; put the file aside") from error
        if at < stop:
            raise Moved

    def append(self, data: bytes) -> None:
        """Add bytes to the end, in one write: who reads meanwhile finds all of them or none."""
        with translated(self.directory.path / self.name):
            left = memoryview(data)
            while left:
                left = left[os.write(self.descriptor, left) :]

    def _whole(self, size: int) -> int:
        """Return where the last complete line of the first `size` bytes ends."""
        while size:
            start = max(0, size - _BLOCK)
            at = os.pread(self.descriptor, size - start, start).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            size = start
        return 0
