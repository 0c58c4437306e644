"""A directory with transcripts and archives; a `reader.Folder`. Its names are sorted without holding a large one's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sessionstore.openclaw import files, names, packed, zstd
from sessionstore.openclaw.files import FilePart
from sessionstore.openclaw.names import FileKind
from sessionstore.openclaw.packed import Packed
from sessionstore.openclaw.problems import Problem, Reason
from sessionstore.openclaw.reader import BadEntry
from sessionstore.openclaw.scratch import Scratch
from sessionstore.openclaw.tree import Kind, Tree, misplaced, printable

_KINDS = dict(zip(b"0123", Kind, strict=True))
_CODES = {kind: b"/%c" % code for code, kind in _KINDS.items()}


def sorted_names(tree: Tree, path: str, scratch: Scratch) -> Iterator[tuple[str, Kind]]:
    """Go through the names in a directory, sorted by their bytes. Raises: Refused, SourceError."""
    found = scratch.names()
    try:
        found.update(os.fsencode(name) + _CODES[kind] for name, kind in tree.names(path))
        yield from map(_decoded, found)
    finally:
        found.close()


def _decoded(name: bytes) -> tuple[str, Kind]:
    # No file name holds a slash, so what stands behind one is ours.
    return os.fsdecode(name[:-2]), _KINDS[name[-1]]


@dataclass(frozen=True, slots=True)
class FileFolder:
    """A directory of the source.

    Attributes:
        is_ours: whether only sessions belong here: then anything else is a problem.
        known: names that have a reader of their own, or are none of ours.
    """

    tree: Tree
    scratch: Scratch
    folder: str
    agent: str
    max_file_bytes: int = files.DEFAULT_MAX_FILE_BYTES
    is_ours: bool = True
    known: Callable[[str], bool] = names.has_reader

    @property
    def path(self) -> str:
        return printable(self.folder or ".")

    def parts(self) -> Iterator[FilePart | Packed | Problem | BadEntry]:
        """Go through transcripts and archives, and what stands in the place of one.

        Files are only listed: `files.looked_up` tells their size, which for most of them an index has done.
        """
        for name, kind in sorted_names(self.tree, self.folder, self.scratch):
            stands_for = names.kind_of(name)
            if stands_for is FileKind.BESIDE or self.known(name):
                continue
            if stands_for is FileKind.UNKNOWN:
                if self.is_ours:
                    path, detail = files.joined(self.folder, name), "not a file that OpenClaw keeps sessions in"
                    yield Problem(printable(path), Reason.UNKNOWN_FILE, detail, printable(self.agent))
            elif kind is not Kind.FILE:
                yield misplaced(kind).problem(printable(files.joined(self.folder, name)), printable(self.agent))
            else:
                yield self._part(name, stands_for)

    def beside(self) -> int:
        """Count what is no part of any conversation."""
        return sum(names.kind_of(name) is FileKind.BESIDE for name, _ in self.tree.names(self.folder))

    def _part(self, name: str, kind: FileKind) -> FilePart | Packed | BadEntry:
        if name.endswith(zstd.SUFFIX):
            return packed.archive(self.tree, self.folder, name, self.agent, self.max_file_bytes)
        stem = name.removesuffix(names.TRANSCRIPT_SUFFIX) if kind is FileKind.TRANSCRIPT else None
        return FilePart(self.tree, self.folder, name, self.agent, stem, self.max_file_bytes)
