"""A source as the migration sees it: sessions and archives that can be carried, and what must be set aside.

Here the bytes that `openclaw` reads meet the identity contract of `sessions`. Nothing is kept between two passes
over a source but names, so that a proof reads the files again.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from sessionstore.migrate import items
from sessionstore.openclaw import names, rawjson, state_dir
from sessionstore.openclaw.problems import Problem, Reason, Refused
from sessionstore.openclaw.sessions_json import BadEntry, RawEntry
from sessionstore.openclaw.state_dir import Findings, Listing, Part, Reader
from sessionstore.openclaw.transcript import Batch, Line
from sessionstore.openclaw.tree import Tree, printable
from sessionstore.sessions import record
from sessionstore.sessions.exceptions import InvalidEntry, InvalidKey
from sessionstore.sessions.record import Entry, SessionKey


@dataclass(frozen=True, slots=True)
class Lines:
    """A file of lines that can be gone through again and again."""

    reader: Reader
    part: Part

    @property
    def path(self) -> str:
        """The file's path for reports."""
        return printable(self.part.path)

    def __iter__(self) -> Iterator[Line]:
        """Go through the lines. Raises: Refused when the file cannot be read (any further)."""
        return self.reader.lines(self.part)

    @property
    def stamp(self) -> str | None:
        """Nothing that could be trusted."""
        return None

    async def batches(self) -> AsyncIterator[Batch]:
        """Go through the lines. Raises: Refused."""
        for line in self:
            yield Batch([], line.offset, line) if line.torn else Batch([line.raw], line.offset)

    def whole(self) -> Iterator[bytes]:
        """Go through the lines that are carried: all but a torn last one.

        A file that cannot be read to its end ends where it cannot. The survey, which reads the same lines, has
        reported that; where it has not, its counts differ and the migration fails.
        """
        with contextlib.suppress(Refused):
            yield from (line.raw for line in self if not line.torn)

    def torn(self) -> Line | None:
        """Return the end of a file that stops within a line."""
        last: Line | None = None
        with contextlib.suppress(Refused):
            last = functools.reduce(lambda _, line: line, self, last)
        return last if last and last.torn else None


@dataclass(frozen=True, slots=True)
class SourceSession:
    """A session that can be carried. `lines` is None where its transcript cannot be had; `problem` then says why."""

    key: SessionKey
    entry: Entry
    lines: Lines | None
    problem: Problem | None

    def whole(self) -> Iterator[bytes]:
        """Go through the lines that are carried."""
        return self.lines.whole() if self.lines else iter(())

    def item(self) -> items.SourceSession:
        """Return what is kept of it."""
        return items.SourceSession(self.key, self.entry, self.lines, self.problem)


@dataclass(frozen=True, slots=True)
class SourceArchive:
    """A transcript without a session: a file that OpenClaw archived, or an orphan that no entry names."""

    agent: str
    name: str
    lines: Lines
    orphan: bool

    def item(self) -> items.SourceArchive:
        """Return what is kept of it."""
        return items.SourceArchive(self.agent, self.name, self.lines, self.orphan)


@dataclass(frozen=True, slots=True)
class SetAside:
    """Something that cannot be carried, with its bytes where they can be had; a session unless `is_archive`."""

    problem: Problem
    raw: bytes
    is_archive: bool = False


