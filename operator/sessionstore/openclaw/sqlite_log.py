"""Looks whether SQLite has taken all of a write-ahead log that was committed.

SQLite ends at the first frame of which the checksum is wrong, and says nothing: it takes what follows for the rest of
an earlier log. What was committed behind a damaged frame would be missing without a word.
Source: https://sqlite.org/fileformat2.html, "The Write-Ahead Log".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGIC = 0x377F0682
"""The lowest bit says in which order the bytes of a checksum's words are."""


def damage(log: Path, committed: int) -> str | None:
    """Say what was not taken, or None.

    Args:
        committed: how many frames SQLite has taken.
    """
    if not log.exists() or log.stat().st_size <= _HEADER.size:
        return None
    with log.open("rb") as stream:
        raw = stream.read(_HEADER.size)
        _, _, page_bytes, _, *salts, first, second = _HEADER.unpack(raw)
        if _checksum(raw[:24]) != (first, second):
            return "the beginning of its log is damaged; what was written last is not in it"
        frames = _frames_behind(stream, committed, page_bytes)
        lost = sum(commits and frame_salts == salts for commits, frame_salts in frames)
    return f"its log is damaged behind frame {committed}; the last {lost} changes are not in it" if lost else None


def _frames_behind(stream: BinaryIO, committed: int, page_bytes: int) -> Iterator[tuple[bool, list[int]]]:
    """Go through the frames that were not taken: whether one ends a transaction, and its salts."""
    at = _HEADER.size + committed * (_FRAME.size + page_bytes)
    while len(raw := _read_at(stream, at)) == _FRAME.size:
        _, pages, *salts, _, _ = _FRAME.unpack(raw)
        at += _FRAME.size + page_bytes
        yield pages > 0, salts


def _read_at(stream: BinaryIO, at: int) -> bytes:
    stream.seek(at)
    return stream.read(_FRAME.size)


def _checksum(raw: bytes) -> tuple[int, int] | None:
    (magic,) = struct.unpack_from(">I", raw)
    if magic & ~1 != _MAGIC:
        return None
    first = second = 0
    words = struct.unpack(f"{'>' if magic & 1 else '<'}{len(raw) // 4}I", raw)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second
