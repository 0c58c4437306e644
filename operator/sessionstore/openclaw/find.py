"""Looks which layouts a state directory has, and gives their indexes in order of precedence.

The order is docs/design/0014-migration.md's, "Places". Each layout is a module of its own.
"""

from __future__ import annotations

from sessionstore.openclaw import agent_folders, databases, files, state_dir
from sessionstore.openclaw.reader import Findings
from sessionstore.openclaw.scratch import Scratch
from sessionstore.openclaw.tree import Tree

STATE_DIR = "/home/node/.openclaw"
"""Where OpenClaw's images have it."""


def find(
    tree: Tree, scratch: Scratch, max_file_bytes: int = files.DEFAULT_MAX_FILE_BYTES, state_dir_path: str = STATE_DIR
) -> Findings:
    """Find the places that hold sessions, and what looks like sessions but cannot be read.

    Args:
        state_dir_path: where the gateway sees the directory, for absolute paths in its configuration.

    Raises: SourceError, with reason `NothingFound` for a directory without any place for sessions.
    """
    # The databases that it does not read, `databases` does.
    problems = tuple(
        p for p in state_dir.find(tree, max_file_bytes).problems if not p.path.endswith(databases.DATABASE)
    )
    found = agent_folders.find(tree, scratch, max_file_bytes)
    return databases.add(Findings(found.indexes, found.folders, problems), tree, scratch, max_file_bytes)
