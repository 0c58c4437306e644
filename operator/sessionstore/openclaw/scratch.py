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
        path = self.path(".sqlite")
        return Names(self.database(path), path)


class Names:
    """A set of byte strings on disk. Adding a million takes seconds, and memory for none of them."""

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        self._database, self._path = database, path
        database.execute("CREATE TABLE names (name BLOB PRIMARY KEY) WITHOUT ROWID")
        database.execute("BEGIN")

    def add(self, name: bytes) -> bool:
        """Add a name; return whether it was not there yet."""
        return self._database.execute("INSERT OR IGNORE INTO names VALUES (?)", (name,)).rowcount == 1

    def update(self, names: Iterable[bytes]) -> None:
        """Add many names."""
        self._database.executemany("INSERT OR IGNORE INTO names VALUES (?)", ((name,) for name in names))

    def close(self) -> None:
        """Forget them all."""
        self._database.close()
        self._path.unlink(missing_ok=True)

    def __contains__(self, name: bytes) -> bool:
        return self._database.execute("SELECT 1 FROM names WHERE name = ?", (name,)).fetchone() is not None

    def __iter__(self) -> Iterator[bytes]:
        """Go through the names, sorted by their bytes."""
        for (name,) in self._database.execute("SELECT name FROM names ORDER BY name"):
            yield name

    def __len__(self) -> int:
        (count,) = self._database.execute("SELECT count(*) FROM names").fetchone()
        return int(count)
