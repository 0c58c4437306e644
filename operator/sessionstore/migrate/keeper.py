"""Keeps what is not carried, as documents of the store: `migration/<source>/<shelf>/<id>`, and `<id>/1` and so on.

On request it is kept in a directory, too; where the store has no documents, there alone. `shelves.py` reads what is
kept, `pages.py` keeps rows.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from sessionstore.migrate import kept, stored
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.folder import Folder
from sessionstore.migrate.items import Lines, SourceArchive, SourceSession
from sessionstore.migrate.kept import Chunks, Kind, Shelf, Thing
from sessionstore.migrate.report import problem_document
from sessionstore.openclaw.blob import Blob
from sessionstore.openclaw.problems import Problem, Reason
from sessionstore.openclaw.transcript import Line
from sessionstore.sessions.exceptions import Conflict
from sessionstore.sessions.record import INHERITED, NO_MARKS, Entry, Lifetime, Marks, Session, SessionKey, Status
from sessionstore.sessions.store import Capability, Store

ROOT = "migration"
"""What the names of all of a migration's documents begin with."""
_SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def check_source_name(name: str) -> str:
    """Return `name`, or raise ValueError: it becomes part of document names."""
    if not _SOURCE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not 1-63 characters of A-Z a-z 0-9 . _ - that begin with a letter or digit")
    return name


def document_name(source_name: str, rest: str) -> str:
    """Return the name of a document of a source."""
    return f"{ROOT}/{source_name}/{rest}"


def torn_problem(path: str, torn: Line, agent: str | None, key: str | None) -> Problem:
    """Say that a file ends within a line."""
    detail = f"the file ends within a line: {len(torn.raw)} bytes"
    return Problem(path, Reason.TORN_LAST_LINE, detail, agent, key, torn.offset)


@dataclass(frozen=True, slots=True)
class Keeper:
    """Keeps things of one source.

    Each method returns the name of the document, the path of the file where there is no document, and "" where there
    is no place at all: the source's bytes are safe without one, since it is never written. Each can be repeated.
    """

    store: Store
    source_name: str
    folder: Folder | None = None

    @property
    def can_keep(self) -> bool:
        """Whether there is a place for what is kept."""
        return self._has_documents or self.folder is not None

    @property
    def _has_documents(self) -> bool:
        return Capability.DOCUMENTS in self.store.capabilities

    def name(self, rest: str) -> str:
        """Return the name of a document of this source."""
        return document_name(self.source_name, rest)

    async def put(self, rest: str, body: bytes) -> None:
        """Write a document of this source, where the store has a place for it."""
        if self._has_documents:
            await self.store.put_document(self.name(rest), body)

    async def get(self, rest: str) -> bytes | None:
        """Return a document of this source."""
        return await self.store.get_document(self.name(rest)) if self._has_documents else None

    async def delete(self, rest: str) -> None:
        """Forget a document of this source."""
        if self._has_documents:
            await self.store.delete_document(self.name(rest))

    async def remove(self, prefix: str) -> int:
        """Delete the documents of this source whose names begin with `prefix`; return how many there were."""
        if not self._has_documents:
            return 0
        names = [name async for name in self.store.list_documents(self.name(prefix))]
        for name in names:
            await self.store.delete_document(name)
        return len(names)

    async def keep(self, shelf: Shelf, header: Mapping[str, Any], chunks: Chunks) -> str:
        """Keep bytes of any number, of which `header` says what they are.

        Raises: MigrationError where they change meanwhile, or the directory fails; Unavailable.
        """
        if not self.can_keep:
            return ""
        thing = await kept.weigh(header, chunks)
        path = await self.folder.write(shelf, thing) if self.folder else ""
        return await self._write(shelf, thing) if self._has_documents else path

    async def keep_problem(self, problem: Problem, blob: Blob, *, is_archive: bool = False) -> str:
        """Keep the bytes that `problem` speaks of."""
        header = {"kind": _kind(problem, is_archive=is_archive)} | problem_document(problem)
        return await self.keep(Shelf.QUARANTINE, header, _of_blob(blob))

    async def keep_refused(self, item: SourceSession | SourceArchive, problem: Problem) -> str:
        """Keep all that the source has of something that the store refuses."""
        if isinstance(item, SourceSession):
            header = problem_document(problem) | _session_header(item) | _beside(item)
            return await self.keep(Shelf.QUARANTINE, header, _of_entry(item.entry, item.lines, with_torn=True))
        header = problem_document(problem) | _archive_header(item)
        return await self.keep(Shelf.QUARANTINE, header, _of_lines(item.lines, with_torn=True))

    async def keep_session(self, session: SourceSession) -> str:
        """Keep the source's side of a conflict."""
        header = {"side": "source"} | _session_header(session) | _beside(session)
        return await self.keep(Shelf.CONFLICTS, header, _of_entry(session.entry, session.lines))

    async def keep_entry(self, side: str, key: SessionKey, entry: Entry) -> str:
        """Keep an entry that a later one supersedes, of a session whose lines the other side all has."""
        header = {"side": side, "kind": Kind.ENTRY} | _entry_header(key, entry)
        return await self.keep(Shelf.CONFLICTS, header, _of_entry(entry, None))

    async def keep_stored(self, session: Session) -> str:
        """Keep the store's side of a conflict.

        Raises: MigrationError where there is no place for it; Conflict where it changes meanwhile.
        """
        if not self.can_keep:
            raise MigrationError(
                "CannotKeep",
                f"session {session.key} differs in the store, which has no place to keep its side before it is "
                "replaced; use --conflicts KeepStore, or --quarantine-dir",
            )
        header = {"side": "store"} | _session_header(session) | _beside(session)
        try:
            return await self.keep(Shelf.CONFLICTS, header, self._of_stored(session))
        except MigrationError as error:
            if error.reason != "SourceChanged":
                raise
            raise Conflict(f"session {session.key} changed while it was kept", None) from error

    async def keep_archive(self, archive: SourceArchive, side: str = "source") -> str:
        """Keep an archive of which the other side has another version."""
        header = {"side": side} | _archive_header(archive)
        return await self.keep(Shelf.CONFLICTS, header, _of_lines(archive.lines))

    async def _write(self, shelf: Shelf, thing: Thing) -> str:
        """Write the header last: what has one is whole."""
        rest, number, first = f"{shelf}/{thing.id}", -1, b""
        try:
            async for part in kept.parts(thing.pieces()):
                number += 1
                if number:
                    await self.put(f"{rest}/{number}", part)
                else:
                    first = part
        except MigrationError:
            for written in range(1, number + 1):
                await self.store.delete_document(self.name(f"{rest}/{written}"))
            raise
        await self.put(rest, thing.line + b"\n" + first)
        return self.name(rest)

    def _of_stored(self, session: Session) -> Chunks:
        async def chunks() -> AsyncIterator[bytes]:
            yield session.entry.raw + b"\n"
            async for lines in stored.slices(stored.reader(self.store, session.key)):
                yield b"".join(line + b"\n" for line in lines)

        return chunks


