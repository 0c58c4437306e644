"""The form of what is kept: a line of JSON that says what the bytes are, then the bytes, in parts. Knows no place.

A name is made from the content, so that a migration that runs again keeps the same things under the same names. That
takes the digest before the first byte is written, so what does not fit into memory is read twice: a second look at a
source costs less than room on a disk for all of it. The second look is compared with the first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sessionstore.migrate.errors import MigrationError
from sessionstore.openclaw.problems import Refused

FIRST_BYTES = 64 * 1024
"""How many of the bytes stand behind the header, so that a list of headers is quick however much is kept."""
PART_BYTES = 4 * 1024 * 1024
"""How many of them each further part has."""

Chunks = Callable[[], AsyncIterator[bytes]]
"""Begins a pass over bytes that can be gone through again and again. Raises: Refused where they end early."""


class Shelf(StrEnum):
    """Why something is kept."""

    QUARANTINE = "quarantine"
    """It could not be carried."""
    CONFLICTS = "conflicts"
    """It lost a conflict, or a later state took its place."""


class Kind(StrEnum):
    """What the bytes are; the header's `kind`."""

    SESSION = "session"
    """An entry of `entryBytes`, a line feed, then lines with a line feed each, perhaps a torn one behind them."""
    ENTRY = "entry"
    """An entry alone: of `entryBytes` and a line feed, or, without that, all of the bytes."""
    ARCHIVE = "archive"
    """Lines with a line feed each, perhaps a torn one behind them."""
    TORN = "torn"
    """The end of a file that stops within a line."""
    BYTES = "bytes"
    """A file, or a piece of one, of which nobody could tell where an entry begins."""


@dataclass(frozen=True, slots=True)
class Thing:
    """Something to keep, weighed.

    Attributes:
        header: what the bytes are, with `bytes`, `parts` and `sha256` of them.
        chunks: a further pass over the bytes; over memory where they are few.
    """

    header: Mapping[str, Any]
    chunks: Chunks

    @property
    def line(self) -> bytes:
        """The header as it is written."""
        return json.dumps(self.header, ensure_ascii=False).encode()

    @property
    def id(self) -> str:
        """Sixteen hexadecimal digits that the header, and by its digest the bytes, make."""
        return id_of(self.line)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Go through the bytes. Raises: MigrationError at the end, where they are not what was weighed."""
        seen = hashlib.sha256()
        try:
            async for chunk in self.chunks():
                seen.update(chunk)
                yield chunk
        except Refused as error:
            if "cut" not in self.header:
                raise _changed(self.header) from error
        if seen.hexdigest() != self.header["sha256"]:
            raise _changed(self.header)


def id_of(line: bytes) -> str:
    """Return the id that a header line makes."""
    return hashlib.sha256(line).hexdigest()[:16]


async def weigh(header: Mapping[str, Any], chunks: Chunks) -> Thing:
    """Go through bytes once, to tell how many they are and what they are; a few are held for the next pass.

    Where they cannot be read to their end, `cut` says why, and the thing is what could be read.
    """
    digest, size, held, cut = hashlib.sha256(), 0, bytearray(), {}
    try:
        async for chunk in chunks():
            digest.update(chunk)
            size += len(chunk)
            if size <= PART_BYTES:
                held += chunk
    except Refused as error:
        cut = {"cut": str(error)}
    counts = {"bytes": size, "parts": part_count(size), "sha256": digest.hexdigest()}
    return Thing({**header, **cut, **counts}, once(bytes(held)) if size <= PART_BYTES else chunks)


def once(raw: bytes) -> Chunks:
    """Return passes over bytes that are in memory."""

    async def chunks() -> AsyncIterator[bytes]:
        yield raw

    return chunks


def part_count(size: int) -> int:
    """Return how many parts `size` bytes are cut into; the first may be empty."""
    return 1 + -(-max(0, size - FIRST_BYTES) // PART_BYTES)


async def parts(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Cut bytes into parts: at most FIRST_BYTES, then PART_BYTES each."""
    size, buffer, is_first = FIRST_BYTES, bytearray(), True
    async for piece in pieces:
        buffer += piece
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
            size, is_first = PART_BYTES, False
    if buffer or is_first:
        yield bytes(buffer)


def _changed(header: Mapping[str, Any]) -> MigrationError:
    what = header.get("key") or header.get("archive") or header.get("path")
    return MigrationError("SourceChanged", f"{what} changed while it was kept; stop what writes to it, and run again")
