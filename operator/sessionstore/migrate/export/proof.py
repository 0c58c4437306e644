"""Prove an export: read what was written, read the store again, and compare.

Nothing that the writing knew is used but the revision that was written, which tells a mistake from a session that
somebody changed since.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from sessionstore.migrate.export.catalogue import ARCHIVE, SESSION, Catalogue, Row
from sessionstore.migrate.export.reading import GROUP, Moved, Reading
from sessionstore.migrate.export.target import Target
from sessionstore.migrate.items import Lines as SourceLines
from sessionstore.migrate.items import SetAside, Source, SourceArchive, SourceSession
from sessionstore.migrate.report import Mismatch
from sessionstore.openclaw.problems import Problem, Refused
from sessionstore.sessions.digest import SessionDigest
from sessionstore.sessions.record import Session, Transcript

MISMATCHES_KEPT = 100


@dataclass
class Proof:
    """What the comparison found.

    Attributes:
        differing: how many mismatches there are; the first ones are kept.
        moving: how many sessions differ since they changed meanwhile.
    """

    mismatches: list[Mismatch] = field(default_factory=list)
    differing: int = 0
    moving: int = 0

    def differs(self, kind: str, agent: str, name: str, detail: str, line: int | None = None) -> None:
        """Take note of a difference."""
        self.differing += 1
        if len(self.mismatches) < MISMATCHES_KEPT:
            self.mismatches.append(Mismatch(kind, agent, name, detail, line))


class Prover:
    """Compares what was written with what a store has."""

    def __init__(
        self, reading: Reading, target: Target, exported: Catalogue, proven: Catalogue, watch: Callable[[], None]
    ) -> None:
        """Compare what `exported` lists; `proven` is empty, and will list what was found in the files."""
        self._reading = reading
        self._target = target
        self._exported = exported
        self._proven = proven
        self._watch = watch
        self._proof = Proof()

    async def prove(self, source: Source) -> Proof:
        """Read everything. Raises: Unavailable, SourceError."""
        group: list[SourceSession] = []
        async for item in source.sessions():
            if isinstance(item, SetAside):
                self._set_aside(SESSION, item)
                continue
            group.append(item)
            if len(group) == GROUP:
                await self._sessions(group)
                group = []
        await self._sessions(group)
        async for found in source.archives():
            if isinstance(found, SetAside):
                self._set_aside(ARCHIVE, found)
            elif not isinstance(found, Problem):
                await self._archive(found)
        self._absent()
        return self._proof

    async def _sessions(self, group: Sequence[SourceSession]) -> None:
        sessions = await self._reading.sessions([item.key for item in group])
        held = {session.key: (session, first) for session, first in await self._reading.load(sessions)}
        for item in group:
            await self._session(item, *held.get(item.key, (None, None)))
            self._watch()

    async def _session(self, item: SourceSession, held: Session | None, first: Transcript | None) -> None:
        key = item.key
        row = self._exported.session(key)
        entry = self._target.entry_of(held) if held else None
        if row is None or held is None or entry is None or held.revision != row.revision:
            # A row that is missing is a mistake of ours; all else came about since it was written.
            self._moved(item, is_known=row is not None)
            return
        here = await _digest(SessionDigest.of_session(key, item.entry.raw), _lines_of(item.lines))
        there = SessionDigest.of_session(key, entry.raw)
        try:
            await _digest(there, self._reading.lines(held, first))
        except Moved:
            self._moved(item, is_known=True)
            return
        self._note(SESSION, key.agent, key.key, here)
        if here.hexdigest() != there.hexdigest():
            is_entry = _begun(item, item.entry.raw) != _begun(item, entry.raw)
            line = await _first_difference(_lines_of(item.lines), self._reading.lines(held, first))
            await self._mistaken(item, held, "the entry differs" if is_entry else "the lines differ", line)

    async def _mistaken(self, item: SourceSession, held: Session, detail: str, line: int | None) -> None:
        """Tell a mistake from a session that changed while it was compared."""
        again = await self._reading.sessions([item.key])
        if not again or again[0].revision != held.revision:
            self._proof.moving += 1
            return
        self._proof.differs(SESSION, item.key.agent, item.key.key, detail, line)

    def _moved(self, item: SourceSession, *, is_known: bool) -> None:
        self._note(SESSION, item.key.agent, item.key.key, SessionDigest())
        self._proof.moving += is_known
        if not is_known:
            self._proof.differs(SESSION, item.key.agent, item.key.key, "in the files, and not of this export")

    async def _archive(self, item: SourceArchive) -> None:
        name = self._target.stored_name(item.agent, item.name)
        here = await _digest(SessionDigest.of_archive(item.agent, name), _lines_of(item.lines))
        there = SessionDigest.of_archive(item.agent, name)
        await _digest(there, self._reading.archive_lines(item.agent, name))
        self._note(ARCHIVE, item.agent, name, here)
        if here.hexdigest() != there.hexdigest() or self._exported.get(ARCHIVE, item.agent, name) is None:
            self._proof.differs(ARCHIVE, item.agent, name, "the lines differ")

    def _set_aside(self, kind: str, item: SetAside) -> None:
        problem = item.problem
        name = problem.key or problem.path
        self._proof.differs(kind, problem.agent or "", name, f"{problem.reason}: {problem.detail}")

    def _note(self, kind: str, agent: str, name: str, seen: SessionDigest) -> None:
        self._proven.put(Row(kind, agent, name, 0, 0, 0, seen.hexdigest()))

    def _absent(self) -> None:
        """Look for what was to be written and was not found."""
        for kind in (SESSION, ARCHIVE):
            for row in self._exported.rows(kind):
                if self._proven.get(kind, row.agent, row.name) is None:
                    self._proof.differs(kind, row.agent, row.name, "not in what was written")


async def _digest(seen: SessionDigest, lines: AsyncIterator[Sequence[bytes]]) -> SessionDigest:
    async for batch in lines:
        for line in batch:
            seen.line(line)
    return seen


def _begun(item: SourceSession, entry: bytes) -> str:
    return SessionDigest.of_session(item.key, entry).hexdigest()


async def _lines_of(lines: SourceLines | None) -> AsyncIterator[Sequence[bytes]]:
    """Go through the lines of a file; one that cannot be read (any further) ends there, and differs."""
    if lines is None:
        return
    try:
        async for batch in lines.batches():
            yield batch.lines
    except Refused:
        return


async def _first_difference(here: AsyncIterator[Sequence[bytes]], there: AsyncIterator[Sequence[bytes]]) -> int | None:
    """Return the first line that differs, counted from 1."""
    left, right = _flat(here), _flat(there)
    number = 0
    while True:
        number += 1
        pair = await anext(left, None), await anext(right, None)
        if pair[0] != pair[1]:
            return number
        if pair == (None, None):
            return None


async def _flat(batches: AsyncIterator[Sequence[bytes]]) -> AsyncIterator[bytes]:
    async for batch in batches:
        for line in batch:
            yield line
