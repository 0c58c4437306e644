"""From OpenClaw's files to a directory store, and back. Nobody may write either meanwhile.

Both ways leave where the sessions come from as it was until everything is where it goes and has been compared: whoever
is killed in between begins again, and ends the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sessionstore.openclaw import rawjson
from sessionstore.sessions import digest, transitions
from sessionstore.sessions.directory import names
from sessionstore.sessions.directory.shelf import DirectoryShelf
from sessionstore.sessions.directory.store import DirectoryStore
from sessionstore.sessions.exceptions import Conflict, Unavailable, Unreadable
from sessionstore.sessions.file import FileStore
from sessionstore.sessions.local import Step
from sessionstore.sessions.plainfiles import Directory, translated
from sessionstore.sessions.record import Lifetime, Operation, Session, SessionKey, Status
from sessionstore.sessions.store import Store, iterate
from sessionstore.sessions.transitions import Record, Span

MIGRATING, ROLLED_BACK = ".migrating", ".rolled-back"


@dataclass(frozen=True, slots=True)
class Moved:
    """What was brought over, or was there already."""

    sessions: int
    lines: int
    archives: int


async def promote(state_dir: Path, directory: Path, defaults: Lifetime | None = None) -> Moved:
    """Make a directory store of the sessions in OpenClaw's state directory, which stays as it is.

    Revisions, generations, times and marks are kept, so that a writer's comparisons go on holding; tombstones and
    leases are not. It is built beside `directory` and put there in one step. Where `directory` is a store that has
    all of it already, nothing is done.

    Args:
        defaults: the lifetime that both stores are configured with.
    Raises: Unreadable, which names a session that cannot be read; Conflict where the files changed meanwhile, or
        `directory` is a store that lacks some of it.
    """
    source = FileStore(state_dir, defaults=defaults or Lifetime())
    with _alone(directory.parent):
        if (directory / names.STORE).exists():
            return await _compared(source, state_dir, DirectoryStore(directory), directory)
        building = directory.with_name(directory.name + MIGRATING)
        with translated(building), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(building)
        await _fill(DirectoryShelf(building), source, state_dir)
        target = DirectoryStore(building)
        async for info in source.list_archives():
            lines = await source.read_archive(info.agent, info.name) or ()
            await target.put_archive(info.agent, info.name, lines)
        moved = await _compared(source, state_dir, target, building)
        _rename(building, directory)
        return moved


async def roll_back(directory: Path, state_dir: Path, defaults: Lifetime | None = None) -> Moved:
    """Bring OpenClaw's state directory to where a directory store is now, and put the store aside.

    Sessions that were made, changed or deleted in the store are so in the files afterwards; what the store never had is
    left alone. Entries, transcripts, marks, lifetimes and archives come over; revisions count on as the files have
    them; documents stay in the store, which is renamed to `<directory>.rolled-back` when all the rest is done.

    Raises: Unreadable where the store holds what cannot be read; Conflict where the files cannot hold what it has: two
        sessions of one agent that name the same transcript share it there.
    """
    source = DirectoryStore(directory, defaults=defaults or Lifetime())
    target = FileStore(state_dir, defaults=defaults or Lifetime())
    with _alone(directory.parent):
        await _check_whole(source, directory)
        sessions = lines = 0
        async for info in iterate(source):
            sessions, lines = sessions + 1, lines + await _bring_back(source, target, info.key)
        for name in [name for name in _keys(state_dir) if await source.tombstone(name) is not None]:
            await target.delete(name)
        archives = await _bring_archives_back(source, target)
        async for info in iterate(source):
            if await _digest(source, info.key) != await _digest(target, info.key):
                raise Conflict(f"session {info.key} is not in {state_dir} as it is in {directory}", None)
        _rename(directory, _free_name(directory))
        return Moved(sessions, lines, archives)


@contextlib.contextmanager
def _alone(parent: Path) -> Iterator[None]:
    """Keep others from promoting or rolling back beside us. Leaves nothing behind."""
    with translated(parent):
        parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            what = f"another promotion or roll-back is at work in {parent}; let it end first"
            raise Unavailable(what, "timeout") from error
        yield
    finally:
        os.close(descriptor)


async def _fill(shelf: DirectoryShelf, source: Store, state_dir: Path) -> None:
    with shelf.opened(create=True):
        pass
    for name in _keys(state_dir):
        session = await source.get(name)
        transcript = await source.read(name)
        if session is not None:
            _keep(shelf, session, transcript.lines if transcript else ())


def _keep(shelf: DirectoryShelf, session: Session, lines: Sequence[bytes]) -> None:
    """Write a session as it is, revision and all."""
    head = session.transcript
    record = Record(
        revision=session.revision,
        status=session.status,
        entry=session.entry,
        created_ms=session.created_ms,
        updated_ms=session.updated_ms,
        written_ms=session.written_ms,
        touched_ms=session.touched_ms,
        expires_ms=session.expires_ms,
        marks=session.marks,
        lifetime=session.lifetime,
        transcripts={head.id: Span(head.generation, len(lines))} if head else {},
    )
    with shelf.room(session.key, writing=True) as room:
        assert room is not None
        room.load()
        step = Step(record=record, operation=Operation.SET)
        if head is not None:
            step = Step(record=record, operation=Operation.SET, transcript_id=head.id, replaced=lines)
        room.save(step)


async def _compared(source: Store, state_dir: Path, target: Store, directory: Path) -> Moved:
    """Return what is in both. Raises: Conflict where something of the source is not in the target."""
    sessions = lines = archives = 0
    for name in _keys(state_dir):
        wanted, found = await source.get(name), await target.get(name)
        if wanted is None:
            continue
        is_later = found is not None and found.revision > wanted.revision
        if not is_later and await _digest(source, name) != await _digest(target, name):
            raise Conflict(f"session {name} of {state_dir} is not in {directory} as it is there now", found)
        sessions, lines = sessions + 1, lines + (wanted.transcript.lines if wanted.transcript else 0)
    async for info in source.list_archives():
        if await target.read_archive(info.agent, info.name) is None:
            raise Conflict(f"archive {info.agent}/{info.name} of {state_dir} is not in {directory}", None)
        archives += 1
    return Moved(sessions, lines, archives)


def _keys(state_dir: Path) -> list[SessionKey]:
    """Return the keys in all agents' `sessions.json`: those too that a list leaves out as damaged."""
    found = []
    for agent in _agents(state_dir):
        with Directory.opened(state_dir, "agents", agent, "sessions", create=False) as directory:
            data = directory.read("sessions.json") if directory else None
        if data is not None:
            try:
                found += [SessionKey(agent, key) for key, _ in rawjson.members(data)]
            except ValueError as error:
                raise Unreadable(f"sessions.json of agent {agent} in {state_dir} cannot be read: {error}") from error
    return found


