"""Reads below one directory and never leaves it: no symbolic link is followed, nothing is ever written.

Paths are opened one component at a time relative to the directory's descriptor, so that a link put in place
meanwhile is refused by the kernel and not by a check made earlier. The layouts are the callers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from sessionstore.openclaw.problems import Reason, Refused, SourceError

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BUFFER = 256 * 1024
_MOST_HELD = 16


class Kind(Enum):
    """What a directory holds under a name."""

    FILE = "a file"
    FOLDER = "a directory"
    SYMLINK = "a symbolic link"
    SPECIAL = "a pipe, socket or device"


_KINDS = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.FOLDER, stat.S_IFLNK: Kind.SYMLINK}


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
            self._held: dict[str, int] = {}
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
        self.refresh()
        os.close(self._fd)

    def refresh(self) -> None:
        """Let go of the directories that are held open: what has taken their place since is read from now on."""
        while self._held:
            os.close(self._held.popitem()[1])

    def children(self, path: str = "") -> tuple[Child, ...]:
        """Return what lies in a directory, by name. Raises: Refused, SourceError."""
        with self._failing(path):
            return tuple(_children(self._folder(path)))

    def names(self, path: str) -> Iterator[tuple[str, Kind]]:
        """Go through the names in a directory in no order; nothing of a large one is held. Raises: as `children`."""
        with self._failing(path), os.scandir(self._folder(path)) as found:
            for entry in found:
                yield entry.name, _kind_of(entry)

    def status(self, path: str) -> os.stat_result | None:
        """Look at what is there without opening or following it; None where nothing is. Raises: as `open`."""
        folder, _, name = path.rpartition("/")
        try:
            return os.stat(name, dir_fd=self._folder(folder), follow_symlinks=False)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
                return None
            raise self._failure(error, path) from error

    @contextlib.contextmanager
    def opened(self, path: str, max_bytes: int) -> Iterator[tuple[int, os.stat_result]]:
        """Open a regular file of at most `max_bytes`: its descriptor and status. Raises: Refused, SourceError."""
        file = -1
        try:
            file = self._file(path)
            status = os.fstat(file)
            _check(status, max_bytes)
            yield file, status
        except OSError as error:
            raise self._failure(error, path) from error
        finally:
            if file >= 0:
                os.close(file)

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """Return a regular file's bytes; None where there are more than `max_bytes`, or others than its size says.

        Raises: as `open`.
        """
        file = -1
        try:
            file = self._file(path)
            status = os.fstat(file)
            _check(status, sys.maxsize)
            raw = os.read(file, status.st_size + 1) if status.st_size <= max_bytes else b""
            return raw if len(raw) == status.st_size else None
        except OSError as error:
            raise self._failure(error, path) from error
        finally:
            if file >= 0:
                os.close(file)

    def open(self, path: str, max_bytes: int) -> BinaryIO:
        """Open a regular file of at most `max_bytes`; the caller closes it. Raises: Refused, SourceError."""
        with self.opened(path, max_bytes) as (file, _):
            return os.fdopen(os.dup(file), "rb", buffering=_BUFFER)

    @contextlib.contextmanager
    def reading(self, path: str, max_bytes: int) -> Iterator[BinaryIO]:
        """Open a file as `open` does, and close it; what goes wrong while it is read is raised the same way."""
        with self.open(path, max_bytes) as stream, self._failing(path):
            yield stream

    @contextlib.contextmanager
    def _failing(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._failure(error, path) from error

    def _file(self, path: str) -> int:
        folder, _, name = path.rpartition("/")
        return os.open(name, _FLAGS, dir_fd=self._folder(folder))

    def _folder(self, path: str) -> int:
        """Return a descriptor of a directory. The last few are held: a source is read folder by folder."""
        if not path:
            return self._fd
        held = self._held.pop(path, None)
        if held is None:
            held = _opened_below(self._fd, path)
            if len(self._held) >= _MOST_HELD:
                os.close(self._held.pop(next(iter(self._held))))
        self._held[path] = held
        return held

    def _failure(self, error: OSError, path: str) -> Refused | SourceError:
        shown = printable(f"{self.root}/{path}".rstrip("/"))
        if error.errno in (errno.EACCES, errno.EPERM):
            return SourceError("PermissionDenied", f"{shown} may not be read by uid {os.geteuid()}; {_owner(shown)}")
        if error.errno == errno.ELOOP:
            return misplaced(Kind.SYMLINK)
        if error.errno == errno.ENOTDIR:
            return Refused(Reason.SPECIAL_FILE, "a directory is expected here")
        if error.errno in (errno.ENXIO, errno.EISDIR):
            return Refused(Reason.SPECIAL_FILE, "not a regular file")
        if error.errno == errno.ENOENT and path:
            return Refused(Reason.UNREADABLE, "gone since it was listed")
        # A volume that fails says nothing about what is on it: an empty listing would be taken for no sessions.
        return SourceError("SourceUnreadable", f"{shown} cannot be read: {error.strerror}; check the volume")


def _opened_below(root: int, path: str) -> int:
    """Open a directory one component at a time. Raises: OSError."""
    fd = root
    try:
        for name in path.split("/"):
            below = os.open(name, _FLAGS | os.O_DIRECTORY, dir_fd=fd)
            if fd != root:
                os.close(fd)
            fd = below
    except OSError:
        if fd != root:
            os.close(fd)
        raise
    return fd


def _owner(path: str) -> str:
    try:
        status = os.lstat(path)
    except OSError:
        return "run as the user that owns it (OpenClaw's images use uid 1000)"
    return f"it belongs to uid {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}: run as that user"


def _check(status: os.stat_result, max_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Refused(Reason.SPECIAL_FILE, "not a regular file")
    if status.st_size > max_bytes:
        raise Refused(Reason.TOO_LARGE, f"{status.st_size} bytes; the limit is {max_bytes} (--max-file-bytes)")


def misplaced(kind: Kind) -> Refused:
    """Return why what is no file is not taken for one. A link is never followed: it may lead out of the volume."""
    if kind is Kind.SYMLINK:
        return Refused(Reason.SYMLINK, "a symbolic link is not followed")
    return Refused(Reason.SPECIAL_FILE, f"{kind.value}, which is not expected here")


def kind_of(mode: int) -> Kind:
    """Tell what a file mode stands for."""
    return _KINDS.get(stat.S_IFMT(mode), Kind.SPECIAL)


def _kind_of(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return Kind.SYMLINK
    if entry.is_file(follow_symlinks=False):
        return Kind.FILE
    return Kind.FOLDER if entry.is_dir(follow_symlinks=False) else Kind.SPECIAL


def _child(name: str, status: os.stat_result) -> Child:
    return Child(name, kind_of(status.st_mode), status.st_size)


def _children(fd: int) -> Iterator[Child]:
    with os.scandir(fd) as found:
        listed = sorted(entry.name for entry in found)
    for name in listed:
        # A name may be gone by now: a running gateway renames its files all the time.
        with contextlib.suppress(FileNotFoundError):
            yield _child(name, os.lstat(name, dir_fd=fd))
