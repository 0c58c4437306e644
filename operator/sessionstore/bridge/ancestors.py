"""The ancestors of the sheets that a gateway may still write, kept over a restart of the bridge. Called by a room.

A log beside the sheet, one record a `save`: what is different from the record before. So a save costs what changed and
not what there is, and entries that did not change are one object in all ancestors.

    record   a line of JSON: {"marker", "set": [[key, bytes of the value] …], "drop": [key …], "size", "crc"}
             the values, one behind the other; a line feed

A record that is not whole ends the log: the bridge died, or the machine did. A sheet whose ancestor is lost is merged
without deletions, so what is missing here does no harm but that.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from sessionstore.sessions.plainfiles import hand_over

NAME = ".sessionstore-bridge-ancestors"
KEPT = 16
"""Ancestors that are kept. A gateway writes a sheet within milliseconds of reading one; with 4, one deleted session in
some hundred came back in a trial where bridges were killed every 0.35 s, with 16 none did."""

_TEMPORARY = NAME + "-new"
_SLACK_BYTES = 8 * 1024 * 1024
"""What a log may hold beyond twice its size when written anew."""


@dataclass(frozen=True, slots=True)
class _Record:
    marker: str
    changed: dict[str, bytes]
    dropped: list[str]

    def bytes(self) -> Iterator[bytes]:
        """Go through the record's bytes as they are in the file."""
        size = sum(map(len, self.changed.values()))
        crc = 0
        for value in self.changed.values():
            crc = zlib.crc32(value, crc)
        changed = [[key, len(value)] for key, value in self.changed.items()]
        head = {"marker": self.marker, "set": changed, "drop": self.dropped, "size": size, "crc": crc}
        yield json.dumps(head).encode() + b"\n"
        yield from self.changed.values()
        yield b"\n"


class Ancestors:
    """The last ancestors of one sheet. Make it with `load`."""

    def __init__(self, directory: int, found: Mapping[str, dict[str, bytes]], size: int) -> None:
        """Take what a log of `size` bytes held."""
        self._directory = directory
        self._kept = dict(found)
        self._size = size
        self._limit = _limit_for(size)

    @classmethod
    def load(cls, directory: int) -> Ancestors:
        """Read the log of a sessions directory (its descriptor, which stays the caller's). Raises: OSError."""
        kept: dict[str, dict[str, bytes]] = {}
        with contextlib.suppress(FileNotFoundError), os.fdopen(_open(directory, NAME, os.O_RDWR), "rb") as file:
            size = _replay(file, kept)
            # What is not whole would hide all that is written behind it.
            os.ftruncate(file.fileno(), size)
            return cls(directory, kept, size)
        return cls(directory, {}, 0)

    def all(self) -> Mapping[str, Mapping[str, bytes]]:
        """Return marker -> key -> bytes, the one that was saved first, first. What is equal is one object."""
        return dict(self._kept)

    def save(self, marker: str, entries: Mapping[str, bytes]) -> None:
        """Keep an ancestor, or what has become of it. It is in the file when this returns; no disk is waited for.

        Raises: OSError, as for a full disk; what was kept before is kept then.
        """
        record = _difference(next(reversed(self._kept.values()), {}), marker, entries)
        descriptor = _open(self._directory, NAME, os.O_WRONLY | os.O_CREAT)
        try:
            self._size = _append(descriptor, self._size, record)
        finally:
            os.close(descriptor)
        _remember(self._kept, marker, dict(entries))
        if self._size > self._limit:
            self._write_anew()

    def _write_anew(self) -> None:
        """Put a log in place of the present one that holds what is kept and nothing else."""
        descriptor, size = _open(self._directory, _TEMPORARY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 0
        try:
            before: Mapping[str, bytes] = {}
            for marker, entries in self._kept.items():
                size = _append(descriptor, size, _difference(before, marker, entries))
                before = entries
        finally:
            os.close(descriptor)
        os.rename(_TEMPORARY, NAME, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        self._size, self._limit = size, _limit_for(size)


def _limit_for(size: int) -> int:
    return 2 * size + _SLACK_BYTES


def _remember(kept: dict[str, dict[str, bytes]], marker: str, entries: dict[str, bytes]) -> None:
    """Make it the last one; of the others, the last ones stay."""
    kept.pop(marker, None)
    kept[marker] = entries
    while len(kept) > KEPT:
        del kept[next(iter(kept))]


def _difference(before: Mapping[str, bytes], marker: str, entries: Mapping[str, bytes]) -> _Record:
    changed = {key: value for key, value in entries.items() if before.get(key) != value}
    return _Record(marker, changed, [key for key in before if key not in entries])


def _append(descriptor: int, size: int, record: _Record) -> int:
    """Write a record behind the first `size` bytes; return what the file has then, and leave it as it was otherwise."""
    os.lseek(descriptor, size, os.SEEK_SET)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.writelines(record.bytes())
            return file.tell()
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _replay(file: BinaryIO, kept: dict[str, dict[str, bytes]]) -> int:
    """Read records as long as they are whole; return how many bytes of the file they take."""
    entries: dict[str, bytes] = {}
    size = 0
    while (record := _read(file)) is not None:
        entries = entries | record.changed
        for key in record.dropped:
            entries.pop(key, None)
        _remember(kept, record.marker, entries)
        size = file.tell()
    return size


def _read(file: BinaryIO) -> _Record | None:
    """Read one record; None where there is none, or not a whole one."""
    try:
        head = json.loads(file.readline())
        changed = {key: file.read(length) for key, length in head["set"]}
        record = _Record(head["marker"], changed, head["drop"])
    except (ValueError, TypeError, KeyError):
        return None
    crc = 0
    for value in changed.values():
        crc = zlib.crc32(value, crc)
    whole = crc == head["crc"] and sum(map(len, changed.values())) == head["size"]
    return record if whole and file.read(1) == b"\n" else None


def _open(directory: int, name: str, flags: int) -> int:
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
    if flags & os.O_CREAT:
        hand_over(descriptor, os.fstat(directory))
    return descriptor
