"""One agent's directory as this process knows it: what the files hold now, beside what was last written down of it.

Nothing is believed for longer than the files stay as they were: each look compares. A look without the lock may meet
a change that is being carried out, so whatever does not fit is looked at again, and written down, under the lock.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sessionstore.openclaw.names import file_of
from sessionstore.sessions.exceptions import InvalidKey, Unavailable, Unreadable
from sessionstore.sessions.file import revisions, transcripts
from sessionstore.sessions.file.index import SESSIONS_NAME, Index, Mark, mark_of
from sessionstore.sessions.file.log import Line, Log, Unsettled
from sessionstore.sessions.file.revisions import NOTHING, Extent, Fate, Item, Row, Seen
from sessionstore.sessions.file.transcripts import LineReader
from sessionstore.sessions.plainfiles import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, Directory
from sessionstore.sessions.record import Lifetime, Operation, SessionKey
from sessionstore.sessions.transitions import Record

READERS = 64
"""Transcripts of which is remembered where their lines begin."""
LOOK_S = 1.0
"""How often, at most, the feed looks at all transcripts where `sessions.json` has not changed."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sight:
    """A session as a look found it."""

    row: Row | None
    item: Item | None
    noticed: Operation | None = None
    """What another program did that is not written down yet; `row` says how the session is with it."""

    @property
    def record(self) -> Record | None:
        """What callers know of it; tombstones too."""
        if self.row is None:
            return None
        return dataclasses.replace(self.row.record, entry=self.item.entry if self.item else None)


