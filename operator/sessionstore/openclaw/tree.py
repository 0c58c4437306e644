"""Reads below one directory and never leaves it: no symbolic link is followed, nothing is ever written.

Paths are opened one component at a time relative to the directory's descriptor, so that a link put in place
meanwhile is refused by the kernel and not by a check made earlier. `openclaw.state_dir` is the caller.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from sessionstore.openclaw.problems import Reason, Refused, SourceError

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BUFFER = 256 * 1024


class Kind(Enum):
    """What a directory holds under a name."""

    FILE = "a file"
    FOLDER = "a directory"
    SYMLINK = "a symbolic link"
    SPECIAL = "a pipe, socket or device"


@dataclass(frozen=True, slots=True)
class Child:
    """A name in a directory. `name` holds lone surrogates where the file name is not UTF-8."""

    name: str
    kind: Kind
    size: int


def printable(path: str) -> str:
    """Return a file name as it may stand in a report: bytes that are not UTF-8 as `\\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class Tree:
    """A directory, held open. `path` arguments are relative to it, with `/` between components."""

    def __init__(self, root: Path) -> None:
        """Open `root`; a link is followed here, since a person named it. Raises: SourceError."""
        self.root = root
        try:
            self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise SourceError("PathNotFound", f"{root} does not exist; check the path within the volume") from error
        except NotADirectoryError as error:
            raise SourceError("NotADirectory", f"{root} is not a directory; name OpenClaw's state directory") from error
        except OSError as error:
            raise self._failure(error, "") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def children(self, path: str = "") -> tuple[Child, ...]:
        """Return what lies in a directory, by name. Raises: Refused, SourceError."""
        with self._folder(path) as fd:
            try:
                return tuple(_children(fd))
            except OSError as error:
                raise self._failure(error, path) from error

    def open(self, path: str, max_bytes: int) -> BinaryIO:
        """Open a regular file of at most `max_bytes`; the caller closes it. Raises: Refused, SourceError."""
        folder, _, name = path.rpartition("/")
        with self._folder(folder) as fd:
            try:
                file = os.open(name, _FLAGS, dir_fd=fd)
                status = os.fstat(file)
            except OSError as error:
                raise self._failure(error, path) from error
        refusal = _refusal(status, max_bytes)
        if refusal:
            os.close(file)
            raise refusal
        return os.fdopen(file, "rb", buffering=_BUFFER)

    @contextlib.contextmanager
    def reading(self, path: str, max_bytes: int) -> Iterator[BinaryIO]:
        """Open a file as `open` does, and close it; what goes wrong while it is read is raised the same way."""
        with self.open(path, max_bytes) as stream:
            try:
                yield stream
            except OSError as error:
                raise self._failure(error, path) from error

    @contextlib.contextmanager
    def _folder(self, path: str) -> Iterator[int]:
        # -1 stands for none yet: running out of descriptors is an error like any other.
        fd = -1
        try:
            fd = os.dup(self._fd)
            for name in filter(None, path.split("/")):
                below = os.open(name, _FLAGS | os.O_DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = below
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            raise self._failure(error, path) from error
        try:
            yield fd
        finally:
            os.close(fd)

    def _failure(self, error: OSError, path: str) -> Refused | SourceError:
        shown = printable(f"{self.root}/{path}".rstrip("/"))
        if error.errno in (errno.EACCES, errno.EPERM):
            return SourceError("PermissionDenied", f"{shown} may not be read by uid {os.geteuid()}; {_owner(shown)}")
        if error.errno == errno.ELOOP:
            return Refused(Reason.SYMLINK, "a symbolic link is not followed")
        if error.errno == errno.ENOTDIR:
            return Refused(Reason.SPECIAL_FILE, "a directory is expected here")
        if error.errno in (errno.ENXIO, errno.EISDIR):
            return Refused(Reason.SPECIAL_FILE, "not a regular file")
        if error.errno == errno.ENOENT and path:
            return Refused(Reason.UNREADABLE, "gone since it was listed")
        # A volume that fails says nothing about what is on it: an empty listing would be taken for no sessions.
        return SourceError("SourceUnreadable", f"{shown} cannot be read: {error.strerror}; check the volume")


def _owner(path: str) -> str:
    try:
        status = os.lstat(path)
    except OSError:
        return "run as the user that owns it (OpenClaw's images use uid 1000)"
    return f"it belongs to uid {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}: run as that user"


def _refusal(status: os.stat_result, max_bytes: int) -> Refused | None:
    if not stat.S_ISREG(status.st_mode):
        return Refused(Reason.SPECIAL_FILE, "not a regular file")
    if status.st_size > max_bytes:
        return Refused(Reason.TOO_LARGE, f"{status.st_size} bytes; the limit is {max_bytes} (--max-file-bytes)")
    return None


def _child(name: str, status: os.stat_result) -> Child:
    mode = status.st_mode
    kinds = ((stat.S_ISREG, Kind.FILE), (stat.S_ISDIR, Kind.FOLDER), (stat.S_ISLNK, Kind.SYMLINK))
    kind = next((kind for holds, kind in kinds if holds(mode)), Kind.SPECIAL)
    return Child(name, kind, status.st_size)


def _children(fd: int) -> Iterator[Child]:
    with os.scandir(fd) as found:
        listed = sorted(entry.name for entry in found)
    for name in listed:
        # A name may be gone by now: a running gateway renames its files all the time.
        with contextlib.suppress(FileNotFoundError):
            yield _child(name, os.lstat(name, dir_fd=fd))
