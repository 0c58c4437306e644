"""What must hold of a directory before an export writes into it. Nothing is changed here."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.export import placing
from sessionstore.migrate.export.staging import Owner, is_empty
from sessionstore.openclaw.database_places import DATABASE


def agents_of(root: Path) -> list[str]:
    """Return the agents that have a directory for sessions in the state directory `root`, sorted.

    Raises: MigrationError for what cannot be written into; OSError.
    """
    found = sorted(_agents(root))
    for agent in found:
        _check_agent(root, agent)
    return [agent for agent in found if (root / placing.folder_of(agent)).is_dir()]


def check_empty(root: Path, agents: Sequence[str]) -> None:
    """Refuse a directory that has sessions. Raises: MigrationError `TargetNotEmpty`."""
    for agent in agents:
        folder = root / placing.folder_of(agent)
        if not is_empty(folder):
            raise MigrationError(
                "TargetNotEmpty",
                f"{folder} is not empty; name an empty directory with --to, or replace what is there with --in-place "
                "(it stays beside, under another name)",
            )


def check_no_database(database: Path) -> None:
    """Refuse a place where a gateway has its sessions in a database. Raises: MigrationError `DatabaseInPlace`."""
    if os.path.lexists(database):
        raise MigrationError(
            "DatabaseInPlace",
            f"{database} holds the sessions of this gateway (OpenClaw 2026.8 or later), and much else. Files beside it "
            "would be merged into it, and sessions that were deleted since would come back. Export to an empty "
            "directory: a gateway that starts there takes the files in",
        )


def check_absent(path: Path) -> None:
    """Refuse a file that is there. Raises: MigrationError `TargetNotEmpty`."""
    if os.path.lexists(path):
        raise MigrationError("TargetNotEmpty", f"{path} is there already; name another place with --to")


def default_owner(root: Path) -> Owner | None:
    """Return whose files are to be where nobody says so: who owns the directory. None: whoever runs this.

    Raises: MigrationError `PermissionDenied` where only root could write such files.
    """
    if not root.exists():
        return None
    status = root.stat()
    if os.geteuid() not in (0, status.st_uid):
        raise MigrationError(
            "PermissionDenied",
            f"{root} belongs to uid {status.st_uid}, and this runs as uid {os.geteuid()}: the gateway could not write "
            f"what is put there. Run as uid {status.st_uid}, or say --owner",
        )
    return Owner(status.st_uid, status.st_gid)


def _agents(root: Path) -> Iterator[str]:
    folder = root / "agents"
    if not os.path.lexists(folder):
        return
    _check_directory(folder)
    with os.scandir(folder) as children:
        yield from (child.name for child in children if child.is_dir(follow_symlinks=False) or child.is_symlink())


def _check_agent(root: Path, agent: str) -> None:
    _check_directory(root / "agents" / agent)
    sessions = root / placing.folder_of(agent)
    if os.path.lexists(sessions):
        _check_directory(sessions)
        if sessions.stat().st_dev != root.stat().st_dev:
            raise MigrationError(
                "OtherVolume", f"{sessions} is another volume than {root}; export to a directory on that volume"
            )
    check_no_database(root / "agents" / agent / "agent" / DATABASE)


def _check_directory(path: Path) -> None:
    if not stat.S_ISDIR(path.lstat().st_mode):
        raise MigrationError("TargetUnwritable", f"{path} is a link or no directory; it is not followed")
