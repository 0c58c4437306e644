"""The Store on Redis. One round trip for `get`, `set`, `append`; each mutation is one script over one bucket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, NoReturn

from sessionstore.sessions import layout, paging, record
from sessionstore.sessions.config import SessionStorage
from sessionstore.sessions.exceptions import Conflict, InvalidEntry, NoTranscript, Unreadable
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
from sessionstore.sessions.redis import listing, records
from sessionstore.sessions.redis.client import Argument, Client, Script
from sessionstore.sessions.store import Capability, Key

MAX_CALL_BYTES = 256 * 1024 * 1024
"""Of one append, rewrite, archive part or document. Redis takes 512 MiB a value and 1 GiB a command, and a client that
goes beyond is cut off without a word (`client-query-buffer-limit`); half of that leaves room for the protocol."""
MAX_CALL_LINES = 1_000_000
"""Redis takes 1,048,576 arguments in one command."""

Answer = list[Any]
Rows = list[SessionInfo]

_FAR = 2**53  # Lua's numbers are exact up to here; no transcript is as long.
_SET = Script.load("shared", "set")
_DELETE = Script.load("shared", "delete")
_APPEND = Script.load("shared", "append")
_REWRITE = Script.load("shared", "rewrite")
_READ = Script.load("shared", "read")
_PUT_ARCHIVE = Script.load("put_archive")
_READ_ARCHIVE = Script.load("read_archive")


class RedisStore:
    """Sessions of one keyspace of one Redis."""

    def __init__(self, config: SessionStorage) -> None:
        """Prepare; the server is spoken to by the first call. Raises: ConfigurationError."""
        self._names = layout.KeyNames(config.keyspace)
        self._client = Client(config)
        self._checking = asyncio.Lock()
        self._checked = False

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.ARCHIVES, Capability.DOCUMENTS, Capability.SHARED})

    async def get(self, key: Key) -> Session | None:
        name = SessionKey.of(key)
        await self._check_layout()
        try:
            fields = await self._client.read("HGETALL", self._names.entry(name.agent, name.key))
        except Unreadable as error:
            raise records.unreadable(name, str(error)) from error
        return records.session_of(name, fields)

    async def set(self, key: Key, entry: EntryLike, *, expected: int | None = None) -> Session:
        name, entry = SessionKey.of(key), Entry.of(entry)
        arguments = (
            _optional(expected),
            entry.raw,
            _optional(entry.updated_ms),
            entry.transcript_id or "",
            _stored_text(entry.session_id),
        )
        answer = await self._run(_SET, name, arguments)
        session = records.session_of(name, records.pairs(answer[1]), entry)
        assert session is not None
        return session

    async def delete(self, key: Key, *, expected: int | None = None) -> bool:
        name = SessionKey.of(key)
        answer = await self._run(_DELETE, name, (_optional(expected),))
        return bool(answer[0] == b"ok")

    async def exists(self, key: Key) -> bool:
        name = SessionKey.of(key)
        await self._check_layout()
        try:
            revision, status = await self._client.read("HMGET", self._names.entry(name.agent, name.key), "r", "s")
        except Unreadable as error:
            raise records.unreadable(name, str(error)) from error
        return revision is not None and status != Status.DELETED.encode()

    async def append(
        self, key: Key, lines: Sequence[bytes], *, position: int | None = None, generation: int | None = None
    ) -> TranscriptHead:
        name = SessionKey.of(key)
        arguments: tuple[Argument, ...] = (_optional(position), _optional(generation), *_checked_lines(lines))
        return _head(await self._run(_APPEND, name, arguments, needs_transcript=True))

    async def rewrite(self, key: Key, lines: Sequence[bytes], *, generation: int | None = None) -> TranscriptHead:
        name = SessionKey.of(key)
        arguments: tuple[Argument, ...] = ("", _optional(generation), *_checked_lines(lines))
        return _head(await self._run(_REWRITE, name, arguments, needs_transcript=True))

    async def read(self, key: Key, start: int = 0, stop: int | None = None) -> Transcript | None:
        name = SessionKey.of(key)
        arguments = (_clamped(start), "" if stop is None else _clamped(stop))
        answer = await self._run(_READ, name, arguments, writes=False)
        if answer[0] != b"ok":
            return None
        return Transcript(_head(answer), answer[4], tuple(answer[5]))

    async def list(
        self, *, agent: str | None = None, status: Status | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page:
        paging.check_limit(limit)
        await self._check_layout()
        after = None if cursor is None else paging.Position.decode(cursor)
        merge = listing.Merge(self._client, self._names, after, limit)
        rows: Rows = []
        while len(rows) <= limit:
            positions = await merge.take(limit + 1 - len(rows) if agent is None else limit)
            if not positions:
                break
            wanted = [p for p in positions if agent in (None, layout.split_member(p.member)[0])]
            rows += [row for row in await self._rows(wanted) if status in (None, row.status)]
        items = tuple(rows[:limit])
        return Page(items, paging.position_of(items[-1]).encode() if len(rows) > limit else None)

    async def close(self) -> None:
        await self._client.close()

    async def put_archive(self, agent: str, name: str, lines: Sequence[bytes], *, position: int = 0) -> int:
        keys, member = self._archive(agent, name)
        await self._check_layout()
        arguments: tuple[Argument, ...] = (member, position, *_checked_lines(lines))
        answer = await self._client.run(_PUT_ARCHIVE, keys, arguments, writes=True)
        if answer[0] == b"conflict":
            raise Conflict(f"archive {agent}/{name} {answer[1].decode()}", None)
        _refuse_unreadable_archive(answer, agent, name)
        return int(answer[1])

    async def read_archive(
        self, agent: str, name: str, start: int = 0, stop: int | None = None
    ) -> tuple[bytes, ...] | None:
        keys, member = self._archive(agent, name)
        await self._check_layout()
        # LRANGE counts from the end as a slice does, but takes its last index with it; nothing lies before index 0.
        last = -1 if stop is None else _clamped(stop) - 1
        arguments = (member, _clamped(start), last) if stop != 0 else (member, 1, 0)
        answer = await self._client.run(_READ_ARCHIVE, keys, arguments, writes=False)
        _refuse_unreadable_archive(answer, agent, name)
        return tuple(answer[1]) if answer[0] == b"ok" else None

    async def list_archives(self, *, agent: str | None = None) -> AsyncIterator[ArchiveInfo]:
        await self._check_layout()
        commands: list[tuple[Argument, ...]] = [("HGETALL", self._names.archives(b)) for b in range(layout.BUCKETS)]
        for bucket, answer in enumerate(await self._client.read_many(commands)):
            if isinstance(answer, Unreadable):
                raise Unreadable(f"the archives {self._names.archives(bucket)} cannot be read: {answer}")
            for member, lines in answer.items():
                owner, name = layout.split_member(member.decode())
                if agent in (None, owner):
                    yield ArchiveInfo(owner, name, int(lines))

    async def put_document(self, name: str, body: bytes) -> None:
        record.check_document_name(name)
        if len(body) > MAX_CALL_BYTES:
            raise InvalidEntry(f"document {name} has {len(body)} bytes; at most {MAX_CALL_BYTES} are allowed")
        await self._check_layout()
        # The name first: a document that is listed and absent can be told, one that no list names is lost.
        await self._client.write("SADD", self._names.documents, name)
        await self._client.write("SET", self._names.document(name), body)

    async def get_document(self, name: str) -> bytes | None:
        await self._check_layout()
        found: bytes | None = await self._client.read("GET", self._names.document(record.check_document_name(name)))
        return found

    async def delete_document(self, name: str) -> bool:
        await self._check_layout()
        deleted = await self._client.write("DEL", self._names.document(record.check_document_name(name)))
        await self._client.write("SREM", self._names.documents, name)
        return bool(deleted)

    async def list_documents(self, prefix: str = "") -> AsyncIterator[str]:
        await self._check_layout()
        for name in sorted(await self._client.read("SMEMBERS", self._names.documents)):
            if name.startswith(prefix.encode()):
                yield name.decode()

    async def _check_layout(self) -> None:
        """Before the first call: record how this keyspace is laid out, or refuse one that is laid out otherwise."""
        if self._checked:
            return
        async with self._checking:
            wanted = {b"layout": b"%d" % layout.LAYOUT, b"buckets": b"%d" % layout.BUCKETS}
            found = await self._client.read("HGETALL", self._names.meta)
            for field in wanted.keys() - found.keys():
                await self._client.write("HSETNX", self._names.meta, field, wanted[field])
                found = await self._client.read("HGETALL", self._names.meta)
            if any(found.get(field) != value for field, value in wanted.items()):
                have, want = _spelled(found), _spelled(wanted)
                raise Unreadable(
                    f"keyspace {self._names.keyspace} is laid out as {have}, and this version reads {want}; "
                    "use the version that wrote it, or another keyspace"
                )
            self._checked = True

    async def _run(
        self,
        script: Script,
        name: SessionKey,
        arguments: Sequence[Argument],
        *,
        writes: bool = True,
        needs_transcript: bool = False,
    ) -> Answer:
        await self._check_layout()
        bucket = layout.bucket_of(name.agent, name.key)
        keys = (self._names.entry(name.agent, name.key), self._names.index(bucket), self._names.feed(bucket))
        head = (name.agent, name.key, *self._names.transcript_parts(name.agent, name.key))
        try:
            answer = await self._client.run(script, keys, (*head, *arguments), writes=writes)
        except Unreadable as error:
            raise records.unreadable(name, str(error)) from error
        if answer[0] in (b"conflict", b"unreadable") or (needs_transcript and answer[0] != b"ok"):
            _raise_refusal(name, answer)
        return answer

    async def _rows(self, positions: Sequence[paging.Position]) -> Rows:
        """Read the rows that an index names; those deleted meanwhile are left out."""
        names = [records.session_key_of(*layout.split_member(position.member)) for position in positions]
        entries = [self._names.entry(name.agent, name.key) for name in names]
        heads = await self._client.read_many([("HMGET", entry, *records.ROW_FIELDS) for entry in entries])
        for name, head in zip(names, heads, strict=True):
            if isinstance(head, Unreadable):
                raise records.unreadable(name, str(head))
        lengths = await self._client.read_many(
            [("HGET", entry, b"n:" + (head[3] or b"")) for entry, head in zip(entries, heads, strict=True)]
        )
        found = [records.row_of(*row) for row in zip(names, heads, lengths, strict=True)]
        return [row for row in found if row is not None]

    def _archive(self, agent: str, name: str) -> tuple[tuple[str, str], str]:
        record.check_agent(agent)
        record.check_archive_name(name)
        keys = (self._names.archives(layout.bucket_of(agent, name)), self._names.archive(agent, name))
        return keys, layout.member(agent, name)


def _optional(number: int | None) -> str:
    return "" if number is None else str(number)


def _stored_text(text: str | None) -> str:
    # A sessionId with half a character in it is legal JSON and no UTF-8; rows then go without, the entry keeps it.
    return "" if text is None or any("\ud800" <= c <= "\udfff" for c in text) else text


def _clamped(index: int) -> int:
    return max(-_FAR, min(index, _FAR))


def _checked_lines(lines: Sequence[bytes]) -> Sequence[bytes]:
    size = sum(map(len, lines))
    if size > MAX_CALL_BYTES or len(lines) > MAX_CALL_LINES:
        raise InvalidEntry(
            f"{len(lines)} lines of {size} bytes are more than one call may carry "
            f"({MAX_CALL_LINES} lines, {MAX_CALL_BYTES} bytes); append them in parts, each with its position"
        )
    return record.check_lines(lines)


def _head(answer: Sequence[Any]) -> TranscriptHead:
    return TranscriptHead(answer[1].decode(), answer[2], answer[3])


def _spelled(fields: dict[bytes, bytes]) -> str:
    return ", ".join(f"{name.decode()} {value.decode(errors='replace')}" for name, value in sorted(fields.items()))


def _raise_refusal(name: SessionKey, answer: Sequence[Any]) -> NoReturn:
    if answer[0] == b"conflict":
        current = records.session_of(name, records.pairs(answer[2]))
        raise Conflict(f"session {name} {answer[1].decode()}", current)
    if answer[0] == b"unreadable":
        raise records.unreadable(name, answer[1].decode())
    why = "is absent" if answer[0] == b"absent" else "names no transcript (sessionFile, sessionId)"
    raise NoTranscript(f"session {name} {why}")


def _refuse_unreadable_archive(answer: Sequence[Any], agent: str, name: str) -> None:
    if answer[0] == b"unreadable":
        raise Unreadable(f"archive {agent}/{name} cannot be read: {answer[1].decode()}")
