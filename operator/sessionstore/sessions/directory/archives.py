"""Archives in a directory store: `archives/<agent>/<stem>.json` says how many lines of which file count."""

from __future__ import annotations

from collections.abc import Sequence

from sessionstore.sessions.directory import codec, lines, locks, names, walk
from sessionstore.sessions.directory.codec import ArchiveHead
from sessionstore.sessions.directory.lines import Extent, LineReader
from sessionstore.sessions.directory.root import understood
from sessionstore.sessions.directory.shelf import DirectoryShelf
from sessionstore.sessions.exceptions import Conflict, Unreadable
from sessionstore.sessions.plainfiles import Directory
from sessionstore.sessions.record import ArchiveInfo


def put(shelf: DirectoryShelf, agent: str, name: str, given: Sequence[bytes], *, position: int, replace: bool) -> int:
    """Add lines to an archive that has `position`, or replace those; return how many it has now. Raises: Conflict."""
    owner, stem = names.agent_directory(agent), names.stem_of(name)
    what = f"archive {agent}/{name}"
    with shelf.opened(create=True) as root:
        assert root is not None
        below = root.directory.below(names.ARCHIVES, owner, create=True)
        with locks.held(root.directory, names.slot_of_archive(owner, stem), what), below as directory:
            assert directory is not None
            past = read_head(directory, stem) or ArchiveHead(agent, name)
            if past.lines != position:
                raise Conflict(f"{what} has {past.lines} lines, not {position}", None)
            made = _written(directory, stem, past, given, replace=replace)
            directory.replace(stem + names.RECORD, codec.dump_archive(made))
            if made.generation != past.generation:
                directory.remove(lines_file(stem, past))
            return made.lines


def read(shelf: DirectoryShelf, reader: LineReader, agent: str, name: str, part: slice) -> tuple[bytes, ...] | None:
    """Return lines of an archive, or None. Raises: Gone where they were replaced meanwhile."""
    stem = names.stem_of(name)
    with shelf.opened(create=False) as root:
        if root is None:
            return None
        with root.directory.below(names.ARCHIVES, names.agent_directory(agent), create=False) as directory:
            head = read_head(directory, stem) if directory else None
            if directory is None or head is None:
                return None
            start, stop, _ = part.indices(head.lines)
            have = Extent(head.lines, head.size)
            return reader.read(directory, lines_file(stem, head), have, start, max(start, stop))


def infos(shelf: DirectoryShelf, agent: str | None) -> list[ArchiveInfo]:
    """Return all archives of one agent, or of all. What cannot be read is left out, and told by `health`."""
    found = []
    with shelf.opened(create=False) as root:
        for _, directory, stem in walk.archives(root, shelf.oddities, agent) if root else ():
            try:
                head = read_head(directory, stem)
            except Unreadable as error:
                shelf.oddities.note(directory.path / (stem + names.RECORD), str(error))
                continue
            if head is not None:
                found.append(ArchiveInfo(head.agent, head.name, head.lines))
    return found


def read_head(directory: Directory, stem: str) -> ArchiveHead | None:
    """Return what is on record of an archive. Raises: Unreadable."""
    data = directory.read(stem + names.RECORD, codec.MAX_BYTES)
    if data is None:
        return None
    what = str(directory.path / (stem + names.RECORD))
    head = understood(lambda: codec.parse_archive(data), what)
    if names.stem_of(head.name) != stem:
        raise Unreadable(f"{what} is that of another archive")
    return head


def lines_file(stem: str, head: ArchiveHead) -> str:
    """Return the file of an archive's lines."""
    return names.lines_file(stem, head.name, head.generation)


def _written(
    directory: Directory, stem: str, past: ArchiveHead, given: Sequence[bytes], *, replace: bool
) -> ArchiveHead:
    generation = past.generation + replace
    have = Extent() if replace else Extent(past.lines, past.size)
    extent = lines.append(directory, names.lines_file(stem, past.name, generation), have, given)
    return ArchiveHead(past.agent, past.name, generation, extent.lines, extent.size)
