"""A directory as a place that keeps records: one file per session, and files of lines beside it.

Lines first, then the line in the journal, then the record: each is on the disk before the next. So a writer that is
killed anywhere leaves the old record or the new one, lines that no record counts, and at worst an event for a change
that was not made.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from sessionstore.sessions import feed
from sessionstore.sessions.directory import codec, journal, lines, locks, names, walk
from sessionstore.sessions.directory.codec import Kept
from sessionstore.sessions.directory.journal import Journal
from sessionstore.sessions.directory.lines import Extent, LineReader
from sessionstore.sessions.directory.names import Place
from sessionstore.sessions.directory.oddities import Oddities
from sessionstore.sessions.directory.root import Root, check_owner, read_record, read_store, understood
from sessionstore.sessions.exceptions import SessionError, Unavailable
from sessionstore.sessions.leases import LeaseState
from sessionstore.sessions.local import Lines, Step
from sessionstore.sessions.plainfiles import Directory, translated
from sessionstore.sessions.record import Changes, Health, SessionKey
from sessionstore.sessions.transitions import Record

_PROBE = ".sessionstore-probe"


class Room:
    """One session's files."""

    def __init__(self, root: Root, name: SessionKey, reader: LineReader, open_files: contextlib.ExitStack) -> None:
        self._root, self._name, self._reader, self._open_files = root, name, reader, open_files
        self._place = names.place_of(name)
        self._opened: Directory | None = None
        self._kept: Kept | None = None

    def load(self) -> Record | None:
        directory = self._directory(create=False)
        self._kept = read_record(directory, self._place, self._name) if directory else None
        return self._kept.record if self._kept else None

    def save(self, step: Step) -> None:
        past = self._kept
        directory = self._directory(create=True)
        assert directory is not None
        made = Kept(step.record, self._sizes(directory, step))
        data = codec.dump_record(self._name, made)
        if len(data) > codec.MAX_BYTES:
            text = (
                f"the record of session {self._name} would have {len(data)} bytes, and {codec.MAX_BYTES} is the limit"
            )
            raise Unavailable(f"{text}; delete the session, or give it a smaller entry", "full")
        if step.operation is not None:
            self._root.tell(self._name, step.record.revision, step.operation)
        directory.replace(self._place.record, data)
        self._kept = made
        if step.operation is None:
            # No event, but other processes' lists go by when the session expires: told once it is so.
            self._root.tell(self._name, step.record.revision, None)
        for file in line_files(self._place, past) - line_files(self._place, made):
            directory.remove(file)

    def lines(self, transcript_id: str, start: int, stop: int) -> Lines:
        assert self._kept is not None
        directory = self._directory(create=False)
        span = self._kept.record.transcripts[transcript_id]
        file = self._place.lines(transcript_id, span.generation)
        if directory is None:
            raise lines.Gone(f"the files of session {self._name} are not there")
        return self._reader.read(directory, file, self._extent(transcript_id), start, stop)

    def lease(self) -> LeaseState | None:
        directory = self._directory(create=False)
        data = directory.read(self._place.lease, codec.MAX_BYTES) if directory else None
        if directory is None or data is None:
            return None
        what = f"the lease of session {self._name} in {directory.path / self._place.lease}"
        owner, state = understood(lambda: codec.parse_lease(data), what)
        check_owner(owner, self._name, what)
        return state

    def save_lease(self, state: LeaseState) -> None:
        directory = self._directory(create=True)
        assert directory is not None
        directory.replace(self._place.lease, codec.dump_lease(self._name, state))

    def _sizes(self, directory: Directory, step: Step) -> dict[str, int]:
        """Write a step's lines; return the bytes of each transcript as the record will count them."""
        spans = step.record.transcripts
        sizes = {
            transcript_id: size
            for transcript_id, size in (self._kept.sizes if self._kept else {}).items()
            if transcript_id in spans and spans[transcript_id].lines
        }
        if step.transcript_id is None:
            return sizes
        have = self._extent(step.transcript_id) if step.replaced is None else Extent()
        added = step.added if step.replaced is None else step.replaced
        sizes.pop(step.transcript_id, None)
        if added:
            file = self._place.lines(step.transcript_id, spans[step.transcript_id].generation)
            sizes[step.transcript_id] = lines.append(directory, file, have, added).size
        return sizes

    def _extent(self, transcript_id: str) -> Extent:
        assert self._kept is not None
        return Extent(self._kept.record.transcripts[transcript_id].lines, self._kept.sizes.get(transcript_id, 0))

    def _directory(self, *, create: bool) -> Directory | None:
        if self._opened is None:
            below = self._root.directory.below(*self._place.directories, create=create)
            self._opened = self._open_files.enter_context(below)
        return self._opened


