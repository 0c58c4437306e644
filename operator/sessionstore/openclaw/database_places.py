"""Where the databases of OpenClaw 2026.8 and later are.

Each agent has one, `agents/<agent>/agent/openclaw-agent.sqlite`. Where `session.store` is set, it lies beside the file
that the configuration names, under that name: `sessions` or `sessions.json5` becomes `sessions.sqlite`, one for all
agents, or `sessions.<agent>.sqlite`; a `sessions.json` becomes `openclaw-agent.sqlite`.
Source: `resolveSqliteTargetFromSessionStorePath` of OpenClaw 2026.9.6.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from sessionstore.openclaw import files, names
from sessionstore.openclaw.json_index import JSONIndex
from sessionstore.openclaw.places import listed
from sessionstore.openclaw.problems import Problem, Reason, Refused
from sessionstore.openclaw.reader import Index
from sessionstore.openclaw.tree import Kind, Tree, printable

DATABASE = "openclaw-agent.sqlite"
SUFFIX = ".sqlite"
MAGIC = b"SQLite format 3\0"
_UNCONFIGURED = ("sessions", "openclaw-agent")
"""In the state directory itself, where its configuration may be mounted from elsewhere: the charts' and the default."""
_OF_AGENT = re.compile(r"agents/[^/]+/sessions/sessions\.json")


@dataclass(frozen=True, slots=True)
class DatabasePlace:
    """Where a database is.

    Attributes:
        agent: None where the keys tell.
        sessions: the directory with the files of before, and with archives.
    """

    folder: str
    name: str
    agent: str | None
    sessions: str

    @property
    def path(self) -> str:
        """Of the database, in the tree."""
        return files.joined(self.folder, self.name)


def find(tree: Tree, indexes: tuple[Index, ...], problems: list[Problem]) -> list[DatabasePlace]:
    """Find the places of databases, each once. Raises: SourceError."""
    of_agents = list(_of_agents(tree))
    found = [*of_agents, *_configured(tree, indexes, problems), *_beside(tree, "", _UNCONFIGURED, None)]
    unique = {place.path: place for place in reversed(found)}
    there = [place for place in reversed(unique.values()) if _is_there(tree, place, problems)]
    for place in of_agents:
        if place not in there:
            problems.extend(_astray(tree, place))
    return there


def stem_beside(index: str) -> str:
    """Return what the database beside a configured index of this name begins with."""
    return "openclaw-agent" if index == names.INDEX else index.rpartition(".")[0] or index


def is_database(index: Index) -> bool:
    """Tell whether an index is a database that `session.store` names itself."""
    return isinstance(index, JSONIndex) and index.file.endswith(SUFFIX)


def _of_agents(tree: Tree) -> Iterator[DatabasePlace]:
    for child in listed(tree, "agents", []):
        if child.kind is Kind.FOLDER:
            folder = f"agents/{child.name}"
            yield DatabasePlace(f"{folder}/agent", DATABASE, child.name, f"{folder}/sessions")


def _astray(tree: Tree, place: DatabasePlace) -> Iterator[Problem]:
    """Look for a database that somebody put aside under another name, where an agent has none."""
    try:
        paths = sorted(files.joined(place.folder, name) for name, kind in tree.names(place.folder) if kind is Kind.FILE)
        for path in paths:
            with tree.reading(path, sys.maxsize) as file:
                is_database = file.read(len(MAGIC)) == MAGIC
            if is_database:
                detail = f"an SQLite database, and {place.name} is not there: its sessions are not read"
                yield Problem(printable(path), Reason.UNKNOWN_FILE, detail, place.agent and printable(place.agent))
    except Refused:
        # There is no such directory, or something went while it was looked at.
        return


def _configured(tree: Tree, indexes: tuple[Index, ...], problems: list[Problem]) -> Iterator[DatabasePlace]:
    for index in indexes:
        if not isinstance(index, JSONIndex) or _OF_AGENT.fullmatch(index.file):
            continue
        folder, _, name = index.file.rpartition("/")
        if is_database(index):
            yield DatabasePlace(folder, name, index.agent, folder)
            continue
        try:
            yield from _beside(tree, folder, (stem_beside(name),), index.agent)
        except Refused as error:
            problems.append(error.problem(printable(folder)))


def _beside(tree: Tree, folder: str, stems: tuple[str, ...], agent: str | None) -> Iterator[DatabasePlace]:
    if folder and tree.status(folder) is None:
        return
    pattern = re.compile(rf"(?:{'|'.join(map(re.escape, stems))})(?:\.[^/]+)?\.sqlite")
    for name in sorted(name for name, _ in tree.names(folder) if pattern.fullmatch(name)):
        yield DatabasePlace(folder, name, agent, folder)


def _is_there(tree: Tree, place: DatabasePlace, problems: list[Problem]) -> bool:
    try:
        return tree.status(place.path) is not None
    except Refused as error:
        problems.append(error.problem(printable(place.folder), place.agent and printable(place.agent)))
        return False