_NO_LINES = frozenset({Reason.UNDECODABLE, Reason.DAMAGED_DATABASE, Reason.TOO_LARGE})
"""Of an archive that is kept as its bytes are: compressed, or a piece of a database."""


def _kind(problem: Problem, *, is_archive: bool) -> Kind:
    if problem.reason is Reason.TORN_LAST_LINE:
        return Kind.TORN
    if is_archive:
        return Kind.BYTES if problem.reason in _NO_LINES else Kind.ARCHIVE
    return Kind.BYTES if problem.key is None else Kind.ENTRY


def _entry_header(key: SessionKey, entry: Entry) -> dict[str, Any]:
    # An entry may hold line feeds, so its length says where the lines begin.
    return {"agent": key.agent, "key": key.key, "entryBytes": len(entry.raw)}


def _session_header(session: SourceSession | Session) -> dict[str, Any]:
    return {"kind": Kind.SESSION} | _entry_header(session.key, session.entry)


def _archive_header(archive: SourceArchive) -> dict[str, Any]:
    return {"kind": Kind.ARCHIVE, "agent": archive.agent, "archive": archive.name}


def _beside(session: SourceSession | Session) -> dict[str, Any]:
    """Return what a store says of a session beside its entry, where that is more than nothing."""
    said: dict[str, Any] = {}
    if session.status is not Status.ACTIVE:
        said["status"] = session.status.value
    if session.marks != NO_MARKS:
        said["marks"] = _marks(session.marks)
    if session.lifetime != INHERITED:
        said["lifetime"] = _lifetime(session.lifetime)
    return said


def _marks(marks: Marks) -> dict[str, Any]:
    return {"title": marks.title, "tags": list(marks.tags), "pinned": marks.pinned, "reason": marks.reason}


def _lifetime(lifetime: Lifetime) -> dict[str, int | None]:
    return {"ttlMs": lifetime.ttl_ms, "idleMs": lifetime.idle_ms}


def _of_blob(blob: Blob) -> Chunks:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in blob.chunks():
            yield chunk

    return chunks


def _of_entry(entry: Entry, lines: Lines | None, *, with_torn: bool = False) -> Chunks:
    async def chunks() -> AsyncIterator[bytes]:
        yield entry.raw + b"\n"
        if lines is not None:
            async for chunk in _of_lines(lines, with_torn=with_torn)():
                yield chunk

    return chunks


def _of_lines(lines: Lines, *, with_torn: bool = False) -> Chunks:
    async def chunks() -> AsyncIterator[bytes]:
        async for batch in lines.batches():
            yield b"".join(line + b"\n" for line in batch.lines)
            if batch.torn and with_torn:
                yield batch.torn.raw

    return chunks
