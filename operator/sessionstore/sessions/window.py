"""What of a conversation fits into a model's context, and the summary that stands for the rest.

Functions over the `Store` protocol: they work on every backend, and read a transcript from its end, a block at a
time. docs/design/0010-windows.md says what is replayed, and how that compares with OpenClaw's own reader.
"""

from __future__ import annotations

import contextlib
import datetime
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sessionstore.openclaw import branch, messages, rawjson
from sessionstore.sessions import clock
from sessionstore.sessions.exceptions import Conflict, InvalidEntry, NoTranscript
from sessionstore.sessions.fitting import Choice, Counter, Cut, Fill
from sessionstore.sessions.record import SessionKey, Transcript, TranscriptHead
from sessionstore.sessions.store import Key, Store

FIRST_BLOCK, LARGEST_BLOCK = 200, 3200
"""Lines in the first read, and in the largest one."""
BLOCK_BYTES = 4 * 1024 * 1024
"""What a later block is meant to hold, by the lines of the one before. Lines with images have a megabyte each."""
MAX_TRIES = 20
"""How often to begin anew when somebody else replaces the transcript, or appends in front of a compaction."""

T = TypeVar("T")
V = TypeVar("V", Fill, Cut)


def estimate_tokens(line: bytes) -> int:
    """Estimate the tokens of a raw line: a quarter of the bytes of text that a model is shown, and 4 for the rest.

    No tokenizer: English, code and Chinese come out near, JSON and hexadecimal low by a third to a half, Cyrillic high
    (docs/design/0010-windows.md has the measurements). Pass your model's own counter where the limit is hard.
    """
    record = branch.parse(line)
    message = None if record is None else _shown(record)
    return len(line) // 4 if message is None else messages.text_bytes(message) // 4 + 4


def _shown(record: branch.Record) -> messages.Message | None:
    return messages.summary_message(record) if record.type == "compaction" else messages.message_of(record)


@dataclass(frozen=True, slots=True)
class Window:
    """The newest part of a conversation.

    Attributes:
        head: the transcript as it was read; `append(position=head.lines, generation=head.generation)` is refused
            when anybody else wrote meanwhile.
        lines: raw lines that stand for a message, oldest first; header, labels and the like are left out.
        summary_line: the compaction whose summary comes before `lines`, where it fitted.
        tokens: of `lines` and `summary_line`, as `counter` counts.
        complete: nothing that OpenClaw would replay was left out.
        over_budget: the newest message, or tool call with its results, is by itself larger than `max_tokens`; it is
            given all the same, alone, and what to do about it is yours to decide.
        skipped: lines that were looked at and are no JSON object, or a message without a role.
    """

    head: TranscriptHead
    lines: tuple[bytes, ...]
    summary_line: bytes | None
    tokens: int
    complete: bool
    over_budget: bool
    skipped: int

    @property
    def summary(self) -> str | None:
        """The text that stands for what was compacted."""
        record = branch.parse(self.summary_line) if self.summary_line else None
        return None if record is None else str(record.data.get("summary", ""))

    @property
    def first_id(self) -> str | None:
        """The `id` of the oldest line: what `compact(upto=)` takes to keep exactly `lines`."""
        record = branch.parse(self.lines[0]) if self.lines else None
        return None if record is None else record.id

    @property
    def messages(self) -> tuple[messages.Message, ...]:
        """What OpenClaw would hand to the model: the summary as `compactionSummary`, then each line's message."""
        chosen = (self.summary_line, *self.lines) if self.summary_line else self.lines
        records = (branch.parse(line) for line in chosen)
        found = (None if record is None else _shown(record) for record in records)
        return tuple(message for message in found if message is not None)


