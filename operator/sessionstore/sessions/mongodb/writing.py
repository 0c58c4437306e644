"""Changing a session: read its document, decide, write it where its version is still the one that was read.

Every write carries a token. The document remembers the last ones, so that a write of which no answer came is looked
for before it is repeated, and is never made twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from bson import Binary
from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError

from sessionstore.sessions import layout, retry
from sessionstore.sessions.exceptions import SessionError, Unavailable
from sessionstore.sessions.leases import LeaseState
from sessionstore.sessions.mongodb import desk, documents, strand
from sessionstore.sessions.mongodb.changes import Feed
from sessionstore.sessions.mongodb.chunks import Chunks, Gone
from sessionstore.sessions.mongodb.client import Client, Database, find_one, insert_one, update_one
from sessionstore.sessions.mongodb.desk import Clerk, Desk, LinesWanted, Outcome, Wanted
from sessionstore.sessions.mongodb.documents import Kept
from sessionstore.sessions.mongodb.failures import Failure, translate
from sessionstore.sessions.mongodb.strand import Document, Lines
from sessionstore.sessions.record import Lifetime, Operation, SessionKey, Status, TranscriptHead

T = TypeVar("T")
Work = Callable[[Clerk], Awaitable[T]]

SKEW_MS = 1_000
"""How far the clocks of two clients, set by the server's, may be apart."""
CLEAR_PAUSE_S = 0.1
"""How long what is done waits to be struck out of the documents' notes, for more of it."""
REMEMBERED = 10_000
"""Sessions of which the last version is remembered."""
HEAD = {"cur.i": 1, "cur.g": 1, "cur.n": 1, "r": 1, "x": 1, "pend": 1, "gc": 1}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to change a session; the same over all of its repetitions."""

    name: SessionKey
    id: str
    token: int
    now_ms: int
    deadline: float


@dataclass(frozen=True, slots=True)
class Written:
    """What a write left to be done: events to tell, chunks to forget."""

    id: str
    name: SessionKey
    version: int
    revision: int
    untold: Sequence[str]
    garbage: Sequence[Sequence[str]]
    expires_ms: int | None


@dataclass(frozen=True, slots=True)
class Decided(Generic[T]):
    """What an operation came to, before it is written."""

    answer: T | None
    error: SessionError | None
    outcome: Outcome | None
    """None where nothing is to be written."""
    leased: LeaseState | None

    def given(self) -> T:
        """Return the answer, or raise the operation's own error."""
        if self.error is not None:
            raise self.error
        return cast(T, self.answer)


