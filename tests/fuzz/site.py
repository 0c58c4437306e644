"""A valid state directory of some layout, and what a migration of it carries: what a mutant is compared with."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sessionstore.sessions import SessionKey
from tests.fuzz import carrying
from tests.migrate import states

CONFIGURATION = "openclaw.json"
DATABASE = b"SQLite format 3\0"
MAX_FILE_BYTES = 4 * 1024 * 1024
"""What the corpus lets a file have; above the limits of an entry would be slow, and shows nothing more."""


@dataclass(frozen=True)
class Known:
    """A session of the valid directory.

    Attributes:
        transcript: where its lines lie, relative to the directory; None where it has no file.
        indexes: the text files that hold its entry's bytes; where none does, the databases with what belongs to them.
    """

    key: SessionKey
    raw: bytes
    lines: tuple[bytes, ...]
    transcript: str | None
    indexes: tuple[str, ...]
    needed: tuple[str, ...] = ()
    """Other files without which these cannot be understood."""


@dataclass(frozen=True)
class Site:
    """A copy of the valid directory that may be broken. Paths are relative to `root`, and sorted."""

    root: Path
    outside: Path
    """What lies beside it, and nobody may look at."""
    files: tuple[str, ...]
    folders: tuple[str, ...]
    sessions: tuple[Known, ...]

    @property
    def lines_files(self) -> tuple[str, ...]:
        """Files of lines: transcripts, archives and what lies beside."""
        return tuple(name for name in self.files if ".jsonl" in name)

    @property
    def indexes(self) -> tuple[str, ...]:
        """Files that hold entries."""
        return tuple(sorted({name for known in self.sessions for name in known.indexes}))


@dataclass(frozen=True)
class Touch:
    """What a mutation did.

    Attributes:
        paths: files and directories that are not what they were, with all that lies below; "" is everything.
        entries: of an index that is whole but for some entries: (its path, bytes of the entry that was touched).
    """

    paths: frozenset[str] = frozenset()
    entries: frozenset[tuple[str, bytes]] = frozenset()

    def __or__(self, other: Touch) -> Touch:
        return Touch(self.paths | other.paths, self.entries | other.entries)

    def has(self, path: str) -> bool:
        """Tell whether a file is not what it was, for whatever reason."""
        return any(not touched or path == touched or path.startswith(f"{touched}/") for touched in self.paths)

    def spares(self, known: Known) -> bool:
        """Tell whether none of a session's own bytes was touched."""
        if any(self.has(path) for path in (*known.indexes, *known.needed, known.transcript or known.indexes[0])):
            return False
        return not any((path, known.raw) in self.entries for path in known.indexes)


def touched(*paths: str) -> Touch:
    """Return the Touch of whole files and directories."""
    return Touch(frozenset(paths))


def copy(layout: str, target: Path) -> Site:
    """Make a copy of the valid directory in `target`, which must not be there yet, and something outside of it."""
    template, sessions = _template(layout)
    root, outside = target / "state", target / "outside"
    shutil.copytree(template, root, symlinks=True)
    make_outside(outside)
    files, folders = _walk(root)
    return Site(root, outside, files, folders, sessions)


def make_outside(outside: Path) -> None:
    """Make a directory that looks as if one might want it, and would show that it was looked at."""
    (outside / "sessions").mkdir(parents=True)
    (outside / "sessions" / "sessions.json").write_bytes(b'{"canary":{"sessionId":"canary","updatedAt":1}}')
    (outside / "sessions" / "canary.jsonl").write_bytes(b'{"canary":true}\n')
    (outside / "canary.jsonl").write_bytes(b'{"canary":true}\n')
    # An access time before the change is renewed by the first look on every file system that keeps any.
    for path in (outside, *outside.rglob("*")):
        os.utime(path, (1, 2))


@functools.cache
def _template(layout: str) -> tuple[Path, tuple[Known, ...]]:
    """Build a layout once a process."""
    kept = tempfile.TemporaryDirectory(prefix="fuzz-")
    atexit.register(kept.cleanup)
    root = states.LAYOUTS[layout](Path(kept.name) / "template")
    contents = {name: (root / name).read_bytes() for name in _walk(root)[0]}
    return root, tuple(_known(session, contents) for session in carrying.sessions_of(root))


def _known(session: carrying.Session, contents: dict[str, bytes]) -> Known:
    # A database is named with its log, and a transcript in one with its id behind.
    databases = tuple(name for name in contents if ".sqlite" in name)
    path = f"{session.transcript}:"
    transcript = next((name for name in contents if path.startswith(f"{name}:")), None)
    texts = tuple(sorted(set(contents).difference(databases)))
    holding = tuple(name for name in texts if session.raw in contents[name] and ".jsonl" not in name)
    indexes = holding if holding and transcript not in databases else databases
    return Known(session.key, session.raw, session.lines, transcript, indexes, _says_how(indexes, contents))


def _says_how(indexes: tuple[str, ...], contents: dict[str, bytes]) -> tuple[str, ...]:
    """Return the files without which a session's own cannot be understood."""
    needed = []
    if not any(name.startswith("agents/") for name in indexes):
        needed.append(CONFIGURATION)
    if any("sessions.d/" in name for name in indexes):
        needed.extend(name for name in contents if name.endswith("/state.json"))
    if any(".sqlite" in name for name in indexes):
        needed.extend(name for name in contents if name.endswith(".jsonl.zst"))
    return tuple(needed)


def _walk(root: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = sorted(root.rglob("*"))
    files = tuple(str(path.relative_to(root)) for path in found if path.is_file())
    return files, tuple(str(path.relative_to(root)) for path in found if path.is_dir())