async def window(store: Store, key: Key, *, max_tokens: int, counter: Counter = estimate_tokens) -> Window | None:
    """Return the newest messages of the current branch that fit, oldest first.

    A tool call is never parted from its results, and what a compaction replaced is its summary. A summary that is
    reached within the budget is taken before the messages older than it. Memory is bound by the budget and a block
    of lines, not by the transcript; the `file` backend reads the whole file all the same.

    Args:
        max_tokens: at least 1.
        counter: tokens of one raw line, 0 or more; it is called once for each line considered.
    Returns: None where the session is absent or names no transcript, as `Store.read`.
    Raises: Conflict when the transcript was replaced again and again while it was read.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens is {max_tokens}; a window has room for at least 1")
    return await _anew(lambda: _window(_Tail(store, SessionKey.of(key)), max_tokens, counter))


async def compact(  # noqa: PLR0913  what a compaction records, and the lease that it is made under
    store: Store,
    key: Key,
    summary: str,
    upto: str | None,
    *,
    tokens_before: int | None = None,
    details: Mapping[str, Any] | None = None,
    fence: int | None = None,
) -> TranscriptHead:
    """Record that `summary` stands for the conversation up to, and not including, the line with the id `upto`.

    The line that is appended is OpenClaw's own kind of compaction, and it is appended only behind what was looked at:
    lines that others append meanwhile are kept. The entry's `compactionCount` is the caller's to raise.

    Args:
        upto: the first line that is kept, one that is replayed now; `Window.first_id` is one. None keeps none.
        tokens_before: tokens of what was replayed until now; estimated where it is not given, which reads back to
            the compaction before this one, or to the beginning.
        details: OpenClaw writes `{"readFiles": [...], "modifiedFiles": [...]}`; left out where None.
        fence: the token of a lease on the session, as for `Store.append`.
    Raises: NoTranscript; LeaseLost; InvalidEntry when `upto` is not replayed now, or would part a tool call from its
        result; Conflict when others were faster each time.
    """
    if not summary.strip():
        raise InvalidEntry("a compaction needs a summary: an empty one would forget the conversation")
    name = SessionKey.of(key)

    async def once() -> TranscriptHead:
        tail, id = _Tail(store, name), secrets.token_hex(4)
        cut = await _cut(tail, id, upto, estimate_tokens if tokens_before is None else None)
        fields = {"tokensBefore": cut.tokens if tokens_before is None else tokens_before}
        more = {} if details is None else {"details": details}
        line = _compaction_line(
            id, cut.check(), clock.now_ms(), {"summary": summary, "firstKeptEntryId": upto or id, **fields, **more}
        )
        return await store.append(name, [line], position=tail.head.lines, generation=tail.head.generation, fence=fence)

    return await _anew(once)


async def _anew(once: Callable[[], Awaitable[T]]) -> T:
    """Do `once` until nobody else interferes. Raises: Conflict."""
    for _ in range(MAX_TRIES - 1):
        try:
            return await once()
        except Conflict:
            continue
    return await once()


class _Tail:
    """One transcript from its end. Every walk sees the same lines: those there were at the first read."""

    def __init__(self, store: Store, key: SessionKey) -> None:
        self.key = key
        self._store = store
        self._last: Transcript | None = None

    @property
    def head(self) -> TranscriptHead:
        assert self._last is not None
        return self._last.head

    async def open(self) -> bool:
        """Read the end; return whether there is a transcript."""
        self._last = await self._store.read(self.key, -FIRST_BLOCK, None)
        return self._last is not None

    async def lines(self) -> AsyncGenerator[tuple[int, bytes]]:
        """Go through index and line, newest first. Raises: Conflict when the transcript is replaced meanwhile."""
        part = self._last
        while part is not None:
            for offset in range(len(part.lines) - 1, -1, -1):
                yield part.start + offset, part.lines[offset]
            part = await self._before(part.start, _next_size(part.lines)) if part.start > 0 else None

    async def _before(self, stop: int, size: int) -> Transcript:
        part = await self._store.read(self.key, max(0, stop - size), stop)
        same = part is not None and (part.head.id, part.head.generation) == (self.head.id, self.head.generation)
        if part is None or not same:
            raise Conflict(f"the transcript of {self.key} was replaced while it was read", None)
        return part


def _next_size(lines: Sequence[bytes]) -> int:
    """Return how many lines to read next: up to twice as many as these, fewer where these are large."""
    average = sum(map(len, lines)) // max(1, len(lines)) + 1
    return max(1, min(2 * len(lines), LARGEST_BLOCK, BLOCK_BYTES // average))


async def _follow(tail: _Tail, begin: Callable[[branch.Branch], V]) -> tuple[V, branch.Branch, bool]:
    """Walk back along the branch with a new visitor until it is satisfied, and anew without controls that prove void.

    Returns: the visitor, the branch, and whether it was seen to its end.
    """
    voided: frozenset[int] = frozenset()
    while True:
        found = branch.Branch(voided)
        visitor = begin(found)
        stopped = await _visit(tail, found, visitor)
        if stopped or not found.void:
            return visitor, found, found.ended or not stopped
        voided |= found.void


async def _visit(tail: _Tail, found: branch.Branch, visitor: Fill | Cut) -> bool:
    """Return whether the walk stopped before the transcript's beginning."""
    async with contextlib.aclosing(tail.lines()) as lines:
        async for index, raw in lines:
            record = branch.parse(raw)
            if record is not None or raw.strip():
                visitor.see(record)
            entry = None if record is None else found.feed(index, raw, record)
            if entry is not None:
                visitor.take(entry)
            if found.ended or (found.certain and visitor.satisfied):
                return True
    return False


async def _window(tail: _Tail, max_tokens: int, counter: Counter) -> Window | None:
    if not await tail.open():
        return None
    at_least = 0
    while True:
        fill, found, ended = await _follow(tail, lambda path: Fill(path, max_tokens, counter, at_least))  # noqa: B023
        choice = fill.choose(ended=ended)
        if isinstance(choice, Choice):
            return _made(tail.head, fill, found, choice)
        at_least = choice


def _made(head: TranscriptHead, fill: Fill, found: branch.Branch, choice: Choice) -> Window:
    summary = found.compaction if choice.summary else None
    return Window(
        head=head,
        lines=tuple(reversed(fill.lines[: choice.count])),
        summary_line=summary.raw if summary else None,
        tokens=fill.sums[choice.count] + (fill.summary_tokens if summary else 0),
        complete=choice.complete,
        over_budget=choice.over_budget,
        skipped=fill.skipped,
    )


async def _cut(tail: _Tail, id: str, upto: str | None, counter: Counter | None) -> Cut:
    if not await tail.open():
        raise NoTranscript(f"session {tail.key} is absent, or names no transcript (sessionFile, sessionId)")
    cut, _, _ = await _follow(tail, lambda path: Cut(path, id, upto, counter))
    return cut


def _compaction_line(id: str, leaf: branch.Entry, at_ms: int, fields: Mapping[str, Any]) -> bytes:
    """Write the line as OpenClaw's `appendCompaction` does, in its order of members."""
    # A leaf without an id cannot be named; a line that names no parent continues the leaf before it.
    parent = {} if leaf.record.id is None else {"parentId": leaf.record.id}
    moment = datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC).isoformat(timespec="milliseconds")
    return rawjson.dump(
        {"type": "compaction", "id": id, **parent, "timestamp": moment.replace("+00:00", "Z"), **fields}
    )
