"""Noticing what a gateway does in its sessions directory: inotify, and polling where the system gives no inotify.

Called by a room, which then looks for itself: an event says where to look, never what is there. A node has few inotify
instances for one user (128 by default), so to get none is nothing out of the ordinary.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from sessionstore.bridge import kernel
from sessionstore.bridge.doors import transcript_of

log = logging.getLogger(__name__)

POLL_S = 0.1
"""How often the directory is looked at without inotify. OpenClaw looks at a lock every 50 ms for a minute."""

# Not IN_CLOSE_WRITE: whoever carries a transcript opens it to write, and would be told of himself for ever.
_CHANGES = kernel.IN_MODIFY | kernel.IN_CREATE | kernel.IN_DELETE | kernel.IN_MOVED_FROM | kernel.IN_MOVED_TO


@dataclass(frozen=True, slots=True)
class Noticed:
    """What happened since the last time."""

    changed: frozenset[str] = frozenset()
    """Names of files that were made, written, moved or removed, without ours and what is still being written."""
    opened: frozenset[str] = frozenset()
    """Transcripts whose lock somebody opened: of a door of ours, the bell."""
    everything: bool = False
    """More happened than could be told: look at all files."""
    gone: bool = False
    """The directory itself was removed (told at the end of a wait, at the latest), or moved (told by inotify only)."""

    def __bool__(self) -> bool:
        return bool(self.changed or self.opened or self.everything or self.gone)


class Watch(Protocol):
    """A watch over one directory, for one user."""

    @property
    def needs_own_files(self) -> bool:
        """Whether doors must be a file each (`Doors(shared=False)`), or a bell cannot be told from another."""

    async def wait(self, timeout_s: float) -> Noticed:
        """Return what happened, as soon as something did; nothing when the time is over."""

    def close(self) -> None:
        """Let go of what the system gave."""


def watch(directory: int) -> Watch:
    """Watch a directory from now on (its descriptor, which stays the caller's)."""
    try:
        return Notified(directory)
    except OSError as error:
        log.warning("no inotify (%s): the directory is looked at every %g s instead", error.strerror, POLL_S)
        return Polled(directory)


class Notified:
    """A watch by inotify."""

    needs_own_files = False

    def __init__(self, directory: int) -> None:
        """Begin to watch. Raises: OSError where there is no inotify to be had."""
        self._directory = directory
        self._descriptor = kernel.inotify(directory, _CHANGES | kernel.IN_MOVE_SELF | kernel.IN_OPEN)

    async def wait(self, timeout_s: float) -> Noticed:
        """Return what happened, as soon as something did; nothing when the time is over."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not (noticed := _of_events(kernel.events(self._descriptor))):
                    await self._readable(loop)
                return noticed
        return Noticed(gone=_is_removed(self._directory))

    def close(self) -> None:
        """Let go of the instance."""
        os.close(self._descriptor)

    async def _readable(self, loop: asyncio.AbstractEventLoop) -> None:
        ready = asyncio.Event()
        loop.add_reader(self._descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._descriptor)


@dataclass(frozen=True, slots=True)
class _State:
    inode: int
    size: int
    modified_ns: int
    read_ns: int

    @property
    def content(self) -> tuple[int, int, int]:
        return self.inode, self.size, self.modified_ns


class Polled:
    """A watch by looking. A bell is told by the time of the last reading, which most file systems keep (`relatime`)."""

    needs_own_files = True

    def __init__(self, directory: int, poll_s: float = POLL_S) -> None:
        """Look for the first time."""
        self._directory, self._poll_s = directory, poll_s
        self._before = self._states()

    async def wait(self, timeout_s: float) -> Noticed:
        """Return what happened, as soon as something did; nothing when the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not (noticed := self._noticed()):  # noqa: ASYNC110  nothing would tell us
                    await asyncio.sleep(self._poll_s)
                return noticed
        return Noticed()

    def close(self) -> None:
        """Do nothing: the system gave nothing."""

    def _noticed(self) -> Noticed:
        before, now = self._before, self._states()
        self._before = now
        if _is_removed(self._directory):
            return Noticed(gone=True)
        changed = {name for name in before.keys() | now.keys() if _content(before, name) != _content(now, name)}
        return Noticed(frozenset(changed), frozenset(_rung(before, now)))

    def _states(self) -> dict[str, _State]:
        with os.scandir(self._directory) as entries:
            return {entry.name: state for entry in entries if _matters(entry.name) and (state := _state(entry))}


def _of_events(events: Iterable[kernel.Event]) -> Noticed:
    changed, opened, seen = set(), set(), 0
    for event in events:
        seen |= event.mask
        if event.mask & _CHANGES and _matters(event.name):
            changed.add(event.name)
        elif event.mask & kernel.IN_OPEN and (transcript_id := transcript_of(event.name)) is not None:
            opened.add(transcript_id)
    everything, gone = bool(seen & kernel.IN_Q_OVERFLOW), bool(seen & kernel.IN_MOVE_SELF)
    return Noticed(frozenset(changed), frozenset(opened), everything, gone)


def _is_removed(directory: int) -> bool:
    # Inotify tells of it only when nobody has the directory open any more.
    return os.fstat(directory).st_nlink == 0


def _matters(name: str) -> bool:
    return bool(name) and not name.startswith(".sessionstore-") and not name.endswith(".tmp")


def _state(entry: os.DirEntry[str]) -> _State | None:
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return _State(found.st_ino, found.st_size, found.st_mtime_ns, found.st_atime_ns)


def _content(states: dict[str, _State], name: str) -> tuple[int, int, int] | None:
    state = states.get(name)
    return None if state is None else state.content


def _rung(before: dict[str, _State], now: dict[str, _State]) -> Iterable[str]:
    """Give the transcripts whose lock was read: its time of reading is later than before, and than its last change."""
    for name, state in now.items():
        transcript_id, earlier = transcript_of(name), before.get(name)
        if transcript_id is None or earlier is None or earlier.inode != state.inode:
            continue
        if state.read_ns > max(earlier.read_ns, state.modified_ns):
            yield transcript_id
