"""What is remembered of a store that is followed: where in its feed we are, and how we left each session in the target.

It lies in the target, as `migration/<source>/following/…`, since a follower may be killed at any instant. `head` says
what is followed. Then documents `0`, `1` … hold the sessions of a batch of events: before they are written, which of
them are about to be (`doubtful`); after that, in place of it, how they were left, and the cursor behind them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

from sessionstore.migrate.keeper import Keeper
from sessionstore.migrate.patience import Patience
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions.record import SessionKey

ROOT = "following/"
PAGE = 1000
"""Sessions of a document, where all are written anew."""
MANY = 500
"""Documents after which they are."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a following as a whole says.

    Attributes:
        origin: the source, as it was named.
        cursor: of its feed, where no document says another: from before the first session was copied.
        is_copied: the bulk copy came to its end.
        was_empty: the target had no session before it.
        was_interrupted: the copy began more than once, so what it wrote last need not be on record.
        first: the first document that counts.
    """

    origin: str
    cursor: str
    is_copied: bool = False
    was_empty: bool = False
    was_interrupted: bool = False
    first: int = 0


@dataclass(frozen=True, slots=True)
class Left:
    """How a session was left.

    Attributes:
        mark: what the target had then (`rows.mark_of`), None where it is not ours, or gone.
        stamp: what of the source it was made from; None where that is not known.
    """

    mark: bytes | None
    stamp: str | None


GONE = Left(None, None)
"""The source has no such session, and what is to be done about that in the target was done."""


class Memory:
    """The documents of one source, and on disk what they say."""

    def __init__(self, keeper: Keeper, patience: Patience, scratch: Scratch) -> None:
        self._keeper, self._patience = keeper, patience
        self._table = scratch.database()
        self._table.execute(
            "CREATE TABLE followed (agent TEXT, key TEXT, mark BLOB, stamp TEXT, PRIMARY KEY (agent, key))"
            " WITHOUT ROWID"
        )
        self._next = 0
        self.head = Head("", "")
        self.cursor = ""
        self.doubtful: frozenset[SessionKey] = frozenset()
        """Sessions that may have been written just before a kill: what the target has of them is ours."""

    async def load(self, origin: str) -> bool:
        """Take over what an earlier run left; return whether it left anything about this source."""
        found = await self._get("head")
        if found is None or found.get("origin") != origin:
            return False
        self.head = Head(**found)
        self.cursor, self._next = self.head.cursor, self.head.first
        while (batch := await self._get(str(self._next))) is not None:
            self._take(batch)
            if "left" not in batch:
                return True
            self._next += 1
        return True

    async def begin(self, head: Head) -> None:
        """Begin to follow; what is remembered is forgotten."""
        await self.forget()
        self._table.execute("DELETE FROM followed")
        self.head, self.cursor, self._next, self.doubtful = head, head.cursor, head.first, frozenset()
        await self._put("head", asdict(head))

    async def begin_again(self, cursor: str) -> None:
        """Follow from another place in the feed. What we left in the target stays ours; of the source nothing is known.

        A store that was put back may have other lines under the same revision, and sessions again that were deleted.
        """
        self._table.execute("DELETE FROM followed WHERE mark IS NULL")
        self._table.execute("UPDATE followed SET stamp = NULL")
        self.cursor = cursor
        # Killed from here on, all is copied again, whichever cursor is found then.
        await self.change(replace(self.head, is_copied=False))
        await self._shorten()

    async def change(self, head: Head) -> None:
        """Put another head in place of the one there is."""
        self.head = head
        await self._put("head", asdict(head))

    async def intend(self, keys: Sequence[SessionKey]) -> None:
        """Say which sessions are about to be written."""
        await self._put(str(self._next), {"doubtful": [[key.agent, key.key] for key in {*keys, *self.doubtful}]})

    async def settle(self, cursor: str, left: Mapping[SessionKey, Left]) -> None:
        """Say how they were left, and that all up to `cursor` is done."""
        rows = [_row(key, one) for key, one in left.items()]
        await self._put(str(self._next), {"cursor": cursor, "left": rows})
        self._take({"cursor": cursor, "left": rows})
        self._next += 1
        if self._next - self.head.first > MANY:
            await self._shorten()

    def left(self, key: SessionKey) -> Left | None:
        """Return how a session was left by us."""
        query = "SELECT mark, stamp FROM followed WHERE agent = ? AND key = ?"
        found = self._table.execute(query, (key.agent, key.key)).fetchone()
        return Left(*found) if found else None

    def mark(self, key: SessionKey) -> bytes | None:
        """Return the mark of a session as it was left by us."""
        left = self.left(key)
        return left.mark if left else None

    def keys(self) -> Iterator[SessionKey]:
        """Go through all sessions that were left somehow."""
        return (SessionKey(*row) for row in self._table.cursor().execute("SELECT agent, key FROM followed"))

    async def forget(self) -> None:
        """Delete all documents."""
        await self._patience.of(lambda: self._keeper.remove(ROOT))

    # -- the inner workings ---------------------------------------------------------------------

    def _take(self, batch: Mapping[str, Any]) -> None:
        self.doubtful = frozenset(SessionKey(str(agent), str(key)) for agent, key in batch.get("doubtful", ()))
        if "left" not in batch:
            return
        self.cursor = str(batch["cursor"])
        values = [
            (agent, key, bytes.fromhex(mark) if mark else None, stamp) for agent, key, mark, stamp in batch["left"]
        ]
        self._table.executemany("INSERT OR REPLACE INTO followed VALUES (?, ?, ?, ?)", values)

    async def _shorten(self) -> None:
        """Write all anew, each session once; then the head says that what came before does not count."""
        old, doubtful = range(self.head.first, self._next), [[key.agent, key.key] for key in self.doubtful]
        rows = self._table.cursor().execute("SELECT agent, key, hex(mark), stamp FROM followed")
        while page := list(islice(rows, PAGE)):
            await self._put(str(self._next), {"cursor": self.cursor, "left": page, "doubtful": doubtful})
            self._next += 1
        if doubtful:
            await self.intend(())
        await self.change(replace(self.head, cursor=self.cursor, first=old.stop))
        for number in old:
            await self._patience.of(partial(self._keeper.delete, f"{ROOT}{number}"))

    async def _get(self, name: str) -> dict[str, Any] | None:
        body = await self._patience.of(lambda: self._keeper.get(ROOT + name))
        return json.loads(body) if body else None

    async def _put(self, name: str, document: Mapping[str, object]) -> None:
        body = json.dumps(document, ensure_ascii=False).encode()
        await self._patience.of(lambda: self._keeper.put(ROOT + name, body))


def _row(key: SessionKey, left: Left) -> list[str | None]:
    return [key.agent, key.key, left.mark.hex() if left.mark else None, left.stamp]
