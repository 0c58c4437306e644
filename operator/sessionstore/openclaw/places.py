"""What the layouts share: the means to read, where indexes and folders may lie, and what is found there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sessionstore.openclaw import files, names
from sessionstore.openclaw.folder import FileFolder
from sessionstore.openclaw.json_index import JSONIndex
from sessionstore.openclaw.problems import Problem, Reason, Refused
from sessionstore.openclaw.scratch import Scratch
from sessionstore.openclaw.tree import Child, Kind, Tree, kind_of, misplaced, printable


@dataclass(frozen=True, slots=True)
class Source:
    """How a directory is read.

    Attributes:
        agent_of: session key -> its agent, where an index holds several.
        default_agent: owns what names none.
    """

    tree: Tree
    scratch: Scratch
    max_file_bytes: int
    default_agent: str
    agent_of: Callable[[str], str]
    problems: list[Problem] = field(default_factory=list)

    def index(self, layout: str, place: Place, file: str | None = None) -> JSONIndex:
        """Make the index of a place, or another one beside it."""
        path = files.joined(place.folder, place.file if file is None else file)
        return JSONIndex(
            self.tree, self.scratch, layout, path, place.agent, place.transcripts, self.max_file_bytes, self.agent_of
        )

    def folder(
        self, path: str, agent: str, *, is_ours: bool, known: Callable[[str], bool] = names.has_reader
    ) -> FileFolder:
        """Make a folder."""
        return FileFolder(self.tree, self.scratch, path, agent, self.max_file_bytes, is_ours, known)

    def listed(self, path: str) -> tuple[Child, ...]:
        """Return what lies in a directory; one that cannot be taken is a problem, and empty."""
        return listed(self.tree, path, self.problems)

    def names(self, path: str) -> Iterator[tuple[str, Kind]]:
        """Go through the names in a directory, in no order; one that cannot be taken is a problem, and empty."""
        try:
            yield from self.tree.names(path)
        except Refused as error:
            self.problems.append(error.problem(printable(path)))

    def kind(self, path: str) -> Kind | None:
        """Tell what is there, without following it; None where nothing is, or a folder on the way cannot be taken."""
        try:
            status = self.tree.status(path)
        except Refused:
            return None
        return status and kind_of(status.st_mode)

    def not_taken(self, path: str, kind: Kind, agent: str | None) -> None:
        """Say that something else stands where a file or a directory belongs."""
        shown = None if agent is None else printable(agent)
        self.problems.append(misplaced(kind).problem(printable(path), shown))

    def not_followed(self, path: str, kind: Kind, agent: str | None) -> None:
        """Say that something else stands where a directory with sessions belongs; a link there ends a migration.

        People move a directory to another volume and leave a link: to switch over without it would lose sessions.
        """
        if kind is not Kind.SYMLINK:
            self.not_taken(path, kind, agent)
            return
        detail = (
            "a symbolic link where sessions are kept, which is never followed; put the directory itself there, or "
            "migrate what it leads to as a source of its own and take the link away"
        )
        shown = None if agent is None else printable(agent)
        self.problems.append(Problem(printable(path), Reason.UNSUPPORTED_LAYOUT, detail, shown))


def listed(tree: Tree, path: str, problems: list[Problem]) -> tuple[Child, ...]:
    """Return what lies in a directory; one that cannot be taken is a problem, and empty."""
    try:
        return tree.children(path)
    except Refused as error:
        problems.append(error.problem(printable(path)))
        return ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a store's index lies, and what OpenClaw puts beside it.

    Attributes:
        folder: the directory; "" is the state directory itself.
        file: the index's name in it.
        agent: that all of it belongs to; None where keys tell.
    """

    folder: str
    file: str
    agent: str | None

    def transcripts(self, agent: str) -> tuple[str, ...]:
        """Return where an agent's transcripts lie.

        With `session.store` set they lie beside that file, or where they would lie without it.
        """
        usual = f"agents/{agent}/sessions"
        return (self.folder,) if self.folder == usual else (self.folder, usual)
