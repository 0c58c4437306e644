"""The ledger in the store, `migration/<source>/ledger/<n>`: what makes a further run short, and a killed one go on.

`head` says which run wrote last and whether it came to its end; the documents hold rows, in groups, the later of a
name counting. A document is written only when the store has what its rows say.

    no head ──plan──▶ copying (run 1) ──proof──▶ done ──plan──▶ copying (run 2) ──▶ …
                         └─ killed: the next run goes on as run 1, and counts as run 1 planned
                         └─ proof failed: the rows are dropped, the next run looks at everything
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

from sessionstore.migrate.keeper import Keeper
from sessionstore.migrate.ledger import Ledger
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.rows import ELSEWHERE, Ending, Facts, Intent, Name, Row

GROUP = 1000
"""Rows of a document."""
FLUSH_S = 2.0
"""What is known for longer is written. What a killed run did not write is looked at again, and nothing else is lost."""
SPARE = 10 * GROUP
"""Rows that are not worth being tidied up."""
_HEAD = "ledger/head"
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_PLANNED = "planned"
_CARRIED = "carried"


@dataclass(frozen=True, slots=True)
class Head:
    """What the ledger as a whole says.

    Attributes:
        epoch: which documents belong to it; what an abandoned ledger left is of another one.
        run: the number of the last run.
        proven: the last run that came to its end; rows up to it need no proof.
        source: what the rows were made from; the run of another source is not gone on with.
        first: the first document that counts.
        is_live: the last run was one over a source that changed meanwhile, or was to end what such a one began.
    """

    epoch: str
    run: int = 1
    proven: int = 0
    source: str = ""
    first: int = 0
    is_live: bool = False


class Journal:
    """The ledger of one source in one store. Does nothing where the store keeps no documents."""

    def __init__(self, keeper: Keeper, patience: Patience, source: str) -> None:
        self._keeper, self._patience, self._source = keeper, patience, source
        self._head = Head(os.urandom(8).hex(), source=source)
        self._next = self._written = self._newest_run = 0
        self._rows: list[Row] = []
        self._flushed_at = time.monotonic()
        self.goes_on = False
        """Whether this run goes on with one that was killed."""
        self.follows_live = False
        """Whether this run goes on where one copied this very source while a gateway wrote to it; ended or killed."""
        self._old = range(0)
        """Documents of rows that were made of another source, until they are written anew."""

    @property
    def run(self) -> int:
        """The number of this run."""
        return self._head.run

    def is_proven(self, row: Row) -> bool:
        """Tell whether a run that came to its end left the row."""
        return row.run <= self._head.proven

    async def load(self, ledger: Ledger) -> None:
        """Take over what earlier runs left, and become the next run or go on as the last one. Raises: Unavailable."""
        head = _head_of(await self._get(_HEAD))
        if head is None:
            return
        self._head, self._next = head, head.first
        is_same = head.source == self._source
        while (rows := _read(await self._get(f"ledger/{self._next}"), head.epoch)) is not None:
            self._take(ledger, rows, is_same=is_same)
            self._next += 1
        self.goes_on = head.run > head.proven and is_same
        self.follows_live = head.is_live and is_same
        if not self.goes_on:
            ledger.forget_intents()
            run = max(self._newest_run, head.run) + 1
            self._head = replace(head, run=run, source=self._source, is_live=self.follows_live)
        if not is_same:
            self._old = range(head.first, self._next)

    async def begin(self, ledger: Ledger, *, is_live: bool = False) -> None:
        """Write down what is planned, before anything is done: a run that goes on counts as this says."""
        was_live = self._head.is_live
        self._head = replace(self._head, is_live=was_live or is_live)
        if not self.goes_on:
            await self._begin(ledger)
        elif is_live and not was_live:
            await self._put_head()

    async def _begin(self, ledger: Ledger) -> None:
        run, old = self.run, self._old
        if old:
            await self._write_all(map(_row_line, ledger.rows(with_gone=True)))
            self._head = replace(self._head, first=old.stop)
        await self._write_all(
            _line(_PLANNED, *name, intent.ending.value, intent.common, run) for name, intent in ledger.intents()
        )
        await self._put_head()
        await self._delete_all(old)

    async def add(self, ledger: Ledger, row: Row) -> None:
        """Take in a row; it is written soon."""
        self._rows.append(row)
        if len(self._rows) >= GROUP or time.monotonic() - self._flushed_at > FLUSH_S:
            await self.flush(ledger)

    async def flush(self, ledger: Ledger) -> None:
        """Write what has been taken in."""
        self._flushed_at = time.monotonic()
        rows, self._rows = self._rows, []
        if rows:
            ledger.learn(rows)
            await self._write(list(map(_row_line, rows)))

    async def finish(self, ledger: Ledger, *, is_live: bool = False) -> None:
        """Say that all rows are proven. Where most of what was written is superseded, the rest is written anew."""
        old = range(self._head.first, self._next)
        is_long = self._written > 2 * ledger.count_rows() + SPARE
        if is_long:
            # What a gateway deleted since an earlier copy is still to be deleted by the run that ends this.
            await self._write_all(map(_row_line, ledger.rows(with_gone=is_live)))
        first = old.stop if is_long else old.start
        self._head = replace(self._head, proven=self.run, first=first, is_live=is_live)
        await self._put_head()
        await self._delete_all(old if is_long else ())

    async def drop(self) -> None:
        """Forget all rows: something is not as they say."""
        await self._delete(_HEAD)

    # -- the inner workings ---------------------------------------------------------------------

    def _take(self, ledger: Ledger, rows: Iterable[list[Any]], *, is_same: bool) -> None:
        """Take rows over; of another source those that were proven, as its own."""
        known: list[Row] = []
        for kind, *values in rows:
            self._written += 1
            self._newest_run = max(self._newest_run, values[-1])
            if kind == _CARRIED:
                known.append(_row(values))
            elif values[-1] == self._head.run:
                ledger.intend(Name(*values[:3]), Intent(Ending(values[3]), values[4]))
        if not is_same:
            known = [replace(row, run=ELSEWHERE) for row in known if self.is_proven(row)]
        ledger.learn(known, from_earlier_run=True)

    async def _write_all(self, lines: Iterator[str]) -> None:
        while group := list(islice(lines, GROUP)):
            await self._write(group)

    async def _write(self, lines: list[str]) -> None:
        number, self._next = self._next, self._next + 1
        self._written += len(lines)
        body = zlib.compress("\n".join([json.dumps(self._head.epoch), *lines]).encode(), 1)
        await self._patience.of(lambda: self._keeper.put(f"ledger/{number}", body))

    async def _put_head(self) -> None:
        body = json.dumps(asdict(self._head)).encode()
        await self._patience.of(lambda: self._keeper.put(_HEAD, body))

    async def _get(self, rest: str) -> bytes | None:
        return await self._patience.of(lambda: self._keeper.get(rest))

    async def _delete_all(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            await self._delete(f"ledger/{number}")

    async def _delete(self, rest: str) -> None:
        await self._patience.of(lambda: self._keeper.delete(rest))


def _head_of(body: bytes | None) -> Head | None:
    """Read a head. One that makes no sense is none: a ledger saves time, and proves nothing."""
    try:
        return None if body is None else Head(**json.loads(body))
    except (ValueError, TypeError):
        return None


def _read(body: bytes | None, epoch: str) -> list[list[Any]] | None:
    """Return the rows of a document, None for one that is not of this ledger."""
    try:
        first, *lines = zlib.decompress(body or b"").decode().split("\n")
        return [json.loads(line) for line in lines] if json.loads(first) == epoch else None
    except (ValueError, zlib.error):
        return None


def _line(*values: object) -> str:
    return _encode(values)


def _row_line(row: Row) -> str:
    facts, intent = row.facts, row.intent
    return _line(
        _CARRIED, *facts.name, facts.entry.hex(), facts.stamp, facts.digest.hex(), facts.lines, facts.bytes,
        row.mark.hex(), intent.ending.value, intent.common, row.run,
    )  # fmt: skip


def _row(values: list[Any]) -> Row:
    kind, agent, name, entry, stamp, digest, lines, size, mark, ending, common, run = values
    hashes = bytes.fromhex(entry), bytes.fromhex(digest), bytes.fromhex(mark)
    facts = Facts(Name(kind, agent, name), hashes[0], stamp, hashes[1], lines, size)
    return Row(facts, hashes[2], Intent(Ending(ending), common), run)
