"""Taking away what killed writers left: files that were being written, and lines that no record counts any more."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping

from sessionstore.sessions.directory import archives, locks, names, walk
from sessionstore.sessions.directory.names import Place
from sessionstore.sessions.directory.root import Root, parse_record
from sessionstore.sessions.directory.shelf import DirectoryShelf, line_files
from sessionstore.sessions.exceptions import Unreadable
from sessionstore.sessions.plainfiles import Directory
from sessionstore.sessions.record import SessionInfo, SessionKey

TEMPORARY_MS = 3_600_000
"""Nobody takes so long to write a file; whoever began one before that is gone."""


def remove(shelf: DirectoryShelf, live: Mapping[SessionKey, SessionInfo], now_ms: int) -> None:
    """Go through all sessions' directories.

    Args:
        live: the rows there are; a session with one file of lines, and lines on record, has nothing else to look for.
    """
    usual = {names.place_of(name).stem for name, row in live.items() if row.lines}
    with shelf.opened(create=False) as root:
        if root is None:
            return
        for owner, fan, directory in walk.session_directories(root, shelf.oddities, None):
            files = list(walk.plain_files(directory, shelf.oddities, names.is_ours))
            _remove_temporary(directory, files, now_ms)
            for stem, lines in _lines_of(files).items():
                if len(lines) > 1 or stem not in usual:
                    _remove_uncounted(root, directory, Place(owner, fan, stem), lines)
        _remove_temporary(root.directory, root.directory.names(), now_ms)
        with root.directory.below(names.DOCUMENTS, create=False) as documents:
            if documents is not None:
                _remove_temporary(documents, documents.names(), now_ms)
        for owner, directory in walk.agents(root, names.ARCHIVES, shelf.oddities, None):
            files = list(walk.plain_files(directory, shelf.oddities, names.is_ours))
            _remove_temporary(directory, files, now_ms)
            for stem, lines in _lines_of(files).items():
                if len(lines) > 1 or stem + names.RECORD not in files:
                    _remove_replaced(root, directory, owner, stem, lines)


def _remove_temporary(directory: Directory, files: list[str], now_ms: int) -> None:
    for file in filter(names.is_temporary, files):
        with contextlib.suppress(Unreadable):
            measure = directory.measure(file)
            if measure is not None and measure.mtime_ns // 1_000_000 < now_ms - TEMPORARY_MS:
                directory.remove(file)


def _lines_of(files: list[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for file in files:
        stem = names.stem_of_lines(file)
        if stem is not None:
            found[stem].add(file)
    return found


def _remove_uncounted(root: Root, directory: Directory, place: Place, lines: set[str]) -> None:
    # What belongs to a damaged record stays: it may be wanted when that is brought back.
    with locks.held(root.directory, place.slot, f"a session in {directory.path}"), contextlib.suppress(Unreadable):
        found = parse_record(directory, place.record)
        for file in lines - line_files(place, found[1] if found else None):
            directory.remove(file)


def _remove_replaced(root: Root, directory: Directory, owner: str, stem: str, lines: set[str]) -> None:
    slot = names.slot_of_archive(owner, stem)
    with locks.held(root.directory, slot, f"an archive in {directory.path}"), contextlib.suppress(Unreadable):
        head = archives.read_head(directory, stem)
        for file in lines - ({archives.lines_file(stem, head)} if head else set()):
            directory.remove(file)
