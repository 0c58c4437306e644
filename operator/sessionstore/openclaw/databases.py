"""Finds the databases of OpenClaw 2026.8 and later, and what lies beside them; `find` calls it.

A database goes before a `sessions.json` beside it, which is what the update left: OpenClaw does not read that again.
Unless a session in the file has moved after all those of the database: then somebody went back to the older OpenClaw.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sessionstore.openclaw import database_places, left_over, openclaw_json, places, put_aside
from sessionstore.openclaw.database_places import DatabasePlace
from sessionstore.openclaw.files import FilePart
from sessionstore.openclaw.folder import FileFolder
from sessionstore.openclaw.json_index import JSONIndex
from sessionstore.openclaw.left_over import Behind, Beside
from sessionstore.openclaw.problems import Problem, Reason, Refused
from sessionstore.openclaw.put_aside import Cold, Imported
from sessionstore.openclaw.reader import Findings, Folder, Index, RawEntry
from sessionstore.openclaw.scratch import Scratch
from sessionstore.openclaw.sqlite import DatabaseIndex
from sessionstore.openclaw.sqlite_copy import Source
from sessionstore.openclaw.sqlite_file import DatabaseFile
from sessionstore.openclaw.sqlite_transcripts import Transcripts
from sessionstore.openclaw.tree import Tree, printable


def add(found: Findings, source: places.Source) -> Findings:
    """Add the databases to what was found in files. Raises: SourceError."""
    problems = list(found.problems)
    databases = database_places.find(source.tree, found.indexes, problems)
    indexes = tuple(index for index in found.indexes if not database_places.is_database(index))
    found = Findings(indexes, (*found.folders, *_put_aside(found.folders, source)))
    for place in databases:
        found = _with(found, place, source, problems)
    return Findings(found.indexes, found.folders, tuple(problems))


def _with(found: Findings, place: DatabasePlace, source: places.Source, problems: list[Problem]) -> Findings:
    tree, scratch, max_file_bytes = source.tree, source.scratch, source.max_file_bytes
    file = DatabaseFile(Source(tree, place.path, max_file_bytes), scratch)
    try:
        said = file.refresh().schema.agent
        owner = place.agent or said or source.default_agent
    except Refused as error:
        owner = place.agent or source.default_agent
        if error.reason is Reason.UNSUPPORTED_LAYOUT:
            problems.append(error.problem(file.path, printable(owner)))
            return found
    return _Joining(found, place, tree, scratch, max_file_bytes, Transcripts(file, owner, place.sessions)).findings()


@dataclass(frozen=True, slots=True)
class _Joining:
    """One database, and what was found in files."""

    found: Findings
    place: DatabasePlace
    tree: Tree
    scratch: Scratch
    max_file_bytes: int
    transcripts: Transcripts

    def findings(self) -> Findings:
        """Return what was found, with the database and what is beside it."""
        index = self._index()
        partner = next((other for other in self.found.indexes if self._is_partner(other)), None)
        files_first = partner is not None and _newest_ms(partner) > index.newest_ms()
        return Findings(self._indexes(index, partner, files_first), self._folders(files_first), self.found.problems)

    def _index(self) -> DatabaseIndex:
        owner = self.transcripts.agent
        agent_of = functools.partial(openclaw_json.agent_of, default=owner)
        return DatabaseIndex(self.transcripts.file, self.place.agent, self.transcripts, self._look_up, agent_of)

    def _look_up(self, entry: RawEntry, transcript_id: str) -> FilePart | Problem | None:
        return left_over.file_named(self.tree, self.place.sessions, entry, transcript_id, self.max_file_bytes)

    def _is_partner(self, index: Index) -> bool:
        """Tell whether an index is the one that the update read into this database."""
        if not isinstance(index, JSONIndex) or index.file.rpartition("/")[0] != self.place.sessions:
            return False
        is_shared = None in (index.agent, self.place.agent)
        return (is_shared or index.agent == self.place.agent) and self.tree.status(index.file) is not None

    def _indexes(self, index: DatabaseIndex, partner: Index | None, files_first: bool) -> tuple[Index, ...]:
        indexes = list(self.found.indexes)
        at = len(indexes) if partner is None else indexes.index(partner) + files_first
        return (*indexes[:at], index, *indexes[at:])

    def _folders(self, files_first: bool) -> tuple[Folder, ...]:
        folders: list[Folder] = [self._with_database(folder, files_first) for folder in self.found.folders]
        paths, owner = {folder.path for folder in folders}, self.transcripts.agent
        behind = Behind(self.transcripts, self.tree, self.place.sessions, self.max_file_bytes)
        folders.append(behind if files_first else self.transcripts)
        for folder in put_aside.beside(self.tree, self.scratch, self.place.sessions, owner, self.max_file_bytes):
            if folder.path not in paths:
                folders.append(replace(folder, databases=(self.transcripts,)))
        return tuple(folders)

    def _with_database(self, folder: Folder, files_first: bool) -> Folder:
        """Let a folder know of this database, where it may hold copies of what is in it."""
        if isinstance(folder, Imported | Cold) and folder.folder in put_aside.paths(self.place.sessions):
            return replace(folder, databases=(*folder.databases, self.transcripts))
        return Beside(folder, self.transcripts, files_first) if self._holds_files(folder) else folder

    def _holds_files(self, folder: Folder) -> bool:
        if isinstance(folder, Beside):
            return self._holds_files(folder.folder)
        return isinstance(folder, FileFolder) and folder.folder == self.place.sessions


def _put_aside(folders: tuple[Folder, ...], source: places.Source) -> Iterator[Imported | Cold]:
    """Find what a database put aside; it stays where the database is lost."""
    for folder in folders:
        if isinstance(folder, FileFolder) and folder.is_ours:
            yield from put_aside.beside(source.tree, source.scratch, folder.folder, folder.agent, source.max_file_bytes)


def _newest_ms(index: Index) -> int:
    """Return when the session of an index that moved last did. Raises: SourceError."""
    newest = 0
    try:
        for entry in index.entries():
            if isinstance(entry, RawEntry):
                newest = max(newest, _updated_ms(entry.raw))
    except Refused:
        return newest
    return newest


def _updated_ms(raw: bytes) -> int:
    try:
        found = json.loads(raw).get("updatedAt")
    except (ValueError, RecursionError, AttributeError):
        return 0
    return found if isinstance(found, int) else 0
