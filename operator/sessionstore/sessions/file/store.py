"""The Store on OpenClaw's own layout: `agents/<agent>/sessions/sessions.json` and `<transcript id>.jsonl`.

Processes of this library may share a directory on one machine: a lock file orders them. OpenClaw itself does not
know that lock, so a directory belongs to one or the other at a time; what OpenClaw changed in between is seen.
Differences from the contract are declared in tests/contract/capabilities.yaml and told in docs/library.md.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

from sessionstore.sessions import clock, paging, record
from sessionstore.sessions.exceptions import Conflict, InvalidEntry, InvalidKey, Unavailable, Unsupported
from sessionstore.sessions.file.agent import AgentSessions
from sessionstore.sessions.plainfiles import Directory, lines_of, translated
from sessionstore.sessions.record import (
    ArchiveInfo,
    Entry,
    EntryLike,
    Page,
    Session,
    SessionInfo,
    SessionKey,
    Status,
    Transcript,
    TranscriptHead,
)
from sessionstore.sessions.store import Capability, Key

ARCHIVE_NAME = re.compile(r".+\.jsonl\.(reset|deleted|bak)\.[^/]+", re.DOTALL)
MAX_TRANSCRIPT_ID_BYTES = 200
"""File names hold 255 bytes, and an archive's is `<id>.jsonl.deleted.<24 characters>`."""

T = TypeVar("T")
Rows = list[SessionInfo]
Archives = list[ArchiveInfo]
Lines = list[bytes]
Names = list[str]


