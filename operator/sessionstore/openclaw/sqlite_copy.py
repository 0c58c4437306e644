"""Copies a database of a source into the scratch directory, so that SQLite never touches the source.

SQLite writes where it reads: it recovers a log, makes a `-shm` file, rolls a journal back; on a read-only volume it
fails, and told that the file does not change it passes over the log. So the files are copied, through `tree`, and
the copy is opened. The `-shm` file stays behind: it is an index of the log, and SQLite makes it anew.

A copy of a database in use is whole where its log was not begun anew meanwhile: what was written into the
database while it was copied is still in the log, which is copied after it. Without a log, or with one that was emptied,
nothing may have changed.

A journal can name a second file, the journal of a transaction over several databases. SQLite looks for that wherever it
is said to be, and deletes it after a rollback. So such a journal is never handed to SQLite.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sessionstore.openclaw.problems import Reason, Refused, SourceError
from sessionstore.openclaw.scratch import Scratch
from sessionstore.openclaw.tree import Tree, printable

LOG, JOURNAL = "-wal", "-journal"
_ATTEMPTS = 5
_CHUNK = 1024 * 1024
_LOG_HEADER_BYTES = 32
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""Ends a journal that names another one, as it begins every journal."""
_USES_LOG = 2
"""Bytes 18 and 19 of a database: the format's version, 2 with a write-ahead log (https://sqlite.org/fileformat2.html)."""


@dataclass(frozen=True, slots=True)
class Source:
    """A database file of the source, with what belongs to it."""

    tree: Tree
    path: str
    max_file_bytes: int

    def chunks(self, suffix: str) -> Iterator[bytes]:
        """Go through a file's bytes. Raises: Refused, SourceError."""
        with self.tree.reading(self.path + suffix, self.max_file_bytes) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk

    def has(self, suffix: str) -> bool:
        """Tell whether there is such a file."""
        return self.tree.status(self.path + suffix) is not None


def copy(source: Source, scratch: Scratch) -> Path:
    """Copy the database, its log and its journal; return where. Raises: Refused, SourceError."""
    for _ in range(_ATTEMPTS):
        before = _state(source)
        target = scratch.path(".sqlite")
        with _telling(source, target):
            _copy_files(source, target)
        if _state(source) == before:
            return target
        remove(target)
    # Not set aside like a broken file: all sessions of an agent would be missing, for want of a quiet moment.
    message = (
        f"{printable(source.path)} changed while it was copied, {_ATTEMPTS} times; stop the gateway, and run again"
    )
    raise SourceError("SourceChanged", message)


def remove(target: Path) -> None:
    """Remove a copy, with what SQLite has put beside it."""
    for suffix in ("", LOG, JOURNAL, "-shm"):
        Path(f"{target}{suffix}").unlink(missing_ok=True)


def _copy_files(source: Source, target: Path) -> None:
    needed = sum(_size(source, suffix) for suffix in ("", LOG, JOURNAL))
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise _no_room(source, target, needed, free)
    for suffix in ("", LOG, JOURNAL):
        if not suffix or source.has(suffix):
            _write(Path(f"{target}{suffix}"), source.chunks(suffix))
    _check_journal(target)


def _check_journal(target: Path) -> None:
    """Refuse a journal that names a file which SQLite would look for, and delete."""
    journal = Path(f"{target}{JOURNAL}")
    if not journal.exists():
        return
    with journal.open("rb") as stream:
        stream.seek(-min(len(_JOURNAL_MAGIC), journal.stat().st_size), os.SEEK_END)
        names_another = stream.read() == _JOURNAL_MAGIC
    if names_another:
        remove(target)
        detail = "its journal is of a transaction over several databases, which OpenClaw never makes; restore a backup"
        raise Refused(Reason.DAMAGED_DATABASE, detail)


def _write(target: Path, chunks: Iterator[bytes]) -> None:
    with target.open("wb") as stream:
        for chunk in chunks:
            stream.write(chunk)


def _size(source: Source, suffix: str) -> int:
    status = source.tree.status(source.path + suffix)
    return status.st_size if status else 0


@contextlib.contextmanager
def _telling(source: Source, target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        needed = sum(_size(source, suffix) for suffix in ("", LOG, JOURNAL))
        raise _no_room(source, target, needed, shutil.disk_usage(target.parent).free) from error


def _no_room(source: Source, target: Path, needed: int, free: int) -> SourceError:
    return SourceError(
        "ScratchFull",
        f"{printable(source.path)} is copied to be read: {needed} bytes, and {target.parent.parent} has {free} free; "
        "name a directory with more room by --scratch",
    )


def _state(source: Source) -> tuple[object, ...]:
    """Return what is the same before and after where the copy between is whole."""
    with source.tree.reading(source.path, source.max_file_bytes) as stream:
        status = os.fstat(stream.fileno())
        has_log = stream.read(20)[18:] == bytes([_USES_LOG, _USES_LOG])
    log = _log_state(source) if has_log else None
    # A log that was emptied says nothing of what became of the database since: it may have been used and emptied again.
    return status.st_ino, log or _times(status), _journal_state(source)


def _log_state(source: Source) -> tuple[int, bytes] | None:
    """Return what tells a log from the next one; None without one, or with an empty one."""
    if not source.has(LOG):
        return None
    with source.tree.reading(source.path + LOG, source.max_file_bytes) as stream:
        header = stream.read(_LOG_HEADER_BYTES)
        return (os.fstat(stream.fileno()).st_ino, header) if header else None


def _journal_state(source: Source) -> tuple[int, ...]:
    status = source.tree.status(source.path + JOURNAL)
    return _times(status) if status else ()


def _times(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
