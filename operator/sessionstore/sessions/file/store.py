"""The Store on OpenClaw's own layout: `agents/<agent>/sessions/sessions.json` and `<transcript id>.jsonl`.

Processes of this library may share a directory on one machine: a lock file orders them. OpenClaw itself does not
know that lock, so a directory belongs to one or the other at a time; what OpenClaw changed in between is seen.
Differences from the contract are declared in tests/contract/capabilities.yaml; docs/design/0012-file.md says how.
"""

from __future__ import annotations

import builtins
import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from sessionstore.openclaw import rawjson
from sessionstore.openclaw.names import file_of
from sessionstore.sessions import clock, record, transitions
from sessionstore.sessions.exceptions import Conflict, InvalidEntry, InvalidKey, Unavailable, Unsupported
from sessionstore.sessions.file import transcripts
from sessionstore.sessions.file.room import NoDirectory, Nowhere, SessionRoom
from sessionstore.sessions.file.shelf import StateDirectory
from sessionstore.sessions.file.transcripts import LineReader, Moved
from sessionstore.sessions.local import Lines, LocalStore, Room
from sessionstore.sessions.plainfiles import Directory
from sessionstore.sessions.record import (
    INHERITED,
    ArchiveInfo,
    Entry,
    EntryLike,
    Lifetime,
    Session,
    SessionKey,
    TranscriptHead,
)
from sessionstore.sessions.store import Capability, Key
from sessionstore.sessions.transitions import Record

ARCHIVE_NAME = re.compile(r".+\.jsonl\.(reset|deleted|bak)\.[^/]+", re.DOTALL)
MAX_TRANSCRIPT_ID_BYTES = 200
"""File names hold 255 bytes, and an archive's is `<id>.jsonl.deleted.<24 characters>`."""
_TRIES = 20
_COUNTED = 10_000
"""Archives whose length is remembered."""

T = TypeVar("T")


