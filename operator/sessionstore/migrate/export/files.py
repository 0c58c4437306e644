"""Writes OpenClaw's files: an index, a transcript a session, archives beside them.

Transcripts are written as they are read. Entries wait in a scratch database until all of them are known, since an
index is written in one go, and a session that changes meanwhile is written again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sessionstore.migrate.export import placing
from sessionstore.migrate.export.catalogue import ARCHIVE, SESSION, Catalogue
from sessionstore.migrate.export.notes import Note, Notes, Remark
from sessionstore.migrate.export.placing import Place
from sessionstore.migrate.export.staging import Staging
from sessionstore.migrate.export.target import Lines
from sessionstore.migrate.items import Source
from sessionstore.openclaw import names
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions.record import INHERITED, NO_MARKS, Entry, Session, SessionKey

Entries = Iterator[tuple[str, str, bytes]]
"""Agent, key, the entry's bytes; by agent and key."""

_WRITING = ".writing"


class Indexes(Protocol):
    """How the entries are written."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether they lie apart from the transcripts."""

    def takes(self, key: SessionKey) -> bool:
        """Tell whether there is a place for this session."""

    def write(self, staging: Staging, agents: Sequence[str], entries: Entries) -> None:
        """Write all entries; `agents` are those that are to have an index, even an empty one."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which files, and for whom.

    Attributes:
        agents: those that get an index, though they have no session.
        stamp: the time, as OpenClaw has it in file names: `2026-11-20T10-08-10`.
    """

    place: Place
    indexes: Indexes
    stamp: str
    agents: Sequence[str] = ()


class FilesTarget:
    """OpenClaw's files, being written into a staging directory; a `target.Target`."""

    def __init__(
        self,
        staging: Staging,
        scratch: Scratch,
        layout: Layout,
        notes: Notes,
        reopen: Callable[[Path], AbstractContextManager[Source]],
    ) -> None:
        """Begin with nothing.

        Args:
            reopen: opens what was written as a source.
        """
        self._staging = staging
        self._layout = layout
        self._notes = notes
        self._reopen = reopen
        self._names = _FileNames(scratch)

    def entry_of(self, session: Session) -> Entry | None:
        """Return the entry with `sessionFile` as it is written; None where OpenClaw could not use it."""
        if session.entry.session_id is None:
            detail = "the entry has no sessionId, which OpenClaw needs; it is left out, and stays in the store"
            self._notes.add(Note(Remark.NO_SESSION_ID, session.key.agent, session.key.key, detail))
            return None
        if not self._layout.indexes.takes(session.key):
            detail = (
                "one index has the sessions of all agents, and this key does not name its agent; it stays in the store"
            )
            self._notes.add(Note(Remark.NO_PLACE, session.key.agent, session.key.key, detail))
            return None
        return self._layout.place.entry(session, self._names.stem(session.key) or placing.stem_of(session))

    async def put_session(self, session: Session, lines: Lines) -> None:
        """Write a session's transcript, and keep its entry for the index."""
        self.drop_session(session.key)
        self._note_marks(session)
        folder = self._staging.folder(placing.folder_of(session.key.agent))
        digest = await self._write(folder, lines)
        stem = placing.stem_of(session)
        holder = self._names.holder(session.key.agent, stem) if stem else None
        if stem and holder is not None and holder != digest:
            stem = placing.other_stem(stem, session.key)
        if stem and self._names.holder(session.key.agent, stem) is None:
            (folder / _WRITING).rename(folder / names.file_of(stem))
        else:
            # Two sessions may share a transcript, as a scheduled task and its runs do.
            (folder / _WRITING).unlink()
        if stem != session.entry.transcript_id:
            self._note_renamed(session.key.agent, session.key.key, f"{stem}.jsonl")
        self._names.take(session.key, stem, digest, self._layout.place.entry(session, stem).raw)

    def drop_session(self, key: SessionKey) -> None:
        """Take a session back: its entry, and its transcript where no other session has it."""
        stem = self._names.release(key)
        if stem and self._names.holder(key.agent, stem) is None:
            (self._staging.folder(placing.folder_of(key.agent)) / names.file_of(stem)).unlink()

    async def put_archive(self, agent: str, name: str, lines: Lines) -> None:
        """Write an archive under its own name, or, where that is taken or impossible, under one like it."""
        folder = self._staging.folder(placing.folder_of(agent))
        await self._write(folder, lines)
        written = self._free_name(folder, name)
        (folder / _WRITING).rename(folder / written)
        if written != name:
            self._note_renamed(agent, name, written)
            self._names.rename(agent, written, name)

    def finish(self, catalogue: Catalogue) -> None:
        """Write the indexes."""
        agents = sorted({*self._layout.agents, *catalogue.agents(SESSION), *catalogue.agents(ARCHIVE)})
        for agent in agents:
            self._staging.folder(placing.folder_of(agent))
        self._layout.indexes.write(self._staging, agents, self._names.entries())

    def written(self) -> AbstractContextManager[Source]:
        # Without any agent it would be no state directory.
        self._staging.folder("agents")
        return self._reopen(self._staging.files)

    def stored_name(self, agent: str, written: str) -> str:
        return self._names.original(agent, written) or written

    def _free_name(self, folder: Path, name: str) -> str:
        written = placing.archive_file(name)
        number = 0
        while written is None or os.path.lexists(folder / written):
            written = placing.other_archive_file(name, self._layout.stamp, number)
            number += 1
        return written

    async def _write(self, folder: Path, lines: Lines) -> str:
        """Write lines to a file that has no name yet; return their digest."""
        seen = hashlib.sha256()
        with self._staging.file(folder / _WRITING) as stream:
            async for batch in lines:
                data = b"".join([line + b"\n" for line in batch])
                seen.update(data)
                stream.write(data)
        return seen.hexdigest()

    def _note_marks(self, session: Session) -> None:
        if session.marks != NO_MARKS or session.lifetime != INHERITED:
            detail = "title, tags, pin, reason or lifetime stay in the store; files have no place for them"
            self._notes.add(Note(Remark.MARKS_NOT_KEPT, session.key.agent, session.key.key, detail))

    def _note_renamed(self, agent: str, name: str, file: str) -> None:
        self._notes.add(Note(Remark.RENAMED, agent, name, f"written as {file}"))


