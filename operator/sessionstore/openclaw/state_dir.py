"""The layout `agents/<agent>/sessions/`: `sessions.json`, transcripts and archives beside it.

`find` looks through a state directory wherever it is mounted. `sessionFile` is an absolute path on the machine
that wrote it, so files are known by base name within their own sessions directory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from sessionstore.openclaw import configuration, names, sessions_json, transcript
from sessionstore.openclaw.names import FileKind
from sessionstore.openclaw.problems import Problem, Reason, Refused, SourceError
from sessionstore.openclaw.sessions_json import BadEntry, RawEntry
from sessionstore.openclaw.transcript import Line
from sessionstore.openclaw.tree import Child, Kind, Tree, printable

LAYOUT = "sessions.json"
DEFAULT_MAX_FILE_BYTES = 1024**3

_UNREAD = frozenset({"sessions", "sessions.d", "archived"})
_DATABASE = "openclaw-agent.sqlite"


@dataclass(frozen=True, slots=True)
class Part:
    """A transcript or an archive as it lies in the source.

    Attributes:
        path: relative to the state directory; holds lone surrogates where a name is not UTF-8.
        size: bytes, when it was listed.
    """

    path: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies beside the entries of one place.

    Attributes:
        transcripts: transcript id -> its file; which of them are orphans only the entries tell.
        archives: transcripts without a session.
        beside: how many files are no part of any conversation.
        refused: file name -> why it cannot be taken, for names that an entry or a person may ask for.
    """

    transcripts: Mapping[str, Part]
    archives: tuple[Part, ...]
    beside: int
    refused: Mapping[str, Problem]


class Reader(Protocol):
    """One place with the sessions of one agent. Every method reads afresh, so that a proof does not check a memory."""

    @property
    def layout(self) -> str:
        """The layout's name in reports."""

    @property
    def agent(self) -> str:
        """The agent as the layout says, not yet judged."""

    @property
    def path(self) -> str:
        """Where the entries lie, for reports."""

    def entries(self) -> Iterator[RawEntry | BadEntry]:
        """Go through the entries. Raises: Refused, SourceError."""

    def listing(self) -> Listing:
        """Tell what files there are. Raises: Refused, SourceError."""

    def lines(self, part: Part) -> Iterator[Line]:
        """Go through the lines of a transcript or an archive. Raises: Refused, SourceError."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a state directory holds, before any session is read."""

    readers: tuple[Reader, ...]
    problems: tuple[Problem, ...]


def find(tree: Tree, max_file_bytes: int = DEFAULT_MAX_FILE_BYTES) -> Findings:
    """Find the places that hold sessions, and what looks like sessions but cannot be read.

    Raises: SourceError, with reason `NothingFound` for a directory without any place for sessions.
    """
    top = tree.children()
    readers: list[Reader] = []
    problems: list[Problem] = []
    problems.extend(_other_layouts(tree, top, problems))
    _check_familiar(tree, top, problems)
    for agent in _agents(tree, top, problems):
        folder = f"agents/{agent}"
        for child in _listed(tree, folder, problems):
            if child.name == "sessions" and child.kind is Kind.FOLDER:
                reader = SessionsFolder(tree, agent, f"{folder}/sessions", max_file_bytes)
                readers.append(reader)
                problems.extend(_lost_index(reader, problems))
            elif child.name == "sessions":
                problems.append(_not_taken(child, f"{folder}/sessions", agent))
            elif child.name == "agent" and child.kind is Kind.FOLDER:
                problems.extend(_databases(tree, f"{folder}/agent", agent, problems))
    return Findings(tuple(readers), tuple(problems))


@dataclass(frozen=True, slots=True)
class SessionsFolder:
    """One agent's sessions directory; a `reader.Reader`."""

    tree: Tree
    agent: str
    folder: str
    max_file_bytes: int

    @property
    def layout(self) -> str:
        return LAYOUT

    @property
    def path(self) -> str:
        return f"{self.folder}/{names.INDEX}"

    def entries(self) -> Iterator[RawEntry | BadEntry]:
        """Go through the entries of `sessions.json`; where there is none, there are none."""
        if not any(child.name == names.INDEX for child in self.tree.children(self.folder)):
            return
        with self.tree.reading(self.path, self.max_file_bytes) as stream:
            raw = stream.read()
        yield from sessions_json.read_entries(raw)

    def listing(self) -> Listing:
        """Sort the directory's names by what they stand for."""
        transcripts: dict[str, Part] = {}
        archives: list[Part] = []
        refused: dict[str, Problem] = {}
        beside = 0
        for child in self.tree.children(self.folder):
            kind = names.kind_of(child.name)
            problem = self._refusal(child, kind)
            if problem:
                refused[child.name] = problem
            elif kind is FileKind.TRANSCRIPT:
                transcripts[child.name.removesuffix(names.TRANSCRIPT_SUFFIX)] = self._part(child)
            elif kind is FileKind.ARCHIVE:
                archives.append(self._part(child))
            else:
                beside += kind is FileKind.BESIDE
        return Listing(transcripts, tuple(archives), beside, refused)

    def lines(self, part: Part) -> Iterator[Line]:
        """Stream a file's lines; one that is torn comes last."""
        with self.tree.reading(part.path, self.max_file_bytes) as stream:
            yield from transcript.read_lines(stream)

    def _part(self, child: Child) -> Part:
        return Part(f"{self.folder}/{child.name}", child.name, child.size)

    def _refusal(self, child: Child, kind: FileKind) -> Problem | None:
        path = f"{self.folder}/{child.name}"
        if kind is FileKind.BESIDE:
            return None
        if kind in (FileKind.UNKNOWN, FileKind.ROTATED):
            return _unknown(child.name, path, self.agent)
        if child.kind is not Kind.FILE:
            # The index is opened, and refused, by `entries`.
            return None if kind is FileKind.INDEX else _not_taken(child, path, self.agent)
        if child.size > self.max_file_bytes and kind is not FileKind.INDEX:
            detail = f"{child.size} bytes; the limit is {self.max_file_bytes} (--max-file-bytes)"
            return Problem(printable(path), Reason.TOO_LARGE, detail, self.agent)
        return None


