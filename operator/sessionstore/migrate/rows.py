"""What is remembered of one session or archive: by a run in its scratch ledger, between runs in the store. Pure.

A row is believed only where all of it still holds: the entry's bytes, the transcript's stamp, and the store's mark.
Any of them that differs means that somebody touched the session, so it is looked at as if there were no row.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from sessionstore.migrate.items import SourceArchive, SourceSession
from sessionstore.migrate.report import Account, Accounts
from sessionstore.sessions.record import Session

_HASH_BYTES = 16
ELSEWHERE = 0
"""The run of a row that was made of another source under this name: it tells what was proven, and nothing is ours."""


class Name(NamedTuple):
    """Names a session or an archive; `kind` is `session` or `archive`."""

    kind: str
    agent: str
    name: str

    def __str__(self) -> str:
        return f"{self.agent}/{self.name}"


class Ending(StrEnum):
    """How one thing is counted."""

    MIGRATED = "migrated"
    PRESENT = "present"
    CONFLICTS = "conflicts"


_ONE = {ending: Account(**{ending.value: 1}) for ending in Ending}


@dataclass(frozen=True, slots=True)
class Intent:
    """What was planned for one thing, before anything was written.

    Attributes:
        common: lines that the store had already, and so are none that we bring.
    """

    ending: Ending
    common: int = 0

    def accounts(self, name: Name, lines: int) -> Accounts:
        """Return how the thing is counted, which has so many whole lines."""
        one = _ONE[self.ending]
        if name.kind == "archive":
            return Accounts(archives=one)
        if self.ending is Ending.MIGRATED:
            common = min(self.common, lines)
            return Accounts(one, Account(migrated=lines - common, present=common))
        return Accounts(one, Account(**{self.ending.value: lines}))


NEW = Intent(Ending.MIGRATED)
PRESENT = Intent(Ending.PRESENT)
CONFLICT = Intent(Ending.CONFLICTS)


@dataclass(frozen=True, slots=True)
class Facts:
    """What Inspect learned of one thing.

    Attributes:
        entry: a hash of the entry's bytes; empty for an archive.
        stamp: of its lines, before they were read; None where it says nothing.
        digest: as docs/design/0001-identity.md has it.
        lines: whole ones.
        bytes: of the entry and the lines, their line feeds included.
        is_torn: the file ends within a line.
        is_clean: nothing is wrong with it; only then a later run may skip it, since problems are told each time.
    """

    name: Name
    entry: bytes
    stamp: str | None
    digest: bytes
    lines: int
    bytes: int
    is_torn: bool = False
    is_clean: bool = True

    @property
    def found(self) -> int:
        """How many lines were found, a torn one included."""
        return self.lines + self.is_torn


@dataclass(frozen=True, slots=True)
class Row:
    """What a run left about one thing that it carried.

    Attributes:
        facts: without a stamp where it speaks of what the store was given and of nothing that could be skipped.
        mark: what the store had then; see `mark_of`.
        run: the number of the run, or ELSEWHERE.
    """

    facts: Facts
    mark: bytes
    intent: Intent
    run: int

    def holds_for(self, entry: bytes, stamp: str | None) -> bool:
        """Tell whether the source still has what the row speaks of."""
        return stamp is not None and self.facts.stamp == stamp and self.facts.entry == entry

    def speaks_of(self, facts: Facts) -> bool:
        """Tell whether the source has what was carried then: it was read again, where its stamp does not tell."""
        return (self.facts.entry, self.facts.digest) == (facts.entry, facts.digest)


def name_of(item: SourceSession | SourceArchive) -> Name:
    """Return what a session or an archive is called."""
    if isinstance(item, SourceSession):
        return Name("session", item.key.agent, item.key.key)
    return Name("archive", item.agent, item.name)


def entry_hash(item: SourceSession | SourceArchive) -> bytes:
    """Return the hash of a session's entry, by which a row knows it again."""
    if isinstance(item, SourceArchive):
        return b""
    if item.is_plain:
        return _hash(item.entry.raw)
    return _hash(item.entry.raw, repr((item.status, item.marks, item.lifetime)).encode())


def mark_of(session: Session) -> bytes:
    """Return what tells a stored session from every other state it may have.

    The revision alone would do within one life of a store. One that was emptied, or put back from a backup, may come
    to the same revision again: its times and its content then differ.
    """
    head = session.transcript
    facts = session.revision, session.created_ms, session.written_ms, session.updated_ms, session.status
    lines = (head.id, head.generation, head.lines) if head else ()
    return _hash(session.entry.raw, repr((facts, lines)).encode())


def mark_of_archive(lines: int, last: bytes) -> bytes:
    """Return what tells an archive: it is written once, so its length and its last line do."""
    return _hash(last, str(lines).encode())


def _hash(*parts: bytes) -> bytes:
    found = hashlib.blake2b(digest_size=_HASH_BYTES)
    for part in parts:
        found.update(len(part).to_bytes(8, "big"))
        found.update(part)
    return found.digest()
