"""What the phases of an export ask of a format."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from sessionstore.migrate.export.catalogue import Catalogue
from sessionstore.migrate.items import Source
from sessionstore.sessions.record import Entry, Session, SessionKey

Lines = AsyncIterator[Sequence[bytes]]


class Target(Protocol):
    """A format, being written. Raises OSError as the file system does."""

    def entry_of(self, session: Session) -> Entry | None:
        """Return the entry as this format holds it; None where it has no place for the session."""

    async def put_session(self, session: Session, lines: Lines) -> None:
        """Write a session, in place of what was written of it before. Raises: what `lines` raises."""

    def drop_session(self, key: SessionKey) -> None:
        """Take back a session that was written."""

    async def put_archive(self, agent: str, name: str, lines: Lines) -> None:
        """Write an archive; each is written once."""

    def finish(self, catalogue: Catalogue) -> None:
        """Write what can be written only at the end: the indexes."""

    def written(self) -> AbstractContextManager[Source] | None:
        """Open what was written, for the proof; None where it went to a stream."""

    def stored_name(self, agent: str, written: str) -> str:
        """Return the name that an archive has in the store."""
