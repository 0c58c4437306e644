"""Files below a state directory as the migration sees them: transcripts, archives, and bytes that are set aside."""

from __future__ import annotations

import dataclasses
import functools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from sessionstore.openclaw import transcript
from sessionstore.openclaw.blob import Blob, Held
from sessionstore.openclaw.problems import Reason, Refused
from sessionstore.openclaw.reader import BadEntry, Found
from sessionstore.openclaw.transcript import Batch
from sessionstore.openclaw.tree import Tree, printable

DEFAULT_MAX_FILE_BYTES = 16 * 1024**3
"""Nothing of a file is held, so this bounds the time that a wrong file may cost, not memory."""
HELD_BYTES = 64 * 1024
"""Larger pieces are read again from the file when they are needed."""
_CHUNK = 1024 * 1024
_FEW_BYTES = 256 * 1024
"""A smaller transcript is read in one go."""
_SETTLED_NS = 3 * 10**9
"""A file that was changed later than this before now may be changed again without its times showing it."""


def joined(folder: str, name: str) -> str:
    """Return the path of a name in a folder; the state directory itself is the folder ""."""
    return f"{folder}/{name}" if folder else name


def stamp_of(status: os.stat_result) -> str | None:
    """Return what changes with a file; None where the clock is too coarse to tell."""
    if max(status.st_mtime_ns, status.st_ctime_ns) > time.time_ns() - _SETTLED_NS:
        return None
    return f"{status.st_size}:{status.st_ino}:{status.st_mtime_ns}:{status.st_ctime_ns}"


@dataclass(frozen=True, slots=True)
class FilePart:
    """A transcript or an archive; a `reader.Part`.

    Attributes:
        status: of the file when it was looked up; asked for when it is needed where a folder was only listed.
    """

    tree: Tree
    folder: str
    name: str
    agent: str
    transcript_id: str | None
    max_bytes: int
    status: os.stat_result | None = None

    @property
    def path(self) -> str:
        return printable(joined(self.folder, self.name))

    @property
    def size(self) -> int:
        status = self._status()
        return status.st_size if status else 0

    @property
    def stamp(self) -> str | None:
        status = self._status()
        return stamp_of(status) if status else None

    def batches(self) -> Iterator[Batch]:
        """Go through the lines. Raises: Refused, SourceError."""
        with self.tree.opened(joined(self.folder, self.name), self.max_bytes) as (file, status):
            yield from transcript.batches(functools.partial(os.read, file), status.st_size)

    def few(self) -> list[bytes] | None:
        """Return all lines of a small file. Raises: as `batches`."""
        if self.status is None or self.status.st_size > min(_FEW_BYTES, self.max_bytes):
            return None
        raw = self.tree.read(joined(self.folder, self.name), _FEW_BYTES)
        return None if raw is None else transcript.few(raw)

    def _status(self) -> os.stat_result | None:
        return self.status or self.tree.status(joined(self.folder, self.name))


def looked_up(found: Found) -> Found:
    """Look at the size of a file that was only listed; return anything else as it is. Raises: SourceError."""
    if not isinstance(found, FilePart) or found.status is not None:
        return found
    status = found.tree.status(joined(found.folder, found.name))
    if status and status.st_size > found.max_bytes:
        detail = f"{status.st_size} bytes; the limit is {found.max_bytes} (--max-file-bytes)"
        return BadEntry(found.agent, None, Held(b""), Reason.TOO_LARGE, detail, found.path)
    return dataclasses.replace(found, status=status)


@dataclass(frozen=True, slots=True)
class Region:
    """Bytes of a file, from `start` to `stop`; a `blob.Blob` that reads them when they are asked for."""

    tree: Tree
    path: str
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start

    def chunks(self) -> Iterator[bytes]:
        """Go through the bytes. Raises: Refused where the file has become shorter; SourceError."""
        at = self.start
        with self.tree.opened(self.path, DEFAULT_MAX_FILE_BYTES) as (file, _):
            while at < self.stop:
                chunk = os.pread(file, min(_CHUNK, self.stop - at), at)
                if not chunk:
                    raise Refused(Reason.UNREADABLE, "shorter than when it was first read")
                at += len(chunk)
                yield chunk


def piece(tree: Tree, path: str, start: int, raw: bytes) -> Blob:
    """Return bytes of a file as a blob, held only where they are few."""
    return Held(raw) if len(raw) <= HELD_BYTES else Region(tree, path, start, start + len(raw))
