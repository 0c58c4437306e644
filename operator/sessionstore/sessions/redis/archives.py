"""What lies beside the sessions: archived transcripts without one, and documents."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Sequence
from typing import Any

from sessionstore.sessions import layout, record
from sessionstore.sessions.exceptions import Conflict, InvalidEntry, Unreadable
from sessionstore.sessions.record import ArchiveInfo
from sessionstore.sessions.redis import limits
from sessionstore.sessions.redis.client import Argument, Client, Command
from sessionstore.sessions.redis.failures import telling
from sessionstore.sessions.redis.keyspace import Keyspace
from sessionstore.sessions.redis.script import Script

_PUT_ARCHIVE = Script.load("put_archive")
_READ_ARCHIVE = Script.load("read_archive")


class Archives:
    """Archives and documents of one keyspace; the methods are the store's."""

    def __init__(self, client: Client, names: layout.KeyNames, keyspace: Keyspace) -> None:
        self._client = client
        self._names = names
        self._keyspace = keyspace

    async def put_archive(self, agent: str, name: str, lines: Sequence[bytes], *, position: int, replace: bool) -> int:
        keys, member = self._place(agent, name)
        arguments: tuple[Argument, ...] = (member, position, int(replace), *limits.checked_lines(lines))
        await self._keyspace.check(writing=True)
        with telling(f"archive {agent}/{name}"):
            answer = await self._client.run(_PUT_ARCHIVE, keys, arguments, writes=True)
        if answer[0] == b"conflict":
            raise Conflict(f"archive {agent}/{name} {answer[1].decode()}", None)
        _refuse_unreadable(answer, agent, name)
        return int(answer[1])

    async def read_archive(
        self, agent: str, name: str, start: int = 0, stop: int | None = None
    ) -> tuple[bytes, ...] | None:
        keys, member = self._place(agent, name)
        await self._keyspace.check(writing=False)
        # LRANGE counts from the end as a slice does, but takes its last index with it; nothing lies before index 0.
        last = -1 if stop is None else limits.clamped(stop) - 1
        arguments = (member, limits.clamped(start), last) if stop != 0 else (member, 1, 0)
        with telling(f"archive {agent}/{name}"):
            answer = await self._client.run(_READ_ARCHIVE, keys, arguments, writes=False)
        _refuse_unreadable(answer, agent, name)
        return tuple(answer[1]) if answer[0] == b"ok" else None

    async def list_archives(self, *, agent: str | None = None) -> AsyncIterator[ArchiveInfo]:
        await self._keyspace.check(writing=False)
        commands: list[Command] = [("HGETALL", self._names.archives(b)) for b in range(layout.BUCKETS)]
        for bucket, answer in enumerate(await self._client.read_many(commands)):
            if isinstance(answer, Unreadable):
                raise Unreadable(f"the archives {self._names.archives(bucket)} cannot be read: {answer}")
            for member, lines in answer.items():
                owner, name = layout.split_member(member.decode())
                if agent in (None, owner):
                    yield ArchiveInfo(owner, name, int(lines))

    async def put_document(self, name: str, body: bytes) -> None:
        record.check_document_name(name)
        if len(body) > limits.MAX_CALL_BYTES:
            raise InvalidEntry(f"document {name} has {len(body)} bytes; at most {limits.MAX_CALL_BYTES} are allowed")
        await self._keyspace.check(writing=True)
        # The name first: a document that is listed and absent can be told, one that no list names is lost.
        with telling(f"the set of documents {self._names.documents}"):
            await self._client.write("SADD", self._names.documents, name, again=True)
        await self._client.write("SET", self._names.document(name), body)

    async def get_document(self, name: str) -> bytes | None:
        key = self._names.document(record.check_document_name(name))
        await self._keyspace.check(writing=False)
        with telling(f"document {name}"):
            found: bytes | None = await self._client.read("GET", key)
        return found

    async def delete_document(self, name: str) -> bool:
        key = self._names.document(record.check_document_name(name))
        await self._keyspace.check(writing=True)
        deleted = await self._client.write("DEL", key)
        with telling(f"the set of documents {self._names.documents}"):
            await self._client.write("SREM", self._names.documents, name, again=True)
        return bool(deleted)

    async def list_documents(self, prefix: str = "") -> AsyncIterator[str]:
        await self._keyspace.check(writing=False)
        with telling(f"the set of documents {self._names.documents}"):
            names = await self._client.read("SMEMBERS", self._names.documents)
        for name in sorted(names):
            if name.startswith(prefix.encode()):
                yield name.decode()

    def _place(self, agent: str, name: str) -> tuple[tuple[str, str], str]:
        record.check_agent(agent)
        record.check_archive_name(name)
        keys = (self._names.archives(layout.bucket_of(agent, name)), self._names.archive(agent, name))
        return keys, layout.member(agent, name)


def _refuse_unreadable(answer: builtins.list[Any], agent: str, name: str) -> None:
    if answer[0] == b"unreadable":
        raise Unreadable(f"archive {agent}/{name} cannot be read: {answer[1].decode()}")
