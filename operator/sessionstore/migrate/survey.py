"""Inspect: read a source from end to end, count it, digest it, and name what is wrong. Knows no store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sessionstore.migrate import keeper
from sessionstore.migrate.report import Survey
from sessionstore.migrate.source import Lines, SetAside, Source, SourceArchive, SourceSession
from sessionstore.openclaw import transcript
from sessionstore.openclaw.problems import Problem, Reason, Refused
from sessionstore.openclaw.transcript import Line
from sessionstore.sessions import digest
from sessionstore.sessions.digest import SessionDigest

PROBLEMS_PER_FILE = 10
"""Broken lines of one file that are named one by one; the rest of them are one more problem with their number."""


def inspect(source: Source, advance: Callable[[], None] = lambda: None) -> Survey:
    """Read the whole source once. `advance` is called after every session and archive. Raises: SourceError."""
    count = _Count()
    for session in source.sessions():
        count.add_session(session)
        advance()
    for archive in source.archives():
        count.add_archive(archive)
        advance()
    return Survey(
        layouts=source.layouts,
        agents=tuple(sorted(count.agents)),
        sessions=count.sessions,
        lines=count.lines,
        bytes=count.bytes,
        archives=count.archives,
        archive_lines=count.archive_lines,
        orphans=count.orphans,
        beside=source.beside(),
        quarantined=count.quarantined,
        problems=tuple(count.problems) + tuple(source.problems()),
        digest=digest.whole_digest(count.digests),
    )


@dataclass(slots=True)
class _Count:
    """What has been seen so far; changes while a source is gone through, and does not leave this module."""

    agents: set[str] = field(default_factory=set)
    sessions: int = 0
    lines: int = 0
    bytes: int = 0
    archives: int = 0
    archive_lines: int = 0
    orphans: int = 0
    quarantined: int = 0
    problems: list[Problem] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)

    def add_session(self, found: SourceSession | SetAside) -> None:
        self.sessions += 1
        if isinstance(found, SetAside):
            self.quarantined += 1
            self._set_aside(found)
            return
        self.agents.add(found.key.agent)
        self.bytes += len(found.entry.raw)
        if found.problem:
            self.problems.append(found.problem)
        seen = SessionDigest.of_session(found.key, found.entry.raw)
        if found.lines:
            self.lines += self._add_lines(found.lines, seen, found.key.key)
        self.digests.append(seen.hexdigest())

    def add_archive(self, found: SourceArchive | SetAside) -> None:
        self.archives += 1
        if isinstance(found, SetAside):
            self._set_aside(found)
            return
        self.agents.add(found.agent)
        self.orphans += found.orphan
        seen = SessionDigest.of_archive(found.agent, found.name)
        self.archive_lines += self._add_lines(found.lines, seen, None)
        self.digests.append(seen.hexdigest())

    def _set_aside(self, found: SetAside) -> None:
        self.problems.append(found.problem)
        self.bytes += len(found.raw)

    def _add_lines(self, lines: Lines, seen: SessionDigest, key: str | None) -> int:
        broken: list[Problem] = []
        number = 0
        try:
            for line in lines:
                number += 1
                self.bytes += len(line.raw) + 1
                if not line.torn:
                    seen.line(line.raw)
                broken.extend(_line_problems(lines, line, key))
        except Refused as error:
            broken.append(error.problem(lines.path, lines.reader.agent, key))
        self.problems.extend(_shortened(broken))
        return number


def _line_problems(lines: Lines, line: Line, key: str | None) -> Iterator[Problem]:
    if line.torn:
        yield keeper.torn_problem(lines.path, line, lines.reader.agent, key)
        return
    reason = transcript.check_line(line.raw)
    if reason:
        detail = "the line is no JSON text; it is carried as it is"
        yield Problem(lines.path, reason, detail, lines.reader.agent, key, line.offset)


def _shortened(broken: list[Problem]) -> list[Problem]:
    torn = [problem for problem in broken if problem.reason is Reason.TORN_LAST_LINE]
    carried = [problem for problem in broken if problem.reason is not Reason.TORN_LAST_LINE]
    rest = carried[PROBLEMS_PER_FILE:]
    if not rest:
        return broken
    first = rest[0]
    more = Problem(first.path, first.reason, f"{len(rest)} more lines like this", first.agent, first.key, first.offset)
    return [*carried[:PROBLEMS_PER_FILE], more, *torn]
