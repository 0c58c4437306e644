"""Which keys an object of any size has more than once. Nothing is held of those that occur once."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Iterator, Mapping

from sessionstore.openclaw import json_stream
from sessionstore.openclaw.scratch import Names, Scratch

Repeated = Mapping[str, int]
"""Key -> how often it occurs, of keys that occur more than once."""
_IN_MEMORY = 100_000


def find_repeated(file: int, scratch: Scratch) -> Repeated:
    """Go through a file once, and once more where a key may occur twice. Its position is moved.

    Raises: OSError. What is no object any more ends the search: whoever reads it meets the same place.
    """
    suspects = _suspects(file, scratch)
    if not suspects:
        return {}
    counts = Counter(key for key in _keys(file) if hash(key) in suspects)
    return {key: count for key, count in counts.items() if count > 1}


def _suspects(file: int, scratch: Scratch) -> set[int]:
    """Return hashes that occur more than once."""
    seen: set[int] = set()
    found: set[int] = set()
    spilled: Names | None = None
    for key in _keys(file):
        name = hash(key)
        if spilled is not None:
            if not spilled.add(name.to_bytes(8, "big", signed=True)):
                found.add(name)
        elif name in seen:
            found.add(name)
        else:
            seen.add(name)
            if len(seen) == _IN_MEMORY:
                spilled = scratch.names()
                spilled.update(name.to_bytes(8, "big", signed=True) for name in seen)
                seen.clear()
    if spilled is not None:
        spilled.close()
    return found


def _keys(file: int) -> Iterator[str]:
    """Go through the keys as far as they can be read."""
    os.lseek(file, 0, os.SEEK_SET)
    try:
        for member in json_stream.members(functools.partial(os.read, file)):
            try:
                yield json_stream.key_of(member.key)
            except ValueError:
                continue
    except json_stream.BrokenObject:
        return
