"""Makes sessions and archives of what is kept, or of what a person has mended, so that they can be carried again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sessionstore.migrate import shelves, stored
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.items import Lines, SourceArchive, SourceSession
from sessionstore.migrate.kept import Chunks, Kind
from sessionstore.migrate.shelves import Found
from sessionstore.openclaw import names, transcript
from sessionstore.openclaw.transcript import BATCH_LINES, Batch, Line
from sessionstore.sessions import record
from sessionstore.sessions.exceptions import InvalidEntry
from sessionstore.sessions.record import MAX_ENTRY_BYTES, Entry, Lifetime, Marks, SessionKey, Status
from sessionstore.sessions.store import Store

_BLOCK = 1024 * 1024
_ADVICE: dict[str, str] = {
    Kind.TORN: "the end of a line is nothing by itself: complete the line in a copy of the source and migrate that, or "
    "append it with a program; then drop this",
    Kind.BYTES: "it is no single session: mend the file in a copy of the source and migrate that; then drop this",
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person wants otherwise than it was.

    Attributes:
        file: mended bytes, instead of those that are kept: an entry, and behind it on a new line its lines, if any; of
            an archive its lines.
        agent, key: what it is to be called; the key of an archive is its file name.
    """

    file: Path | None = None
    agent: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class KeptLines:
    """A transcript within bytes that are kept: what comes after the first `skip` of them."""

    chunks: Chunks
    path: str
    skip: int = 0
    stamp: str | None = None

    def few(self) -> list[bytes] | None:
        return None

    async def batches(self) -> AsyncIterator[Batch]:
        """Go through the lines."""
        pieces: list[bytes] = []
        offset = self.skip
        async for chunk in _behind(self.chunks(), self.skip):
            if b"\n" not in chunk:
                # A line may be longer than many chunks: they are put together once.
                pieces.append(chunk)
                continue
            *whole, rest = b"".join((*pieces, chunk)).split(b"\n")
            pieces = [rest]
            for batch in _batches(whole, offset):
                yield batch
            offset += sum(map(len, whole)) + len(whole)
        if last := b"".join(pieces):
            yield _last(last, offset)


@dataclass(frozen=True, slots=True)
class ArchivedLines:
    """A transcript that a store has as an archive."""

    store: Store
    agent: str
    path: str
    stamp: str | None = None

    def few(self) -> list[bytes] | None:
        return None

    async def batches(self) -> AsyncIterator[Batch]:
        """Go through the lines."""
        async for lines in stored.slices(stored.archive_reader(self.store, self.agent, self.path)):
            yield Batch(list(lines))


async def item_of(store: Store, found: Found, wishes: Wishes) -> SourceSession | SourceArchive:
    """Return what is kept as it can be carried.

    Raises: MigrationError where nothing can be made of it; InvalidKey, InvalidEntry; Unreadable; Unavailable.
    """
    kind = found.text("kind") or ""
    if kind == Kind.ARCHIVE:
        return _archive(store, found, wishes)
    if kind in (Kind.SESSION, Kind.ENTRY):
        return await _session(store, found, wishes)
    raise MigrationError("NotRetried", _ADVICE.get(kind, f"this version does not know things of the kind {kind!r}"))


def _archive(store: Store, found: Found, wishes: Wishes) -> SourceArchive:
    name = wishes.key or found.text("archive") or (found.text("path") or "").rpartition("/")[2]
    agent = wishes.agent or found.text("agent") or ""
    lines = KeptLines(_of_file(wishes.file) if wishes.file else _of_kept(store, found), _path(found))
    return SourceArchive(record.check_agent(agent), record.check_archive_name(name), lines)


async def _session(store: Store, found: Found, wishes: Wishes) -> SourceSession:
    key = SessionKey(wishes.agent or found.text("agent") or "", wishes.key or found.text("key") or "")
    size = None if wishes.file else found.number("entryBytes")
    raw, behind = await _entry(_of_file(wishes.file) if wishes.file else _of_kept(store, found), size)
    entry = Entry(raw)
    if entry.session_id is None:
        raise InvalidEntry("the entry has no sessionId, so nobody could use it")
    lines = await _lines(store, found, wishes.file, behind) or await _left_behind(store, key, entry)
    return SourceSession(key, entry, lines, None, *_beside(found.header))


