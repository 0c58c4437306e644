"""System calls that Python has no name for: the exchange of two names, and inotify. Linux, with glibc.

Measured on ext4, tmpfs and overlayfs. Called by `exchange` and `watch`; what they mean is said there.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

IN_MODIFY, IN_OPEN = 0x2, 0x20
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x40, 0x80, 0x100, 0x200
IN_MOVE_SELF, IN_Q_OVERFLOW = 0x800, 0x4000

_RENAME_NOREPLACE, _RENAME_EXCHANGE = 1, 2
_EVENT = struct.Struct("iIII")
_BUFFER_BYTES = 64 * 1024
_LIBC = ctypes.CDLL(None, use_errno=True)


class Event(NamedTuple):
    """One event of inotify: its bits, and the name in the directory (empty where it is about the directory)."""

    mask: int
    name: str


def exchange(directory: int, name: str, other: str) -> None:
    """Let two files of a directory change names, in one step. Raises: FileNotFoundError where one is missing."""
    _renameat2(directory, name, other, _RENAME_EXCHANGE)


def move(directory: int, name: str, other: str) -> None:
    """Give a file another name, which nothing has. Raises: FileExistsError where something has it."""
    _renameat2(directory, name, other, _RENAME_NOREPLACE)


def inotify(directory: int, mask: int) -> int:
    """Return a descriptor that tells of what happens in a directory. It does not block.

    Raises: OSError where the system has no more of them to give (EMFILE, ENOSPC), or none at all (ENOSYS).
    """
    descriptor = _checked(_LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    try:
        _checked(_LIBC.inotify_add_watch(descriptor, f"/proc/self/fd/{directory}".encode(), mask))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def events(descriptor: int) -> Iterator[Event]:
    """Go through the events that wait in a descriptor of `inotify`."""
    while True:
        try:
            data = os.read(descriptor, _BUFFER_BYTES)
        except BlockingIOError:
            return
        yield from _events(data)


def _events(data: bytes) -> Iterator[Event]:
    at = 0
    while at < len(data):
        _, mask, _, length = _EVENT.unpack_from(data, at)
        at += _EVENT.size + length
        yield Event(mask, os.fsdecode(data[at - length : at].rstrip(b"\0")))


def _renameat2(directory: int, name: str, other: str, flags: int) -> None:
    try:
        _checked(_LIBC.renameat2(directory, os.fsencode(name), directory, os.fsencode(other), flags), name, other)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOSYS):
            raise OSError(
                error.errno,
                "this file system cannot exchange two names (renameat2); "
                "the bridge needs ext4, xfs, btrfs, tmpfs or overlayfs, as an emptyDir has",
            ) from error
        raise


def _checked(answer: int, *names: str) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), *(names and (names[0], None, names[1])))
    return answer