class FileStore(LocalStore):
    """Sessions of one OpenClaw state directory."""

    def __init__(
        self,
        state_dir: Path,
        now_ms: Callable[[], int] = clock.now_ms,
        defaults: Lifetime = INHERITED,
        *,
        count_uses: bool = True,
    ) -> None:
        """Prepare; directories and files are made by the first write. `now_ms` gives milliseconds since the epoch."""
        self._files = StateDirectory(state_dir, now_ms, defaults)
        self._counted: dict[tuple[int, int, int], int] = {}
        super().__init__(self._files, now_ms, defaults, threads=True, count_uses=count_uses)

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.ARCHIVES, Capability.FEED, Capability.LEASES})

    async def set(
        self,
        key: Key,
        entry: EntryLike,
        *,
        expected: int | None = None,
        lifetime: Lifetime | None = None,
        fence: int | None = None,
    ) -> Session:
        made = _fitting(Entry.of(entry))
        return await super().set(key, made, expected=expected, lifetime=lifetime, fence=fence)

    async def create(
        self, key: Key, entry: EntryLike, lines: Sequence[bytes] = (), *, lifetime: Lifetime | None = None
    ) -> Session:
        return await super().create(key, _fitting(Entry.of(entry)), lines, lifetime=lifetime)

    async def exists(self, key: Key) -> bool:
        """Return whether there is a session. Tells no revision, so it writes nothing down."""
        name = SessionKey.of(key)
        found = await self._do(lambda: self._files.record(name))
        return transitions.current(found, self._now_ms()) is not None

    async def put_archive(
        self, agent: str, name: str, lines: Sequence[bytes], *, position: int = 0, replace: bool = False
    ) -> int:
        _check_archive(agent, name)
        added = b"".join(line + b"\n" for line in record.check_lines(lines))
        return await self._do(lambda: self._put_archive(agent, name, added, position, replace), writes=True)

    async def read_archive(self, agent: str, name: str, start: int = 0, stop: int | None = None) -> Lines | None:
        _check_archive(agent, name)
        return await self._do(lambda: self._read_archive(agent, name, start, stop))

    async def list_archives(self, *, agent: str | None = None) -> AsyncIterator[ArchiveInfo]:
        for info in await self._do(lambda: self._list_archives(agent)):
            yield info

    async def put_document(self, name: str, body: bytes) -> None:
        raise _no_documents()

    async def get_document(self, name: str) -> bytes | None:
        raise _no_documents()

    async def delete_document(self, name: str) -> bool:
        raise _no_documents()

    def list_documents(self, prefix: str = "") -> AsyncIterator[str]:
        raise _no_documents()

    async def _do(self, work: Callable[[], T], *, writes: bool = False) -> T:
        return await super()._do(lambda: self._at_last(work), writes=writes)

    def _at_last(self, work: Callable[[], T]) -> T:
        """Do a piece of work, and again where it found that it has to: nothing was changed until then."""
        for _ in range(_TRIES):
            try:
                return work()
            except NoDirectory as missing:
                with self._files.opened(missing.agent, create=True):
                    continue
            except Moved:
                continue
        raise Unavailable(f"a transcript in {self._files.path} is replaced again and again; try again", "timeout")

    def _fitted(self, room: Room, made: Record) -> Record:
        assert isinstance(room, SessionRoom | Nowhere)
        return room.fitted(made)

    def _has_begun(self, room: Room, name: SessionKey, head: TranscriptHead, lines: Lines) -> bool:
        assert isinstance(room, SessionRoom | Nowhere)
        if head.lines == 0:
            return False
        if head.lines > len(lines) or room.found(head) != lines[: head.lines]:
            why = f"is absent, and {file_of(head.id)} has {head.lines} other lines; `set` takes them over"
            raise Conflict(f"session {name} {why}", None)
        return head.lines == len(lines)

    def _put_archive(self, agent: str, name: str, added: bytes, position: int, replace: bool) -> int:
        with self._files.opened(agent, create=True) as directory:
            assert directory is not None
            with directory.locked():
                have = self._count(directory, name) or 0
                if have != position:
                    raise Conflict(f"archive {agent}/{name} has {have} lines, not {position}", None)
                (directory.replace if replace else directory.append)(name, added)
                return self._remember(directory, name, (0 if replace else have) + added.count(b"\n"))

    def _read_archive(self, agent: str, name: str, start: int, stop: int | None) -> Lines | None:
        with self._files.opened(agent) as directory:
            total = self._count(directory, name) if directory else None
            if directory is None or total is None:
                return None
            first, last, _ = slice(start, stop).indices(total)
            with directory.file(name, os.O_RDONLY) as file:
                if file is None:
                    return None
                size = os.fstat(file).st_size
                return LineReader().read(file, size, total, first, last) if first < last else ()

    def _list_archives(self, agent: str | None) -> builtins.list[ArchiveInfo]:
        found = []
        for owner in self._files.agents(agent):
            with self._files.opened(owner) as directory:
                for name in directory.names() if directory else ():
                    if directory is not None and ARCHIVE_NAME.fullmatch(name):
                        found.append(ArchiveInfo(owner, name, self._count(directory, name) or 0))
        return found

    def _count(self, directory: Directory, name: str) -> int | None:
        """Count an archive's lines; one that is as it was when last counted is not read again."""
        found = directory.stat(name)
        if found is None:
            return None
        known = self._counted.get((found.st_ino, found.st_size, found.st_mtime_ns))
        if known is not None:
            return known
        with directory.file(name, os.O_RDONLY) as file:
            lines = 0 if file is None else transcripts.count(file, 0, os.fstat(file).st_size)
        return self._remember(directory, name, lines)

    def _remember(self, directory: Directory, name: str, lines: int) -> int:
        found = directory.stat(name)
        if found is not None:
            if len(self._counted) >= _COUNTED:
                self._counted.clear()
            self._counted[(found.st_ino, found.st_size, found.st_mtime_ns)] = lines
        return lines


def _fitting(entry: Entry) -> Entry:
    """Return the entry as `sessions.json` will give it back: without white space."""
    transcript_id = entry.transcript_id
    if transcript_id and len(transcript_id.encode()) > MAX_TRANSCRIPT_ID_BYTES:
        raise InvalidEntry(
            f"the transcript id has {len(transcript_id.encode())} bytes; as a file name it may have "
            f"{MAX_TRANSCRIPT_ID_BYTES}"
        )
    raw = rawjson.compact(entry.raw)
    return entry if raw == entry.raw else Entry(raw)


def _check_archive(agent: str, name: str) -> None:
    record.check_agent(agent)
    record.check_archive_name(name)
    if not ARCHIVE_NAME.fullmatch(name):
        raise InvalidKey(f"archive name {name!r} is not OpenClaw's <stem>.jsonl.(reset|deleted|bak).<time>")


def _no_documents() -> Unsupported:
    return Unsupported("the file backend keeps no documents: OpenClaw's layout has no place for them")