class Source:
    """A state directory, through whatever layouts it has."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings

    @property
    def layouts(self) -> tuple[str, ...]:
        """The layouts that were found, by name."""
        return tuple(sorted({reader.layout for reader in self.findings.readers}))

    def sessions(self) -> Iterator[SourceSession | SetAside]:
        """Go through all entries: each is a session, or is set aside. Raises: SourceError."""
        for reader in self.findings.readers:
            listing = _listing(reader)
            for found in _entries(reader):
                yield _session(reader, listing, found)

    def archives(self) -> Iterator[SourceArchive | SetAside]:
        """Go through the archives, and the transcripts that no session carries. Raises: SourceError."""
        for reader in self.findings.readers:
            listing = _listing(reader)
            named = self._named[reader.path]
            orphans = [part for id, part in listing.transcripts.items() if id not in named]
            for part in listing.archives:
                yield _archive(reader, part, orphan=False)
            for part in orphans:
                yield _archive(reader, part, orphan=True)

    def problems(self) -> Iterator[Problem]:
        """Go through what is wrong with names alone: links, special files, sizes, unknown files, other layouts.

        A transcript that a session names is left out; the session says it.
        """
        yield from self.findings.problems
        for reader in self.findings.readers:
            named = {names.file_of(id) for id in self._named[reader.path]}
            for name, problem in _listing(reader).refused.items():
                if name not in named:
                    yield problem

    def beside(self) -> int:
        """Count the files that are no part of any conversation."""
        return sum(_listing(reader).beside for reader in self.findings.readers)

    @functools.cached_property
    def _named(self) -> dict[str, frozenset[str]]:
        """Place -> the transcript ids that its carried sessions name. The one thing that is remembered."""
        return {
            reader.path: frozenset(
                id
                for found in _entries(reader)
                if isinstance(session := _session(reader, _NOTHING, found), SourceSession)
                and (id := session.entry.transcript_id)
            )
            for reader in self.findings.readers
        }


@contextlib.contextmanager
def open_source(root: Path, max_file_bytes: int = state_dir.DEFAULT_MAX_FILE_BYTES) -> Iterator[Source]:
    """Open the state directory `root`, wherever it is mounted. Raises: SourceError."""
    with Tree(root) as tree:
        yield Source(state_dir.find(tree, max_file_bytes))


_NOTHING = Listing({}, (), 0, {})


def refusal(item: SourceSession | SourceArchive, error: InvalidKey | InvalidEntry) -> Problem:
    """Say that a store cannot hold something that the contract allows: each store has limits of its own."""
    detail = f"the store refuses it: {error}"
    if isinstance(item, SourceArchive):
        return Problem(item.lines.path, _reason(error), detail, item.agent)
    path = item.lines.path if item.lines else item.problem.path if item.problem else "."
    return Problem(path, _reason(error), detail, item.key.agent, item.key.key)


def _listing(reader: Reader) -> Listing:
    try:
        return reader.listing()
    except Refused as error:
        problem = error.problem(printable(reader.path), reader.agent)
        return Listing({}, (), 0, {"": problem})


def _entries(reader: Reader) -> Iterator[RawEntry | BadEntry]:
    try:
        yield from reader.entries()
    except Refused as error:
        yield BadEntry(None, b"", error.reason, str(error))


def _session(reader: Reader, listing: Listing, found: RawEntry | BadEntry) -> SourceSession | SetAside:
    path = printable(reader.path)
    if isinstance(found, BadEntry):
        key_text = None if found.key is None else _shown(found.key)
        return SetAside(Problem(path, found.reason, found.detail, printable(reader.agent), key_text), found.raw)
    try:
        key, entry = SessionKey(reader.agent, found.key), Entry(found.raw)
        if entry.session_id is None:
            raise Refused(Reason.NO_SESSION_ID, "the entry has no sessionId")
        lines, problem = _transcript(reader, listing, entry, key)
    except (Refused, InvalidKey, InvalidEntry) as error:
        reason = _reason(error)
        return SetAside(Problem(path, reason, str(error), printable(reader.agent), _shown(found.key)), found.raw)
    return SourceSession(key, entry, lines, problem)


def _transcript(reader: Reader, listing: Listing, entry: Entry, key: SessionKey) -> tuple[Lines | None, Problem | None]:
    try:
        transcript_id = entry.transcript_id
    except InvalidEntry as error:
        raise Refused(Reason.INVALID_TRANSCRIPT_NAME, str(error)) from error
    if transcript_id is None:
        # The entry has a sessionId, so it is `sessionFile` that says `.jsonl` and nothing before it.
        raise Refused(Reason.INVALID_TRANSCRIPT_NAME, "sessionFile names a file without a stem")
    name = names.file_of(transcript_id)
    if transcript_id in listing.transcripts:
        return Lines(reader, listing.transcripts[transcript_id]), None
    path = f"{reader.path.rpartition('/')[0]}/{name}"
    refused = listing.refused.get(name)
    if refused:
        return None, Problem(path, refused.reason, refused.detail, key.agent, key.key)
    return None, Problem(
        path, Reason.MISSING_TRANSCRIPT, "the entry names a file that is not there", key.agent, key.key
    )


def _archive(reader: Reader, part: Part, *, orphan: bool) -> SourceArchive | SetAside:
    lines = Lines(reader, part)
    try:
        return SourceArchive(record.check_agent(reader.agent), record.check_archive_name(part.name), lines, orphan)
    except InvalidKey as error:
        problem = Problem(printable(part.path), Reason.INVALID_KEY, str(error), printable(reader.agent))
        return SetAside(problem, b"".join(line + b"\n" for line in lines.whole()), is_archive=True)


def _reason(error: Exception) -> Reason:
    if isinstance(error, Refused):
        return error.reason
    if isinstance(error, InvalidKey):
        return Reason.INVALID_KEY
    if isinstance(error.__cause__, rawjson.DuplicateKeyError):
        return Reason.DUPLICATE_KEY
    if isinstance(error.__cause__, rawjson.NotAnObjectError):
        return Reason.NOT_AN_OBJECT
    return Reason.INVALID_JSON if error.__cause__ else Reason.TOO_LARGE


def _shown(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
