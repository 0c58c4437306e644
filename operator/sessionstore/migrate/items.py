"""What a migration carries, and what it asks of a source. Pure: a source is a module of its own.

A state directory (`directory.py`), a dump (`dump.py`) and another store (`stores.py`) are sources; the pipeline does
not know which of them it has.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from sessionstore.openclaw.blob import Blob
from sessionstore.openclaw.problems import Problem
from sessionstore.openclaw.transcript import Batch
from sessionstore.sessions.record import INHERITED, NO_MARKS, Entry, Lifetime, Marks, SessionKey, Status


class Lines(Protocol):
    """A transcript of the source, which can be gone through again and again; each pass reads it afresh."""

    @property
    def path(self) -> str:
        """Where it lies, for reports; printable."""

    @property
    def stamp(self) -> str | None:
        """What changes whenever the lines may have changed, without reading them; None where nothing can be trusted.

        Of a file: its size, inode and times, unless it was changed within the last seconds. Of a store: the revision.
        """

    def batches(self) -> AsyncIterator[Batch]:
        """Go through the lines. Raises: Refused when the file cannot be read (any further); SourceError."""

    def few(self) -> list[bytes] | None:
        """Read all lines at once, where they are few, whole and at hand; else None, and `batches` goes through them.

        Most transcripts are short, and going through one batch by batch costs more than reading it.

        Raises: as `batches`.
        """


@dataclass(frozen=True, slots=True)
class SourceSession:
    """A session that can be carried. `lines` is None where its transcript cannot be had; `problem` then says why."""

    key: SessionKey
    entry: Entry
    lines: Lines | None = None
    problem: Problem | None = None
    status: Status = Status.ACTIVE
    marks: Marks = NO_MARKS
    lifetime: Lifetime = INHERITED

    @property
    def is_plain(self) -> bool:
        """Whether it is an entry and its lines, with nothing set on it beside them."""
        return self.status is Status.ACTIVE and self.marks == NO_MARKS and self.lifetime == INHERITED


@dataclass(frozen=True, slots=True)
class SourceArchive:
    """A transcript without a session: a file that OpenClaw archived, or an orphan that no entry names."""

    agent: str
    name: str
    lines: Lines
    orphan: bool = False


@dataclass(frozen=True, slots=True)
class SetAside:
    """Something that cannot be carried, with its bytes where they can be had; a session unless `is_archive`."""

    problem: Problem
    blob: Blob
    is_archive: bool = False


Item = SourceSession | SourceArchive | SetAside


class Source(Protocol):
    """Where sessions come from. Every pass reads afresh, in the same order while nothing changes."""

    @property
    def layouts(self) -> tuple[str, ...]:
        """The layouts that were found, by name, sorted."""

    def sessions(self) -> AsyncIterator[SourceSession | SetAside]:
        """Go through all entries: each (agent, key) once, or set aside. Raises: SourceError, Unavailable."""

    def archives(self) -> AsyncIterator[SourceArchive | SetAside | Problem]:
        """Go through the archives, the transcripts that no session carries, and what is wrong with other files.

        Raises: SourceError, Unavailable.
        """

    def beside(self) -> int:
        """Count the files that are no part of any conversation."""

    def superseded(self) -> int:
        """Count the entries that a more recent index of the same source has, too: rotated or left-over copies."""
