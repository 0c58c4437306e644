"""Going through a store's directories. Nothing here fails for one file; what is odd is noted and left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sessionstore.sessions.directory import names
from sessionstore.sessions.directory.names import Place
from sessionstore.sessions.directory.oddities import Oddities
from sessionstore.sessions.directory.root import Root, parse_record
from sessionstore.sessions.exceptions import Unreadable
from sessionstore.sessions.plainfiles import Directory
from sessionstore.sessions.record import SessionKey
from sessionstore.sessions.transitions import Record


def records(root: Root, oddities: Oddities, agent: str | None) -> Iterator[tuple[SessionKey, Record]]:
    """Go through the records of one agent, or of all, tombstones too."""
    for owner, fan, directory in session_directories(root, oddities, agent):
        for file in plain_files(directory, oddities, names.is_ours):
            stem = names.stem_before(file, names.RECORD)
            found = None if stem is None else _record(directory, Place(owner, fan, stem), oddities)
            if found is not None:
                yield found


def session_directories(root: Root, oddities: Oddities, agent: str | None) -> Iterator[tuple[str, str, Directory]]:
    """Go through the directories that hold sessions: the agent's directory, which of its 256, and that, open."""
    for owner, inside in agents(root, names.AGENTS, oddities, agent):
        for fan, directory in _directories(inside, oddities, names.is_fan):
            yield owner, fan, directory


def archives(root: Root, oddities: Oddities, agent: str | None) -> Iterator[tuple[str, Directory, str]]:
    """Go through the archives of one agent, or of all: the directory's name, that, and the stem of its files."""
    for owner, directory in agents(root, names.ARCHIVES, oddities, agent):
        for file in plain_files(directory, oddities, names.is_ours):
            stem = names.stem_before(file, names.RECORD)
            if stem is not None:
                yield owner, directory, stem


def agents(root: Root, kind: str, oddities: Oddities, agent: str | None) -> Iterator[tuple[str, Directory]]:
    """Go through the directories of one agent, or of all, in `agents` or `archives`: the name, and that, open."""
    wanted = None if agent is None else names.agent_directory(agent)
    with root.directory.below(kind, create=False) as parent:
        if parent is not None:
            yield from _directories(
                parent,
                oddities,
                lambda name: names.agent_of(name) is not None,
                lambda name: wanted in (None, name),
            )


def plain_files(directory: Directory, oddities: Oddities, is_ours: Callable[[str], bool]) -> Iterator[str]:
    """Go through the names of a directory's own files."""
    for found in directory.entries():
        if not found.is_file:
            oddities.note(directory.path / found.name, "it is no plain file")
        elif not is_ours(found.name):
            oddities.note(directory.path / found.name, "it is none of the store's files")
        else:
            yield found.name


def _directories(
    parent: Directory,
    oddities: Oddities,
    is_ours: Callable[[str], bool],
    is_wanted: Callable[[str], bool] = lambda _: True,
) -> Iterator[tuple[str, Directory]]:
    for found in parent.entries():
        path = parent.path / found.name
        if not found.is_directory or not is_ours(found.name):
            oddities.note(path, "it is none of the store's directories")
            continue
        if not is_wanted(found.name):
            continue
        with parent.below(found.name, create=False) as directory:
            if directory is not None:
                yield found.name, directory


def _record(directory: Directory, place: Place, oddities: Oddities) -> tuple[SessionKey, Record] | None:
    path = directory.path / place.record
    try:
        found = parse_record(directory, place.record)
    except Unreadable as error:
        oddities.note(path, str(error))
        return None
    if found is None:
        return None
    owner, kept = found
    if names.place_of(owner) != place:
        oddities.note(path, "it is the record of another session")
        return None
    oddities.forget(path)
    return owner, kept.record