class Writer:
    """Changes the sessions of one keyspace."""

    def __init__(self, client: Client, chunks: Chunks, feed: Feed, keyspace: str, defaults: Lifetime) -> None:
        self._client = client
        self._chunks = chunks
        self._feed = feed
        self._keyspace = keyspace
        self._defaults = defaults
        self._done: dict[str, Written] = {}
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._clearing: asyncio.Task[None] | None = None

    def id_of(self, name: SessionKey) -> str:
        """Return a session's `_id`."""
        return documents.document_id(self._keyspace, name)

    async def attempt(self, name: SessionKey) -> Attempt:
        """Begin. Raises: Unavailable."""
        deadline = self._client.deadline()
        now = await self._client.now_ms(deadline)
        return Attempt(name, self.id_of(name), documents.new_token(now), now, deadline)

    async def change(self, name: SessionKey, work: Work[T], *, absent: bool = False) -> T:
        """Do an operation of a `Clerk` on a session.

        Args:
            absent: it is likely not there: try so first, which saves reading it.
        Raises: what the operation raises; Unavailable.
        """
        return await self._repeated(await self.attempt(name), work, Kept() if absent else None)

    async def append(
        self, name: SessionKey, lines: Lines, work: Work[TranscriptHead], where: Document, fence: int | None
    ) -> TranscriptHead:
        """Add lines, where that is so plain that it needs no reading: one request; else by `work`.

        Args:
            where: what must hold of the transcript, as a filter.
        """
        attempt = await self.attempt(name)
        update = self._plain_append(attempt, lines, where, fence)
        if update is None:
            return await self._repeated(attempt, work, None)

        async def write(database: Database) -> Document | None:
            return await database.sessions.find_one_and_update(*update, projection=HEAD, return_document=True)

        try:
            found = await self._client.once(write, attempt.deadline)
        except Failure as failure:
            if not failure.passing:
                raise translate(failure, self._client.where, writes=True) from failure
            return await self._repeated(attempt, work, None, _head_of if failure.unknown else None)
        if found is None:
            return await self._repeated(attempt, work, None)
        head = documents.head_of(found)
        assert head is not None
        garbage, expires = found.get("gc", ()), found.get("x")
        await self._finish(Written(attempt.id, name, attempt.token, found["r"], found["pend"], garbage, expires))
        return head

    async def settle(self, name: SessionKey, found: Document) -> None:
        """Do what whoever wrote this document left undone, if he does not any more."""
        await self._finish(_left(found["_id"], name, documents.kept_of(name, found)))

    async def close(self) -> None:
        """Finish what is left, as far as the server allows."""
        if self._clearing is not None:
            self._clearing.cancel()
            await asyncio.gather(self._clearing, return_exceptions=True)
        with contextlib.suppress(Unavailable):
            await self._clear()

    async def _repeated(
        self,
        attempt: Attempt,
        work: Work[T],
        kept: Kept | None,
        recovered: Callable[[Kept], T] | None = None,
    ) -> T:
        """Try until it is done or the time is over.

        Args:
            kept: what is taken to be there in the first try; None reads it.
            recovered: given where a write was made already of which no answer came; reads what it came to.
        """
        pauses = retry.pauses(attempt.deadline, asyncio.get_running_loop().time, first_s=0.002)
        unsure, assumed = recovered is not None, kept is not None
        before, missing = self._seen.get(attempt.id), None
        while True:
            kept = kept or await self.read(attempt)
            if unsure and self._was_made(attempt, kept, before):
                await self._finish(_left(attempt.id, attempt.name, kept))
                assert recovered is not None
                return recovered(kept)
            try:
                decided = await self._decided(attempt, kept, work)
            except Gone as error:
                # Rewritten or deleted since the document was read: then it is another one now.
                if kept.version == missing:
                    raise documents.unreadable(f"session {attempt.name}", ValueError("lines are missing")) from error
                missing = kept.version
                kept = None
                continue
            try:
                if decided.outcome is None or await self._write(attempt, kept, decided.outcome, decided.leased):
                    return decided.given()
            except Failure as failure:
                if not failure.passing:
                    raise translate(failure, self._client.where, writes=True) from failure
                if failure.unknown:
                    unsure, before, recovered = True, kept.version, lambda _, decided=decided: decided.given()
            kept = None
            if assumed and not unsure:
                assumed = False
                continue
            pause = next(pauses, None)
            if pause is None:
                doubt = "; whether the write happened is not known, so read before you write again" if unsure else ""
                text = f"session {attempt.name} could not be written in time{doubt}"
                raise Unavailable(f"{self._client.where}: {text}", "timeout")
            await asyncio.sleep(pause)

    async def read(self, attempt: Attempt) -> Kept:
        """Read a whole document. Raises: Unavailable; Unreadable."""
        found = await self._client.again(lambda database: find_one(database, "sessions", attempt.id), attempt.deadline)
        kept = documents.kept_of(attempt.name, found)
        self._saw(attempt.id, kept.version)
        return kept

    def _saw(self, document_id: str, version: int | None) -> None:
        """Remember a version, to tell by it later what was written since."""
        if version is not None:
            self._seen[document_id] = version
            self._seen.move_to_end(document_id)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    async def _decided(self, attempt: Attempt, kept: Kept, work: Work[T]) -> Decided[T]:
        """Let the operation work on what was read."""
        now = await self._client.now_ms(attempt.deadline)
        read: dict[Wanted, Lines] = {}
        while True:
            table = Desk(attempt.name, kept, read)
            clerk = Clerk(table, now, self._defaults)
            try:
                answer, error = await work(clerk), None
                break
            except LinesWanted as missing:
                name, first, last = missing.wanted
                found = await self._chunks.read(kept.strands[name], strand.owner_of(attempt.id), first, last)
                read[missing.wanted] = found
            except SessionError as refused:
                answer, error = None, refused
                break
        changed = bool(table.steps) or table.leased is not None
        outcome = desk.outcome(table, kept, strand.owner_of(attempt.id)) if changed else None
        return Decided(answer, error, outcome, table.leased)

    async def _write(self, attempt: Attempt, kept: Kept, outcome: Outcome, leased: LeaseState | None) -> bool:
        """Return whether the document was still the one that was read, and now is what the operation made of it."""
        await self._chunks.add(outcome.chunks)
        told = kept.record is None or self._feed.is_told(attempt.id, kept.record.revision)
        notes = [documents.note_of(operation, attempt.token) for operation in outcome.operations]
        untold = (*(() if told else kept.untold), *notes)
        new = _fields(attempt, kept, outcome, leased) | _notes(attempt, kept, outcome, untold)

        async def write(database: Database) -> bool:
            if not kept.exists:
                filled = {name: value for name, value in new.items() if value is not None}
                garbage = {"gc": list(outcome.garbage)} if outcome.garbage else {}
                await insert_one(database, "sessions", _names(attempt, self._keyspace) | filled | garbage)
                return True
            old = {"_id": attempt.id, "v": kept.version}
            return await update_one(database, "sessions", old, _update(kept, outcome, new))

        try:
            made = await self._client.once(write, attempt.deadline)
        except DuplicateKeyError:
            made = False
        if made and outcome.operations:
            assert outcome.record is not None
            garbage = [*kept.garbage, *outcome.garbage]
            revision, expires = outcome.record.revision, outcome.record.expires_ms
            await self._finish(Written(attempt.id, attempt.name, attempt.token, revision, untold, garbage, expires))
        elif not made and outcome.chunks:
            with contextlib.suppress(Unavailable):
                await self._chunks.remove(outcome.chunks)
        return made

    def _was_made(self, attempt: Attempt, kept: Kept, before: int | None) -> bool:
        """Return whether the document remembers this attempt. Raises: Unavailable where it cannot remember so long.

        Args:
            before: a version that the document had before the attempt, where one is known.
        """
        if attempt.token in kept.tokens:
            return True
        if before in kept.tokens or len(kept.tokens) < documents.TOKENS:
            return False
        if documents.made_ms(kept.tokens[0]) > attempt.now_ms - SKEW_MS:
            raise Unavailable(
                f"{self._client.where}: no answer came, and session {attempt.name} was changed often since; whether "
                "the write happened is not known, so read before you write again"
            )
        return False

    def _plain_append(
        self, attempt: Attempt, lines: Lines, where: Document, fence: int | None
    ) -> tuple[Document, Document] | None:
        """Return filter and update of an append to a transcript with room, of which no lifetime has to be known."""
        weight, now = strand.weigh(lines), attempt.now_ms
        if not lines or weight > strand.LOOSE_BYTES:
            return None
        end = Lifetime().over(self._defaults).end_ms(now, now)
        chosen: Document = {"_id": attempt.id, "cur.z": {"$lte": strand.LOOSE_BYTES - weight}, **where}
        if end is None:
            chosen |= {"s": {"$in": list(documents.LIVE)}, "x": None}
        else:
            chosen |= {"s": Status.ACTIVE.value, "x": {"$gt": now}, "lt": None, "li": None, "pn": None}
        chosen |= {"lease.t": fence, "lease.u": {"$gt": now}} if fence is not None else {}
        update = {
            "$push": {
                "cur.l": {"$each": [Binary(line) for line in lines]},
                "pend": documents.note_of(Operation.APPEND.value, attempt.token),
                "at": {"$each": [attempt.token], "$slice": -documents.TOKENS},
            },
            "$inc": {"cur.n": len(lines), "cur.z": weight, "r": 1},
            "$max": {"u": now},
            "$set": {"v": attempt.token, "w": now, "z": now} | ({"x": end} if end is not None else {}),
        }
        return chosen, update

    async def _finish(self, written: Written) -> None:
        """Tell the feed; what the document notes of it is struck out a little later, with that of others."""
        self._saw(written.id, written.version)
        if not written.untold and not written.garbage:
            return
        if not await self._feed.tell(written.id, written.name, written.untold, written.revision):
            return
        self._done[written.id] = written
        if self._clearing is None or self._clearing.done():
            self._clearing = asyncio.create_task(self._clear_soon())

    async def _clear_soon(self) -> None:
        while self._done:
            await asyncio.sleep(CLEAR_PAUSE_S)
            try:
                await self._clear()
            except Unavailable as error:
                # The notes stay, and whoever looks after the keyspace next strikes them out.
                _log.debug("notes of what is done were not struck out: %s", error)
                return

    async def _clear(self) -> None:
        done, self._done = list(self._done.values()), {}
        for written in done:
            await self._chunks.drop(written.garbage)
        if done:
            updates = [_struck_out(written, self._seen.get(written.id)) for written in done]
            await self._client.again(lambda database: database.sessions.bulk_write(updates, ordered=False))


