"""Files beside a database of OpenClaw 2026.8 and later. Most of them hold what the database has, too.

The update to 2026.8 reads files into the database, byte for byte, and puts them into `session-sqlite-import-archive/`;
archives are published as files from rows that stay. A file of which each line is in the database, in order, is counted
as beside and no conversation of its own; any other is carried as an archive, under a name that is not taken.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from sessionstore.openclaw import files, names, zstd
from sessionstore.openclaw.files import FilePart
from sessionstore.openclaw.json_index import refuse
from sessionstore.openclaw.problems import Problem, Reason, Refused
from sessionstore.openclaw.reader import BadEntry, Folder, Found, Part, RawEntry
from sessionstore.openclaw.sqlite_transcripts import Transcripts
from sessionstore.openclaw.transcript import Batch
from sessionstore.openclaw.tree import Tree, printable

IMPORTED = re.compile(r"(?P<stem>.+)\.jsonl\.imported-\d+(?:\.\d+)?", re.DOTALL)
"""The name of a file that was read into a database."""


@dataclass(frozen=True, slots=True)
class Renamed:
    """A part under a name that nothing else of its agent has; a `reader.Part`."""

    part: Part
    name: str

    @property
    def agent(self) -> str:
        return self.part.agent

    @property
    def path(self) -> str:
        return self.part.path

    @property
    def transcript_id(self) -> str | None:
        return self.part.transcript_id

    @property
    def size(self) -> int:
        return self.part.size

    @property
    def stamp(self) -> str | None:
        return self.part.stamp

    def batches(self) -> Iterator[Batch]:
        """Go through the lines. Raises: Refused, SourceError."""
        return self.part.batches()


@dataclass(frozen=True, slots=True)
class Beside:
    """A sessions directory beside a database; a `reader.Folder`. What the database has, too, is left out.

    Attributes:
        goes_first: whether the files are the later ones, as after a return to OpenClaw 2026.7: then `Behind` leaves
            transcripts of the database out instead.
    """

    folder: Folder
    database: Transcripts
    goes_first: bool = False

    @property
    def path(self) -> str:
        return self.folder.path

    def parts(self) -> Iterator[Found]:
        """Go through what the database does not have."""
        for found in map(files.looked_up, self.folder.parts()):
            if isinstance(found, Problem | BadEntry):
                yield found
            elif not self._is_left_out(found):
                yield self._apart(found)

    def beside(self) -> int:
        """Count what is no part of a conversation, or only a copy."""
        copies = (found for found in self.folder.parts() if not isinstance(found, Problem | BadEntry))
        return self.folder.beside() + sum(map(self._is_left_out, copies))

    def _is_left_out(self, part: Part) -> bool:
        return not (self.goes_first and part.transcript_id is not None) and is_kept(part, self.database)

    def _apart(self, part: Part) -> Part:
        """Tell a file from what the database has under the same name."""
        if part.transcript_id is not None:
            is_taken = not self.goes_first and _has(self.database, part.transcript_id)
            return Renamed(part, names.file_of(f"{part.transcript_id}.file")) if is_taken else part
        return Renamed(part, f"{part.name}.file") if _archive(self.database, part) else part


@dataclass(frozen=True, slots=True)
class Behind:
    """A database that was left over beside later files; a `reader.Folder`. What a file begins with is left out."""

    database: Transcripts
    tree: Tree
    folder: str
    max_file_bytes: int

    @property
    def path(self) -> str:
        return self.database.path

    def parts(self) -> Iterator[Found]:
        """Go through what no file has."""
        for found in self.database.parts():
            file = None if isinstance(found, Problem | BadEntry) else self._file(found)
            if file is None or isinstance(found, Problem | BadEntry):
                yield found
            elif not _begins(found, file):
                yield Renamed(found, names.file_of(f"{found.transcript_id}.database"))

    def beside(self) -> int:
        """Count nothing: a database is one file, and has conversations."""
        return 0

    def _file(self, part: Part) -> FilePart | None:
        if part.transcript_id is None:
            return None
        entry = RawEntry(part.agent, "", b"")
        found = file_named(self.tree, self.folder, entry, part.transcript_id, self.max_file_bytes)
        return found if isinstance(found, FilePart) else None


def file_named(
    tree: Tree, folder: str, entry: RawEntry, transcript_id: str, max_bytes: int
) -> FilePart | Problem | None:
    """Look a transcript up in a directory; None where there is no such file. Raises: SourceError."""
    name = names.file_of(transcript_id)
    path = files.joined(folder, name)
    try:
        if "/" in name or "\0" in name or (status := tree.status(path)) is None:
            return None
        refuse(status, max_bytes)
    except Refused as error:
        return error.problem(printable(path), printable(entry.agent), _shown(entry.key))
    return FilePart(tree, folder, name, entry.agent, transcript_id, max_bytes, status)


def is_kept(part: Part, database: Transcripts, *ids: str) -> bool:
    """Tell whether all lines of a file are in the database, in order, at the beginning of one transcript or archive.

    Args:
        ids: of the transcript, where the name does not say it. A file that is an archive by its name is compared
            with archives alone: what a conversation was before a reset is no copy of what it is now.
    """
    imported = IMPORTED.fullmatch(part.name)
    stem = imported["stem"].rpartition(".")[2] if imported else part.name.partition(names.TRANSCRIPT_SUFFIX)[0]
    # Where a file was named `<time>_<id>`, the database has the id.
    possible = ids or dict.fromkeys([stem, stem.rpartition("_")[2]])
    is_archive = not (ids or imported or part.transcript_id)
    try:
        return any(_begins(part, whole) for id in possible for whole in _candidates(database, id, is_archive))
    except Refused:
        # Of a database that cannot be read nothing is a copy.
        return False


def _candidates(database: Transcripts, session_id: str, is_archive: bool) -> Iterator[Part]:
    found = None if is_archive else database.find(session_id)
    if found is not None and not isinstance(found, Problem):
        yield found
    yield from database.archives_of(session_id)


def _begins(part: Part, whole: Part) -> bool:
    try:
        pairs = itertools.zip_longest(_lines(part), _lines(whole))
        return all(one is None or one == other for one, other in pairs)
    except Refused:
        return False


def _lines(part: Part) -> Iterator[bytes]:
    for batch in part.batches():
        yield from batch.lines
        if batch.torn:
            raise Refused(Reason.TORN_LAST_LINE, "the file ends within a line")


def _has(database: Transcripts, session_id: str) -> bool:
    try:
        return database.find(session_id) is not None
    except Refused:
        return False


def _archive(database: Transcripts, part: Part) -> bool:
    try:
        found = database.archive_named(part.name) or database.archive_named(part.name + zstd.SUFFIX)
    except Refused:
        return False
    return found is not None


def _shown(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
