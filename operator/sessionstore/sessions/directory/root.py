"""A store's directory, open for one call, and the reading of what is in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from sessionstore.sessions.directory import codec, locks, names
from sessionstore.sessions.directory.codec import Kept
from sessionstore.sessions.directory.journal import Journal, Note
from sessionstore.sessions.directory.names import Place
from sessionstore.sessions.exceptions import Unreadable
from sessionstore.sessions.plainfiles import Directory
from sessionstore.sessions.record import Operation, SessionKey

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Root:
    """The directory, and the id of the store in it."""

    directory: Directory
    store_id: str

    def kept(self, name: SessionKey) -> Kept | None:
        """Return what is kept of a session. Raises: Unreadable."""
        place = names.place_of(name)
        with self.directory.below(*place.directories, create=False) as directory:
            return read_record(directory, place, name) if directory else None

    def revision(self, name: SessionKey) -> int:
        """Return the revision on record; 0 where there is none, or none that can be read."""
        try:
            kept = self.kept(name)
        except Unreadable:
            return 0
        return kept.record.revision if kept else 0

    def is_locked(self, name: SessionKey) -> bool:
        """Return whether somebody is writing the session."""
        return locks.is_held(self.directory, names.place_of(name).slot)

    def is_settled(self, note: Note) -> bool:
        """Return whether what a note tells is done, or never will be; then whoever reads finds it so."""
        return not self.is_locked(note.key) or self.revision(note.key) >= note.revision

    @contextlib.contextmanager
    def journal(self, *, create: bool) -> Iterator[Journal | None]:
        """Open the journal; None where there never was a change and `create` is false."""
        with self.directory.below(names.JOURNAL, create=create) as directory:
            yield Journal(directory) if directory else None

    def tell(self, name: SessionKey, revision: int, operation: Operation | None) -> None:
        """Write into the journal."""
        with self.journal(create=True) as kept:
            assert kept is not None
            kept.write(name, revision, operation)


def read_record(directory: Directory, place: Place, name: SessionKey) -> Kept | None:
    """Read a session's record. Raises: Unreadable, which names the session."""
    try:
        found = parse_record(directory, place.record)
    except Unreadable as error:
        raise Unreadable(f"session {name} cannot be read: {error}") from error
    if found is None:
        return None
    check_owner(found[0], name, str(directory.path / place.record))
    return found[1]


def parse_record(directory: Directory, file: str) -> tuple[SessionKey, Kept] | None:
    """Read a record, and whose it is. Raises: Unreadable."""
    data = directory.read(file, codec.MAX_BYTES)
    return None if data is None else understood(lambda: codec.parse_record(data), str(directory.path / file))


def understood(parse: Callable[[], T], what: str) -> T:
    """Return what `parse` makes of a file. Raises: Unreadable."""
    try:
        return parse()
    except codec.Damaged as error:
        raise Unreadable(f"{what}: {error}") from error


def check_owner(found: SessionKey, name: SessionKey, what: str) -> None:
    """Raise Unreadable unless a file is that of the session whose it ought to be."""
    if found != name:
        raise Unreadable(f"session {name} cannot be read: {what} is that of another one")


def read_store(directory: Directory) -> str | None:
    """Return the id of the store in a directory; None where there is nothing at all.

    Raises: Unreadable where there is something else.
    """
    found = _store_id(directory)
    if found is not None:
        return found
    foreign = sorted(name for name in directory.names() if not name.startswith(".") and name not in _NOBODYS)
    found = _store_id(directory)
    if found is not None:
        return found  # Somebody made it meanwhile, and what was there may have been his.
    if foreign:
        raise Unreadable(
            f"{directory.path} is no directory store, and holds {foreign[0]!r}; name an empty directory, or bring "
            "OpenClaw's sessions into one with sessionstore.sessions.directory.promotion"
        )
    return None


def _store_id(directory: Directory) -> str | None:
    data = directory.read(names.STORE, codec.MAX_BYTES)
    return None if data is None else understood(lambda: codec.parse_store(data), str(directory.path / names.STORE))


# Made before the store's own file; made by mkfs.
_NOBODYS = frozenset({names.LOCKS, "lost+found"})
