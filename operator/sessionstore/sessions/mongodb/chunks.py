"""Reading and writing the chunks that hold what does not lie in an owner's document (see strand.py)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pymongo.errors import BulkWriteError

from sessionstore.sessions.exceptions import Unavailable
from sessionstore.sessions.mongodb import strand
from sessionstore.sessions.mongodb.client import DUPLICATE, Client
from sessionstore.sessions.mongodb.documents import unreadable
from sessionstore.sessions.mongodb.strand import Document, Lines, Strand

BATCH_BYTES = 8 * 1024 * 1024
"""Of one request."""


class Gone(Exception):
    """Chunks are not there any more: their owner was rewritten or deleted after its document was read."""


class Chunks:
    """The chunks of one database."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def add(self, chunks: Sequence[Document]) -> None:
        """Write chunks; their names are new."""
        batch: list[Document] = []
        size = 0
        for chunk in chunks:
            if batch and size + len(chunk["b"]) > BATCH_BYTES:
                await self._insert(batch)
                batch, size = [], 0
            batch.append(chunk)
            size += len(chunk["b"])
        if batch:
            await self._insert(batch)

    async def drop(self, ranges: Iterable[Sequence[str]]) -> None:
        """Forget chunks by ranges of names, `from` and `below`."""
        for low, high in ranges:
            await self._delete({"$gte": low, "$lt": high})

    async def remove(self, chunks: Sequence[Document]) -> None:
        """Forget chunks that nobody's document names."""
        await self._delete({"$in": [chunk["_id"] for chunk in chunks]})

    async def read(self, kept: Strand, owner: str, first: int, last: int) -> Lines:
        """Return lines first:last; 0 <= first <= last <= kept.count. Raises: Gone; Unreadable."""
        found: dict[int, bytes] = dict(enumerate(kept.loose, kept.loose_from))
        for low, high in strand.runs(kept, owner, first, last):
            try:
                found |= strand.unpacked(await self.between(low, high))
            except (KeyError, TypeError, ValueError) as error:
                raise unreadable(f"a chunk between {low} and {high}", error) from error
        try:
            return tuple(found[index] for index in range(first, last))
        except KeyError:
            raise Gone from None

    async def between(self, low: str, high: str) -> list[Document]:
        """Return the chunks of a range of names, in their order."""
        span = {"$gte": low, "$lt": high}
        return await self._client.again(lambda database: database.lines.find({"_id": span}).sort("_id", 1).to_list())

    async def _delete(self, names: Document) -> None:
        await self._client.again(lambda database: database.lines.delete_many({"_id": names}))

    async def _insert(self, batch: list[Document]) -> None:
        try:
            await self._client.again(lambda database: database.lines.insert_many(batch, ordered=False), writes=True)
        except BulkWriteError as error:
            # An attempt of which no answer came had written them; the names are by chance.
            failed = [one for one in error.details["writeErrors"] if one["code"] != DUPLICATE]
            if failed:
                raise Unavailable(f"{self._client.where}: {failed[0]['errmsg']}") from error
