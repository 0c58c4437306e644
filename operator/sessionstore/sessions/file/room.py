"""One session's place in an agent's directory: how a decided step is carried out in OpenClaw's files.

Always in this order: what may be refused (a full disk) is written under a temporary name; the log gets its line; the
files change; the log says so. docs/design/0012-file.md tells what a crash between any two of these leaves.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

from sessionstore.openclaw import rawjson
from sessionstore.openclaw.names import file_of
from sessionstore.sessions.exceptions import Unavailable
from sessionstore.sessions.file import revisions, transcripts
from sessionstore.sessions.file.agent import AgentFiles, Sight
from sessionstore.sessions.file.index import SESSIONS_NAME, Index, digest_of, mark_of, text_of
from sessionstore.sessions.file.log import Line
from sessionstore.sessions.file.revisions import Extent, Item, Row
from sessionstore.sessions.leases import LeaseState
from sessionstore.sessions.local import Lines, Step
from sessionstore.sessions.plainfiles import Directory, Prepared
from sessionstore.sessions.record import Entry, Operation, SessionKey, Status, TranscriptHead
from sessionstore.sessions.transitions import Record

BEGINS_BYTES = 64
"""Of an append, kept until it is carried out."""

Entries = Mapping[str, bytes]


class NoDirectory(Exception):
    """Something is to be written for an agent that has no directory yet."""

    def __init__(self, agent: str) -> None:
        super().__init__(agent)
        self.agent = agent


class Nowhere:
    """The place of a session whose agent has no directory. One is made only when something is to be kept there."""

    def __init__(self, name: SessionKey) -> None:
        self._name = name

    def load(self) -> Record | None:
        return None

    def lease(self) -> LeaseState | None:
        return None

    def save(self, step: Step) -> None:
        raise NoDirectory(self._name.agent)

    def save_lease(self, state: LeaseState) -> None:
        raise NoDirectory(self._name.agent)

    def lines(self, transcript_id: str, start: int, stop: int) -> Lines:
        return ()

    def fitted(self, record: Record) -> Record:
        """Return the record as it is: there is no transcript that it could find."""
        return record

    def found(self, head: TranscriptHead) -> Lines:
        """Return no lines: there are none."""
        return ()


class SessionRoom:
    """A session's place; `locked` says whether the directory is."""

    def __init__(self, agent: AgentFiles, directory: Directory, name: SessionKey, *, locked: bool) -> None:
        self._agent, self._directory, self._name, self._locked = agent, directory, name, locked
        self._row: Row | None = None
        self._found: Mapping[str, Extent] = {}

    def load(self) -> Record | None:
        """Return what is kept. Raises: Unreadable.

        Revisions and generations that are handed out become the base of a compare-and-set, so what another program
        changed is put on record first: two changes of its must not pass as one.
        """
        sight = self._agent.look(self._directory, self._name.key)
        if sight.noticed is not None:
            sight = self._agent.notice(self._directory, self._name.key) if self._locked else self._on_record(sight)
        self._row = sight.row
        return sight.record

    def lease(self) -> LeaseState | None:
        self._agent.refresh(self._directory)
        return self._agent.log.leases.get(self._name.key)

    def lines(self, transcript_id: str, start: int, stop: int) -> Lines:
        """Return lines. Raises: Moved when the file is not the one that `load` saw."""
        row = self._row
        assert row is not None
        extent, span = row.extents[transcript_id], row.span(transcript_id)
        with self._directory.file(file_of(transcript_id), os.O_RDONLY) as file:
            if file is None or (extent.inode and os.fstat(file).st_ino != extent.inode):
                raise transcripts.Moved
            reader = self._agent.reader(transcript_id, span.generation, extent.inode)
            return reader.read(file, extent.size, span.lines, start, stop) if start < stop else ()

    def fitted(self, record: Record) -> Record:
        """Return the record of an entry to be written, with what is there of the transcript that it names."""
        named = record.entry.transcript_id if record.entry else None
        if named is None:
            return record
        past = self._row
        if past is not None and not past.is_live:
            self._agent.bury_files(self._directory, past, leftovers=True)
        known = self._extents.get(named)
        seen = transcripts.compare(self._directory, named, known, past.span(named).lines if past else 0)
        self._found = {named: seen.extent}
        span = revisions.grown(past, named, seen)
        return dataclasses.replace(record, transcripts={**record.transcripts, named: span})

    def found(self, head: TranscriptHead) -> Lines:
        """Return all lines of the transcript that `fitted` found. Raises: Moved when the file is another one now."""
        extent = self._found[head.id]
        with self._directory.file(file_of(head.id), os.O_RDONLY) as file:
            if file is None or os.fstat(file).st_ino != extent.inode:
                raise transcripts.Moved
            return transcripts.LineReader().read(file, extent.size, head.lines, 0, head.lines)

    def save(self, step: Step) -> None:
        if step.record.status is Status.DELETED:
            self._bury(step)
        elif step.operation is Operation.SET and step.replaced is not None:
            self._create(step, _joined(step.replaced))
        elif step.replaced is not None and step.transcript_id is not None:
            self._rewrite(step, step.transcript_id, _joined(step.replaced))
        elif step.transcript_id is not None:
            self._append(step, step.transcript_id, _joined(step.added))
        elif step.record.entry is not None and digest_of(step.record.entry.raw) != self._digest:
            self._put(step, step.record.entry)
        else:
            self._note(step)
        self._row = self._agent.log.rows[self._name.key]

    def save_lease(self, state: LeaseState) -> None:
        self._agent.write(self._directory, [self._agent.log.lease(self._name.key, state)])
        self._agent.shorten(self._directory)

    def _on_record(self, sight: Sight) -> Sight:
        try:
            with self._agent.locked(self._directory):
                return self._agent.notice(self._directory, self._name.key)
        except Unavailable as error:
            if is_read_only(error):
                return sight  # Nobody can write here through this library, so nobody can lose a race.
            raise

    @property
    def _digest(self) -> str | None:
        return self._row.digest if self._row else None

    @property
    def _extents(self) -> Mapping[str, Extent]:
        return self._row.extents if self._row and self._row.is_live else {}

    def _put(self, step: Step, entry: Entry) -> None:
        """Write an entry."""
        entries = self._entries_with(entry)
        with self._directory.prepared(SESSIONS_NAME, text_of(entries)) as ready:
            self._tell_entry(step, entry, self._found)
            ready.publish()
        self._agent.carried_out(self._directory, {}, self._index(ready, entries))

    def _create(self, step: Step, data: bytes) -> None:
        """Write an entry with its transcript, which comes first: without an entry it is no session's."""
        entry, transcript_id = step.record.entry, step.transcript_id
        assert entry is not None
        assert transcript_id is not None
        entries = self._entries_with(entry)
        with (
            self._directory.prepared(file_of(transcript_id), data) as lines,
            self._directory.prepared(SESSIONS_NAME, text_of(entries)) as ready,
        ):
            self._tell_entry(step, entry, {transcript_id: transcripts.whole_extent(data, lines.found)})
            lines.publish()
            ready.publish()
        self._agent.carried_out(self._directory, {}, self._index(ready, entries))

    def _entries_with(self, entry: Entry) -> Entries:
        return {**self._agent.index.entries, self._name.key: rawjson.indent(entry.raw, 1)}

    def _tell_entry(self, step: Step, entry: Entry, found: Mapping[str, Extent]) -> None:
        item = Item(entry, digest_of(entry.raw))
        self._tell(step, self._agent.without_gone(self._directory, self._row_of(step, item.digest, found), item))

    def _bury(self, step: Step) -> None:
        """Take an entry away; its transcripts become archives."""
        entries = {key: raw for key, raw in self._agent.index.entries.items() if key != self._name.key}
        row = Row(step.record, None, self._extents)
        with self._directory.prepared(SESSIONS_NAME, text_of(entries)) as ready:
            self._tell(step, row)
            ready.publish()
        index = self._index(ready, entries)
        self._agent.index = index
        self._agent.bury_files(self._directory, row)
        self._agent.carried_out(self._directory, {}, index)

    def _rewrite(self, step: Step, transcript_id: str, data: bytes) -> None:
        with self._directory.prepared(file_of(transcript_id), data) as ready:
            extent = transcripts.whole_extent(data, ready.found)
            self._tell(step, self._row_of(step, self._digest, {transcript_id: extent}))
            ready.publish()
        self._agent.carried_out(self._directory, {})

    def _append(self, step: Step, transcript_id: str, data: bytes) -> None:
        before = self._extents.get(transcript_id, Extent())
        after, added = transcripts.grown_extent(self._directory, transcript_id, before, data)
        row = self._row_of(step, self._digest, {transcript_id: after})
        self._tell(step, dataclasses.replace(row, begins=added[:BEGINS_BYTES]))
        self._directory.append(file_of(transcript_id), data)
        extent = transcripts.settled(after, self._directory, transcript_id)
        self._agent.carried_out(self._directory, {transcript_id: extent})

    def _note(self, step: Step) -> None:
        """Write down what no file of OpenClaw's has a place for. A use need not survive the power supply."""
        row = self._row_of(step, self._digest, self._found)
        line = self._agent.log.tell(self._name.key, row, step.operation, settled=True)
        self._agent.write(self._directory, [line], sync=step.operation is not None)
        self._agent.shorten(self._directory)

    def _tell(self, step: Step, row: Row) -> None:
        line: Line = self._agent.log.tell(self._name.key, row, step.operation, settled=False)
        self._agent.write(self._directory, [line])

    def _row_of(self, step: Step, digest: str | None, found: Mapping[str, Extent]) -> Row:
        return Row(dataclasses.replace(step.record, entry=None), digest, {**self._extents, **found})

    def _index(self, ready: Prepared, entries: Entries) -> Index:
        """Return what `sessions.json` holds now, unless another program has replaced it at once."""
        found = self._directory.stat(SESSIONS_NAME)
        is_ours = found is not None and found.st_ino == ready.found.st_ino
        mark = mark_of(found) if found is not None and is_ours else (0, 0, 0, 0)
        return self._agent.index.followed_by(mark, entries)


def is_read_only(error: Unavailable) -> bool:
    """Return whether it is the place that takes no writes, for whatever reason."""
    return error.reason in ("readonly", "permission")


def _joined(lines: Sequence[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)
