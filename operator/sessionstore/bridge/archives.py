"""Carries archives both ways: what OpenClaw put aside at a reset or a deletion (`<id>.jsonl.reset.<time>`).

`room.py` calls `put` before it tells the store of a deletion or another transcript, and `take` at the start, after
sessions went away, and from time to time: the feed does not tell of archives.

Where the transcript that became an archive elsewhere is still here, and no entry names it, it is renamed, as the
gateway there has done; otherwise it would stay for ever. Archives are written once and removed by OpenClaw when they
are old: one that was here and is not any more stays away.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import aclosing

from sessionstore.bridge import lines, row, stored_lines
from sessionstore.bridge.agreements import Agreements
from sessionstore.bridge.lines import Walk
from sessionstore.bridge.stored_lines import Pieces, ReadSlice
from sessionstore.bridge.transcript_file import Moved, State, TranscriptFile
from sessionstore.openclaw.names import FileKind, kind_of
from sessionstore.sessions.exceptions import Conflict, InvalidKey
from sessionstore.sessions.plainfiles import Directory
from sessionstore.sessions.record import ArchiveInfo, check_archive_name
from sessionstore.sessions.store import Store

_AWAY = re.compile(r"(?P<id>.+)\.jsonl\.(?:reset|deleted)\..+", re.DOTALL)
_START = Walk(0, 0, own=True, theirs=True)

_log = logging.getLogger(__name__)


class Archives:
    """The archives of one agent's directory."""

    def __init__(
        self,
        store: Store,
        agent: str,
        directory: Directory,
        agreements: Agreements,
        may_rename: Callable[[str], bool],
    ) -> None:
        """Carry between `store` and the files of `directory`.

        Args:
            may_rename: whether no entry names a transcript (by its id), and no turn runs in it.
        """
        self._store, self._agent, self._directory = store, agent, directory
        self._agreements, self._may_rename = agreements, may_rename

    async def put(self) -> None:
        """Store the archives that are here and were not yet. Raises: Unavailable, Unreadable."""
        for name in self._directory.names():
            if is_archive(name) and self._agreements.archive(name) is None:
                await self._put(name)

    async def take(self) -> None:
        """Bring the archives that the store has and that were never here. Raises: Unavailable, Unreadable."""
        found = [info async for info in self._store.list_archives(agent=self._agent)]
        for info in found:
            known = self._agreements.archive(info.name)
            if is_archive(info.name) and (known is None or info.lines > known):
                await self._take(info, was_here=known is not None)

    async def _put(self, name: str) -> None:
        with TranscriptFile.named(self._directory, name) as file:
            if file is None:
                return
            try:
                position = await self._append(file, name)
            except (Conflict, Moved):
                # Another bridge stores the same one. The next look finds what it has stored.
                return
        if position is not None:
            self._agreements.keep_archive(name, position)

    async def _append(self, file: TranscriptFile, name: str) -> int | None:
        """Store what is missing of an archive, and return how many lines it has; None where the store has more."""
        state = file.state()
        walk = await self._walk(file, state, name)
        if walk.theirs and walk.own:
            _log.warning("%s is another archive than the store's of that name; both stay", self._directory.path / name)
            return walk.lines
        if walk.theirs:
            return None
        position = walk.lines or await self._store.put_archive(self._agent, name, [], position=0)
        for piece in file.pieces(walk.size, state.whole):
            position = await self._store.put_archive(self._agent, name, piece, position=position)
        if state.is_torn:
            torn = file.read(state.whole, state.size)
            position = await self._store.put_archive(self._agent, name, [torn], position=position)
        return position

    async def _take(self, info: ArchiveInfo, *, was_here: bool) -> None:
        is_here = self._directory.stat(info.name) is not None
        if is_here:
            await self._complete(info)
        elif not was_here and not await self._rename(info):
            await self._copy(info)
        self._agreements.keep_archive(info.name, info.lines)

    async def _complete(self, info: ArchiveInfo) -> None:
        """Add what came since: we looked while another bridge was storing it."""
        with TranscriptFile.named(self._directory, info.name) as file:
            if file is None:
                return
            state = file.state()
            walk = await self._walk(file, state, info.name)
            if walk.own or state.is_torn:
                return
            async with aclosing(self._stored(info, walk.lines)) as pieces:
                async for piece in pieces:
                    file.append(lines.with_feeds(piece))

    async def _copy(self, info: ArchiveInfo) -> None:
        await row.build(self._directory, info.name, lambda: self._stored(info, 0), row.none, lambda: None)

    async def _rename(self, info: ArchiveInfo) -> bool:
        """Turn the transcript that is still here into the archive; False where it says more, or is in use."""
        found = _AWAY.fullmatch(info.name)
        if found is None:
            return False
        with TranscriptFile.opened(self._directory, found["id"]) as file:
            if file is None:
                return False
            state = file.state()
            walk = await self._walk(file, state, info.name)
            if walk.own or state.is_torn or not self._may_rename(found["id"]):
                return False
            if walk.theirs:
                await self._copy(info)
            if not file.is_still(state) or not self._may_rename(found["id"]):
                return walk.theirs
            if walk.theirs:
                self._directory.remove(file.name)
            else:
                self._directory.rename(file.name, info.name)
        self._agreements.forget(found["id"])
        return True

    async def _walk(self, file: TranscriptFile, state: State, name: str) -> Walk:
        """Compare a file with an archive of the store."""
        theirs = stored_lines.to_the_end(self._read(name))
        return await stored_lines.walked(file.pieces(0, state.whole), theirs, _START)

    def _stored(self, info: ArchiveInfo, start: int) -> Pieces:
        return stored_lines.pieces(self._read(info.name), start, info.lines)

    def _read(self, name: str) -> ReadSlice:
        return stored_lines.archive_reader(self._store, self._agent, name)


def is_archive(name: str) -> bool:
    """Return whether a name is an archive's of the files era: lines, and not compressed ones."""
    try:
        check_archive_name(name)
    except InvalidKey:
        return False
    return kind_of(name) is FileKind.ARCHIVE and not name.endswith(".zst")