class AgentFiles:
    """What this process knows of one agent's directory. Threads may use it at once."""

    def __init__(self, agent: str, path: Path, now_ms: Callable[[], int], defaults: Lifetime) -> None:
        """Know nothing yet. `path` is for messages."""
        self.agent = agent
        self.log = Log()
        self.index = Index(agent, str(path / SESSIONS_NAME))
        self.damaged: dict[str, str] = {}
        """Session key -> why its entry cannot be read, as of the last look at all."""
        self._now_ms, self._defaults = now_ms, defaults
        self._mutex = threading.RLock()
        self._index_writes = -1
        self._readers: OrderedDict[tuple[str, int, int], LineReader] = OrderedDict()
        self._looked: tuple[Mark | None, float] = (None, 0.0)
        self._is_tidy = False

    # -- looking: with the lock or without ------------------------------------------------------

    def refresh(self, directory: Directory) -> None:
        """Read again what has changed. Raises: Unreadable."""
        with self._mutex:
            self.log.refresh(directory)
            found = directory.stat(SESSIONS_NAME)
            mark = None if found is None else mark_of(found)
            # What this library wrote is told by the log: two files that follow at once may look alike.
            if mark != self.index.mark or self._index_writes != self.log.writes:
                self.index = self.index.read(directory)
                self._index_writes = self.log.writes

    def look(self, directory: Directory, key: str) -> Sight:
        """See a session. Raises: Unreadable."""
        with self._mutex:
            self.refresh(directory)
            return self._sight(directory, key)

    def look_at_all(self, directory: Directory) -> dict[str, Sight]:
        """See all sessions, but for those whose entries are damaged. Raises: Unreadable for the file as a whole."""
        with self._mutex:
            self.refresh(directory)
            found, damaged = {}, {}
            for key in dict.fromkeys([*self.index.entries, *self.log.rows]):
                try:
                    SessionKey(self.agent, key)
                    found[key] = self._sight(directory, key)
                except (Unreadable, InvalidKey) as error:
                    damaged[key] = str(error)
            if damaged.keys() - self.damaged.keys():
                _log.warning(
                    "%d entries of %s cannot be read and are left out of lists; health() names them",
                    len(damaged),
                    directory.path / SESSIONS_NAME,
                )
            self.damaged = damaged
            return found

    @contextmanager
    def steady(self, directory: Directory) -> Iterator[Log]:
        """Give the log, read to its end, which no thread reads on meanwhile. Raises: Unreadable."""
        with self._mutex:
            self.log.refresh(directory)
            yield self.log

    def is_quiet(self, directory: Directory) -> bool:
        """Return whether another look at all is not due, as far as the feed is concerned."""
        with self._mutex:
            self.refresh(directory)
            mark, when = self._looked
            is_due = mark != self.index.mark or time.monotonic() - when > LOOK_S
            if is_due:
                self._looked = (self.index.mark, time.monotonic())
            return not is_due and self.log.unsettled is None

    def reader(self, transcript_id: str, generation: int, inode: int) -> LineReader:
        """Return what is known of where a transcript's lines begin."""
        with self._mutex:
            name = (transcript_id, generation, inode)
            reader = self._readers.setdefault(name, LineReader())
            self._readers.move_to_end(name)
            while len(self._readers) > READERS:
                self._readers.popitem(last=False)
            return reader

    # -- with the directory locked --------------------------------------------------------------

    @contextmanager
    def locked(self, directory: Directory) -> Iterator[None]:
        """Keep others out, with the last change of whoever was killed in the middle settled. Raises: Unavailable."""
        with directory.locked():
            if not self._is_tidy:
                self._tidy(directory)
            self.refresh(directory)
            if self.log.unsettled is not None:
                self._settle(directory, self.log.unsettled)
            yield

    def notice(self, directory: Directory, key: str) -> Sight:
        """See a session, and write down what another program did to it. Raises: Unreadable; Unavailable."""
        sight = self.look(directory, key)
        if sight.noticed is None or sight.row is None:
            return sight
        self.write(directory, [self.log.tell(key, sight.row, sight.noticed, settled=True)])
        return dataclasses.replace(sight, noticed=None)

    def notice_all(self, directory: Directory) -> dict[str, Sight]:
        """See all sessions, and write down what other programs did. Raises as `notice`."""
        found = self.look_at_all(directory)
        lines: list[Line] = []
        for key, sight in found.items():
            if sight.noticed is not None and sight.row is not None:
                lines.append(self.log.tell(key, sight.row, sight.noticed, settled=True, after=len(lines)))
        if lines:
            self.write(directory, lines)
        return found

    def write(self, directory: Directory, lines: list[Line], *, sync: bool = True) -> None:
        """Add lines to the log. Raises: Unavailable."""
        with self._mutex:
            is_current = self._index_writes == self.log.writes
            self.log.write(directory, lines, sync=sync)
            if is_current and self.log.unsettled is None:
                self._index_writes = self.log.writes

    def carried_out(self, directory: Directory, extents: dict[str, Extent], index: Index | None = None) -> None:
        """Say that the last change was carried out. `index` is what it left in `sessions.json`."""
        with self._mutex:
            if index is not None:
                self.index, self._index_writes = index, self.log.writes
            # It says what the files tell as well, so that it need not be on the disk, nor find room there.
            with suppress(Unavailable):
                self.log.write(directory, [self.log.done(extents)], sync=False)
            self.log.shorten(directory)

    def shorten(self, directory: Directory) -> None:
        """Write the log anew without what is not needed, if there is enough of that."""
        with self._mutex:
            self.log.shorten(directory)

    def bury_files(self, directory: Directory, row: Row, *, leftovers: bool = False) -> None:
        """Make archives of a tombstone's transcripts, as when OpenClaw deletes, unless another session has them.

        They are so on the disk before anybody says that the delete was carried out: nobody would do it after that.

        Args:
            leftovers: only what the session had; a file of that name may have been made anew since.
        """
        renamed = False
        for transcript_id, extent in row.extents.items():
            name = file_of(transcript_id)
            found = directory.stat(name)
            if found is None or self.index.names(transcript_id) or (leftovers and not _is_still(extent, found)):
                continue
            directory.rename(name, _free_name(directory, name, row.record.written_ms))
            renamed = True
        if renamed:
            directory.sync()

    @staticmethod
    def without_gone(directory: Directory, row: Row, item: Item) -> Row:
        """Forget transcripts of before that have no file: each reset by OpenClaw leaves one behind."""
        named = item.entry.transcript_id
        gone = [
            name
            for name, span in row.record.transcripts.items()
            # A generation above 0 guards against who knew the lines from before.
            if name != named and span.generation == 0 and directory.stat(file_of(name)) is None
        ]
        return revisions.without(row, gone) if gone else row

    def _sight(self, directory: Directory, key: str) -> Sight:
        row, item, now = self.log.rows.get(key), self.index.item(key), self._now_ms()
        if item is None:
            is_new = row is not None and row.is_live
            return Sight(revisions.buried(row, now), None, Operation.DELETE) if row and is_new else Sight(row, None)
        seen = self._seen(directory, row, item)
        if row is None:
            return Sight(revisions.adopted(item, seen, now, self._defaults), item, Operation.SET)
        if row.digest == item.digest and seen.fate is Fate.SAME:
            return Sight(self._learn(key, row, item, seen), item)
        changed = self.without_gone(directory, revisions.changed(row, item, seen, now, self._defaults), item)
        return Sight(changed, item, revisions.operation_of(row, item, seen))

    def _seen(self, directory: Directory, row: Row | None, item: Item) -> Seen:
        named = item.entry.transcript_id
        if named is None:
            return NOTHING
        known = row.extents.get(named) if row and row.is_live else None
        return transcripts.compare(directory, named, known, row.span(named).lines if row else 0)

    def _learn(self, key: str, row: Row, item: Item, seen: Seen) -> Row:
        """Remember a file's time where the log does not have it: then it need not be read to be compared again."""
        named = item.entry.transcript_id
        if named is None or row.extents.get(named, Extent()) == seen.extent:
            return row
        learnt = dataclasses.replace(row, extents={**row.extents, named: seen.extent})
        self.log.rows[key] = learnt
        return learnt

    def _settle(self, directory: Directory, last: Unsettled) -> None:
        """Find out what became of the last change, whose writer did not say."""
        with self._mutex:
            row = self.log.rows[last.key]
            try:
                sight = self._sight(directory, last.key)
                if sight.noticed is None:
                    if not row.is_live:
                        self.bury_files(directory, row, leftovers=True)
                    self.write(directory, [self.log.done({})], sync=False)
                    return
                if last.before is not None and self._is_undone(directory, last.key, last.before, row):
                    line = self.log.tell(last.key, revisions.undone(last.before, row), Operation.SET, settled=True)
                    self.write(directory, [line])
                    return
                self.notice(directory, last.key)
            except Unreadable:
                # Another program's damage; who asks for that session meets it.
                self.write(directory, [self.log.done({})], sync=False)

    def _is_undone(self, directory: Directory, key: str, before: Row, after: Row) -> bool:
        """Return whether the files are as they were before a change. What is left of a half append is cut off."""
        item = self.index.item(key)
        if item is None or item.digest != before.digest:
            return item is None and not before.is_live
        named = item.entry.transcript_id
        if named is not None and after.begins:
            extents = before.extents.get(named, Extent()), after.extents[named]
            transcripts.cut_torn(directory, named, *extents, after.begins)
        return self._seen(directory, before, item).fate is Fate.SAME

    def _tidy(self, directory: Directory) -> None:
        """Remove what killed writers left: whoever writes such a file holds the lock."""
        for name in directory.names():
            if name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX):
                directory.remove(name)
        self._is_tidy = True


def _is_still(extent: Extent, found: os.stat_result) -> bool:
    """Return whether a file may be the one of a session that was deleted: neither cut nor another since."""
    return found.st_size >= extent.size and extent.inode in (0, found.st_ino)


def _free_name(directory: Directory, name: str, now_ms: int) -> str:
    """Return an archive's name that none has: two deletes may fall into one millisecond."""
    while directory.stat(free := f"{name}.deleted.{_stamp(now_ms)}") is not None:
        now_ms += 1
    return free


def _stamp(now_ms: int) -> str:
    """Return a time as OpenClaw's archive names have it: ISO 8601 with `-` for `:`."""
    when = datetime.datetime.fromtimestamp(now_ms / 1000, datetime.UTC)
    return f"{when:%Y-%m-%dT%H-%M-%S}.{now_ms % 1000:03d}Z"
