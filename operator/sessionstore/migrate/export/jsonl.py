"""Writes the portable dump: a stream of records, each session followed by its lines."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from sessionstore.migrate import dump, dump_records
from sessionstore.migrate.export.catalogue import Catalogue
from sessionstore.migrate.export.target import Lines
from sessionstore.migrate.items import Source
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions.record import Entry, Session, SessionKey

Reopen = Callable[[], AbstractContextManager[Source]]


class DumpTarget:
    """A dump, being written to `stream`; a `target.Target`."""

    def __init__(self, stream: BinaryIO, reopen: Reopen | None) -> None:
        """Begin a dump.

        Args:
            reopen: reads what was written; None where the stream is somebody else's.
        """
        self._stream = stream
        self._reopen = reopen
        self._whole = hashlib.sha256()
        self._write(dump_records.header())

    async def put_session(self, session: Session, lines: Lines) -> None:
        """Write a session; where it was written before, the later one counts."""
        self._write(dump_records.session(session))
        await self._put_lines(lines)

    def drop_session(self, key: SessionKey) -> None:
        """Write that a session is gone."""
        self._write(dump_records.deleted(key))

    async def put_archive(self, agent: str, name: str, lines: Lines) -> None:
        """Write an archive."""
        self._write(dump_records.archive(agent, name))
        await self._put_lines(lines)

    def finish(self, catalogue: Catalogue) -> None:
        """Write the last line."""
        totals = catalogue.totals()
        counts = {
            "sessions": totals.sessions,
            "lines": totals.lines,
            "archives": totals.archives,
            "archiveLines": totals.archive_lines,
        }
        self._stream.write(dump_records.end(counts, catalogue.digest(), self._whole.hexdigest()))
        self._stream.flush()

    def written(self) -> AbstractContextManager[Source] | None:
        return self._reopen() if self._reopen else None

    def entry_of(self, session: Session) -> Entry:
        return session.entry

    def stored_name(self, agent: str, written: str) -> str:
        return written

    async def _put_lines(self, lines: Lines) -> None:
        async for batch in lines:
            self._write(dump_records.lines(batch))

    def _write(self, record: bytes) -> None:
        self._whole.update(record)
        self._stream.write(record)


def reader(path: Path, scratch: Scratch) -> Reopen:
    """Return what reads the dump at `path` again."""
    return lambda: contextlib.nullcontext(dump.open_dump(path, scratch))