class DirectoryShelf:
    """A directory. It is made by the first write; one that holds something else is refused."""

    def __init__(self, path: Path) -> None:
        """Prepare."""
        self.path = path
        self.oddities = Oddities(path)
        self._reader = LineReader()
        self._seen: tuple[tuple[int, int], str] | None = None
        self._settled: tuple[str, int] = ("", 0)

    @contextlib.contextmanager
    def opened(self, *, create: bool) -> Iterator[Root | None]:
        """Open the directory; None where there is no store. Raises: Unreadable where there is something else."""
        with Directory.opened(self.path, create=create) as directory:
            store_id = self._store_id(directory, create=create) if directory else None
            yield None if directory is None or store_id is None else Root(directory, store_id)

    @contextlib.contextmanager
    def room(self, name: SessionKey, *, writing: bool) -> Iterator[Room | None]:
        with self.opened(create=writing) as root, contextlib.ExitStack() as open_files:
            if root is None:
                yield None
                return
            if writing:
                open_files.enter_context(locks.held(root.directory, names.place_of(name).slot, f"session {name}"))
            yield Room(root, name, self._reader, open_files)

    def rows(self, agent: str | None) -> Iterator[tuple[SessionKey, Record]]:
        """Go through all records, tombstones too. What cannot be read is left out, and noted among the oddities."""
        with self.opened(create=False) as root:
            if root is not None:
                yield from walk.records(root, self.oddities, agent)

    def count_archives(self) -> int:
        with self.opened(create=False) as root:
            return sum(1 for _ in walk.archives(root, self.oddities, None)) if root else 0

    def feed_end(self) -> str:
        with self.opened(create=True) as root:
            assert root is not None
            with root.journal(create=True) as kept:
                assert kept is not None
                return journal.cursor_of(kept, root.store_id, self._settled_end(root, kept))

    def feed_after(self, cursor: str, limit: int) -> Changes:
        with self.opened(create=True) as root:
            assert root is not None
            with root.journal(create=True) as kept:
                assert kept is not None
                return journal.changes(kept, root.store_id, cursor, limit, root.is_settled)

    def health(self) -> Health:
        begun = time.perf_counter()
        try:
            with self.opened(create=True) as root:
                assert root is not None
                root.directory.replace(_PROBE, b"")
                root.directory.remove(_PROBE)
                with translated(self.path):
                    free = os.statvfs(self.path)
        except SessionError as error:
            reason = error.reason if isinstance(error, Unavailable) else "connection"
            return Health(ok=False, message=str(error), reason=reason)
        return Health(
            ok=True,
            message=self.oddities.sentence,
            latency_ms=(time.perf_counter() - begun) * 1000,
            facts=(
                ("directory", str(self.path)),
                ("left out", str(len(self.oddities))),
                ("free bytes", str(free.f_bavail * free.f_frsize)),
            ),
        )

    def _settled_end(self, root: Root, kept: Journal) -> int:
        """Return up to where everything is settled. What was once, stays so: only what came since is looked at."""
        end = kept.end
        if not locks.is_held(root.directory):
            return end
        since = self._settled[1] if self._settled[0] == root.store_id else 0
        place = journal.settled_end(kept, since, root.is_settled)
        self._settled = root.store_id, place
        return place

    def _store_id(self, directory: Directory, *, create: bool) -> str | None:
        """Return the store's id, reading it again only where names in the directory changed."""
        stamp = directory.stamp
        if self._seen is not None and self._seen[0] == stamp:
            return self._seen[1]
        found = read_store(directory) or (_made_store(directory) if create else None)
        self._seen = None if found is None else (stamp, found)
        return found


def _made_store(directory: Directory) -> str:
    with locks.held(directory, names.slot_of(names.STORE), f"the making of {directory.path}"):
        found = read_store(directory)
        if found is None:
            found = feed.new_id()
            directory.replace(names.STORE, codec.dump_store(found))
        return found


def line_files(place: Place, kept: Kept | None) -> set[str]:
    """Return the names of the files that hold a record's lines."""
    if kept is None:
        return set()
    return {
        place.lines(transcript_id, kept.record.transcripts[transcript_id].generation) for transcript_id in kept.sizes
    }