def _agents(state_dir: Path) -> list[str]:
    with Directory.opened(state_dir, "agents", create=False) as directory:
        return sorted(found.name for found in directory.entries() if found.is_directory) if directory else []


async def _digest(store: Store, name: SessionKey) -> str | None:
    """Return what tells whether two stores have the same session: entry, lines, marks and status."""
    session, transcript = await store.get(name), await store.read(name)
    if session is None:
        return None
    told = repr((session.status, session.marks, session.lifetime, transcript.head.id if transcript else None))
    lines = transcript.lines if transcript else ()
    return digest.session_digest(name, session.entry.raw, [told.encode(), *lines])


async def _check_whole(source: DirectoryStore, directory: Path) -> None:
    found = await source.health()
    if not (directory / names.STORE).exists() or not found.ok:
        raise Unreadable(f"{directory} is no directory store that can be read: {found.message}")
    if dict(found.facts)["left out"] != "0":
        raise Unreadable(found.message)


async def _bring_back(source: Store, target: FileStore, name: SessionKey) -> int:
    """Make a session in the files what it is in the store; return its lines."""
    session, transcript = await source.get(name), await source.read(name)
    lines = transcript.lines if transcript else ()
    if session is None or await _digest(source, name) == await _digest(target, name):
        return len(lines)
    made = await target.set(name, session.entry, lifetime=session.lifetime)
    if made.transcript is not None:
        await _bring_lines_back(target, name, lines)
    await target.tag(name, add=session.marks.tags, remove=set(made.marks.tags) - set(session.marks.tags))
    await target.title(name, session.marks.title)
    await target.pin(name, session.marks.pinned)
    if session.status is Status.ARCHIVED:
        await target.archive(name, reason=session.marks.reason)
    else:
        await target.restore(name)
    return len(lines)


async def _bring_lines_back(target: Store, name: SessionKey, lines: Sequence[bytes]) -> None:
    there = await target.read(name)
    have = there.lines if there else ()
    if transitions.same_lines(lines[: len(have)], have):
        await target.append(name, lines[len(have) :])
    else:
        await target.rewrite(name, lines)


async def _bring_archives_back(source: Store, target: Store) -> int:
    count = 0
    async for info in source.list_archives():
        lines = await source.read_archive(info.agent, info.name)
        if lines is not None and await target.read_archive(info.agent, info.name) != lines:
            have = await target.read_archive(info.agent, info.name) or ()
            await target.put_archive(info.agent, info.name, lines, position=len(have), replace=True)
        count += 1
    return count


def _rename(old: Path, new: Path) -> None:
    """Give a directory another name, and wait until that is on the disk."""
    with Directory.opened(old.parent, create=False) as parent:
        assert parent is not None
        with translated(new):
            old.rename(new)
        parent.sync()


def _free_name(directory: Path) -> Path:
    """Return a name beside a directory that nothing has."""
    found, number = directory.with_name(directory.name + ROLLED_BACK), 2
    while found.exists():
        found, number = directory.with_name(f"{directory.name}{ROLLED_BACK}-{number}"), number + 1
    return found
