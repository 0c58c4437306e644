"""A database of a source as its readers share it: one copy, made anew where the source has changed since."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from sessionstore.openclaw import files, sqlite_copy
from sessionstore.openclaw.problems import Refused
from sessionstore.openclaw.scratch import Scratch
from sessionstore.openclaw.sqlite_copy import JOURNAL, LOG, Source
from sessionstore.openclaw.sqlite_database import Database
from sessionstore.openclaw.tree import printable


class DatabaseFile:
    """A database file, opened when it is first asked for."""

    def __init__(self, source: Source, scratch: Scratch) -> None:
        self.source, self._scratch = source, scratch
        self._database: Database | None = None
        self._refusal: Refused | None = None
        self._times: tuple[tuple[int, ...] | None, ...] | None = None
        self.damage: str | None = None
        """What is wrong with the tables, where the database can be opened all the same."""
        self.stamp: str | None = None
        """What changes with the database; None where the clock is too coarse to tell."""
        self.is_whole = False
        """Whether its events were looked through, and none has to be left out."""

    @property
    def path(self) -> str:
        """Where it is; printable."""
        return printable(self.source.path)

    def current(self) -> Database:
        """Return the database as it was when `refresh` was last called. Raises: Refused, SourceError."""
        if self._refusal:
            raise self._refusal
        return self._database or self.refresh()

    def refresh(self) -> Database:
        """Return the database as it is; copies it where that has changed. Raises: Refused, SourceError."""
        statuses = tuple(self.source.tree.status(self.source.path + suffix) for suffix in ("", LOG, JOURNAL))
        times = tuple(_times(status) if status else None for status in statuses)
        if times != self._times or self.stamp is None:
            self._forget()
            stamps = [files.stamp_of(status) if status else "" for status in statuses]
            self._open()
            self._times = times
            self.stamp = None if None in stamps else "/".join(stamp or "" for stamp in stamps)
        return self.current()

    def _open(self) -> None:
        try:
            self._database = Database(sqlite_copy.copy(self.source, self._scratch))
            self.damage = self._database.damage()
        except Refused as error:
            self._refusal = error

    def _forget(self) -> None:
        self._refusal = self.damage = self.stamp = self._times = None
        self.is_whole = False
        if self._database:
            database, self._database = self._database, None
            database.close()
            sqlite_copy.remove(database.file)


@dataclass(frozen=True, slots=True)
class FileBlob:
    """The bytes of a database, or of its log, as they are in the source; a `blob.Blob`."""

    source: Source
    suffix: str

    @property
    def size(self) -> int:
        status = self.source.tree.status(self.source.path + self.suffix)
        return status.st_size if status else 0

    def chunks(self) -> Iterator[bytes]:
        """Go through the bytes. Raises: Refused, SourceError."""
        return self.source.chunks(self.suffix)


@dataclass(frozen=True, slots=True)
class Cell:
    """A value of a database, however large; a `blob.Blob`."""

    file: DatabaseFile
    table: str
    column: str
    rowid: int

    @property
    def size(self) -> int:
        """How many bytes there are; 0 where a damaged database does not say."""
        try:
            return self.file.current().cell_size(self.table, self.column, self.rowid)
        except Refused:
            return 0

    def chunks(self) -> Iterator[bytes]:
        """Go through the bytes. Raises: Refused, SourceError."""
        return self.file.current().cell(self.table, self.column, self.rowid)


def _times(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
