"""Both sides of one transcript, looked at together."""

from __future__ import annotations

from dataclasses import dataclass

from sessionstore.bridge import row, stored_lines
from sessionstore.bridge.agreements import is_kept
from sessionstore.bridge.lines import Agreed, Outcome, Walk, compare, is_header, with_feeds
from sessionstore.bridge.stored_lines import Pieces, ReadSlice
from sessionstore.bridge.transcript_file import State, TranscriptFile
from sessionstore.sessions.record import SessionKey, Transcript, TranscriptHead
from sessionstore.sessions.store import Store

_START = Walk(0, 0, own=True, theirs=True)


@dataclass(frozen=True, slots=True)
class Task:
    """One session's transcript in a store, and the lease's token where there is one."""

    store: Store
    key: SessionKey
    transcript_id: str
    fence: int | None

    def reader(self, head: TranscriptHead) -> ReadSlice:
        """Return how to read lines of the transcript that has this head."""
        return stored_lines.transcript_reader(self.store, self.key, head)

    def pieces(self, head: TranscriptHead, start: int) -> Pieces:
        """Go through its lines from `start` on."""
        return stored_lines.pieces(self.reader(head), start, head.lines)


@dataclass(frozen=True, slots=True)
class Look:
    """Both sides at one moment. `base` is what they have in common."""

    head: TranscriptHead
    state: State
    base: Agreed
    outcome: Outcome


def start_of(agreed: Agreed | None) -> int:
    """Return from which line on the store is read: one that is agreed comes along, to see that it is the same."""
    return max(agreed.lines - 1, 0) if agreed else 0


async def look(task: Task, file: TranscriptFile, agreed: Agreed | None, first: Transcript) -> Look:
    """Compare both sides, from where they are as agreed, or from the beginning. Changes nothing.

    Args:
        first: some lines of the store's from `start_of(agreed)` on, and its head.
    Raises: Moved.
    """
    state, head = file.state(), first.head
    if agreed is not None and not _is_agreed(agreed, first):
        agreed = None
    kept = agreed is not None and is_kept(file, state.whole, agreed)
    start = _start(agreed if kept else None, head)
    theirs = task.pieces(head, start.lines)
    known = first.lines[start.lines - first.start :]
    if first.start <= start.lines and known:
        theirs = row.joined(row.own([known]), task.pieces(head, start.lines + len(known)))
    walk = await stored_lines.walked(file.pieces(start.size, state.whole), theirs, start)
    base = Agreed(head.generation, walk.lines, walk.size, file.tail(walk.size))
    return Look(head, state, base, compare(walk, agreed, head.generation, is_kept=kept))


def _is_agreed(agreed: Agreed, first: Transcript) -> bool:
    """Return whether the store still has what was agreed, as far as the last of these lines can tell.

    A store that lost what it had confirmed, and was written to since, may have as many lines of the same generation.
    """
    if first.head.generation != agreed.generation or first.head.lines < agreed.lines or not agreed.lines:
        # The numbers tell.
        return True
    line = with_feeds(first.lines[:1])
    has_own_header = agreed.lines == 1 and is_header(line)
    return has_own_header or (line != b"" and line.endswith(agreed.tail[-len(line) :]))


def _start(agreed: Agreed | None, head: TranscriptHead) -> Walk:
    if agreed is None or head.generation != agreed.generation or head.lines < agreed.lines:
        return _START
    return Walk(agreed.lines, agreed.size, own=True, theirs=True)
