"""A directory beside the old sessions, where everything is written first; and the renames that put it in place.

```
PATH/.sessionstore-export-<id>/files/…     what is to be put in place
PATH/.sessionstore-export-<id>/ready.json  all of it is written and proven: the renames have begun, or are done
```

Killed before `ready.json`: the directory is thrown away by the next run. Killed after it: the next run finishes the
renames first. What was there is renamed, too, and never deleted.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sessionstore.migrate.errors import MigrationError

PREFIX = ".sessionstore-export-"
_READY = "ready.json"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose files are to be."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Move:
    """One thing that is put in place. Paths are relative.

    Attributes:
        staged: what is put there; empty where what is there only has to go.
        backup: where that goes, if there is something.
    """

    staged: str
    target: str
    backup: str


class Staging:
    """The directory of one run. Make it with `staged`."""

    def __init__(self, root: Path, run: str, owner: Owner | None) -> None:
        self.root = root
        self.owner = owner
        self.home = root / f"{PREFIX}{run}"
        self.files = self.home / "files"
        self._made: dict[str, Path] = {}

    def folder(self, path: str, like: Path | None = None) -> Path:
        """Make the directory `path` of what is to be put in place, and those above it.

        Args:
            like: an existing directory whose mode it takes; else it is for its owner alone.
        """
        made = self._made.get(path) or self._make(path)
        if like is not None:
            made.chmod(stat.S_IMODE(like.stat().st_mode))
        return made

    def _make(self, path: str) -> Path:
        made = self.files
        for name in Path(path).parts:
            made /= name
            with contextlib.suppress(FileExistsError):
                made.mkdir(0o700)
                self.own(made)
        return self._made.setdefault(path, made)

    @contextlib.contextmanager
    def file(self, path: Path) -> Iterator[BinaryIO]:
        """Write a new file, in place of one that this run wrote; it is for its owner alone."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb", buffering=256 * 1024) as stream:
            if self.owner:
                os.fchown(stream.fileno(), self.owner.uid, self.owner.gid)
            yield stream

    def put_in_place(self, moves: Sequence[Move]) -> list[str]:
        """Rename what is staged into place; return where what was there is now. Repeated, it finishes.

        All that is staged is on the disk before the first rename.

        Raises: MigrationError `Unfinished` where a rename fails; OSError before the first of them.
        """
        _check(self.root, moves)
        sync(self.home)
        ready = self.home / f"{_READY}.new"
        ready.write_text(json.dumps([[move.staged, move.target, move.backup] for move in moves]))
        sync(self.home)
        ready.rename(self.home / _READY)
        sync(self.home)
        backups = _carry_out(self, moves)
        self.discard()
        return backups

    def discard(self) -> None:
        """Throw away what this run wrote and did not put in place."""
        (self.home / _READY).unlink(missing_ok=True)
        shutil.rmtree(self.home, ignore_errors=True)

    def own(self, path: Path) -> None:
        """Give a directory to the owner."""
        if self.owner:
            os.chown(path, self.owner.uid, self.owner.gid, follow_symlinks=False)


@contextlib.contextmanager
def staged(root: Path, run: str, owner: Owner | None) -> Iterator[Staging]:
    """Make a staging directory below `root`, alone; what earlier runs left is finished or thrown away first.

    Raises: MigrationError `TargetBusy` while another export writes there; OSError.
    """
    root.mkdir(parents=True, exist_ok=True)
    with _alone(root):
        for home in sorted(root.glob(f"{PREFIX}*")):
            _settle(root, home, owner)
        staging = Staging(root, run, owner)
        staging.home.mkdir(0o700)
        staging.files.mkdir(0o700)
        try:
            yield staging
        except BaseException:
            # Once the renames have begun, they are for the next run to finish.
            if not (staging.home / _READY).exists():
                staging.discard()
            raise
        staging.discard()


