"""Who may write what: locks on single bytes of one file, which need not have them.

A lock belongs to an open file, not to a process, so that threads are kept apart as well, and it ends with its holder,
however that ends. What is locked is a number that stands for a session, so nothing lies between two sessions and
nothing is left behind. These locks are Linux'.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Iterator

from sessionstore.sessions import plainfiles, retry
from sessionstore.sessions.directory import names
from sessionstore.sessions.exceptions import ConfigurationError, Unavailable
from sessionstore.sessions.plainfiles import Directory

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0005, 0.01
# struct flock of 64-bit Linux: type, whence, start, length, process.
_FORM = "hhqqi4x"

if not hasattr(fcntl, "F_OFD_SETLK"):
    raise ConfigurationError("backend directory needs Linux: its locks are those of open file descriptions")


@contextlib.contextmanager
def held(root: Directory, slot: int, what: str) -> Iterator[None]:
    """Hold a lock in the block. Raises: Unavailable when another holder keeps it."""
    with root.file(names.LOCKS, os.O_RDWR | os.O_CREAT) as file:
        assert file is not None
        end = time.monotonic() + plainfiles.lock_patience_s()
        pauses = retry.pauses(end, time.monotonic, first_s=_FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S)
        while not _taken(file, slot):
            pause = next(pauses, None)
            if pause is None:
                timeout = plainfiles.LOCK_TIMEOUT_S
                raise Unavailable(f"{what} is held by another writer for {timeout:g} s", "timeout")
            time.sleep(pause)
        yield


def is_held(root: Directory, slot: int | None = None) -> bool:
    """Return whether anybody holds this lock, or any lock at all."""
    with root.file(names.LOCKS, os.O_RDONLY) as file:
        if file is None:
            return False
        start, length = (0, 0) if slot is None else (slot, 1)
        found = fcntl.fcntl(file, fcntl.F_OFD_GETLK, struct.pack(_FORM, fcntl.F_WRLCK, os.SEEK_SET, start, length, 0))
        return bool(struct.unpack(_FORM, found)[0] != fcntl.F_UNLCK)


def _taken(file: int, slot: int) -> bool:
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack(_FORM, fcntl.F_WRLCK, os.SEEK_SET, slot, 1, 0))
    except (BlockingIOError, PermissionError):
        # POSIX lets a system say EACCES as well as EAGAIN.
        return False
    return True