async def _lines(store: Store, found: Found, file: Path | None, behind: int) -> Lines | None:
    """Return the lines behind an entry, of the mended file where it has some; None where none were kept."""
    if file and await _has_more(_of_file(file), behind):
        return KeptLines(_of_file(file), str(file), behind)
    size = found.number("entryBytes")
    if found.text("kind") == Kind.ENTRY or size is None:
        return None
    return KeptLines(_of_kept(store, found), _path(found), size + 1)


async def _left_behind(store: Store, key: SessionKey, entry: Entry) -> Lines | None:
    """Return the transcript of an entry that could not be carried: nobody named it, so it became an archive."""
    if entry.transcript_id is None:
        return None
    name = names.file_of(entry.transcript_id)
    if await store.read_archive(key.agent, name, 0, 0) is None:
        return None
    return ArchivedLines(store, key.agent, name)


async def _entry(chunks: Chunks, size: int | None) -> tuple[bytes, int]:
    """Return an entry, and where what comes behind it begins; its size is found by reading where it is not known."""
    head = bytearray()
    async for chunk in chunks():
        head += chunk
        if len(head) > MAX_ENTRY_BYTES:
            break
    if size is not None:
        return bytes(head[:size]), size + 1
    return _first_value(bytes(head))


def _first_value(head: bytes) -> tuple[bytes, int]:
    """Find where the JSON text ends that bytes begin with. Raises: InvalidEntry."""
    text = head.decode("utf-8", "surrogateescape")
    begin = len(text) - len(text.lstrip(" \t\r\n"))
    try:
        _, end = json.JSONDecoder().raw_decode(text, begin)
    except (ValueError, RecursionError) as error:
        if len(head) > MAX_ENTRY_BYTES:
            raise InvalidEntry(f"the entry has more than {MAX_ENTRY_BYTES} bytes, or is no JSON: {error}") from error
        raise InvalidEntry(f"what should be an entry is no JSON: {error}") from error
    rest = text[end:].partition("\n")[0]
    if rest.strip():
        raise InvalidEntry(f"behind the entry a line feed is expected, and there is {rest[:20]!r}")
    raw = text[begin:end].encode("utf-8", "surrogateescape")
    return raw, len(text[: end + len(rest)].encode("utf-8", "surrogateescape")) + 1


async def _has_more(chunks: Chunks, skip: int) -> bool:
    async for chunk in _behind(chunks(), skip):
        if chunk.strip():
            return True
    return False


async def _behind(chunks: AsyncIterator[bytes], skip: int) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        if skip < len(chunk):
            yield chunk[skip:]
        skip = max(0, skip - len(chunk))


def _batches(lines: list[bytes], offset: int) -> Iterator[Batch]:
    for start in range(0, len(lines), BATCH_LINES):
        batch = lines[start : start + BATCH_LINES]
        yield Batch(batch, offset)
        offset += sum(map(len, batch)) + len(batch)


def _last(raw: bytes, offset: int) -> Batch:
    """Return a last line without a line feed: torn unless it is complete."""
    return Batch([], offset, Line(raw, offset, torn=True)) if transcript.check_line(raw) else Batch([raw], offset)


def _of_kept(store: Store, found: Found) -> Chunks:
    return lambda: shelves.pieces(store, found)


def _of_file(path: Path) -> Chunks:
    async def chunks() -> AsyncIterator[bytes]:
        try:
            with path.open("rb") as file:
                while block := await asyncio.to_thread(file.read, _BLOCK):
                    yield block
        except OSError as error:
            raise MigrationError("CannotRead", f"{path}: {error.strerror or error}") from error

    return chunks


def _beside(header: Mapping[str, Any]) -> tuple[Status, Marks, Lifetime]:
    """Read what a store said of a session beside its entry. Raises: InvalidEntry."""
    marks, lifetime = header.get("marks", {}), header.get("lifetime", {})
    try:
        told = Marks(marks.get("title"), tuple(marks.get("tags", ())), marks.get("pinned", False), marks.get("reason"))
        return (
            Status(header.get("status", Status.ACTIVE)),
            told,
            Lifetime(lifetime.get("ttlMs"), lifetime.get("idleMs")),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidEntry(f"what its header says of status, marks or lifetime makes no sense: {error}") from error


def _path(found: Found) -> str:
    return found.text("path") or found.place.document()
