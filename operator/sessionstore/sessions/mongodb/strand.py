"""Where the lines of a transcript or an archive lie. Pure; docs/design/0009-mongodb.md, "Lines", has the reasons.

The newest lines lie in their owner's document, so that a small append is one atomic change of one document. When they
grow heavy they move into chunks, documents of their own, of which the owner's document names the segments.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bson import Binary

Document = dict[str, Any]
Lines = tuple[bytes, ...]

LOOSE_BYTES = 32 * 1024
"""What lies in the owner's document: written again with each append, so little; moved out with each 30 or so."""
LINE_COST = 64
"""Counted for each line beside its bytes, so that many empty ones do not pile up."""
CHUNK_LINES = LOOSE_BYTES // LINE_COST
CHUNK_BYTES = 256 * 1024
PART_BYTES = 4 * 1024 * 1024
"""A longer line lies in several documents; one holds 16 MB at most."""

_OWNER, _NONCE, _START, _SUFFIX, _PART = 32, 20, 10, 6, 4
AFTER = "g"
"""Behind every hexadecimal digit."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Lines from `start` on, up to the next segment, lie in chunks whose names begin with owner and `nonce`."""

    start: int
    nonce: str


@dataclass(frozen=True, slots=True)
class Strand:
    """All lines of one transcript."""

    count: int = 0
    loose_from: int = 0
    """The index of the first line that lies in the owner's document."""
    weight: int = 0
    """Of the loose lines: their bytes and LINE_COST for each."""
    segments: tuple[Segment, ...] = ()
    loose: Lines = ()


@dataclass(frozen=True, slots=True)
class Change:
    """A strand as it will be, and the chunks that must be written before its owner's document says so."""

    strand: Strand
    chunks: tuple[Document, ...] = ()


def weigh(lines: Iterable[bytes]) -> int:
    """Return what lines count for."""
    return sum(len(line) + LINE_COST for line in lines)


def owner_of(document_id: str) -> str:
    """Return what the chunks of a document's lines begin with."""
    return hashlib.sha256(document_id.encode()).hexdigest()[:_OWNER]


def new_nonce(revision: int) -> str:
    """Return a name for a segment that is made when its owner is at `revision`.

    The revision in it lets a tombstone drop what was made before it, and leave what came after alone.
    """
    return f"{revision:012x}{secrets.token_hex((_NONCE - 12) // 2)}"


def grown(strand: Strand, added: Lines, owner: str, revision: int) -> Change:
    """Put lines behind the others."""
    weight = weigh(added)
    count = strand.count + len(added)
    if strand.weight + weight <= LOOSE_BYTES:
        return Change(
            dataclasses.replace(strand, count=count, weight=strand.weight + weight, loose=strand.loose + added)
        )
    if weight <= LOOSE_BYTES:
        moved = tidied(strand, owner, revision)
        return Change(dataclasses.replace(moved.strand, count=count, weight=weight, loose=added), moved.chunks)
    # Lines that are not part of the transcript yet must not lie under a name that is in use: readers would find them.
    fresh = Segment(strand.loose_from, new_nonce(revision))
    chunks = tuple(_packed(owner + fresh.nonce, fresh.start, strand.loose + added))
    return Change(Strand(count, count, 0, (*strand.segments, fresh), ()), chunks)


def tidied(strand: Strand, owner: str, revision: int) -> Change:
    """Move the loose lines into chunks. They are the transcript's already, so whoever else does it writes the same."""
    if not strand.loose:
        return Change(strand)
    segments = strand.segments or (Segment(strand.loose_from, new_nonce(revision)),)
    chunks = tuple(_packed(owner + segments[-1].nonce, strand.loose_from, strand.loose))
    return Change(Strand(strand.count, strand.count, 0, segments, ()), chunks)