class _FileNames:
    """Which session has which file, and the entries, in a scratch database."""

    def __init__(self, scratch: Scratch) -> None:
        self._database = scratch.database()
        self._database.execute(
            "CREATE TABLE placed (agent TEXT, key TEXT, stem TEXT, digest TEXT, entry BLOB, PRIMARY KEY (agent, key))"
        )
        self._database.execute("CREATE INDEX stems ON placed (agent, stem)")
        self._database.execute("CREATE TABLE renamed (agent TEXT, written TEXT, name TEXT)")
        self._database.execute("CREATE INDEX renames ON renamed (agent, written)")
        self._database.execute("BEGIN")

    def take(self, key: SessionKey, stem: str | None, digest: str, entry: bytes) -> None:
        """Give a file to a session."""
        values = (key.agent, key.key, stem, digest, entry)
        self._database.execute("INSERT INTO placed VALUES (?, ?, ?, ?, ?)", values)

    def release(self, key: SessionKey) -> str | None:
        """Forget a session; return the stem of its file."""
        stem = self.stem(key)
        self._database.execute("DELETE FROM placed WHERE agent = ? AND key = ?", (key.agent, key.key))
        return stem

    def stem(self, key: SessionKey) -> str | None:
        """Return the stem of a session's file."""
        return self._one("SELECT stem FROM placed WHERE agent = ? AND key = ?", key.agent, key.key)

    def holder(self, agent: str, stem: str) -> str | None:
        """Return the digest of the lines that the file of this stem has; None where there is none."""
        return self._one("SELECT digest FROM placed WHERE agent = ? AND stem = ?", agent, stem)

    def rename(self, agent: str, written: str, name: str) -> None:
        """Note that an archive has another name than in the store."""
        self._database.execute("INSERT INTO renamed VALUES (?, ?, ?)", (agent, written, name))

    def original(self, agent: str, written: str) -> str | None:
        """Return the name that a renamed archive has in the store."""
        return self._one("SELECT name FROM renamed WHERE agent = ? AND written = ?", agent, written)

    def entries(self) -> Entries:
        """Go through the entries, by agent and key."""
        yield from self._database.execute("SELECT agent, key, entry FROM placed ORDER BY agent, key")

    def _one(self, query: str, *values: str) -> str | None:
        found = self._database.execute(query, values).fetchone()
        return None if found is None else found[0]
