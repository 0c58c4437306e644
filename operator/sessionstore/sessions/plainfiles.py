"""A directory of plain files: safe reading and writing of them, and the lock around it. For the backends on files.

Links and special files are never followed: what is named `sessions` in a volume may point anywhere. Everything is
opened relative to the directory's descriptor, so a directory that is swapped meanwhile cannot redirect a write.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sessionstore.sessions.exceptions import Unavailable, Unreadable

LOCK_NAME = ".sessionstore.lock"
TEMPORARY_PREFIX, TEMPORARY_SUFFIX = ".sessionstore-", ".tmp"
LOCK_TIMEOUT_S = 30.0
waited_s = ContextVar("waited_s", default=0.0)
"""How long the caller has waited already, before a thread was free for him: it counts for the locks' time."""
_CHUNK = 1024 * 1024

_REASONS = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EROFS: "readonly",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
}


@dataclass(frozen=True, slots=True)
class Measure:
    """What tells one state of a transcript file from another. `mtime_ns` is nanoseconds since the epoch."""

    size: int = 0
    mtime_ns: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A name in a directory; neither a file nor a directory is a link or something special."""

    name: str
    is_file: bool
    is_directory: bool


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn an OSError about `path` into one of ours."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO):
            raise Unreadable(f"{path} is, or lies behind, a link or something that is no plain file") from error
        raise Unavailable(f"{path}: {error.strerror}", _REASONS.get(error.errno or 0, "connection")) from error


@dataclass(frozen=True, slots=True)
class Prepared:
    """A file under a temporary name, on the disk."""

    directory: Directory
    temporary: str
    name: str
    found: os.stat_result
    """Its size, time and number, which the move to its name does not change."""

    def publish(self) -> None:
        """Give it its name, in place of what has that now."""
        self.directory.put(self.temporary, self.name)


@dataclass(frozen=True, slots=True)
class Draft:
    """A file under a temporary name that is being written."""

    directory: Directory
    temporary: str
    name: str
    file: BinaryIO

    def write(self, data: bytes) -> None:
        """Write what comes next."""
        with translated(self.directory.path / self.name):
            self.file.write(data)

    def finished(self) -> Prepared:
        """Wait until all of it is on the disk."""
        with translated(self.directory.path / self.name):
            self.file.flush()
            os.fsync(self.file.fileno())
            found = os.fstat(self.file.fileno())
        return Prepared(self.directory, self.temporary, self.name, found)


class Directory:
    """An open directory. Make it with `opened`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    @contextlib.contextmanager
    def opened(cls, root: Path, *names: str, create: bool) -> Iterator[Directory | None]:
        """Open the directory `names` below `root`; None where it is not there and `create` is false.

        `root` itself may be, or lie behind, a link: that is for who configured it to say.
        """
        path = root.joinpath(*names)
        with translated(path):
            descriptor = _descend(root, names, create)
        if descriptor is None:
            yield None
            return
        try:
            yield cls(path, descriptor)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def below(self, *names: str, create: bool) -> Iterator[Directory | None]:
        """Open a directory below this one; None where it is not there and `create` is false."""
        path = self.path.joinpath(*names)
        with translated(path):
            descriptor = _descend_from(os.dup(self._descriptor), names, create)
        if descriptor is None:
            yield None
            return
        try:
            yield Directory(path, descriptor)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def file(self, name: str, flags: int) -> Iterator[int | None]:
        """Open a plain file and give its descriptor; None where there is none of that name and none is to be made."""
        with translated(self.path / name):
            try:
                descriptor = self._open(name, flags | os.O_NONBLOCK)
            except FileNotFoundError:
                yield None
                return
            try:
                _require_plain(descriptor)
                yield descriptor
            finally:
                os.close(descriptor)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other users of the library out, of this process or another on this machine. Raises: Unavailable."""
        with translated(self.path / LOCK_NAME):
            lock = self._open(LOCK_NAME, os.O_RDWR | os.O_CREAT)
        try:
            self._wait_for(lock)
            yield
        finally:
            os.close(lock)

    def names(self) -> list[str]:
        """Return the names of what is in the directory."""
        with translated(self.path):
            return os.listdir(self._descriptor)  # noqa: PTH208  pathlib knows no descriptors

    def stat(self, name: str) -> os.stat_result | None:
        """Return what is known of a plain file, or None where there is no file of that name."""
        with translated(self.path / name):
            try:
                found = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
            except FileNotFoundError:
                return None
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.ELOOP, "not a plain file")
            return found

    def entries(self) -> list[Found]:
        """Return what is in the directory, links not followed."""
        with translated(self.path), os.scandir(self._descriptor) as entries:
            return [
                Found(entry.name, entry.is_file(follow_symlinks=False), entry.is_dir(follow_symlinks=False))
                for entry in entries
            ]

    @property
    def stamp(self) -> tuple[int, int]:
        """What changes when a name in the directory comes or goes, or the directory is another one."""
        found = os.fstat(self._descriptor)
        return found.st_ino, found.st_ctime_ns

    def measure(self, name: str) -> Measure | None:
        """Return a plain file's measure, or None where there is no file of that name."""
        found = self.stat(name)
        return None if found is None else Measure(found.st_size, found.st_mtime_ns)

    def read(self, name: str, limit: int | None = None) -> bytes | None:
        """Return a file's bytes, or None where there is no file of that name.

        Raises: Unreadable for what is no plain file, or has more bytes than `limit`.
        """
        with translated(self.path / name):
            try:
                descriptor = self._open(name, os.O_RDONLY | os.O_NONBLOCK)
            except FileNotFoundError:
                return None
            with os.fdopen(descriptor, "rb") as file:
                _require_plain(descriptor)
                size = os.fstat(descriptor).st_size
                if limit is not None and size > limit:
                    raise Unreadable(f"{self.path / name} has {size} bytes; what is written there has {limit} at most")
                return file.read()

    def replace(self, name: str, data: bytes) -> None:
        """Write a file anew, so that a reader, or a crash, finds the old content or the new and nothing between."""
        with self.prepared(name, data) as ready:
            ready.publish()

    @contextlib.contextmanager
    def prepared(self, name: str, data: bytes) -> Iterator[Prepared]:
        """Write what is to become the file `name`, so that only the last step is left to do. It is gone otherwise."""
        with self.drafted(name) as draft:
            draft.write(data)
            yield draft.finished()

    @contextlib.contextmanager
    def drafted(self, name: str) -> Iterator[Draft]:
        """Begin what is to become the file `name`, for who writes it a part at a time. It is gone if not published."""
        temporary = f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        try:
            with translated(self.path / name):
                descriptor = self._open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            file = os.fdopen(descriptor, "wb")
            try:
                with translated(self.path / name):
                    self._keep_rights(descriptor, name)
                yield Draft(self, temporary, name, file)
            finally:
                # What is not on the disk by now was not to be.
                with contextlib.suppress(OSError):
                    file.close()
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=self._descriptor)

    def put(self, name: str, other: str) -> None:
        """Move a file over another, and wait until that is on the disk."""
        with translated(self.path / other):
            os.replace(name, other, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
            os.fsync(self._descriptor)

    def append(self, name: str, data: bytes) -> None:
        """Add bytes to the end of a file, all or none; make the file where it is not there.

        A last line that another program left without its line feed is ended first, so that nothing is glued to it.
        """
        with translated(self.path / name):
            descriptor = self._open(name, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK)
            try:
                _require_plain(descriptor)
                size = os.fstat(descriptor).st_size
                torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
                _append_whole(descriptor, b"\n" + data if torn else data, size)
                if size == 0:
                    os.fsync(self._descriptor)
            finally:
                os.close(descriptor)

    def remove(self, name: str) -> None:
        """Take a file away. Where there is no such file, do nothing."""
        with translated(self.path / name), contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)

    def sync(self) -> None:
        """Wait until the names in the directory, new and gone, are on the disk."""
        with translated(self.path):
            os.fsync(self._descriptor)

    def rename(self, name: str, other: str) -> None:
        """Give a file another name. Where there is no such file, do nothing."""
        with translated(self.path / name), contextlib.suppress(FileNotFoundError):
            os.rename(name, other, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def _open(self, name: str, flags: int) -> int:
        descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self._descriptor)
        if flags & os.O_CREAT:
            hand_over(descriptor, os.fstat(self._descriptor))
        return descriptor

    def _keep_rights(self, descriptor: int, name: str) -> None:
        """Let who may use a file now use the one that is about to replace it."""
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                os.fchmod(descriptor, stat.S_IMODE(found.st_mode))
                hand_over(descriptor, found)

    def _wait_for(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        # The kernel's queue is fair; who only looks now and then may find the lock taken for ever. A wait that is given
        # up ends when the lock is free, and gives it back at once: the descriptor is closed by then.
        patience = lock_patience_s()
        waiting = threading.Thread(target=fcntl.flock, args=(lock, fcntl.LOCK_EX), daemon=True)
        if patience:
            waiting.start()
            waiting.join(patience)
        if not patience or waiting.is_alive():
            path = self.path / LOCK_NAME
            raise Unavailable(f"{path} is held by another process for {LOCK_TIMEOUT_S:g} s", "timeout")


def lock_patience_s() -> float:
    """Return how long a lock may be waited for. Of many who wait for one, the last ones have done so in a queue."""
    return max(LOCK_TIMEOUT_S - waited_s.get(), 0.0)


def lines_of(data: bytes) -> list[bytes]:
    """Split a transcript into its raw lines; a last one without a line feed counts as a line."""
    lines = data.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def _descend(root: Path, names: tuple[str, ...], create: bool) -> int | None:
    if create:
        _make(root)
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    return _descend_from(descriptor, names, create)


def _make(root: Path) -> None:
    """Make a directory, and those above it; wait until their names are on the disk."""
    missing = [path for path in (root, *root.parents) if not path.exists()]
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in reversed(missing):
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _hand_over_made(path.name, parent)
            os.fsync(parent)
        finally:
            os.close(parent)


def _descend_from(descriptor: int, names: tuple[str, ...], create: bool) -> int | None:
    """Go down from a descriptor, which is closed, and return that of the last directory."""
    try:
        for name in names:
            descriptor = _step(descriptor, name, create)
    except FileNotFoundError:
        return None
    return descriptor


def _step(parent: int, name: str, create: bool) -> int:
    try:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(name, flags, dir_fd=parent)
        except FileNotFoundError:
            if not create:
                raise
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
            _hand_over_made(name, parent)
        os.fsync(parent)
        return os.open(name, flags, dir_fd=parent)
    finally:
        os.close(parent)


def hand_over(descriptor: int, of: os.stat_result) -> None:
    """Give what root has made to `of`'s owner, who could not go on with it: a gateway, in whose volume root mends."""
    if os.geteuid() == 0 and of.st_uid != 0:
        with contextlib.suppress(OSError):  # Not every root may; then it stays root's, as what any program makes.
            os.fchown(descriptor, of.st_uid, of.st_gid)


def _hand_over_made(name: str, parent: int) -> None:
    """Give a directory that was made in `parent` to its owner."""
    made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        hand_over(made, os.fstat(parent))
    finally:
        os.close(made)


def _require_plain(descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.ELOOP, "not a plain file")


def _append_whole(descriptor: int, data: bytes, size: int) -> None:
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise
