"""Compare one thing on both sides, from bytes that are read for this alone, and say where they differ first.

Two digests that are made from one reading prove nothing, so nothing that the copy knew is used here. Where the bytes
of both sides are equal, their digest is made once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from sessionstore.migrate import beside, stored
from sessionstore.migrate.bounded import Room
from sessionstore.migrate.items import SourceArchive, SourceSession
from sessionstore.migrate.report import Mismatch
from sessionstore.migrate.stored import ReadSlice
from sessionstore.sessions.digest import SessionDigest
from sessionstore.sessions.record import Session, Transcript
from sessionstore.sessions.store import Capability, Store


@dataclass(frozen=True, slots=True)
class Checked:
    """One thing that was compared; `store` is None where the store has none.

    Attributes:
        lines: how many the source has.
    """

    source: bytes
    store: bytes | None
    mismatch: Mismatch | None
    lines: int = 0


async def check_session(store: Store, session: SourceSession, held: Session | None, room: Room) -> Checked:
    """Compare one session with what the store has under its key."""
    here = SessionDigest.of_session(session.key, session.entry.raw)
    if held is None:
        return await absent(session, room)
    same_entry = held.entry.raw == session.entry.raw
    there = here if same_entry else SessionDigest.of_session(session.key, held.entry.raw)
    is_equal = same_entry or here.digest() == there.digest()
    walk = await _walk(session, here, stored.reader(store, session.key), _lines(held), room)
    details = [] if is_equal else ["the entry differs"]
    details += [walk.detail()] if walk.differs else []
    details += ["its status, marks or lifetime differ"] if beside.lacks(session, held) else []
    if not details:
        return Checked(here.digest(), here.digest(), None, walk.here)
    digest = SessionDigest.of_session(session.key, held.entry.raw)
    mismatch = Mismatch("session", *_name(session), "; ".join(details), walk.differs)
    return Checked(here.digest(), await _digest(digest, stored.reader(store, session.key)), mismatch, walk.here)


async def check_short(
    store: Store, sessions: Sequence[tuple[SourceSession, Session | None]], room: Room
) -> list[Checked | None]:
    """Compare sessions of few lines with what the store has under their keys, many in a round trip.

    Returns: for each that it is the same on both sides; None where `check_session` is to look, and to tell what is not.
    """
    held = {session.key: found for session, found in sessions}
    checked: list[Checked | None] = []
    async with aclosing(stored.short([session for session, _ in sessions], room)) as batches:
        async for batch in batches:
            alike = [one for one in batch if _is_alike(*one, held[one[0].key])]
            most = max((len(few) for _, few in alike if few), default=0)
            there = await store.read_many([session.key for session, _ in alike], 0, most) if alike else ()
            found = {one.key: transcript for (one, _), transcript in zip(alike, there, strict=True)}
            checked += [_same(*one, found[one[0].key]) if one[0].key in found else None for one in batch]
    return checked


def _is_alike(session: SourceSession, few: list[bytes] | None, held: Session | None) -> bool:
    """Tell whether the store's record promises that all is the same."""
    if few is None or held is None:
        return False
    return held.entry.raw == session.entry.raw and _lines(held) == len(few) and not beside.lacks(session, held)


def _same(session: SourceSession, few: list[bytes] | None, there: Transcript | None) -> Checked | None:
    if few is None or tuple(few) != (there.lines if there else ()):
        return None
    digest = SessionDigest.of_session(session.key, session.entry.raw)
    digest.lines(few)
    return Checked(digest.digest(), digest.digest(), None, len(few))


async def check_archive(store: Store, archive: SourceArchive, room: Room) -> Checked:
    """Compare one archive."""
    name = _name(archive)
    if Capability.ARCHIVES not in store.capabilities or await store.read_archive(*name, 0, 0) is None:
        return await absent(archive, room)
    here, read = SessionDigest.of_archive(*name), stored.archive_reader(store, *name)
    walk = await _walk(archive, here, read, None, room)
    if not walk.differs:
        return Checked(here.digest(), here.digest(), None, walk.here)
    there = await _digest(SessionDigest.of_archive(*name), read)
    return Checked(here.digest(), there, Mismatch("archive", *name, walk.detail(), walk.differs), walk.here)


async def absent(item: SourceSession | SourceArchive, room: Room, detail: str = "not in the store") -> Checked:
    """Digest what the store does not have."""
    if isinstance(item, SourceSession):
        here, kind = SessionDigest.of_session(item.key, item.entry.raw), "session"
    else:
        here, kind = SessionDigest.of_archive(item.agent, item.name), "archive"
    count = 0
    async with aclosing(stored.whole(item.lines, room)) as batches:
        async for lines in batches:
            here.lines(lines)
            count += len(lines)
    return Checked(here.digest(), None, Mismatch(kind, *_name(item), detail), count)


@dataclass(slots=True)
class _Walk:
    """Both sides' lines, walked to the end of the source's: how many each has, and the first that differs, from 1."""

    here: int = 0
    there: int = 0
    differs: int | None = None

    def detail(self) -> str:
        """Say how the lines differ."""
        if self.differs is None or self.differs <= min(self.here, self.there):
            return f"line {self.differs} differs"
        side = "source" if self.here > self.there else "store"
        number = abs(self.here - self.there)
        return f"the {side} has {number} more line{'' if number == 1 else 's'}, from line {self.differs} on"


async def _walk(
    item: SourceSession | SourceArchive, digest: SessionDigest, read: ReadSlice, there: int | None, room: Room
) -> _Walk:
    """Digest the source's lines, and compare them with the store's, which has `there` of them, if that is known."""
    walk = _Walk()
    async with aclosing(stored.whole(item.lines, room)) as batches:
        async for lines in batches:
            digest.lines(lines)
            if lines and walk.differs is None:
                await _compare(walk, lines, read)
            walk.here += len(lines)
    walk.there = await _count(read, walk.there) if there is None or walk.differs else there
    if walk.differs is None and walk.here != walk.there:
        walk.differs = min(walk.here, walk.there) + 1
    return walk


async def _compare(walk: _Walk, lines: Sequence[bytes], read: ReadSlice) -> None:
    found = await read(walk.here, walk.here + len(lines))
    common = stored.count_common(lines, found)
    walk.there = walk.here + len(found)
    if common < len(lines):
        walk.differs = walk.here + common + 1


async def _count(read: ReadSlice, start: int) -> int:
    """Return how many lines there are, of which `start` are known."""
    count = start
    async with aclosing(stored.slices(read, start)) as found:
        async for lines in found:
            count += len(lines)
    return count


async def _digest(digest: SessionDigest, read: ReadSlice) -> bytes:
    async with aclosing(stored.slices(read)) as found:
        async for lines in found:
            digest.lines(lines)
    return digest.digest()


def _name(item: SourceSession | SourceArchive) -> tuple[str, str]:
    return (item.key.agent, item.key.key) if isinstance(item, SourceSession) else (item.agent, item.name)


def _lines(session: Session) -> int:
    return session.transcript.lines if session.transcript else 0
