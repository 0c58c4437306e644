"""Lines of a source that is a store: of a session as it was when it was read, and of an archive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from sessionstore.migrate.patience import Patience
from sessionstore.openclaw.problems import Reason, Refused
from sessionstore.openclaw.transcript import Batch
from sessionstore.openclaw.tree import printable
from sessionstore.sessions.exceptions import Unreadable
from sessionstore.sessions.record import SessionKey, TranscriptHead
from sessionstore.sessions.store import Store

SLICE_BYTES = 4 * 1024 * 1024
"""About so many bytes of lines are read at once."""
FIRST_SLICE, MOST_LINES = 64, 1000


@dataclass(frozen=True, slots=True)
class SessionLines:
    """The lines that a session had when it was read: what is appended later is not among them.

    Where they are replaced or deleted meanwhile, they end early: the session is another one by then, as its stamp says.
    """

    store: Store
    patience: Patience
    key: SessionKey
    head: TranscriptHead | None
    stamp: str | None

    @property
    def path(self) -> str:
        return printable(str(self.key))

    def few(self) -> list[bytes] | None:
        return None

    def batches(self) -> AsyncIterator[Batch]:
        return self.batches_from(0)

    async def batches_from(self, start: int) -> AsyncIterator[Batch]:
        """Go through the lines from index `start` on."""
        if self.head is None:
            return
        slices = Slices(self.head.lines, start)
        for first, stop in slices:
            lines = await _readable(self.patience.of(partial(self._read, first, stop)))
            if lines is None:
                return
            yield slices.batch(lines)

    async def _read(self, start: int, stop: int) -> tuple[bytes, ...] | None:
        found = await self.store.read(self.key, start, stop)
        if found is None or self.head is None:
            return None
        is_same = (found.head.id, found.head.generation) == (self.head.id, self.head.generation)
        return found.lines if is_same else None


@dataclass(frozen=True, slots=True)
class ArchiveLines:
    """The lines of an archive. Nothing but its lines says whether it is as it was, so it has no stamp."""

    store: Store
    patience: Patience
    agent: str
    name: str
    count: int

    @property
    def path(self) -> str:
        return printable(f"{self.agent}/{self.name}")

    @property
    def stamp(self) -> str | None:
        return None

    def few(self) -> list[bytes] | None:
        return None

    async def batches(self) -> AsyncIterator[Batch]:
        slices = Slices(self.count)
        for start, stop in slices:
            read = partial(self.store.read_archive, self.agent, self.name, start, stop)
            lines = await _readable(self.patience.of(read))
            if not lines:
                return
            yield slices.batch(lines)


class Slices:
    """Cuts lines into slices of a bounded size: a line may have megabytes, or ten bytes."""

    def __init__(self, count: int, start: int = 0) -> None:
        self._count, self._start, self._offset, self._width = count, start, 0, FIRST_SLICE

    def __iter__(self) -> Iterator[tuple[int, int]]:
        while self._start < self._count:
            yield self._start, min(self._start + self._width, self._count)

    def batch(self, lines: Sequence[bytes]) -> Batch:
        """Take in what was read of the last slice."""
        made = Batch(list(lines), self._offset)
        size = sum(map(len, lines)) + len(lines)
        self._start, self._offset = self._start + len(lines), self._offset + size
        self._width = max(1, min(MOST_LINES, SLICE_BYTES // (size // max(len(lines), 1) + 1)))
        return made


async def _readable(reading: Awaitable[tuple[bytes, ...] | None]) -> tuple[bytes, ...] | None:
    """Await lines. Raises: Refused where they are damaged, or encrypted under a key that was not given."""
    try:
        return await reading
    except Unreadable as error:
        raise Refused(Reason.UNREADABLE, printable(str(error))) from error
