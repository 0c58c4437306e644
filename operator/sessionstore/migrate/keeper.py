"""Keeps what is not carried, in the store, as documents: `migration/<source>/<shelf>/<id>`.

A document is one line of JSON that says what the bytes are, a line feed, then the bytes as they were. Its id is
made from its content, so that a migration that runs again writes the same documents and not more of them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.report import problem_document
from sessionstore.migrate.source import Lines as SourceLines
from sessionstore.migrate.source import SourceArchive, SourceSession
from sessionstore.migrate.stored import Lines
from sessionstore.openclaw.problems import Problem, Reason
from sessionstore.openclaw.transcript import Line
from sessionstore.sessions.record import Entry, Session, SessionKey
from sessionstore.sessions.store import Capability, Store

PART_BYTES = 64 * 1024 * 1024
"""A document holds at most this; what is longer goes on in `<id>/1` and so on. Redis' own limit is 512 MB."""

_SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Shelf(StrEnum):
    """What kind of thing is kept."""

    QUARANTINE = "quarantine"
    CONFLICTS = "conflicts"


def check_source_name(name: str) -> str:
    """Return `name`, or raise ValueError: it becomes part of document names."""
    if not _SOURCE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not 1-63 characters of A-Z a-z 0-9 . _ - that begin with a letter or digit")
    return name


def torn_problem(lines: SourceLines, torn: Line, key: str | None) -> Problem:
    """Say that a file ends within a line."""
    detail = f"the file ends within a line: {len(torn.raw)} bytes"
    return Problem(lines.path, Reason.TORN_LAST_LINE, detail, lines.reader.agent, key, torn.offset)


@dataclass(frozen=True, slots=True)
class Keeper:
    """Keeps things of one source."""

    store: Store
    source_name: str

    @property
    def can_keep(self) -> bool:
        """Whether the store has a place for documents. The source's bytes are safe without one: it is never written."""
        return Capability.DOCUMENTS in self.store.capabilities

    def name(self, rest: str) -> str:
        """Return the name of a document of this source."""
        return f"migration/{self.source_name}/{rest}"

    async def put(self, rest: str, body: bytes) -> None:
        """Write a document of this source, where the store has a place for it."""
        if self.can_keep:
            await self.store.put_document(self.name(rest), body)

    async def keep_problem(self, problem: Problem, raw: bytes) -> str:
        """Keep the bytes that `problem` speaks of; return the document's name, "" where there is no place for it."""
        return await self._keep(Shelf.QUARANTINE, problem_document(problem), raw)

    async def keep_refused(self, item: SourceSession | SourceArchive, problem: Problem) -> str:
        """Keep all that the source has of something that the store refuses: an entry and a line feed, then lines."""
        header = problem_document(problem)
        body = bytearray()
        if isinstance(item, SourceSession):
            header["entryBytes"] = len(item.entry.raw)
            body += item.entry.raw + b"\n"
        if item.lines:
            torn = item.lines.torn()
            body += b"".join(line + b"\n" for line in item.lines.whole()) + (torn.raw if torn else b"")
        return await self._keep(Shelf.QUARANTINE, header, bytes(body))

    async def keep_session(self, session: SourceSession) -> str:
        """Keep the source's side of a conflict."""
        header = _header("source", session.key, session.entry)
        body = bytearray(session.entry.raw + b"\n")
        for line in session.whole():
            body += line + b"\n"
        return await self._keep(Shelf.CONFLICTS, header, bytes(body))

    async def keep_entry(self, side: str, key: SessionKey, entry: Entry) -> str:
        """Keep an entry that a later one supersedes, of a session whose lines the other side all has."""
        return await self._keep(Shelf.CONFLICTS, _header(side, key, entry), entry.raw + b"\n")

    async def keep_stored(self, session: Session, lines: Lines) -> str:
        """Keep the store's side of a conflict. Raises: MigrationError where there is no place for it."""
        if not self.can_keep:
            raise MigrationError(
                "CannotKeep",
                f"session {session.key} differs in the store, which has no place to keep its side before it is "
                "replaced; use --conflicts KeepStore",
            )
        header = _header("store", session.key, session.entry)
        body = bytearray(session.entry.raw + b"\n")
        async for line in lines:
            body += line + b"\n"
        return await self._keep(Shelf.CONFLICTS, header, bytes(body))

    async def keep_archive(self, archive: SourceArchive) -> str:
        """Keep an archive of which the store has another version."""
        header = {"side": "source", "agent": archive.agent, "archive": archive.name}
        return await self._keep(Shelf.CONFLICTS, header, b"".join(line + b"\n" for line in archive.lines.whole()))

    async def _keep(self, shelf: Shelf, header: Mapping[str, Any], raw: bytes) -> str:
        if not self.can_keep:
            return ""
        document = json.dumps({**header, "bytes": len(raw)}, ensure_ascii=False).encode() + b"\n" + raw
        rest = f"{shelf}/{hashlib.sha256(document).hexdigest()[:16]}"
        parts = range(0, len(document), PART_BYTES)
        for number, start in enumerate(parts):
            await self.put(f"{rest}/{number}" if number else rest, document[start : start + PART_BYTES])
        return self.name(rest)


def _header(side: str, key: SessionKey, entry: Entry) -> dict[str, Any]:
    # An entry may hold line feeds, so its length says where the lines begin.
    return {"side": side, "agent": key.agent, "key": key.key, "entryBytes": len(entry.raw)}
