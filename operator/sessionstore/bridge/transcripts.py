"""Carries the lines of transcripts both ways between the files of one directory and the store.

`room.py` calls `carry` when a file changed, when the feed tells of a transcript, before a door is opened and after a
turn. What is done is what `lines.compare` finds. Nothing is planned ahead: after each change both sides are looked at
again, so a bridge that was killed anywhere, an answer that was lost and a store that somebody else appended to are all
the same case.

- Lines that only the file has are appended at the position that they must have, under the lease's token: sent twice
  they are stored once, and who lost the lease stores none (`LeaseLost`; a later `carry` with a new lease finds both
  sides gone on).
- A file is changed only where `may_touch` says that a door is planted and no turn runs. Whole pieces are added in one
  write. Everything else is built aside and moved into place: first the file gets all that either side has, in the row
  that both will have, and only then the store gets what it lacks. So no line is ever in neither.
- Nothing here holds a whole transcript: pieces of about 1 MiB, and of lines that have to be told from others a digest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from enum import Enum
from typing import Protocol

from sessionstore.bridge import row, sides, stored_lines
from sessionstore.bridge.agreements import Agreements
from sessionstore.bridge.lines import NOTHING, Agreed, Ahead, Behind, Forked, Rewritten, Same, Superseded, with_feeds
from sessionstore.bridge.row import Source
from sessionstore.bridge.sides import Look, Task
from sessionstore.bridge.stored_lines import Pieces
from sessionstore.bridge.transcript_file import Moved, State, TranscriptFile
from sessionstore.openclaw.names import FileKind, file_of, kind_of
from sessionstore.sessions.exceptions import Conflict, NoTranscript
from sessionstore.sessions.plainfiles import Directory
from sessionstore.sessions.record import SessionKey, TranscriptHead
from sessionstore.sessions.store import Store

ATTEMPTS = 8
"""How often a side may change under us before it is left for later."""
REWRITE_BYTES = 4 * 1024 * 1024
"""So much of a transcript that was written anew is replaced in one step: a compacted one has less, so that nobody ever
sees the half of it."""

_log = logging.getLogger(__name__)


class MayTouch(Protocol):
    """Whether a transcript's file may be changed now: a door of ours is planted there, and no turn runs."""

    def __call__(self, transcript_id: str) -> bool:
        """Tell. It is asked again just before each change."""


class Carried(Enum):
    """What came of it."""

    SAME = "same"
    """Both sides have the same lines."""
    LATER = "later"
    """The file would have to be touched, and must not be; or it changes all the time. Call again after the turn."""
    OWED = "owed"
    """The file has lines that the store lacks, and without a lease nobody may store them."""
    ABSENT = "absent"
    """The store has no such session, or its entry names another transcript. Nothing was done."""
    ARCHIVED = "archived"
    """The file became an archive here. Nothing was done."""


