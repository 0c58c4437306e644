"""Archives and documents: what a keyspace holds beside its sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from bson import Binary
from pymongo.errors import DuplicateKeyError

from sessionstore.sessions import record
from sessionstore.sessions.exceptions import Conflict
from sessionstore.sessions.mongodb import documents, strand
from sessionstore.sessions.mongodb.chunks import Chunks, Gone
from sessionstore.sessions.mongodb.client import Client, Database
from sessionstore.sessions.mongodb.strand import Document, Lines, Strand
from sessionstore.sessions.record import ArchiveInfo

_PAGE = 1_000
_INLINE_BYTES = 4 * 1024 * 1024
_NUMBERS = 20
"""Hexadecimal digits of a part's number: with owner and nonce, the length of every chunk's name."""


class Archives:
    """The archives of one keyspace. A document names an archive and holds its newest lines."""

    def __init__(self, client: Client, chunks: Chunks, keyspace: str) -> None:
        self._client, self._chunks, self._prefix = client, chunks, f"{keyspace}/"

    async def put(self, agent: str, name: str, lines: Sequence[bytes], position: int, *, replace: bool) -> int:
        """Add lines behind `position` lines, or put them in place of those; return how many there are now.

        Raises: Conflict.
        """
        document_id = self._prefix + _member(record.check_agent(agent), record.check_archive_name(name))
        added = tuple(record.check_lines(lines))
        owner = strand.owner_of(document_id)
        deadline = self._client.deadline()
        token = documents.new_token(await self._client.now_ms(deadline))
        found = await self._find(document_id)
        kept = _strand_of(document_id, found)
        if kept.count != position:
            raise _conflict(agent, name, kept.count, position)
        change = strand.grown(Strand() if replace else kept, added, owner, 0)
        await self._chunks.add(change.chunks)
        new = strand.encoded(change.strand) | {"v": token, "a": agent, "name": name}
        if not await self._write(document_id, found, new, deadline):
            now = await self._find(document_id)
            # Where no answer came to the first try, the second one finds what the first one wrote.
            if now is None or now["v"] != token:
                await self._chunks.remove(change.chunks)
                raise _conflict(agent, name, _strand_of(document_id, now).count, position)
        if replace:
            await self._chunks.drop(strand.leftovers(kept, owner))
        return change.strand.count

    async def _write(self, document_id: str, old: Document | None, new: Document, deadline: float) -> bool:
        async def write(database: Database) -> bool:
            if old is None:
                await database.archives.insert_one({"_id": document_id, **new})
                return True
            same = {"_id": document_id, "v": old["v"]}
            return (await database.archives.update_one(same, {"$set": new})).matched_count == 1

        try:
            return await self._client.again(write, deadline, writes=True)
        except DuplicateKeyError:
            return False

    async def read(self, agent: str, name: str, start: int, stop: int | None) -> Lines | None:
        """Return lines of an archive, or None."""
        document_id = self._prefix + _member(agent, name)
        while (found := await self._find(document_id)) is not None:
            kept = _strand_of(document_id, found)
            first, last, _ = slice(start, stop).indices(kept.count)
            try:
                return await self._chunks.read(kept, strand.owner_of(document_id), first, max(first, last))
            except Gone as error:
                raise documents.unreadable(f"archive {agent}/{name}", ValueError("lines are missing")) from error
        return None

    async def every(self, agent: str | None) -> AsyncIterator[ArchiveInfo]:
        """Go through all archives."""
        prefix = self._prefix if agent is None else f"{self._prefix}{agent}:"
        async for found in _walk(self._client, "archives", prefix, {"a": 1, "name": 1, "n": 1}):
            yield ArchiveInfo(found["a"], found["name"], found["n"])

    async def count(self) -> int:
        """Return how many there are."""
        span = {"_id": _span(self._prefix)}
        return await self._client.again(lambda database: database.archives.count_documents(span))

    async def _find(self, document_id: str) -> Document | None:
        return await self._client.again(lambda database: database.archives.find_one({"_id": document_id}))


class Documents:
    """The documents of one keyspace. A large body lies in parts beside the chunks."""

    def __init__(self, client: Client, chunks: Chunks, keyspace: str) -> None:
        self._client, self._chunks, self._prefix = client, chunks, f"{keyspace}/"

    async def put(self, name: str, body: bytes) -> None:
        """Keep a document in place of what had the name."""
        document_id = self._prefix + record.check_document_name(name)
        new: Document = {"b": Binary(body)}
        if len(body) > _INLINE_BYTES:
            nonce = strand.new_nonce(0)
            parts = [body[at : at + _INLINE_BYTES] for at in range(0, len(body), _INLINE_BYTES)]
            place = strand.owner_of(document_id) + nonce
            await self._chunks.add(
                [{"_id": f"{place}{n:0{_NUMBERS}x}", "b": Binary(part)} for n, part in enumerate(parts)]
            )
            new = {"q": nonce, "p": len(parts)}

        async def write(database: Database) -> Document | None:
            return await database.documents.find_one_and_replace({"_id": document_id}, new)

        async def create(database: Database) -> None:
            await database.documents.insert_one({"_id": document_id, **new})

        while (old := await self._client.again(write, writes=True)) is None:
            try:
                await self._client.again(create, writes=True)
                return
            except DuplicateKeyError:
                continue
        await self._drop(document_id, old, new.get("q"))

    async def get(self, name: str) -> bytes | None:
        """Return a document's body, or None. Raises: Unreadable where a part of it is not there."""
        document_id = self._prefix + name
        missing = None
        while (found := await self._client.again(lambda db: db.documents.find_one({"_id": document_id}))) is not None:
            if "q" not in found:
                return bytes(found["b"])
            place = strand.owner_of(document_id) + found["q"]
            parts = await self._chunks.between(place, place + strand.AFTER)
            if len(parts) == found["p"]:
                return b"".join(part["b"] for part in parts)
            # Replaced since the document was read: then it names other parts now.
            if found["q"] == missing:
                raise documents.unreadable(f"document {name}", ValueError("parts are missing"))
            missing = found["q"]
        return None

    async def delete(self, name: str) -> bool:
        """Forget a document; return whether there was one."""
        document_id = self._prefix + name
        old = await self._client.again(lambda db: db.documents.find_one_and_delete({"_id": document_id}), writes=True)
        if old is not None:
            await self._drop(document_id, old, None)
        return old is not None

    async def every(self, prefix: str) -> AsyncIterator[str]:
        """Go through the names that begin with `prefix`."""
        async for found in _walk(self._client, "documents", self._prefix + prefix, {"_id": 1}):
            yield found["_id"].removeprefix(self._prefix)

    async def _drop(self, document_id: str, old: Document, kept: str | None) -> None:
        if "q" in old and old["q"] != kept:
            place = strand.owner_of(document_id) + old["q"]
            await self._chunks.drop([[place, place + strand.AFTER]])


async def _walk(client: Client, collection: str, prefix: str, fields: Document) -> AsyncIterator[Document]:
    """Go through the documents whose `_id` begins with `prefix`."""
    span = _span(prefix)

    async def find(database: Database) -> list[Document]:
        return await database[collection].find({"_id": span}, fields).sort("_id", 1).limit(_PAGE).to_list()

    while found := await client.again(find):
        for one in found:
            yield one
        span = {"$gt": found[-1]["_id"], "$lt": span["$lt"]}


def _span(prefix: str) -> dict[str, str]:
    # The last code point there is: no name goes on with a greater one.
    return {"$gte": prefix, "$lt": prefix + "\U0010ffff"}


def _conflict(agent: str, name: str, count: int, position: int) -> Conflict:
    return Conflict(f"archive {agent}/{name} has {count} lines, not {position}", None)


def _member(agent: str, name: str) -> str:
    return f"{agent}:{name}"


def _strand_of(document_id: str, found: Document | None) -> Strand:
    try:
        return strand.decoded(found) if found is not None else Strand()
    except (KeyError, TypeError, ValueError) as error:
        raise documents.unreadable(f"archive {document_id}", error) from error
