"""A state directory as a source: sessions and archives that can be carried, and what must be set aside.

Here the bytes that `openclaw` reads meet the identity contract of `sessions`. What is remembered between two passes
are names, in scratch: which transcripts a session has, and which sessions an earlier index had.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from sessionstore.migrate.items import SetAside, SourceArchive, SourceSession
from sessionstore.migrate.refusals import reason_of
from sessionstore.openclaw import files, names, openclaw_json, reader
from sessionstore.openclaw import find as layouts
from sessionstore.openclaw.blob import Held
from sessionstore.openclaw.files import FilePart
from sessionstore.openclaw.left_over import Renamed
from sessionstore.openclaw.problems import Problem, Reason, Refused
from sessionstore.openclaw.reader import BadEntry, Findings, Folder, Found, Index, Part, RawEntry
from sessionstore.openclaw.scratch import Names, Scratch
from sessionstore.openclaw.transcript import Batch
from sessionstore.openclaw.tree import Tree, printable
from sessionstore.sessions import record
from sessionstore.sessions.exceptions import InvalidEntry, InvalidKey
from sessionstore.sessions.record import Entry, Marks, SessionKey, Status


@dataclass(frozen=True, slots=True)
class PartLines:
    """The lines of a transcript or an archive; an `items.Lines`."""

    part: reader.Part

    @property
    def path(self) -> str:
        return self.part.path

    @property
    def stamp(self) -> str | None:
        return self.part.stamp

    async def batches(self) -> AsyncIterator[Batch]:
        """Go through the lines. Raises: Refused when the file cannot be read (any further); SourceError."""
        for batch in self.part.batches():
            yield batch

    def few(self) -> list[bytes] | None:
        """Return all lines of a small file. Raises: as `batches`."""
        return self.part.few() if isinstance(self.part, FilePart) else None


class DirectorySource:
    """A state directory, through whatever layouts it has; an `items.Source`."""

    def __init__(self, tree: Tree, findings: Findings, scratch: Scratch) -> None:
        self._tree, self._findings, self._scratch = tree, findings, scratch
        self._named: Names | None = None
        self._superseded = 0

    @property
    def layouts(self) -> tuple[str, ...]:
        return tuple(sorted({index.layout for index in self._findings.indexes}))

    async def sessions(self) -> AsyncIterator[SourceSession | SetAside]:
        """Go through all entries: each (agent, key) once, or set aside. Raises: SourceError."""
        for item in self._sessions():
            yield item

    async def archives(self) -> AsyncIterator[SourceArchive | SetAside | Problem]:
        """Go through the archives, the transcripts that no session carries, and what is wrong with other names.

        What a session says of its own transcript is left out. Raises: SourceError.
        """
        named = self._names()
        self._tree.refresh()
        for problem in self._findings.problems:
            yield problem
        taken = self._scratch.names()
        try:
            for folder in self._findings.folders:
                for found in _left(folder, named):
                    if isinstance(found, BadEntry):
                        yield SetAside(_problem(folder.path, found), found.blob, is_archive=True)
                    else:
                        yield found if isinstance(found, Problem) else _archive(_apart(found, taken))
        finally:
            taken.close()

    def beside(self) -> int:
        """Count the files that are no part of any conversation."""
        return sum(map(_beside, self._findings.folders))

    def superseded(self) -> int:
        """Count the entries that an earlier index has, too."""
        self._names()
        return self._superseded

    def _names(self) -> Names:
        """Return which transcripts the sessions have; goes through the sessions where nobody has yet."""
        if self._named is None:
            for _ in self._sessions():
                pass
        assert self._named is not None
        return self._named

    def _sessions(self) -> Iterator[SourceSession | SetAside]:
        self._tree.refresh()
        named, seen = self._scratch.names(), self._scratch.names()
        superseded = 0
        over: Names | None = named
        try:
            for index, is_shared in self._indexes():
                for found in _entries(index):
                    name = _identity(found) if is_shared else b""
                    if name and name in seen:
                        superseded += 1
                        continue
                    item = _item(index, found)
                    # What an index has and cannot be carried does not hide an older copy that can.
                    if isinstance(item, SourceSession):
                        _remember(named, item)
                        if name:
                            seen.add(name)
                    yield item
            # A pass that was not finished tells nothing of the transcripts that no session has.
            over, self._named, self._superseded = self._named, named, superseded
        finally:
            seen.close()
            if over is not None:
                over.close()

    def _indexes(self) -> Iterator[tuple[Index, bool]]:
        """Go through the indexes; whether another one may have the same sessions."""
        agents = [index.agent for index in self._findings.indexes]
        for index in self._findings.indexes:
            yield index, index.agent is None or None in agents or agents.count(index.agent) > 1


@contextlib.contextmanager
def open_directory(
    root: Path,
    scratch: Scratch,
    max_file_bytes: int = files.DEFAULT_MAX_FILE_BYTES,
    state_dir: str = openclaw_json.STATE_DIR,
) -> Iterator[DirectorySource]:
    """Open the state directory `root`, wherever it is mounted; the gateway sees it as `state_dir`.

    Raises: SourceError.
    """
    with Tree(root) as tree:
        yield DirectorySource(tree, layouts.find(tree, scratch, max_file_bytes, state_dir), scratch)


def _entries(index: Index) -> Iterator[RawEntry | BadEntry]:
    try:
        yield from index.entries()
    except Refused as error:
        yield BadEntry(index.agent or record.DEFAULT_AGENT, None, Held(b""), error.reason, str(error))


def _left(folder: Folder, named: Names) -> Iterator[Found]:
    """Go through what no session has, or says of its own transcript."""
    for listed in _parts(folder):
        found = listed
        if not isinstance(found, Problem | BadEntry):
            if _name(found) in named:
                continue
            found = _looked_up(folder, found)
        if not isinstance(found, Problem | BadEntry) or found.path is None or found.path.encode() not in named:
            yield found


def _parts(folder: Folder) -> Iterator[Found]:
    try:
        yield from folder.parts()
    except Refused as error:
        yield error.problem(folder.path)


def _looked_up(folder: Folder, part: Part) -> Found:
    try:
        return files.looked_up(part)
    except Refused as error:
        return error.problem(folder.path)


def _beside(folder: Folder) -> int:
    try:
        return folder.beside()
    except Refused:
        return 0


def _item(index: Index, found: RawEntry | BadEntry) -> SourceSession | SetAside:
    if isinstance(found, BadEntry):
        return SetAside(_problem(index.path, found), found.blob)
    try:
        return _session(index, found)
    except (Refused, InvalidKey, InvalidEntry) as error:
        agent, key_text = printable(found.agent), _shown(found.key)
        return SetAside(Problem(index.path, reason_of(error), str(error), agent, key_text), Held(found.raw))


def _problem(path: str, found: BadEntry) -> Problem:
    key_text = None if found.key is None else _shown(found.key)
    return Problem(found.path or path, found.reason, found.detail, printable(found.agent), key_text)


def _session(index: Index, found: RawEntry) -> SourceSession:
    key, entry = SessionKey(found.agent, found.key), Entry(found.raw)
    if entry.session_id is None:
        raise Refused(Reason.NO_SESSION_ID, "the entry has no sessionId")
    part = index.transcript(found, found.transcript_id or _transcript_id(entry))
    status = Status.ARCHIVED if found.archived else Status.ACTIVE
    marks = _marks(found, entry) if found.archived else record.NO_MARKS
    if isinstance(part, Problem):
        return SourceSession(key, entry, None, part, status, marks)
    return SourceSession(key, entry, PartLines(part), None, status, marks)


def _marks(found: RawEntry, entry: Entry) -> Marks:
    """Return why a session was archived, where a store can keep that; the entry says it in any case."""
    reason = found.reason or entry.get("archivedReason")
    try:
        return Marks(reason=record.check_text(reason, "reason")) if isinstance(reason, str) else record.NO_MARKS
    except InvalidEntry:
        return record.NO_MARKS


def _transcript_id(entry: Entry) -> str:
    try:
        transcript_id = entry.transcript_id
    except InvalidEntry as error:
        raise Refused(Reason.INVALID_TRANSCRIPT_NAME, str(error)) from error
    if transcript_id is None:
        # The entry has a sessionId, so it is `sessionFile` that says `.jsonl` and nothing before it.
        raise Refused(Reason.INVALID_TRANSCRIPT_NAME, "sessionFile names a file without a stem")
    return transcript_id


def _apart(part: Part, taken: Names) -> Part:
    """Give a part another name where its agent has one of that name already, in another folder or compressed."""
    while not taken.add(f"{part.agent}\0{part.name}".encode("utf-8", "surrogateescape")):
        stem = part.name.removesuffix(names.TRANSCRIPT_SUFFIX)
        mark = hashlib.sha256(f"{part.path}\0{part.name}".encode("utf-8", "surrogateescape")).hexdigest()[:12]
        part = Renamed(part, f"{stem}.{mark}{part.name[len(stem) :]}")
    return part


def _archive(part: Part) -> SourceArchive | SetAside:
    lines = PartLines(part)
    try:
        agent, name = record.check_agent(part.agent), record.check_archive_name(part.name)
    except InvalidKey as error:
        problem = Problem(part.path, Reason.INVALID_KEY, str(error), printable(part.agent))
        return SetAside(problem, _PartBlob(part), is_archive=True)
    return SourceArchive(agent, name, lines, part.transcript_id is not None)


@dataclass(frozen=True, slots=True)
class _PartBlob:
    """The bytes of an archive that no store can name; a `blob.Blob`."""

    part: Part

    @property
    def size(self) -> int:
        return sum(map(len, self.chunks()))

    def chunks(self) -> Iterator[bytes]:
        for batch in self.part.batches():
            yield b"".join(line + b"\n" for line in batch.lines) + (batch.torn.raw if batch.torn else b"")


def _remember(named: Names, item: SourceSession) -> None:
    if item.problem:
        named.add(item.problem.path.encode())
    elif isinstance(item.lines, PartLines):
        named.add(_name(item.lines.part))


def _name(part: Part) -> bytes:
    return f"{part.path}\0{part.name}".encode("utf-8", "surrogateescape")


def _identity(found: RawEntry | BadEntry) -> bytes:
    """Return what names an entry among those of all indexes; nothing for what no other index can have."""
    if found.key is None or (isinstance(found, BadEntry) and found.reason is Reason.DUPLICATE_KEY):
        return b""
    return f"{found.agent}\0{found.key}".encode("utf-8", "surrogatepass")


def _shown(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
