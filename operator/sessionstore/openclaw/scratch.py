"""A private directory for what does not fit into memory, and sets of names in it. Gone when the run ends.

A source may hold a million sessions, a folder as many files: what must be remembered of them between two passes, or
sorted, is kept on disk. Nothing here outlives the process; a migration's memory is in the store.
"""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from sessionstore.openclaw.problems import SourceError

_UNSAFE = ("PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF", "PRAGMA cache_size=-8192", "PRAGMA temp_store=FILE")
"""A scratch file that a crash leaves behind is never read again."""
_MOST_BYTES = 8 * 1024 * 1024
"""Of a set of names in memory; a larger one is put on disk."""
_OF_A_NAME = 112
"""What a name takes in a set besides its own bytes, about."""


class Scratch:
    """A directory that only we may read; use it as a context manager."""

    def __init__(self, parent: Path | None = None) -> None:
        """Make a directory in `parent`, or where the system keeps temporary files. Raises: OSError."""
        self._folder = tempfile.TemporaryDirectory(prefix="sessionstore-", dir=parent)
        self._numbers = itertools.count()
        self._databases: list[sqlite3.Connection] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the directory away. Raises: SourceError `ScratchFull` where a database in it found no room."""
        for database in self._databases:
            database.close()
        self._folder.cleanup()
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            where = Path(self._folder.name).parent
            raise SourceError(
                "ScratchFull", f"no room in {where} for temporary files; make some, or name a directory with --scratch"
            ) from error

    def path(self, suffix: str = "") -> Path:
        """Return the path of a file that is not there yet."""
        return Path(self._folder.name) / f"{next(self._numbers)}{suffix}"

    def database(self, path: Path | None = None) -> sqlite3.Connection:
        """Open an empty database, quick and unsafe; it is closed with the scratch directory."""
        database = sqlite3.connect(path or self.path(".sqlite"), isolation_level=None)
        for pragma in _UNSAFE:
            database.execute(pragma)
        self._databases.append(database)
        return database

    def names(self) -> Names:
        """Make an empty set of names; it is gone with the scratch directory, or earlier when it is closed."""
        return Names(self, _MOST_BYTES)


class Names:
    """A set of byte strings: in memory while it is small, then on disk. A million take seconds, and little memory."""

    def __init__(self, scratch: Scratch, most_bytes: int) -> None:
        """Make an empty set, of which at most about `most_bytes` are in memory."""
        self._scratch, self._room = scratch, most_bytes
        self._few: set[bytes] = set()
        self._many: _NamesOnDisk | None = None

    def add(self, name: bytes) -> bool:
        """Add a name; return whether it was not there yet."""
        if self._many is not None:
            return self._many.add(name)
        if name in self._few:
            return False
        self._few.add(name)
        self._room -= len(name) + _OF_A_NAME
        if self._room < 0:
            self._many = _NamesOnDisk(self._scratch)
            self._many.update(self._few)
            self._few = set()
        return True

    def update(self, names: Iterable[bytes]) -> None:
        """Add many names."""
        rest = iter(names)
        for name in rest:
            self.add(name)
            if self._many is not None:
                self._many.update(rest)

    def close(self) -> None:
        """Forget them all."""
        self._few.clear()
        if self._many is not None:
            self._many.close()

    def __contains__(self, name: bytes) -> bool:
        return name in (self._few if self._many is None else self._many)

    def __iter__(self) -> Iterator[bytes]:
        """Go through the names, sorted by their bytes."""
        return iter(sorted(self._few) if self._many is None else self._many)


class _NamesOnDisk:
    """A set of byte strings in a database."""

    def __init__(self, scratch: Scratch) -> None:
        self._path = scratch.path(".sqlite")
        self._database = scratch.database(self._path)
        self._database.execute("CREATE TABLE names (name BLOB PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def add(self, name: bytes) -> bool:
        return self._database.execute("INSERT OR IGNORE INTO names VALUES (?)", (name,)).rowcount == 1

    def update(self, names: Iterable[bytes]) -> None:
        self._database.executemany("INSERT OR IGNORE INTO names VALUES (?)", ((name,) for name in names))

    def close(self) -> None:
        self._database.close()
        self._path.unlink(missing_ok=True)

    def __contains__(self, name: bytes) -> bool:
        return self._database.execute("SELECT 1 FROM names WHERE name = ?", (name,)).fetchone() is not None

    def __iter__(self) -> Iterator[bytes]:
        for (name,) in self._database.execute("SELECT name FROM names ORDER BY name"):
            yield name
