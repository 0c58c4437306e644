"""The layout `agents/<agent>/sessions/`: `sessions.json`, transcripts and archives beside it. All stable versions."""

from __future__ import annotations

from sessionstore.openclaw import names
from sessionstore.openclaw.folder import FileFolder
from sessionstore.openclaw.json_index import JSONIndex
from sessionstore.openclaw.problems import Problem, Reason, Refused
from sessionstore.openclaw.reader import Findings
from sessionstore.openclaw.scratch import Scratch
from sessionstore.openclaw.tree import Child, Kind, Tree, printable

LAYOUT = "sessions.json"


def find(tree: Tree, scratch: Scratch, max_file_bytes: int) -> Findings:
    """Find the sessions directory of each agent. Raises: SourceError."""
    problems: list[Problem] = []
    indexes, folders = [], []
    for agent in agents(tree, problems):
        folder = f"agents/{agent}/sessions"
        indexes.append(index(tree, scratch, agent, f"{folder}/{names.INDEX}", LAYOUT, max_file_bytes))
        folders.append(FileFolder(tree, scratch, folder, agent, max_file_bytes))
    return Findings(tuple(indexes), tuple(folders), tuple(problems))


def index(tree: Tree, scratch: Scratch, agent: str, file: str, layout: str, max_file_bytes: int) -> JSONIndex:
    """Make the index of one agent; its transcripts lie beside it."""
    folder = file.rpartition("/")[0]
    return JSONIndex(tree, scratch, layout, file, agent, lambda _: (folder,), max_file_bytes)


def agents(tree: Tree, problems: list[Problem]) -> list[str]:
    """Return the agents that have a sessions directory; what stands in the place of one is a problem."""
    found = []
    for agent in listed(tree, "agents", problems):
        if agent.kind is not Kind.FOLDER:
            problems.append(not_taken(agent, f"agents/{agent.name}", None))
            continue
        for child in listed(tree, f"agents/{agent.name}", problems):
            if child.name == "sessions" and child.kind is Kind.FOLDER:
                found.append(agent.name)
            elif child.name == "sessions":
                problems.append(not_taken(child, f"agents/{agent.name}/sessions", agent.name))
    return found


def listed(tree: Tree, path: str, problems: list[Problem]) -> tuple[Child, ...]:
    """Return what lies in a directory; one that cannot be taken is a problem, and empty."""
    try:
        return tree.children(path)
    except Refused as error:
        problems.append(error.problem(printable(path)))
        return ()


def not_taken(child: Child, path: str, agent: str | None) -> Problem:
    """Say that something other than a directory or a file stands here."""
    shown = None if agent is None else printable(agent)
    if child.kind is Kind.SYMLINK:
        return Problem(printable(path), Reason.SYMLINK, "a symbolic link is not followed", shown)
    return Problem(printable(path), Reason.SPECIAL_FILE, f"{child.kind.value}, which is not expected here", shown)
