"""What a migration asks of a layout: entries in indexes, transcripts and archives in folders.

One module a layout; `find` looks which of them a directory has. The two are apart since layouts share folders:
a rotated index lies beside the current one, and with `session.store` set transcripts lie in two places
(docs/design/0014-migration.md). Every call reads afresh, so that a proof does not check a memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from sessionstore.openclaw.blob import Blob
from sessionstore.openclaw.problems import Problem, Reason
from sessionstore.openclaw.transcript import Batch


@dataclass(frozen=True, slots=True)
class RawEntry:
    """An entry as it stands in the source: nothing of it has been judged.

    Attributes:
        transcript_id: where the layout says it; else the entry does.
        archived: whether the layout says that the session is archived.
        reason: why it was archived, where that is known.
    """

    agent: str
    key: str
    raw: bytes
    transcript_id: str | None = None
    archived: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class BadEntry:
    """An entry that cannot be taken, or with `key` None an index as far as it cannot be taken apart.

    Of a folder: an archive, or a piece of a transcript, that cannot be taken.

    Attributes:
        path: where it lies, printable; None for the index or the folder itself.
    """

    agent: str
    key: str | None
    blob: Blob
    reason: Reason
    detail: str
    path: str | None = None


class Part(Protocol):
    """A transcript or an archive as it lies in the source. `path` and `name` together name it."""

    @property
    def agent(self) -> str:
        """The agent as the layout says, not yet judged."""

    @property
    def path(self) -> str:
        """Where it lies, relative to the state directory; printable."""

    @property
    def name(self) -> str:
        """Its file name; holds lone surrogates where that is not UTF-8."""

    @property
    def transcript_id(self) -> str | None:
        """Which transcript it is; None for an archive."""

    @property
    def size(self) -> int:
        """How many bytes it has. Raises: SourceError."""

    @property
    def stamp(self) -> str | None:
        """What changes whenever its lines may have; None where nothing can be trusted. Raises: SourceError."""

    def batches(self) -> Iterator[Batch]:
        """Go through the lines. Raises: Refused, SourceError."""


Found = Part | Problem | BadEntry
"""What a folder has."""


class Index(Protocol):
    """A place with entries."""

    @property
    def layout(self) -> str:
        """The layout's name in reports."""

    @property
    def agent(self) -> str | None:
        """The agent of all its entries, as the layout says; None where each entry has its own."""

    @property
    def path(self) -> str:
        """Where the entries lie, for reports; printable."""

    def entries(self) -> Iterator[RawEntry | BadEntry]:
        """Go through the entries. Raises: Refused, SourceError."""

    def transcript(self, entry: RawEntry, transcript_id: str) -> Part | Problem:
        """Return where an entry's lines are, or why they cannot be had. Looked up by name. Raises: SourceError."""


class Folder(Protocol):
    """A place with transcripts and archives."""

    @property
    def path(self) -> str:
        """Where it is; printable."""

    def parts(self) -> Iterator[Found]:
        """Go through them, sorted by name, and through what cannot be taken; a BadEntry where its bytes can be kept.

        Raises: Refused, SourceError.
        """

    def beside(self) -> int:
        """Count the files that are no part of any conversation. Raises: Refused, SourceError."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a state directory holds, before any session is read.

    Attributes:
        indexes: in order of precedence: what an earlier one has, a later one does not add.
        problems: what cannot be looked into at all.
    """

    indexes: tuple[Index, ...] = ()
    folders: tuple[Folder, ...] = ()
    problems: tuple[Problem, ...] = ()
