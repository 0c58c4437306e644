"""Looks which layouts a state directory has, and gives their indexes in order of precedence.

The order is docs/design/0014-migration.md's, "Places". Each layout is a module of its own.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator

from sessionstore.openclaw import agent_folders, archived, configured, databases, files, names, openclaw_json
from sessionstore.openclaw.names import FileKind
from sessionstore.openclaw.openclaw_json import STATE_DIR, Configuration
from sessionstore.openclaw.places import Place, Source
from sessionstore.openclaw.problems import Problem, Reason, SourceError
from sessionstore.openclaw.reader import Findings, Folder, Index
from sessionstore.openclaw.rotated import Beside
from sessionstore.openclaw.scratch import Scratch
from sessionstore.openclaw.sessions_d import DirectoryIndex
from sessionstore.openclaw.tree import Kind, Tree, printable

LEGACY = "sessions"
"""The directory of before 2026, and the file that both popular Helm charts make."""


def find(
    tree: Tree, scratch: Scratch, max_file_bytes: int = files.DEFAULT_MAX_FILE_BYTES, state_dir: str = STATE_DIR
) -> Findings:
    """Find the places that hold sessions, and what looks like sessions but cannot be read.

    Args:
        state_dir: where the gateway sees the directory, for absolute paths in its configuration.

    Raises: SourceError, with reason `NothingFound` for a directory without any place for sessions.
    """
    configuration = openclaw_json.read(tree)
    agent_of = functools.partial(openclaw_json.agent_of, default=configuration.default_agent)
    source = Source(tree, scratch, max_file_bytes, configuration.default_agent, agent_of)
    found = _Found(source, configuration, state_dir)
    current = Findings(_once(found.current()), tuple(found.folders()))
    added = databases.add(current, source)
    indexes = _once([*added.indexes, *found.older()])
    directories = tuple(index for index in indexes if isinstance(index, DirectoryIndex))
    found.tell_absent(indexes)
    _check_familiar(source, indexes, added.problems)
    return Findings(indexes, (*added.folders, *directories), (*source.problems, *added.problems))


def _once(indexes: Iterable[Index]) -> tuple[Index, ...]:
    """Leave out an index that came before: several configurations may name one file."""
    found: dict[str, Index] = {}
    for index in indexes:
        found.setdefault(index.path, index)
    return tuple(found.values())


class _Found:
    """The places of one state directory."""

    def __init__(self, source: Source, configuration: Configuration, state_dir: str) -> None:
        agents = tuple(agent_folders.agents(source))
        self._source, self._configuration = source, configuration
        self.configured = tuple(configured.places(source, configuration, state_dir, agents))
        self.unconfigured = tuple(configured.unconfigured(source, self.configured))
        self.agents = tuple(agent_folders.places(source, agents))
        self.legacy = (Place(LEGACY, names.INDEX, configuration.default_agent),) * (source.kind(LEGACY) is Kind.FOLDER)

    @property
    def places(self) -> tuple[Place, ...]:
        """All of them; the state directory itself always is one."""
        root = (Place("", LEGACY, None), Place("", names.INDEX, None))
        return (*self.configured, *self.agents, *self.legacy, *root)

    def current(self) -> Iterator[Index]:
        """Go through the indexes that a gateway reads now, databases apart; one may come twice."""
        source = self._source
        yield from (source.index(configured.LAYOUT, place) for place in self.configured)
        yield from (source.index(agent_folders.LAYOUT, place) for place in self.agents)
        yield from (source.index(configured.LAYOUT, place) for place in self.unconfigured)

    def older(self) -> Iterator[Index]:
        """Go through the other indexes in order of precedence."""
        source = self._source
        usable = [place for place in self.places if place.folder == "" or source.kind(place.folder) is Kind.FOLDER]
        old = [place for place in usable if place in self.legacy]
        beside = _beside(source, [place for place in usable if place not in old])
        beside_old = _beside(source, old)
        yield from itertools.chain(beside.directories, beside_old.directories, beside.rotated)
        yield from (source.index("legacy", place) for place in self.legacy)
        yield from itertools.chain(beside_old.rotated, beside.unfinished, beside_old.unfinished)
        yield from archived.indexes(source, tuple(usable))

    def tell_absent(self, indexes: tuple[Index, ...]) -> None:
        """Tell of configured indexes that are not there, where transcripts lie beside them. A new gateway has none."""
        for place in self.configured:
            source, path = self._source, files.joined(place.folder, place.file)
            has_index = any(source.kind(index.path) for index in indexes if _folder_of(index.path) == place.folder)
            if not has_index and self._has_transcripts(place.folder):
                detail = "session.store names this index, and it is not there: its transcripts are carried as archives"
                shown = place.agent and printable(place.agent)
                source.problems.append(Problem(printable(path), Reason.MISSING_INDEX, detail, shown))

    def folders(self) -> Iterator[Folder]:
        """Go through the folders, each once."""
        seen: set[str] = set()
        for folder in itertools.chain(self._transcripts(), archived.folders(self._source, self.places)):
            if folder.path not in seen:
                seen.add(folder.path)
                yield folder

    def _transcripts(self) -> Iterator[Folder]:
        source, files_of = self._source, self._index_files()
        for place in (*self.agents, *self.legacy):
            known = functools.partial(_is_known, files_of.get(place.folder, ()))
            yield source.folder(place.folder, place.agent or source.default_agent, is_ours=True, known=known)
        others = [*self.configured, *self.unconfigured]
        if not any(place.folder == "" for place in others) and self._has_transcripts(""):
            if self._configuration.is_certain:
                others.append(Place("", LEGACY, None))
            else:
                source.problems.append(_unexplained())
        for place in others:
            if place.folder == "" or source.kind(place.folder) is Kind.FOLDER:
                known = functools.partial(_is_known, files_of.get(place.folder, ()))
                yield source.folder(place.folder, place.agent or source.default_agent, is_ours=False, known=known)

    def _index_files(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for place in self.configured:
            found[place.folder] = (*found.get(place.folder, ()), place.file)
        return found

    def _has_transcripts(self, folder: str) -> bool:
        kinds = (FileKind.TRANSCRIPT, FileKind.ARCHIVE)
        is_there = folder == "" or self._source.kind(folder) is Kind.FOLDER
        return is_there and any(names.kind_of(name) in kinds for name, _ in self._source.names(folder))


def _beside(source: Source, places: Iterable[Place]) -> Beside:
    beside = Beside()
    for _, shared in itertools.groupby(sorted(places, key=lambda place: place.folder), lambda place: place.folder):
        beside.look(source, tuple(shared))
    return beside


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def _is_known(files: tuple[str, ...], name: str) -> bool:
    """Tell whether a name is an index, of now or of before."""
    return names.has_reader(name) or any(name == file or name.startswith(f"{file}.bak.") for file in files)


def _unexplained() -> Problem:
    detail = (
        "transcripts lie in the state directory itself, which a session.store does, and there is no openclaw.json that "
        "tells its path: put the gateway's openclaw.json beside them in a copy"
    )
    return Problem(".", Reason.UNSUPPORTED_LAYOUT, detail)


def _check_familiar(source: Source, indexes: tuple[Index, ...], problems: tuple[Problem, ...]) -> None:
    """Refuse a directory without any place for sessions.

    `openclaw.json` alone proves nothing: it also lies where a configuration is mounted without the volume.
    """
    unread = any(problem.reason is Reason.UNSUPPORTED_LAYOUT for problem in (*source.problems, *problems))
    kind = source.kind(agent_folders.FOLDER)
    if kind is Kind.FOLDER or unread or any(source.kind(index.path) is not None for index in indexes):
        return
    root = source.tree.root
    hint = "name the directory that holds agents/ and openclaw.json"
    if kind is not None:
        hint = f"agents is {kind.value}, which is not followed; name the directory that holds it itself"
    elif source.kind(".openclaw") is not None:
        hint = f"did you mean {root}/.openclaw?"
    raise SourceError("NothingFound", f"{root} is not OpenClaw's state directory: it has no agents/; {hint}")