class Transcripts:
    """The transcripts of one agent's directory."""

    def __init__(self, store: Store, directory: Directory, agreements: Agreements, may_touch: MayTouch) -> None:
        """Carry between `store` and the files of `directory`."""
        self._store, self._directory = store, directory
        self.agreements, self._may_touch = agreements, may_touch

    @classmethod
    def begun(cls, store: Store, directory: Directory, may_touch: MayTouch, boot: str | None = None) -> Transcripts:
        """Begin with what the last bridge has left: what it agreed on is known, what it had not finished goes."""
        row.remove_left_over(directory)
        return cls(store, directory, Agreements.load(directory, boot), may_touch)

    async def carry(self, key: SessionKey, transcript_id: str, *, fence: int | None = None) -> Carried:
        """Bring both sides together, as far as is allowed now. Not twice at once for one transcript.

        Args:
            fence: the token of the session's lease; without it nothing is written to the store.
        Raises: LeaseLost; Unavailable, Unreadable of the store or the file; InvalidEntry for what the store refuses.
        """
        task = Task(self._store, key, transcript_id, fence)
        for _ in range(ATTEMPTS):
            try:
                carried = await self._step(task)
            except (Conflict, Moved):
                continue
            except NoTranscript:
                return Carried.ABSENT
            if carried is not None:
                return carried
        _log.info("a transcript in %s keeps changing; it is looked at again later", self._directory.path)
        return Carried.LATER

    async def _step(self, task: Task) -> Carried | None:
        """Look at both sides and do one thing; None where they have to be looked at again."""
        agreed = self.agreements.of(task.key.key, task.transcript_id)
        start = sides.start_of(agreed)
        first = await self._store.read(task.key, start, start + stored_lines.FIRST_LINES)
        if first is None or first.head.id != task.transcript_id:
            return Carried.ABSENT
        with TranscriptFile.opened(self._directory, task.transcript_id) as file:
            if file is None:
                return await self._without_file(task, first.head)
            look = await sides.look(task, file, agreed, first)
            return await self._act(task, file, look)

    async def _act(self, task: Task, file: TranscriptFile, look: Look) -> Carried | None:
        match look.outcome:
            case Same():
                self._agree(task, look.base)
                return Carried.SAME
            case Ahead():
                return await self._push(task, file, look)
        if not self._is_free(task, file, look.state):
            return Carried.LATER
        if look.state.is_torn and not await self._is_begun(task, file, look):
            # A crash left half a line. OpenClaw ends it, too, and skips it; it is a line like any other then.
            file.append(b"\n")
            return None
        match look.outcome:
            case Behind():
                return await self._take(task, file, look)
            case Rewritten(since):
                return await self._push_anew(task, file, look, since)
            case Forked() | Superseded():
                await self._put_in_row(task, file, look)
        return None

    def _is_free(self, task: Task, file: TranscriptFile, state: State) -> bool:
        """Return whether the file may be changed. Raises: Moved where it was, since it was looked at."""
        if not self._may_touch(task.transcript_id):
            return False
        if not file.is_still(state):
            raise Moved
        return True

    async def _is_begun(self, task: Task, file: TranscriptFile, look: Look) -> bool:
        """Return whether a torn end is the beginning of the line that is to come there: we were killed writing it."""
        if not isinstance(look.outcome, Behind):
            return False
        torn = file.read(look.state.whole, look.state.size)
        found = await task.reader(look.head)(look.base.lines, look.base.lines + 1)
        return found[0].startswith(torn)

    async def _push(self, task: Task, file: TranscriptFile, look: Look) -> Carried:
        """Store what only the file has."""
        agreed = look.base
        self._agree(task, agreed)
        if task.fence is None:
            return Carried.OWED
        for piece in file.pieces(agreed.size, look.state.whole):
            await self._store.append(
                task.key, piece, position=agreed.lines, generation=agreed.generation, fence=task.fence
            )
            agreed = agreed.after(piece)
            self._agree(task, agreed)
        return Carried.SAME

    async def _take(self, task: Task, file: TranscriptFile, look: Look) -> Carried:
        """Add what only the store has."""
        agreed, begun = look.base, look.state.size - look.state.whole
        async with aclosing(task.pieces(look.head, agreed.lines)) as pieces:
            async for piece in pieces:
                if not self._may_touch(task.transcript_id) or not file.is_of_size(agreed.size + begun):
                    raise Moved
                file.append(with_feeds(piece)[begun:])
                agreed, begun = agreed.after(piece), 0
                self._agree(task, agreed)
        return Carried.SAME

    async def _push_anew(self, task: Task, file: TranscriptFile, look: Look, since: int) -> Carried | None:
        """Replace the store's lines by the file's, which the gateway has written anew.

        What the store got meanwhile is put into the file first.
        """

        def additions() -> Pieces:
            return task.pieces(look.head, since)

        def base() -> Pieces:
            return row.own(file.pieces(0, look.state.whole))

        if look.head.lines > since and await row.missing(base, additions):
            await self._build(task, file, look, base, additions)
            return None
        if task.fence is None:
            return Carried.OWED
        held = await self._store.get(task.key)
        if held is None or held.transcript != look.head:
            raise Moved
        first = _beginning(file.pieces(0, look.state.whole))
        head = await self._store.rewrite(
            task.key, first, expected=held.revision, generation=look.head.generation, fence=task.fence
        )
        self._agree(task, replace(NOTHING, generation=head.generation).after(first))
        return None

    async def _put_in_row(self, task: Task, file: TranscriptFile, look: Look) -> None:
        """Put the store's lines first, and behind them those that only the file has. The next look finds it ahead."""
        outcome, whole = look.outcome, look.state.whole

        def base() -> Pieces:
            if isinstance(outcome, Forked):
                common = row.own(file.pieces(0, outcome.size))
                return row.joined(common, task.pieces(look.head, outcome.lines))
            return row.headed(file.header(whole), task.pieces(look.head, 0))

        def additions() -> Pieces:
            assert isinstance(outcome, Forked | Superseded)
            return row.own(file.pieces(outcome.size, whole))

        written = await self._build(task, file, look, base, additions)
        self._agree(task, replace(written, generation=look.head.generation))

    async def _build(self, task: Task, file: TranscriptFile, look: Look, base: Source, additions: Source) -> Agreed:
        def check() -> None:
            if not self._is_free(task, file, look.state):
                raise Moved

        return await row.build(self._directory, file.name, base, additions, check)

    async def _without_file(self, task: Task, head: TranscriptHead) -> Carried:
        if not head.lines:
            return Carried.SAME
        if self._is_archived(task.transcript_id):
            return Carried.ARCHIVED
        if not self._may_touch(task.transcript_id):
            return Carried.LATER

        name = file_of(task.transcript_id)

        def check() -> None:
            if not self._may_touch(task.transcript_id) or self._directory.stat(name):
                raise Moved

        written = await row.build(self._directory, name, lambda: task.pieces(head, 0), row.none, check)
        self._agree(task, replace(written, generation=head.generation))
        return Carried.SAME

    def _is_archived(self, transcript_id: str) -> bool:
        begin = file_of(transcript_id) + "."
        return any(
            name.startswith((begin + "reset.", begin + "deleted.")) and kind_of(name) is FileKind.ARCHIVE
            for name in self._directory.names()
        )

    def _agree(self, task: Task, agreed: Agreed) -> None:
        self.agreements.agree(task.key.key, task.transcript_id, agreed)


def _beginning(pieces: Iterable[Sequence[bytes]]) -> list[bytes]:
    """Take as much of a file as is stored in one step."""
    found: list[bytes] = []
    size = 0
    for piece in pieces:
        found += piece
        size += sum(map(len, piece))
        if size >= REWRITE_BYTES:
            break
    return found
