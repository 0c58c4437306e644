"""What a desk leaves to the one after it (`keeping.State`), kept over a restart of the bridge. Called by a room.

A log beside the sheet, one record a `save`: what is different from the record before. So a save costs what changed and
not what there is, and entries that did not change are one object in all ancestors. A record counts whole or not at all.

    record   a line of JSON: {"maps": [[name, base, [[key, size of the value] ...], [key that is gone ...]] ...],
             "gone": [name ...], "size", "crc"}; then the values, one behind the other; then a line feed

A record that is not whole ends the log: the bridge died, or the machine did. Nothing waits for the disk: a sheet whose
ancestor is lost is merged without deletions, so what a power cut takes away does no harm but that.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from sessionstore.bridge.keeping import NAMES, State
from sessionstore.sessions.plainfiles import hand_over

NAME = ".sessionstore-bridge-ancestors"

_TEMPORARY = NAME + "-new"
_SLACK_BYTES = 8 * 1024 * 1024
"""What a log may hold beyond twice its size when written anew."""


@dataclass(frozen=True, slots=True)
class _Map:
    """One map of a state, as what is different from its base."""

    name: str
    base: str | None
    changed: dict[str, bytes]
    gone: list[str]

    def applied(self, maps: State) -> dict[str, bytes]:
        """Return the map. Raises: KeyError where the base is not there."""
        found = {**(maps[self.base] if self.base is not None else {}), **self.changed}
        for key in self.gone:
            found.pop(key, None)
        return found


@dataclass(frozen=True, slots=True)
class _Record:
    maps: list[_Map]
    gone: list[str]

    def __bool__(self) -> bool:
        return bool(self.maps or self.gone)

    def encoded(self) -> Iterator[bytes]:
        """Go through the record's bytes as they are in the file."""
        size, crc = _summed(self._values())
        maps = [
            [one.name, one.base, [[key, len(raw)] for key, raw in one.changed.items()], one.gone] for one in self.maps
        ]
        yield json.dumps({"maps": maps, "gone": self.gone, "size": size, "crc": crc}).encode() + b"\n"
        yield from self._values()
        yield b"\n"

    def applied(self, maps: State) -> dict[str, Mapping[str, bytes]]:
        """Return the state behind this record; maps that changed are its last ones. Raises: KeyError."""
        found = dict(maps)
        for one in self.maps:
            now = one.applied(found)
            found.pop(one.name, None)
            found[one.name] = now
        for name in self.gone:
            found.pop(name, None)
        return found

    def _values(self) -> Iterator[bytes]:
        return (value for one in self.maps for value in one.changed.values())


class Ancestors:
    """The state of one agent's desk. Make it with `load`."""

    def __init__(self, directory: int, state: State, size: int) -> None:
        """Take what a log of `size` bytes held."""
        self._directory = directory
        self._state = state
        self._size = size
        self._limit = _limit_for(size)

    @classmethod
    def load(cls, directory: int) -> Ancestors:
        """Read the log of a sessions directory (its descriptor, which stays the caller's). Raises: OSError."""
        with contextlib.suppress(FileNotFoundError), os.fdopen(_open(directory, NAME, os.O_RDWR), "rb") as file:
            state, size = _replay(file)
            # What is not whole would hide all that is written behind it.
            os.ftruncate(file.fileno(), size)
            return cls(directory, state, size)
        return cls(directory, {}, 0)

    def state(self) -> State:
        """Return what was saved last. What is equal in two maps is one object; sheets come the oldest first."""
        return self._state

    def save(self, state: State) -> None:
        """Keep a state in place of the one before. It is in the file when this returns.

        Args:
            state: its maps must not change any more; one that is the same object as before costs nothing.
        Raises: OSError, as for a full disk; what was kept before is kept then.
        """
        record = _difference(self._state, state)
        if not record:
            return
        descriptor = _open(self._directory, NAME, os.O_WRONLY | os.O_CREAT)
        try:
            self._size = _append(descriptor, self._size, record)
        finally:
            os.close(descriptor)
        self._state = dict(state)
        if self._size > self._limit:
            self._write_anew()

    def _write_anew(self) -> None:
        """Put a log in place of the present one that holds what is kept and nothing else."""
        descriptor = _open(self._directory, _TEMPORARY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            size = _append(descriptor, 0, _difference({}, self._state))
        finally:
            os.close(descriptor)
        os.rename(_TEMPORARY, NAME, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        self._size, self._limit = size, _limit_for(size)


def _limit_for(size: int) -> int:
    return 2 * size + _SLACK_BYTES


def _difference(before: State, state: State) -> _Record:
    """Return what makes `state` of `before`. Sheets are much the same: a new one is told by the last one before it."""
    maps: list[_Map] = []
    known, last = dict(before), _last_sheet(before)
    for name, entries in state.items():
        if entries is not before.get(name) and entries != before.get(name):
            base = name if name in known else None if name in NAMES else last
            maps.append(_map(name, base, {} if base is None else known[base], entries))
            known[name] = entries
        last = last if name in NAMES else name
    return _Record(maps, [name for name in before if name not in state])


def _map(name: str, base: str | None, before: Mapping[str, bytes], entries: Mapping[str, bytes]) -> _Map:
    changed = {key: value for key, value in entries.items() if before.get(key) != value}
    return _Map(name, base, changed, [key for key in before if key not in entries])


def _last_sheet(state: State) -> str | None:
    return next((name for name in reversed(list(state)) if name not in NAMES), None)


def _append(descriptor: int, size: int, record: _Record) -> int:
    """Write a record behind the first `size` bytes; return what the file has then, and leave it as it was otherwise."""
    os.lseek(descriptor, size, os.SEEK_SET)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.writelines(record.encoded())
            return file.tell()
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _replay(file: BinaryIO) -> tuple[State, int]:
    """Read records as long as they are whole; return the state, and how many bytes of the file they take."""
    state: State = {}
    size = 0
    while (record := _read(file)) is not None:
        state, size = record.applied(state), file.tell()
    return state, size


def _read(file: BinaryIO) -> _Record | None:
    """Read one record; None where there is none, or not a whole one."""
    try:
        head = json.loads(file.readline())
        maps = [_Map(name, base, _values(file, changed), gone) for name, base, changed, gone in head["maps"]]
    except (ValueError, TypeError, KeyError):
        return None
    found = _summed(value for one in maps for value in one.changed.values())
    is_whole = found == (head["size"], head["crc"]) and file.read(1) == b"\n"
    return _Record(maps, head["gone"]) if is_whole else None


def _values(file: BinaryIO, sizes: Iterable[tuple[str, int]]) -> dict[str, bytes]:
    return {key: file.read(size) for key, size in sizes}


def _summed(values: Iterable[bytes]) -> tuple[int, int]:
    """Return how many bytes there are, and what tells them from others."""
    size = crc = 0
    for value in values:
        size, crc = size + len(value), zlib.crc32(value, crc)
    return size, crc


def _open(directory: int, name: str, flags: int) -> int:
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
    if flags & os.O_CREAT:
        hand_over(descriptor, os.fstat(directory))
    return descriptor
