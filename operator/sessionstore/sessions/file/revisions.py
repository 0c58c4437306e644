"""What OpenClaw's files have no place for: revisions, and what they are judged by. Pure.

`.sessionstore-revisions.json` keeps a Row per session. A session that another program changed meanwhile is told by
comparing its Row with what the files hold now, and counts as one more revision.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from sessionstore.openclaw import rawjson
from sessionstore.sessions.exceptions import Unreadable
from sessionstore.sessions.plainfiles import Measure

FILE_NAME = ".sessionstore-revisions.json"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Row:
    """A session as it was last seen. Times are milliseconds since the epoch."""

    revision: int
    digest: str | None
    """Of the entry without white space; None for a tombstone."""
    lines: int
    measure: Measure
    """Of the current transcript's file."""
    created_ms: int
    updated_ms: int
    written_ms: int
    generations: Mapping[str, int] = field(default_factory=dict)
    """Transcript id -> generation, of all transcripts the session had."""

    def generation(self, transcript_id: str | None) -> int:
        """Return the generation of a transcript."""
        return self.generations.get(transcript_id or "", 0)


@dataclass(frozen=True, slots=True)
class Facts:
    """A session as the files have it now."""

    digest: str | None
    transcript_id: str | None
    lines: int
    measure: Measure
    updated_ms: int | None
    """The entry's own time."""

    @property
    def moved_ms(self) -> int:
        """When the conversation last moved, as far as files tell."""
        return self.measure.mtime_ns // 1_000_000 if self.updated_ms is None else self.updated_ms


ABSENT = Facts(None, None, 0, Measure(), None)


def digest_of(entry: bytes) -> str:
    """Return what tells one entry from another, whatever its white space."""
    return hashlib.sha256(rawjson.compact(entry)).hexdigest()


def observe(row: Row | None, facts: Facts) -> Row | None:
    """Return the Row that is true now: `row` itself where nothing changed, None where there never was a session."""
    if row is None:
        if facts.digest is None:
            return None
        moved = facts.moved_ms
        generations = {facts.transcript_id: 0} if facts.transcript_id else {}
        return Row(1, facts.digest, facts.lines, facts.measure, moved, moved, moved, generations)
    if facts.digest is None:
        return row if row.digest is None else bury(row, row.updated_ms)
    if (facts.digest, facts.lines, facts.measure) == (row.digest, row.lines, row.measure):
        return row
    return _changed(row, facts)


def bury(row: Row, now_ms: int) -> Row:
    """Return the tombstone of a session.

    Generations grow: who still holds the length of a transcript from before must not append to one made after.
    """
    generations = {name: generation + 1 for name, generation in row.generations.items()}
    return Row(row.revision + 1, None, 0, Measure(), row.created_ms, now_ms, now_ms, generations)


def _changed(row: Row, facts: Facts) -> Row:
    same_entry = facts.digest == row.digest
    name = facts.transcript_id
    generations = dict(row.generations)
    if name:
        generations[name] = row.generation(name) + (name in generations and _is_replaced(row.measure, facts.measure))
    return dataclasses.replace(
        row,
        revision=row.revision + 1,
        digest=facts.digest,
        lines=facts.lines,
        measure=facts.measure,
        created_ms=facts.moved_ms if row.digest is None else row.created_ms,
        updated_ms=max(row.updated_ms, facts.measure.mtime_ns // 1_000_000) if same_entry else facts.moved_ms,
        generations=generations,
    )


def _is_replaced(before: Measure, after: Measure) -> bool:
    """Return whether a file that was written again cannot have been appended to: an append makes it larger.

    Where the entry names another transcript now, this compares two files; a generation too many costs a retry at most.
    """
    return before != after and 0 < before.size >= after.size


def parse(data: bytes | None, path: str) -> dict[str, Row]:
    """Read the side file: session key -> Row. Raises: Unreadable."""
    if data is None:
        return {}
    try:
        document = rawjson.parse_object(data)
        if document["version"] != VERSION:
            raise Unreadable(f"{path} has version {document['version']}, and this library reads {VERSION}")
        return {key: _row(values) for key, values in document["sessions"].items()}
    except (ValueError, TypeError, KeyError) as error:
        raise Unreadable(
            f"{path} is damaged ({error}); move it away while no gateway runs, and revisions start anew"
        ) from error


def dump(rows: Mapping[str, Row]) -> bytes:
    """Write the side file."""
    sessions = {
        key: [
            row.revision,
            row.digest,
            row.lines,
            row.measure.size,
            row.measure.mtime_ns,
            row.created_ms,
            row.updated_ms,
            row.written_ms,
            dict(row.generations),
        ]
        for key, row in rows.items()
    }
    return json.dumps({"version": VERSION, "sessions": sessions}, separators=(",", ":")).encode()


def _row(values: list[object]) -> Row:
    revision, digest, lines, size, mtime_ns, created, updated, written, generations = values
    numbers = (revision, lines, size, mtime_ns, created, updated, written)
    if not all(type(number) is int for number in numbers) or not isinstance(generations, dict):
        raise ValueError("a row is malformed")
    if digest is not None and not isinstance(digest, str):
        raise ValueError("a row is malformed")
    measure = Measure(size, mtime_ns)  # type: ignore[arg-type]
    return Row(revision, digest, lines, measure, created, updated, written, generations)  # type: ignore[arg-type]
