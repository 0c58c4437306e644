"""One session as it was read, for the operations to work on: `LocalStore` decides, and what it did is written at once.

So MongoDB's sessions change by the very rules of the other backends. Nothing here talks to the server.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from sessionstore.sessions.leases import LeaseState
from sessionstore.sessions.local import Lines, LocalStore, Step
from sessionstore.sessions.mongodb import strand
from sessionstore.sessions.mongodb.documents import Kept
from sessionstore.sessions.mongodb.strand import Document, Strand
from sessionstore.sessions.record import Changes, Health, Lifetime, Session, SessionKey, Status
from sessionstore.sessions.transitions import Marking, Record

Wanted = tuple[str, int, int]
"""Transcript id, first, last."""


class LinesWanted(Exception):
    """An operation has to compare lines that were not read yet; it is begun anew with them.

    Attributes:
        wanted: which.
    """

    def __init__(self, wanted: Wanted) -> None:
        super().__init__()
        self.wanted = wanted


class Desk:
    """A shelf with one session, and its only room."""

    def __init__(self, name: SessionKey, kept: Kept, read: Mapping[Wanted, Lines]) -> None:
        self._name, self._kept, self._read = name, kept, read
        self.steps: list[Step] = []
        self.leased: LeaseState | None = None
        """The lease, where it has changed."""

    @contextmanager
    def room(self, name: SessionKey, *, writing: bool) -> Iterator[Desk]:
        yield self

    def load(self) -> Record | None:
        return self.steps[-1].record if self.steps else self._kept.record

    def save(self, step: Step) -> None:
        self.steps.append(step)

    def lines(self, transcript_id: str, start: int, stop: int) -> Lines:
        wanted = (transcript_id, start, stop)
        if wanted not in self._read:
            raise LinesWanted(wanted)
        return self._read[wanted]

    def lease(self) -> LeaseState | None:
        return self.leased or self._kept.lease

    def save_lease(self, state: LeaseState) -> None:
        self.leased = state

    def rows(self, agent: str | None) -> Iterable[tuple[SessionKey, Record]]:
        found = self.load()
        return [(self._name, found)] if found is not None else []

    def count_archives(self) -> int:
        raise NotImplementedError

    def feed_end(self) -> str:
        raise NotImplementedError

    def feed_after(self, cursor: str, limit: int) -> Changes:
        raise NotImplementedError

    def health(self) -> Health:
        raise NotImplementedError


class Clerk(LocalStore):
    """`LocalStore` on a desk. It does no I/O, so it never lets another task run."""

    def __init__(self, desk: Desk, now_ms: int, defaults: Lifetime) -> None:
        super().__init__(desk, lambda: now_ms, defaults, threads=False)

    async def mark(self, name: SessionKey, marking: Marking, expected: int | None) -> Session | None:
        """Change marks, status or lifetime."""
        return await self._mark(name, marking, expected)


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What the steps came to."""

    record: Record | None
    current: str | None
    strands: Mapping[str, Strand]
    operations: tuple[str, ...]
    chunks: tuple[Document, ...]
    """To be written before the session's document."""
    garbage: tuple[list[str], ...]
    """Ranges of chunks that nobody needs once the document is written."""


def outcome(desk: Desk, kept: Kept, owner: str) -> Outcome:
    """Carry the steps over to the lines."""
    strands, chunks, garbage = dict(kept.strands), list[Document](), list[list[str]]()
    revision = kept.record.revision if kept.record else 0
    for step in desk.steps:
        # That before the step: what a tombstone of the same write takes away must not be what a later step adds.
        revision = max(revision, step.record.revision - 1)
        if step.record.status is Status.DELETED:
            strands = {}
            garbage.append(strand.all_before(owner, step.record.revision))
        elif step.transcript_id is not None:
            old = strands.get(step.transcript_id, Strand())
            if step.replaced is not None:
                garbage += strand.leftovers(old, owner)
                old = Strand()
            change = strand.grown(old, (*(step.replaced or ()), *step.added), owner, revision)
            strands[step.transcript_id] = change.strand
            chunks += change.chunks
    record = desk.load()
    current = record.entry.transcript_id if record and record.entry else None
    for name in strands.keys() - {current}:
        moved = strand.tidied(strands[name], owner, revision)
        strands[name] = moved.strand
        chunks += moved.chunks
    told = tuple(step.operation.value for step in desk.steps if step.operation is not None)
    return Outcome(record, current, strands, told, tuple(chunks), tuple(garbage))
