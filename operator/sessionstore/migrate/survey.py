"""Inspect: read a source from end to end, count it, digest it, and name what is wrong. Knows no store.

What an earlier run left about a session stands for reading it, where entry and stamp are still the same.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from sessionstore.migrate import rows
from sessionstore.migrate.items import Lines, SetAside, Source, SourceArchive, SourceSession
from sessionstore.migrate.keeper import torn_problem
from sessionstore.migrate.ledger import Ledger
from sessionstore.migrate.progress import Meter
from sessionstore.migrate.report import Survey
from sessionstore.migrate.rows import Facts, Name
from sessionstore.openclaw import transcript
from sessionstore.openclaw.problems import Problem, Reason, Refused
from sessionstore.openclaw.transcript import Batch
from sessionstore.sessions.digest import SessionDigest

PROBLEMS_PER_FILE = 10
"""Broken lines of one file that are named one by one; the rest of them are one more problem with their number."""

_scan = json.JSONDecoder().raw_decode
"""Reads one value from a text, in half the time that `json.loads` takes; and there are many lines."""


async def inspect(source: Source, ledger: Ledger, meter: Meter) -> Survey:
    """Read the whole source once, into the ledger. Raises: SourceError, Unavailable."""
    count = _Count(ledger)
    async for session in source.sessions():
        await _add(count, session, meter)
    async for found in source.archives():
        if isinstance(found, Problem):
            count.take_problem(found)
        else:
            await _add(count, found, meter)
    return Survey(
        layouts=source.layouts,
        agents=tuple(sorted(count.agents)),
        sessions=count.sessions,
        lines=count.lines,
        bytes=count.bytes,
        archives=count.archives,
        archive_lines=count.archive_lines,
        archives_aside=count.archives_aside,
        orphans=count.orphans,
        superseded=source.superseded(),
        beside=source.beside(),
        quarantined=count.quarantined,
        unsupported=count.unsupported,
        unread=count.unread,
        digest=ledger.whole_digest(),
    )


async def facts_of(item: SourceSession | SourceArchive) -> Facts:
    """Read one thing for itself. What is broken in it is told by the survey that met it."""
    return (await _read(item))[0]


@dataclass(slots=True)
class _Count:
    """What has been seen so far; changes while a source is gone through, and does not leave this module."""

    ledger: Ledger
    agents: set[str] = field(default_factory=set)
    sessions: int = 0
    lines: int = 0
    bytes: int = 0
    archives: int = 0
    archive_lines: int = 0
    archives_aside: int = 0
    orphans: int = 0
    quarantined: int = 0
    unsupported: Problem | None = None
    unread: int = 0

    def set_aside(self, found: SetAside) -> None:
        problem = found.problem
        self.ledger.add_problem(problem)
        kind = "archive" if found.is_archive else "session"
        self.ledger.decide(Name(kind, problem.agent or "", problem.key or problem.path), "Quarantine", 0)
        self.bytes += found.blob.size
        if found.is_archive:
            self.archives += 1
            self.archives_aside += 1
        else:
            self.sessions += 1
            self.quarantined += 1

    def take_problem(self, problem: Problem) -> None:
        self.ledger.add_problem(problem)
        self.unsupported = self.unsupported or _unsupported(problem)
        self.unread += problem.reason is not Reason.UNKNOWN_FILE

    def take(self, item: SourceSession | SourceArchive, facts: Facts) -> None:
        self.ledger.add(facts)
        self.bytes += facts.bytes
        self.agents.add(facts.name.agent)
        if isinstance(item, SourceSession):
            self.sessions += 1
            self.lines += facts.found
        else:
            self.archives += 1
            self.archive_lines += facts.found
            self.orphans += item.orphan


async def _add(count: _Count, found: SourceSession | SourceArchive | SetAside, meter: Meter) -> None:
    if isinstance(found, SetAside):
        count.set_aside(found)
        meter.find(not found.is_archive, 0, not found.is_archive)
        await meter.step(found.blob.size)
        return
    row = count.ledger.unchanged(found)
    facts, problems = (row.facts, []) if row else await _read(found)
    for problem in problems:
        count.ledger.add_problem(problem)
    count.take(found, facts)
    is_session = isinstance(found, SourceSession)
    meter.find(is_session, facts.found if is_session else 0, 0)
    await meter.step(facts.bytes)


async def _read(item: SourceSession | SourceArchive) -> tuple[Facts, list[Problem]]:
    name, lines = rows.name_of(item), item.lines
    # The stamp comes before the lines: what is written between the two shows in the next stamp.
    stamp = lines.stamp if lines else None
    reading = _Reading(item)
    problems = [item.problem] if isinstance(item, SourceSession) and item.problem else []
    if lines:
        problems += await reading.go_through(lines)
    facts = Facts(
        name, rows.entry_hash(item), stamp, reading.digest.digest(), reading.lines, reading.bytes, reading.is_torn,
        not problems,
    )  # fmt: skip
    return facts, problems


class _Reading:
    """One pass over the lines of one thing."""

    def __init__(self, item: SourceSession | SourceArchive) -> None:
        if isinstance(item, SourceSession):
            self.agent, self.key = item.key.agent, item.key.key
            self.digest = SessionDigest.of_session(item.key, item.entry.raw)
            self.bytes = len(item.entry.raw)
        else:
            self.agent, self.key = item.agent, None
            self.digest = SessionDigest.of_archive(item.agent, item.name)
            self.bytes = 0
        self.lines = 0
        self.is_torn = False
        self._broken: list[Problem] = []
        self._more = 0

    agent: str
    key: str | None

    async def go_through(self, lines: Lines) -> list[Problem]:
        """Digest all whole lines, and return what is wrong with them."""
        last: list[Problem] = []
        try:
            few = lines.few()
            if few is not None:
                self._add(lines, Batch(few))
                return list(self._told())
            async for batch in lines.batches():
                if self.lines:
                    # A long transcript: reading it never waits by itself, and others want a turn.
                    await asyncio.sleep(0)
                self._add(lines, batch)
                if batch.torn:
                    self.is_torn = True
                    self.bytes += len(batch.torn.raw)
                    last.append(torn_problem(lines.path, batch.torn, self.agent, self.key))
        except Refused as error:
            last.append(error.problem(lines.path, self.agent, self.key))
        return [*self._told(), *last]

    def _add(self, lines: Lines, batch: Batch) -> None:
        self.digest.lines(batch.lines)
        self.lines += len(batch.lines)
        self.bytes += sum(map(len, batch.lines)) + len(batch.lines)
        for index in _broken(batch.lines):
            self._note(lines.path, batch, index)

    def _note(self, path: str, batch: Batch, index: int) -> None:
        if len(self._broken) > PROBLEMS_PER_FILE:
            self._more += 1
            return
        offset = batch.offset + sum(map(len, batch.lines[:index])) + index
        detail = "the line is no JSON text; it is carried as it is"
        reason = transcript.check_line(batch.lines[index]) or Reason.NOT_JSON_LINE
        self._broken.append(Problem(path, reason, detail, self.agent, self.key, offset))

    def _told(self) -> Sequence[Problem]:
        if len(self._broken) <= PROBLEMS_PER_FILE:
            return self._broken
        *named, first = self._broken
        return [*named, replace(first, detail=f"{self._more + 1} more lines like this")]


def _broken(lines: Sequence[bytes]) -> Iterator[int]:
    """Go through the positions of lines that are no JSON."""
    for index, line in enumerate(lines):
        try:
            text = line.decode()
            is_whole = _scan(text, 0)[1] == len(text)
        except (ValueError, RecursionError):
            is_whole = False
        # What is not whole may still be blank, or have a carriage return at its end: the long way round tells.
        if not is_whole and transcript.check_line(line):
            yield index


def _unsupported(problem: Problem) -> Problem | None:
    return problem if problem.reason is Reason.UNSUPPORTED_LAYOUT else None
