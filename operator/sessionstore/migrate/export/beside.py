"""Carries along what lies among the old sessions and is none: trajectories, prompts, whatever a person put there.

Such a file becomes a second name of the same file, so that it costs no room and the old directory stays whole.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

from sessionstore.openclaw import names
from sessionstore.openclaw.names import FileKind

_NO_LINKS = frozenset({errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES})
_PASSING = (".lock", ".tmp")
"""Of a write that was under way when the gateway ended."""


def carry(old: Path, new: Path) -> int:
    """Give every file of `old` that is no session's the same name in `new`; return how many."""
    carried = 0
    with os.scandir(old) as found:
        for child in found:
            if is_carried(child.name) and not os.path.lexists(new / child.name):
                carried += _carry(Path(child.path), new / child.name)
    return carried


def is_carried(name: str) -> bool:
    """Tell whether a name among the sessions is carried along.

    Indexes of any kind are not: a later migration would take old sessions from them.
    """
    if names.has_reader(name) or name.startswith(".sessionstore") or name.endswith(_PASSING):
        return False
    return names.kind_of(name) in (FileKind.BESIDE, FileKind.UNKNOWN)


def _carry(old: Path, new: Path) -> int:
    if old.is_dir() and not old.is_symlink():
        new.mkdir(0o700)
        shutil.copystat(old, new)
        with contextlib.suppress(PermissionError):
            os.chown(new, old.stat().st_uid, old.stat().st_gid)
        return sum(_carry(path, new / path.name) for path in sorted(old.iterdir()))
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError as error:
        # Some file systems have no second names; some systems give none of other people's files.
        if error.errno not in _NO_LINKS or not (old.is_file() or old.is_symlink()):
            raise
        shutil.copy2(old, new, follow_symlinks=False)
    return 1
