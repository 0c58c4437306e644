"""What OpenClaw 2026.8 and later put aside as files: what its update read, and cold archives. Copies, as a rule."""

from __future__ import annotations

import abc
import re
from collections.abc import Iterator
from dataclasses import dataclass

from sessionstore.openclaw import cold, files, folder, left_over, names
from sessionstore.openclaw.files import FilePart
from sessionstore.openclaw.left_over import Renamed
from sessionstore.openclaw.packed import Packed, WholeFile
from sessionstore.openclaw.problems import Problem, Reason, Refused
from sessionstore.openclaw.reader import Found, Part
from sessionstore.openclaw.scratch import Scratch
from sessionstore.openclaw.sqlite_transcripts import Transcripts
from sessionstore.openclaw.tree import Kind, Tree, misplaced, printable

IMPORTED_FOLDER = "session-sqlite-import-archive"
_ANY_IMPORTED = re.compile(r".+\.imported-\d+(?:\.\d+)?", re.DOTALL)
_TRAJECTORY = re.compile(r".+\.trajectory(?:\.jsonl|-path\.json)\.imported-\d+(?:\.\d+)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _PutAside(abc.ABC):
    """A directory of files of which most are only copies; a `reader.Folder`. Several databases may share it."""

    tree: Tree
    scratch: Scratch
    folder: str
    agent: str
    max_file_bytes: int
    databases: tuple[Transcripts, ...] = ()

    @property
    def path(self) -> str:
        return printable(self.folder)

    @abc.abstractmethod
    def parts(self) -> Iterator[Found]:
        """Go through what no database has, and what cannot be read."""

    def beside(self) -> int:
        """Count the files that are only a copy, or no conversation."""
        listed = sum(1 for _ in self.tree.names(self.folder))
        return listed - sum(1 for _ in self.parts())

    def _unknown_file(self, path: str, detail: str) -> Problem:
        return Problem(printable(path), Reason.UNKNOWN_FILE, detail, printable(self.agent))


@dataclass(frozen=True, slots=True)
class Imported(_PutAside):
    """The files that were read into a database."""

    def parts(self) -> Iterator[Found]:
        """Go through the transcripts that no database has any more, and what has no business there."""
        for name, kind in folder.sorted_names(self.tree, self.folder, self.scratch):
            path = files.joined(self.folder, name)
            if not _ANY_IMPORTED.fullmatch(name):
                yield self._unknown_file(path, "not a file that OpenClaw put aside when it was imported")
            elif not left_over.IMPORTED.fullmatch(name) or _TRAJECTORY.fullmatch(name):
                continue
            elif kind is not Kind.FILE:
                yield misplaced(kind).problem(printable(path), printable(self.agent))
            else:
                part = FilePart(self.tree, self.folder, name, self.agent, None, self.max_file_bytes)
                if not _is_kept(part, self.databases):
                    yield part


@dataclass(frozen=True, slots=True)
class Cold(_PutAside):
    """The cold archives that are files. Those that a database knows are found through it."""

    def parts(self) -> Iterator[Found]:
        """Go through those that no database knows of, and those that cannot be read."""
        for name, kind in folder.sorted_names(self.tree, self.folder, self.scratch):
            path = files.joined(self.folder, name)
            if names.kind_of(name) is names.FileKind.BESIDE:
                continue
            if kind is not Kind.FILE:
                yield misplaced(kind).problem(printable(path), printable(self.agent))
            elif not cold.FILE_NAME.fullmatch(name):
                yield self._unknown_file(path, "not a cold archive of OpenClaw's")
            elif found := self._unknown(path, name):
                yield found

    def _unknown(self, path: str, name: str) -> Found | None:
        file = WholeFile(self.tree, path, self.max_file_bytes)
        if any(_knows(database, name) for database in self.databases):
            return None
        sha256 = name.partition(".")[0]
        status = self.tree.status(path)
        stamp = files.stamp_of(status) if status else None
        part = Packed(file, printable(path), name, self.agent, stamp, sha256=sha256, lines=cold.Record().batches)
        broken = part.broken()
        if broken:
            return broken
        named = Renamed(part, names.file_of(f"{cold.session_id_of(file)}.{sha256[:12]}"))
        return None if _is_kept(part, self.databases, cold.session_id_of(file)) else named


def paths(sessions: str) -> tuple[str, str]:
    """Return where both lie, for a directory of sessions."""
    parent = sessions.rpartition("/")[0]
    return files.joined(parent, IMPORTED_FOLDER), files.joined(sessions, names.COLD)


def beside(tree: Tree, scratch: Scratch, sessions: str, agent: str, max_file_bytes: int) -> Iterator[Imported | Cold]:
    """Find what was put aside, for a directory of sessions. Raises: SourceError."""
    imported, cold_folder = paths(sessions)
    if _is_there(tree, imported):
        yield Imported(tree, scratch, imported, agent, max_file_bytes)
    if _is_there(tree, cold_folder):
        yield Cold(tree, scratch, cold_folder, agent, max_file_bytes)


def _is_there(tree: Tree, path: str) -> bool:
    """Tell whether there is a directory, or something in its place, which its reader tells of."""
    try:
        return tree.status(path) is not None
    except Refused as error:
        return error.reason is not Reason.UNREADABLE


def _is_kept(part: Part, databases: tuple[Transcripts, ...], *ids: str) -> bool:
    return any(left_over.is_kept(part, database, *ids) for database in databases)


def _knows(database: Transcripts, name: str) -> bool:
    try:
        return database.knows_cold(name)
    except Refused:
        return False