def _names(attempt: Attempt, keyspace: str) -> Document:
    name = attempt.name
    return {"_id": attempt.id, "k": keyspace, "a": name.agent, "m": layout.member(name.agent, name.key)}


def _fields(attempt: Attempt, kept: Kept, outcome: Outcome, leased: LeaseState | None) -> Document:
    """Return the fields as they will be; what the lines change is in `_update`."""
    tokens = [*kept.tokens, attempt.token][-documents.TOKENS :]
    fields: Document = {"v": attempt.token, "at": tokens}
    fields |= documents.lease_fields_of(leased) if leased is not None else {}
    record, old = outcome.record, kept.record
    if record is None or record is old:
        return fields
    fields |= documents.fields_of(record)
    if old is None or old.entry is not record.entry:
        fields |= documents.entry_fields_of(attempt.name, record.entry)
    if not kept.exists or not _only_grew(kept, outcome):
        fields |= documents.transcript_fields_of(record, outcome.current, outcome.strands)
    return fields


def _notes(attempt: Attempt, kept: Kept, outcome: Outcome, untold: Sequence[str]) -> Document:
    """Return what the document notes for those who look after it: what is untold, and when to look."""
    expires = outcome.record.expires_ms if outcome.record else None
    if outcome.operations:
        return {"pend": list(untold), "z": attempt.now_ms}
    return {} if kept.untold or kept.garbage else {"z": expires}


