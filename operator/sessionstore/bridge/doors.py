"""Doors: lock files of ours beside transcripts, which hold a turn of the gateway back until they are opened.

OpenClaw takes `<transcript>.jsonl.lock` for a turn. One that names no process it leaves alone for as long as its time
is fresh, looks at it every 50 ms or so, and goes on within that time when it is gone. Called by a room.

All doors are names of one file (hard links): so planting one needs no file to be written and cannot be seen half done,
reading is the only way to open one (the bell), and one call refreshes them all. With 5,000 sessions and a file each, a
refresh would write 5,000 inodes every two seconds for nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator

from sessionstore.openclaw.names import TRANSCRIPT_SUFFIX, file_of
from sessionstore.sessions.plainfiles import hand_over

LOCK_SUFFIX = ".lock"
REFRESH_S = 2.0
"""How often `refresh` is due. A gateway takes a lock without a process away when its time is 30 s old, or 5 s where its
own patience (OPENCLAW_SESSION_WRITE_LOCK_ACQUIRE_TIMEOUT_MS) is set below 30 s."""

_NAME = ".sessionstore-bridge-door"
_ASIDE = ".sessionstore-bridge-opened-"
_BODY = b"{}\n"
"""Valid for OpenClaw, and shorter than anything that it writes itself: so a door is told by its size."""


class Doors:
    """The doors of one sessions directory. What a bridge before this one planted belongs to them."""

    def __init__(self, directory: int, *, shared: bool = True) -> None:
        """Take the doors over that are there.

        Args:
            directory: descriptor of the sessions directory, which stays the caller's.
            shared: all doors are one file. False: each is one of its own, so that `watch` can tell without inotify
                which one was opened, by its time.
        Raises: OSError.
        """
        self._directory, self._shared = directory, shared
        self._planted: dict[str, int] = {}
        for name in os.listdir(directory):
            if name.startswith((_ASIDE, f"{_NAME}-")):
                os.unlink(name, dir_fd=directory)
            self._take_over(name)

    def plant(self, transcript_id: str) -> bool:
        """Make sure of a door; False where the gateway has its own lock there. Raises: OSError."""
        lock = lock_of(transcript_id)
        with contextlib.suppress(FileExistsError):
            self._link(lock)
        return self._take_over(lock)

    def open(self, transcript_id: str) -> None:
        """Take our door away; a lock of the gateway's stays. Raises: OSError."""
        self._planted.pop(transcript_id, None)
        lock, aside = lock_of(transcript_id), _ASIDE + secrets.token_hex(8)
        if not _is_door(self._stat(lock)):
            return
        # Moved first and looked at then: between a look and a removal a gateway may have put its own lock there.
        with contextlib.suppress(FileNotFoundError):
            os.rename(lock, aside, src_dir_fd=self._directory, dst_dir_fd=self._directory)
            if not _is_door(self._stat(aside)):
                with contextlib.suppress(FileExistsError):
                    self._link_again(aside, lock)
            os.unlink(aside, dir_fd=self._directory)

    def refresh(self) -> list[str]:
        """Make all doors fresh; return the transcripts whose door is not there any more: the gateway took it away.

        That happens only where no refresh came for seconds. A turn may be running there that no lease covers.
        """
        lost = [transcript_id for ids in self._by_file().values() for transcript_id in self._refreshed(ids)]
        for transcript_id in lost:
            del self._planted[transcript_id]
        return lost

    def is_planted(self, transcript_id: str) -> bool:
        """Return whether our door is there, as far as we know: `refresh` finds out."""
        return transcript_id in self._planted

    def is_running(self, transcript_id: str) -> bool:
        """Return whether the gateway's own lock is there. It gives it up for moments within a turn."""
        found = self._stat(lock_of(transcript_id))
        return found is not None and not _is_door(found)

    def planted(self) -> frozenset[str]:
        """Return the transcripts that have a door of ours."""
        return frozenset(self._planted)

    def close(self) -> None:
        """Open all doors and leave nothing behind: whoever comes next is not held back."""
        for transcript_id in self.planted():
            self.open(transcript_id)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_NAME, dir_fd=self._directory)

    def _take_over(self, name: str) -> bool:
        transcript_id = transcript_of(name)
        found = self._stat(name) if transcript_id is not None else None
        if transcript_id is None or found is None or not _is_door(found):
            return False
        self._planted[transcript_id] = found.st_ino
        return True

    def _link(self, lock: str) -> None:
        """Give the file of doors one more name. Raises: FileExistsError."""
        if not self._shared or self._stat(_NAME) is None:
            self._make()
        try:
            self._link_again(_NAME, lock)
        except OSError as error:
            # A file can have so many names (65,000 on ext4), and only its owner may give it another one.
            if error.errno not in (errno.EMLINK, errno.EPERM):
                raise
            self._make()
            self._link_again(_NAME, lock)

    def _link_again(self, name: str, other: str) -> None:
        os.link(name, other, src_dir_fd=self._directory, dst_dir_fd=self._directory, follow_symlinks=False)

    def _make(self) -> None:
        """Make the file that is linked from now on; doors that are names of another one stay."""
        building = f"{_NAME}-{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(building, flags, 0o600, dir_fd=self._directory)
        try:
            hand_over(descriptor, os.fstat(self._directory))
            os.write(descriptor, _BODY)
        finally:
            os.close(descriptor)
        os.rename(building, _NAME, src_dir_fd=self._directory, dst_dir_fd=self._directory)

    def _by_file(self) -> dict[int, list[str]]:
        """Return the number (inode) of a file -> the transcripts whose door it is."""
        found: dict[int, list[str]] = {}
        for transcript_id, inode in self._planted.items():
            found.setdefault(inode, []).append(transcript_id)
        return found

    def _refreshed(self, ids: list[str]) -> Iterator[str]:
        """Refresh the one file that these doors are; give those that are not there."""
        inode = self._planted[ids[0]]
        there, names = None, 0
        for transcript_id in ids:
            if there is not None and names == len(ids):
                return
            found = self._stat(lock_of(transcript_id))
            # The gateway's lock may have got the number of the door that it took away.
            if found is None or found.st_ino != inode or not _is_door(found):
                yield transcript_id
            elif there is None:
                there, names = transcript_id, self._names(found)
                os.utime(lock_of(transcript_id), dir_fd=self._directory, follow_symlinks=False)

    def _names(self, found: os.stat_result) -> int:
        """Return how many doors a file is: it has as many names, and perhaps the one that new doors are linked from."""
        source = self._stat(_NAME)
        return found.st_nlink - (source is not None and source.st_ino == found.st_ino)

    def _stat(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return None


def lock_of(transcript_id: str) -> str:
    """Return the name of the lock beside a transcript. Raises: ValueError for an id that would leave the directory."""
    if "/" in transcript_id or "\0" in transcript_id:
        raise ValueError(f"{transcript_id!a} is no transcript's id: it holds a slash or a zero byte")
    return file_of(transcript_id) + LOCK_SUFFIX


def transcript_of(lock: str) -> str | None:
    """Return the transcript that a name is the lock of; None for another name."""
    ending = TRANSCRIPT_SUFFIX + LOCK_SUFFIX
    return lock.removesuffix(ending) if lock.endswith(ending) and lock != ending else None


def _is_door(found: os.stat_result | None) -> bool:
    return found is not None and found.st_size == len(_BODY)