def runs(strand: Strand, owner: str, first: int, last: int) -> Iterator[tuple[str, str]]:
    """Go through the ranges of chunk names, `from` and `below`, that hold the lines first:last which are not loose."""
    last = min(last, strand.loose_from)
    bounds = [segment.start for segment in strand.segments] + [strand.loose_from]
    for segment, end in zip(strand.segments, bounds[1:], strict=True):
        low, high = max(first, segment.start), min(last, end)
        if low < high:
            prefix = owner + segment.nonce
            # A chunk that begins before `low` may reach into it; it has CHUNK_LINES at most.
            yield f"{prefix}{max(low - CHUNK_LINES + 1, 0):0{_START}x}", f"{prefix}{high:0{_START}x}"


def leftovers(strand: Strand, owner: str) -> list[list[str]]:
    """Return the ranges of chunk names, `from` and `below`, of all of a strand's segments."""
    return [[owner + segment.nonce, owner + segment.nonce + AFTER] for segment in strand.segments]


def all_before(owner: str, revision: int) -> list[str]:
    """Return the range of chunk names of everything of an owner that was made before it came to `revision`."""
    return [owner, f"{owner}{revision:012x}"]


def unpacked(chunks: Iterable[Document]) -> dict[int, bytes]:
    """Return index -> line, for whole chunks in the order of their names.

    Raises: KeyError, TypeError, ValueError for what is no chunk.
    """
    found: dict[int, bytes] = {}
    parts: list[bytes] = []
    for chunk in chunks:
        start, part = _place(chunk["_id"])
        parts = [*parts, chunk["b"]] if part else [chunk["b"]]
        if len(parts) == chunk.get("p", 1):
            lines = b"".join(parts).split(b"\n")
            if len(lines) != chunk["n"]:
                raise ValueError("a chunk has another number of lines than it says")
            found.update(enumerate(lines, start))
    return found


def decoded(kept: Document) -> Strand:
    """Read a strand as its owner's document has it. Raises: KeyError, TypeError, ValueError."""
    segments = tuple(Segment(int(start), str(nonce)) for start, nonce in kept.get("q", ()))
    loose = tuple(bytes(line) for line in kept.get("l", ()))
    return Strand(int(kept["n"]), int(kept.get("f", 0)), int(kept.get("z", 0)), segments, loose)


def encoded(strand: Strand) -> Document:
    """Return a strand as its owner's document has it."""
    return {
        "n": strand.count,
        "f": strand.loose_from,
        "z": strand.weight,
        "q": [[segment.start, segment.nonce] for segment in strand.segments],
        "l": [Binary(line) for line in strand.loose],
    }


def _packed(prefix: str, start: int, lines: Lines) -> Iterator[Document]:
    for group in _groups(lines):
        body = b"\n".join(group)
        # By chance: two who move the same lines at once, cut at other places, do not overwrite each other.
        name = f"{prefix}{start:0{_START}x}{secrets.token_hex(_SUFFIX // 2)}"
        parts = [body[at : at + PART_BYTES] for at in range(0, len(body), PART_BYTES)] or [b""]
        for number, part in enumerate(parts):
            chunk: Document = {"_id": f"{name}{number:0{_PART}x}", "n": len(group), "b": Binary(part)}
            yield chunk | ({"p": len(parts)} if len(parts) > 1 else {})
        start += len(group)


def _groups(lines: Sequence[bytes]) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    size = 0
    for line in lines:
        if group and (len(group) == CHUNK_LINES or size + len(line) > CHUNK_BYTES):
            yield group
            group, size = [], 0
        group.append(line)
        size += len(line) + 1
    if group:
        yield group


def _place(name: str) -> tuple[int, int]:
    """Return (index of the first line, number of the part)."""
    if len(name) != _OWNER + _NONCE + _START + _SUFFIX + _PART:
        raise ValueError("a chunk has another name than chunks have")
    at = _OWNER + _NONCE
    return int(name[at : at + _START], 16), int(name[-_PART:], 16)