def _update(kept: Kept, outcome: Outcome, new: Document) -> Document:
    update: Document = {
        "$set": {name: value for name, value in new.items() if value is not None},
        "$unset": {name: "" for name, value in new.items() if value is None},
        "$push": {"gc": {"$each": list(outcome.garbage)}} if outcome.garbage else {},
    }
    if "cur" not in new and (added := _added(kept, outcome)):
        current = outcome.strands[outcome.current or ""]
        update["$set"] |= {"cur.n": current.count, "cur.z": current.weight}
        update["$push"]["cur.l"] = {"$each": [Binary(line) for line in added]}
    return {operator: fields for operator, fields in update.items() if fields}


def _only_grew(kept: Kept, outcome: Outcome) -> bool:
    """Return whether no transcript changed but for lines behind the loose ones of the current one."""
    if outcome.current != kept.current or outcome.record is None or kept.record is None:
        return False
    same = {name: span.generation for name, span in outcome.record.transcripts.items()} == {
        name: span.generation for name, span in kept.record.transcripts.items()
    }
    current = kept.current or ""
    others = all(outcome.strands.get(name) == one for name, one in kept.strands.items() if name != current)
    old, new = kept.strands.get(current), outcome.strands.get(current)
    if old is None or new is None:
        return same and others and old is new
    return (
        same
        and others
        and (old.loose_from, old.segments) == (new.loose_from, new.segments)
        and new.loose[: len(old.loose)] == old.loose
    )


def _added(kept: Kept, outcome: Outcome) -> Lines:
    current = outcome.current or ""
    old, new = kept.strands.get(current), outcome.strands.get(current)
    return new.loose[len(old.loose) :] if old and new else ()


def _head_of(kept: Kept) -> TranscriptHead:
    """The transcript as it is now: it may have grown since our append."""
    head = kept.record.transcript if kept.record else None
    assert head is not None
    return head


def _left(document_id: str, name: SessionKey, kept: Kept) -> Written:
    """Return what a document notes as left to be done."""
    assert kept.record is not None and kept.version is not None
    revision, expires = kept.record.revision, kept.record.expires_ms
    return Written(document_id, name, kept.version, revision, kept.untold, kept.garbage, expires)


def _struck_out(written: Written, seen: int | None) -> UpdateOne:
    """Strike out what is done; where the document is changed all the time, the notes that were told alone."""
    if seen != written.version:
        return UpdateOne({"_id": written.id}, {"$pull": {"pend": {"$in": list(written.untold)}}})
    update: Document = {"$unset": {"pend": "", "gc": ""}}
    if written.expires_ms is None:
        update["$unset"]["z"] = ""
    else:
        update["$set"] = {"z": written.expires_ms}
    return UpdateOne({"_id": written.id, "v": written.version}, update)
