"""Prove: digest the source and the store, each from bytes read for this alone, and name what differs.

Two digests that are made from one reading prove nothing, so nothing that the copy knew is used here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

from sessionstore.migrate import bounded, stored
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.report import Mismatch, Proof
from sessionstore.migrate.source import Source, SourceArchive, SourceSession
from sessionstore.sessions import digest
from sessionstore.sessions.digest import SessionDigest
from sessionstore.sessions.exceptions import InvalidEntry, InvalidKey
from sessionstore.sessions.record import SessionKey
from sessionstore.sessions.store import Capability, Store

Name = SessionKey | tuple[str, str]
"""A session, or an archive as (agent, file name)."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One thing that was compared; `store` is None where the store has none."""

    source: str
    store: str | None
    mismatch: Mismatch | None


@dataclass(frozen=True, slots=True)
class _Walk:
    """Both sides' lines, walked to their ends: how many each has, and the first that differs, counted from 1."""

    here: int
    there: int
    differs: int | None

    def detail(self) -> str:
        """Say how the lines differ."""
        if self.differs is None or self.differs <= min(self.here, self.there):
            return f"line {self.differs} differs"
        side = "source" if self.here > self.there else "store"
        number = abs(self.here - self.there)
        return f"the {side} has {number} more line{'' if number == 1 else 's'}, from line {self.differs} on"


async def prove(
    source: Source,
    store: Store,
    patience: Patience,
    *,
    excused: frozenset[Name] = frozenset(),
    excuses: Callable[[SourceSession | SourceArchive], Awaitable[bool]] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Proof:
    """Compare all that can be carried. `excused` things may differ: the store rightly has something else.

    `excuses` is asked for a second look at what differs, since others may write to the store meanwhile.

    Raises: Unavailable, SourceError.
    """
    found: list[Checked] = []

    async def check(item: SourceSession | SourceArchive) -> None:
        checked = await patience.of(lambda: _check(store, item))
        is_excused = name_of(item) in excused
        if checked.mismatch and excuses and not is_excused:
            is_excused = await patience.of(lambda: excuses(item))
        found.append(Checked(checked.source, checked.store, None) if is_excused else checked)
        advance()

    await bounded.for_each(_carried(source), check)
    mismatches = sorted(
        (checked.mismatch for checked in found if checked.mismatch), key=lambda m: (m.kind, m.agent, m.name)
    )
    return Proof(
        digest.whole_digest(checked.source for checked in found),
        digest.whole_digest(checked.store for checked in found if checked.store),
        tuple(mismatches),
    )


def name_of(item: SourceSession | SourceArchive) -> Name:
    """Return what a session or an archive is called in `excused`."""
    return item.key if isinstance(item, SourceSession) else (item.agent, item.name)


async def check_session(store: Store, session: SourceSession) -> Checked:
    """Compare one session."""
    name = (session.key.agent, session.key.key)
    held = await store.get(session.key)
    if held is None:
        return _absent(session)
    here = SessionDigest.of_session(session.key, session.entry.raw)
    entries = here.hexdigest(), SessionDigest.of_session(session.key, held.entry.raw).hexdigest()
    there = SessionDigest.of_session(session.key, held.entry.raw)
    walk = await _walk(session.whole(), here, stored.of_session(store, session.key), there)
    if here.hexdigest() == there.hexdigest():
        return Checked(here.hexdigest(), there.hexdigest(), None)
    details = ["the entry differs"] if entries[0] != entries[1] else []
    details += [walk.detail()] if walk.differs is not None else []
    return Checked(here.hexdigest(), there.hexdigest(), Mismatch("session", *name, "; ".join(details), walk.differs))


async def check_archive(store: Store, archive: SourceArchive) -> Checked:
    """Compare one archive."""
    name = (archive.agent, archive.name)
    if Capability.ARCHIVES not in store.capabilities or await store.read_archive(*name, 0, 0) is None:
        return _absent(archive)
    here, there = SessionDigest.of_archive(*name), SessionDigest.of_archive(*name)
    walk = await _walk(archive.lines.whole(), here, stored.of_archive(store, *name), there)
    if here.hexdigest() == there.hexdigest():
        return Checked(here.hexdigest(), there.hexdigest(), None)
    return Checked(here.hexdigest(), there.hexdigest(), Mismatch("archive", *name, walk.detail(), walk.differs))


async def _check(store: Store, item: SourceSession | SourceArchive) -> Checked:
    try:
        return await (check_session(store, item) if isinstance(item, SourceSession) else check_archive(store, item))
    except (InvalidKey, InvalidEntry) as error:
        return _absent(item, f"not in the store, which refuses it: {error}")


def _absent(item: SourceSession | SourceArchive, detail: str = "not in the store") -> Checked:
    if isinstance(item, SourceSession):
        here = SessionDigest.of_session(item.key, item.entry.raw)
        mismatch = Mismatch("session", item.key.agent, item.key.key, detail)
        _drain(item.whole(), here)
    else:
        here = SessionDigest.of_archive(item.agent, item.name)
        mismatch = Mismatch("archive", item.agent, item.name, detail)
        _drain(item.lines.whole(), here)
    return Checked(here.hexdigest(), None, mismatch)


def _carried(source: Source) -> Iterator[SourceSession | SourceArchive]:
    yield from (found for found in source.sessions() if isinstance(found, SourceSession))
    yield from (found for found in source.archives() if isinstance(found, SourceArchive))


def _drain(lines: Iterator[bytes], seen: SessionDigest) -> None:
    for line in lines:
        seen.line(line)


async def _walk(
    here: Iterator[bytes], here_digest: SessionDigest, there: AsyncIterator[bytes], there_digest: SessionDigest
) -> _Walk:
    counts = [0, 0]
    differs: int | None = None
    number = 0
    async for left, right in stored.in_step(here, there):
        for side, (line, seen) in enumerate(((left, here_digest), (right, there_digest))):
            if line is not None:
                seen.line(line)
                counts[side] += 1
        number += 1
        if differs is None and left != right:
            differs = number
    return _Walk(counts[0], counts[1], differs)