class FileStore:
    """Sessions of one OpenClaw state directory."""

    def __init__(self, state_dir: Path, now_ms: Callable[[], int] = clock.now_ms) -> None:
        """Prepare; directories and files are made by the first write. `now_ms` gives milliseconds since the epoch."""
        self._state_dir = state_dir
        self._now_ms = now_ms

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.ARCHIVES})

    async def get(self, key: Key) -> Session | None:
        return await asyncio.to_thread(self._get, SessionKey.of(key))

    async def set(self, key: Key, entry: EntryLike, *, expected: int | None = None) -> Session:
        return await asyncio.to_thread(self._set, SessionKey.of(key), _fitting(Entry.of(entry)), expected)

    async def delete(self, key: Key, *, expected: int | None = None) -> bool:
        return await asyncio.to_thread(self._delete, SessionKey.of(key), expected)

    async def exists(self, key: Key) -> bool:
        return await asyncio.to_thread(self._exists, SessionKey.of(key))

    async def append(
        self, key: Key, lines: Sequence[bytes], *, position: int | None = None, generation: int | None = None
    ) -> TranscriptHead:
        name, lines = SessionKey.of(key), record.check_lines(lines)
        return await asyncio.to_thread(self._append, name, lines, position, generation)

    async def rewrite(self, key: Key, lines: Sequence[bytes], *, generation: int | None = None) -> TranscriptHead:
        name, lines = SessionKey.of(key), record.check_lines(lines)
        return await asyncio.to_thread(self._rewrite, name, lines, generation)

    async def read(self, key: Key, start: int = 0, stop: int | None = None) -> Transcript | None:
        return await asyncio.to_thread(self._read, SessionKey.of(key), start, stop)

    async def list(
        self, *, agent: str | None = None, status: Status | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page:
        rows = await asyncio.to_thread(self._list, agent) if status in (None, Status.ACTIVE) else []
        return paging.page(rows, limit, cursor)

    async def close(self) -> None:
        """Do nothing: no file stays open between calls."""

    async def put_archive(self, agent: str, name: str, lines: Sequence[bytes], *, position: int = 0) -> int:
        _check_archive(agent, name)
        return await asyncio.to_thread(self._put_archive, agent, name, record.check_lines(lines), position)

    async def read_archive(
        self, agent: str, name: str, start: int = 0, stop: int | None = None
    ) -> tuple[bytes, ...] | None:
        _check_archive(agent, name)
        lines = await asyncio.to_thread(self._read_archive, agent, name)
        return None if lines is None else tuple(lines[start:stop])

    async def list_archives(self, *, agent: str | None = None) -> AsyncIterator[ArchiveInfo]:
        for info in await asyncio.to_thread(self._list_archives, agent):
            yield info

    async def put_document(self, name: str, body: bytes) -> None:
        raise _no_documents()

    async def get_document(self, name: str) -> bytes | None:
        raise _no_documents()

    async def delete_document(self, name: str) -> bool:
        raise _no_documents()

    def list_documents(self, prefix: str = "") -> AsyncIterator[str]:
        raise _no_documents()

    def _get(self, name: SessionKey) -> Session | None:
        return self._on_record(name.agent, lambda sessions: sessions.session(name))

    def _set(self, name: SessionKey, entry: Entry, expected: int | None) -> Session:
        with self._writing(name.agent) as sessions:
            sessions.expect(name, expected)
            return sessions.put(name, entry, self._now_ms())

    def _delete(self, name: SessionKey, expected: int | None) -> bool:
        with self._reading(name.agent) as absent:
            if absent is None and expected in (None, 0):
                return False
        with self._writing(name.agent) as sessions:
            if sessions.expect(name, expected) is None:
                return False
            sessions.drop(name, self._now_ms())
            return True

    def _exists(self, name: SessionKey) -> bool:
        with self._reading(name.agent) as sessions:
            return sessions is not None and name.key in sessions.entries

    def _append(
        self, name: SessionKey, lines: Sequence[bytes], position: int | None, generation: int | None
    ) -> TranscriptHead:
        with self._writing(name.agent) as sessions:
            sessions.check_transcript(name, position, generation)
            return sessions.append(name, lines, self._now_ms())

    def _rewrite(self, name: SessionKey, lines: Sequence[bytes], generation: int | None) -> TranscriptHead:
        with self._writing(name.agent) as sessions:
            sessions.check_transcript(name, None, generation)
            return sessions.rewrite(name, lines, self._now_ms())

    def _read(self, name: SessionKey, start: int, stop: int | None) -> Transcript | None:
        return self._on_record(name.agent, lambda sessions: sessions.read(name, start, stop))

    def _list(self, agent: str | None) -> Rows:
        rows: Rows = []
        for owner in self._agents(agent):
            rows += self._on_record(owner, AgentSessions.rows) or []
        return rows

    def _on_record(self, agent: str, look: Callable[[AgentSessions], T]) -> T | None:
        """Return what `look` finds, or None where the agent has no directory.

        The revisions and generations that are handed out become the base of a compare-and-set, so what another program
        changed has to be on record first: two changes of its must not pass as one.
        """
        with self._reading(agent) as sessions:
            if sessions is None:
                return None
            found, noticed = look(sessions), sessions.noticed
        if not noticed:
            return found
        try:
            with self._writing(agent) as sessions:
                found = look(sessions)
                sessions.save_revisions()
                return found
        except Unavailable as error:
            if error.reason in ("readonly", "permission"):
                return found  # Nobody can write here through this library, so nobody can lose a race.
            raise

    def _put_archive(self, agent: str, name: str, lines: Sequence[bytes], position: int) -> int:
        with _opened(self._state_dir, agent, create=True) as directory:
            assert directory is not None
            with directory.locked():
                have = len(lines_of(directory.read(name) or b""))
                if have != position:
                    raise Conflict(f"archive {agent}/{name} has {have} lines, not {position}", None)
                directory.append(name, b"".join(line + b"\n" for line in lines))
                return have + len(lines)

    def _read_archive(self, agent: str, name: str) -> Lines | None:
        with _opened(self._state_dir, agent, create=False) as directory:
            data = None if directory is None else directory.read(name)
            return None if data is None else lines_of(data)

    def _list_archives(self, agent: str | None) -> Archives:
        found: Archives = []
        for owner in self._agents(agent):
            with _opened(self._state_dir, owner, create=False) as directory:
                for name in directory.names() if directory else ():
                    if ARCHIVE_NAME.fullmatch(name) and directory is not None:
                        found.append(ArchiveInfo(owner, name, len(lines_of(directory.read(name) or b""))))
        return found

    def _agents(self, agent: str | None) -> Names:
        return [owner for owner in _agents_of(self._state_dir) if agent in (None, owner)]

    @contextmanager
    def _reading(self, agent: str) -> Iterator[AgentSessions | None]:
        with _opened(self._state_dir, agent, create=False) as directory:
            yield None if directory is None else AgentSessions(agent, directory)

    @contextmanager
    def _writing(self, agent: str) -> Iterator[AgentSessions]:
        with _opened(self._state_dir, agent, create=True) as directory:
            assert directory is not None
            with directory.locked():
                yield AgentSessions(agent, directory)


def _opened(state_dir: Path, agent: str, *, create: bool) -> AbstractContextManager[Directory | None]:
    return Directory.opened(state_dir, "agents", agent, "sessions", create=create)


def _agents_of(state_dir: Path) -> list[str]:
    """Return the names of the directories under `agents`, sorted."""
    path = state_dir / "agents"
    with translated(path):
        try:
            with os.scandir(path) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []


def _fitting(entry: Entry) -> Entry:
    transcript_id = entry.transcript_id
    if transcript_id and len(transcript_id.encode()) > MAX_TRANSCRIPT_ID_BYTES:
        raise InvalidEntry(
            f"the transcript id has {len(transcript_id.encode())} bytes; as a file name it may have "
            f"{MAX_TRANSCRIPT_ID_BYTES}"
        )
    return entry


def _check_archive(agent: str, name: str) -> None:
    record.check_agent(agent)
    record.check_archive_name(name)
    if not ARCHIVE_NAME.fullmatch(name):
        raise InvalidKey(f"archive name {name!r} is not OpenClaw's <stem>.jsonl.(reset|deleted|bak).<time>")


def _no_documents() -> Unsupported:
    return Unsupported("the file backend keeps no documents: OpenClaw's layout has no place for them")