def _agents(tree: Tree, top: tuple[Child, ...], problems: list[Problem]) -> Iterator[str]:
    for child in top:
        if child.name == "agents" and child.kind is not Kind.FOLDER:
            problems.append(_not_taken(child, child.name, None))
        elif child.name == "agents":
            for agent in _listed(tree, child.name, problems):
                if agent.kind is Kind.FOLDER:
                    yield agent.name
                else:
                    problems.append(_not_taken(agent, f"agents/{agent.name}", None))


def _listed(tree: Tree, path: str, problems: list[Problem]) -> tuple[Child, ...]:
    try:
        return tree.children(path)
    except Refused as error:
        problems.append(error.problem(printable(path)))
        return ()


def _not_taken(child: Child, path: str, agent: str | None) -> Problem:
    if child.kind is Kind.SYMLINK:
        return Problem(printable(path), Reason.SYMLINK, "a symbolic link is not followed", agent)
    return Problem(printable(path), Reason.SPECIAL_FILE, f"{child.kind.value}, which is not expected here", agent)


def _lost_index(reader: SessionsFolder, problems: list[Problem]) -> list[Problem]:
    """Tell of an index of which only a rotated one is whole: what that names would go on without its keys."""
    found = {child.name for child in _listed(reader.tree, reader.folder, problems)}
    rotated = max((name for name in found if _is_rotated(name)), default=None)
    if rotated is None or (names.INDEX in found and _is_whole(reader)):
        return []
    state = "cannot be read" if names.INDEX in found else "is absent"
    detail = f"{state}, and {rotated} is there: the keys of its sessions would be lost; put it in place in a copy"
    return [Problem(printable(reader.path), Reason.UNSUPPORTED_LAYOUT, printable(detail), printable(reader.agent))]


def _is_whole(reader: SessionsFolder) -> bool:
    try:
        return not any(isinstance(entry, BadEntry) and entry.key is None for entry in reader.entries())
    except Refused:
        return False


def _is_rotated(name: str) -> bool:
    return name.startswith(f"{names.INDEX}.bak")


def _unknown(name: str, path: str, agent: str) -> Problem:
    if _is_rotated(name):
        return Problem(printable(path), Reason.UNSUPPORTED_LAYOUT, "a rotated index; its keys are not carried", agent)
    return Problem(printable(path), Reason.UNKNOWN_FILE, "not a file that OpenClaw keeps sessions in", agent)


def _other_layouts(tree: Tree, top: tuple[Child, ...], problems: list[Problem]) -> list[Problem]:
    """Return what holds sessions in a form that is not read yet: said aloud, since silence loses them."""
    unread = Reason.UNSUPPORTED_LAYOUT
    found = []
    for child in top:
        if child.name == configuration.FILE:
            problem = configuration.problem_of(tree)
            found.extend([problem] if problem else [])
        elif child.name in _UNREAD and (child.kind is not Kind.FOLDER or _listed(tree, child.name, problems)):
            found.append(Problem(child.name, unread, "sessions in a form that is not read yet"))
        elif names.kind_of(child.name) in (FileKind.TRANSCRIPT, FileKind.ARCHIVE):
            detail = "a transcript outside agents/<agent>/sessions, which is not read yet"
            found.append(Problem(printable(child.name), unread, detail))
    return found


def _databases(tree: Tree, folder: str, agent: str, problems: list[Problem]) -> list[Problem]:
    detail = "sessions of OpenClaw 2026.8 or later, which are not read yet"
    return [
        Problem(printable(f"{folder}/{child.name}"), Reason.UNSUPPORTED_LAYOUT, detail, agent)
        for child in _listed(tree, folder, problems)
        if child.name == _DATABASE
    ]


def _check_familiar(tree: Tree, top: tuple[Child, ...], problems: list[Problem]) -> None:
    """Refuse a directory without agents, unless it keeps sessions some other way, which is told then.

    `openclaw.json` alone proves nothing: it also lies where a configuration is mounted without the volume.
    """
    found = {child.name: child.kind for child in top}
    if found.get("agents") is Kind.FOLDER or any(p.reason is Reason.UNSUPPORTED_LAYOUT for p in problems):
        return
    hint = "name the directory that holds agents/ and openclaw.json"
    if "agents" in found:
        hint = f"agents is {found['agents'].value}, which is not followed; name the directory that holds it itself"
    elif ".openclaw" in found:
        hint = f"did you mean {tree.root}/.openclaw?"
    raise SourceError("NothingFound", f"{tree.root} is not OpenClaw's state directory: it has no agents/; {hint}")