def finish(root: Path, owner: Owner | None) -> bool:
    """Finish the renames of runs that were killed within them; return whether anything was left of them to do.

    Raises: MigrationError `TargetBusy`, `Unfinished`; OSError.
    """
    if next(root.glob(f"{PREFIX}*"), None) is None:
        return False
    with _alone(root):
        return sum(_settle(root, home, owner) for home in sorted(root.glob(f"{PREFIX}*"))) > 0


def sync(path: Path) -> None:
    """Wait until all that was written to the file system of `path` is on the disk."""
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        os.sync()
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        if syncfs(fd):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(fd)


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise MigrationError("TargetBusy", f"another export is writing to {root}; wait until it is done") from error
    finally:
        os.close(fd)


def _settle(root: Path, home: Path, owner: Owner | None) -> bool:
    """Finish the renames of a run that was killed within them, or throw away what it had not finished writing."""
    left = Staging(root, home.name.removeprefix(PREFIX), owner)
    moves = _left_to_do(root, home)
    is_begun = any(move.staged and os.path.lexists(left.files / move.staged) for move in moves)
    _carry_out(left, moves)
    sync(home)
    left.discard()
    return is_begun


def _left_to_do(root: Path, home: Path) -> list[Move]:
    """Read what a run was about to rename; it may lie in a directory that somebody else writes to."""
    if home.is_symlink():
        raise MigrationError("TargetUnwritable", f"{home} is a link, and none of ours; remove it")
    try:
        moves = [Move(*values) for values in json.loads((home / _READY).read_text())]
    except FileNotFoundError:
        return []
    _check(root, moves)
    return moves


def _check(root: Path, moves: Sequence[Move]) -> None:
    """Refuse what would lead out of `root`. Raises: MigrationError `TargetUnwritable`."""
    for path in [Path(path) for move in moves for path in (move.staged, move.target, move.backup)]:
        if path.is_absolute() or ".." in path.parts:
            raise MigrationError("TargetUnwritable", f"{path} is not within {root}; remove {root}/{PREFIX}* first")
        link = next((above for above in path.parents if (root / above).is_symlink() and above.name), None)
        if link is not None:
            raise MigrationError("TargetUnwritable", f"{root / link} is a link; it is not followed")


def _carry_out(staging: Staging, moves: Sequence[Move]) -> list[str]:
    """Rename. Raises: MigrationError `Unfinished` where that fails."""
    try:
        return _rename(staging, moves)
    except OSError as error:
        raise MigrationError(
            "Unfinished",
            f"{error.filename}: {error.strerror}; some of what was exported is in place, and some is not. Nothing "
            "is lost: when the cause is gone, run the same command again, which finishes it",
        ) from error


def _rename(staging: Staging, moves: Sequence[Move]) -> list[str]:
    backups = []
    # What only has to go comes first: once anything was put in place, all of that is gone, and what has its name is
    # new.
    has_begun = any(move.staged and not os.path.lexists(staging.files / move.staged) for move in moves)
    for move in moves:
        staged_path, target = staging.files / move.staged, staging.root / move.target
        if not os.path.lexists(staged_path) or (has_begun and not move.staged):
            continue
        _make_above(staging, target)
        if os.path.lexists(target) and (not move.staged or not is_empty(target)):
            backups.append(_put_aside(staging, target, move.backup))
        if move.staged:
            staged_path.rename(target)
    sync(staging.root)
    return backups


def _put_aside(staging: Staging, target: Path, backup: str) -> str:
    """Rename what is in place; a name that is taken is left alone."""
    free = backup
    number = 1
    while os.path.lexists(staging.root / free):
        number += 1
        free = f"{backup}-{number}"
    _make_above(staging, staging.root / free)
    target.rename(staging.root / free)
    return free


def _make_above(staging: Staging, target: Path) -> None:
    """Make the directories that `target` lies in, where they are missing."""
    missing = [path for path in target.parents if path.is_relative_to(staging.root) and not path.exists()]
    for path in reversed(missing):
        path.mkdir(0o700)
        staging.own(path)


def is_empty(path: Path) -> bool:
    """Tell whether this is an empty directory, which a rename replaces."""
    if not path.is_dir() or path.is_symlink():
        return False
    with os.scandir(path) as found:
        return next(found, None) is None
