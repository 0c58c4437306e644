"""Decides where a gateway will look for its sessions: under `agents/`, or where its `openclaw.json` says.

With `session.store` set, entries are read from that file (or from one an agent), and transcripts from the directory of
each agent's sessions, which every entry then names: OpenClaw would look beside the index for some and there for others.
"""

from __future__ import annotations

import glob
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.export import checks, placing
from sessionstore.migrate.export.files import Indexes
from sessionstore.migrate.export.indexes import Directories, OneFile, PerAgent
from sessionstore.migrate.export.staging import Move
from sessionstore.openclaw import database_places, names, openclaw_json
from sessionstore.openclaw.names import FileKind
from sessionstore.openclaw.openclaw_json import TEMPLATE, Configuration
from sessionstore.openclaw.tree import Tree

LEGACY = "sessions"
_UNCONFIGURED = ("openclaw-agent",)
_AGENTS = re.compile(r"agents/[^/]+/sessions/")
"""What lies there goes aside with the directory."""
_USUAL = placing.folder_of(TEMPLATE) + f"/{names.INDEX}"
_BY_FORMAT = {"openclaw-files": PerAgent, "sessions-d": Directories}


@dataclass(frozen=True, slots=True)
class Where:
    """Where entries go.

    Attributes:
        path: of the configured index, relative, perhaps with a template in it; None where there is none.
    """

    indexes: Indexes
    path: str | None = None

    def index_moves(self, agents: Sequence[str], aside: str) -> Iterator[Move]:
        """Go through the indexes that lie apart from the transcripts."""
        if self.path is not None:
            for path in sorted({self.path.replace(TEMPLATE, agent) for agent in agents or ("",)}):
                yield Move(path, path, f"{aside}/{path}")

    def old_moves(self, root: Path, aside: str) -> Iterator[Move]:
        """Go through what is to be put aside, since OpenClaw or a later migration would take old sessions from it."""
        for name in sorted(_old_names(root)):
            if name != self.path:
                yield Move("", name, f"{aside}/{name}")
        if self.path is not None:
            for path in sorted(_beside(root, self.path)):
                yield Move("", path, f"{aside}/{path}")

    def check_free(self, root: Path, agents: Sequence[str]) -> None:
        """Refuse a directory that has sessions where these are to go. Raises: MigrationError `TargetNotEmpty`."""
        checks.check_empty(root, agents)
        for move in (*self.index_moves(agents, "x"), *self.old_moves(root, "x")):
            checks.check_absent(root / move.target)


def decide(root: Path, state_dir: str, form: str, agents: Sequence[str]) -> Where:
    """Read the configuration that lies in `root`, if there is one.

    Args:
        agents: the only ones that are exported; none for all.
    Raises: MigrationError `UnsupportedTarget` where it cannot be followed; SourceError.
    """
    indexes = _BY_FORMAT[form]()
    if form != "openclaw-files" or not root.is_dir():
        return Where(indexes)
    with Tree(root) as tree:
        configuration = openclaw_json.read(tree)
    path = _path(configuration, state_dir)
    if not configuration.is_certain:
        _check_unconfigured(root)
    _check_databases(root, path)
    if path in (None, _USUAL):
        return Where(indexes)
    if TEMPLATE in path:
        return Where(PerAgent(path), path)
    if agents:
        raise MigrationError(
            "UnsupportedTarget", f"{path} is the index of all agents, as {openclaw_json.FILE} says; leave --agent out"
        )
    return Where(OneFile(path, configuration.default_agent), path)


def _path(configuration: Configuration, state_dir: str) -> str | None:
    if configuration.problem:
        detail = f"{openclaw_json.FILE}: {configuration.problem.detail}"
        raise MigrationError("UnsupportedTarget", f"it is not known where the gateway would look; {detail}")
    try:
        return configuration.store and openclaw_json.resolve(configuration.store, state_dir)
    except openclaw_json.Unresolved as error:
        raise MigrationError("UnsupportedTarget", f"the gateway would look elsewhere: {error}") from error


def _check_unconfigured(root: Path) -> None:
    """Refuse a directory whose configuration lies elsewhere, and says where the index is: the gateway follows that."""
    for name in (LEGACY, names.INDEX):
        if (root / name).is_file():
            raise MigrationError(
                "UnsupportedTarget",
                f"{root / name} is an index that a session.store names, and there is no {openclaw_json.FILE} beside it "
                "that says so; put a copy of the gateway's there",
            )


def _check_databases(root: Path, path: str | None) -> None:
    """Refuse a directory where a configured index has become a database."""
    folder, _, name = (path or LEGACY).rpartition("/")
    for stem in {database_places.stem_beside(name), *(_UNCONFIGURED if path is None else ())}:
        for found in (*_matching(root, folder, f"{stem}.sqlite"), *_matching(root, folder, f"{stem}.*.sqlite")):
            checks.check_no_database(root / found)


def _matching(root: Path, folder: str, name: str) -> list[str]:
    """Return the paths that fit a name with `*` in it; in both parts an agent may have any name."""
    pattern = "/".join(filter(None, (glob.escape(folder), glob.escape(name).replace("[*]", "*"))))
    return [str(found.relative_to(root)) for found in root.glob(pattern.replace(TEMPLATE, "*"))]


def _old_names(root: Path) -> Iterator[str]:
    if not root.exists():
        return
    with os.scandir(root) as children:
        yield from (child.name for child in children if names.has_reader(child.name) or child.name == LEGACY)


def _beside(root: Path, path: str) -> Iterator[str]:
    """Find transcripts, archives and earlier indexes beside a configured index, and indexes of other agents."""
    folder, _, index = path.rpartition("/")
    indexes = {
        *_matching(root, folder, f"{index}.bak.*"),
        *(_matching(root, folder, index) if TEMPLATE in path else ()),
    }
    yield from (found for found in indexes if not _AGENTS.match(found))
    for found in _matching(root, folder, "*"):
        is_session = names.kind_of(posixpath.basename(found)) in (FileKind.TRANSCRIPT, FileKind.ARCHIVE)
        if is_session and not _AGENTS.match(found):
            yield found
