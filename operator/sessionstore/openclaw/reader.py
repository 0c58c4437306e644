"""What the migration asks of a layout: find, describe, stream entries, stream lines.

`state_dir` is the first layout. Another one is another module with these few names; nothing above it changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from sessionstore.openclaw.problems import Problem
from sessionstore.openclaw.sessions_json import BadEntry, RawEntry
from sessionstore.openclaw.transcript import Line


@dataclass(frozen=True, slots=True)
class Part:
    """A transcript or an archive as it lies in the source.

    Attributes:
        path: relative to the state directory; holds lone surrogates where a name is not UTF-8.
        size: bytes, when it was listed.
    """

    path: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies beside the entries of one place.

    Attributes:
        transcripts: transcript id -> its file; which of them are orphans only the entries tell.
        archives: transcripts without a session.
        beside: how many files are no part of any conversation.
        refused: file name -> why it cannot be taken, for names that an entry or a person may ask for.
    """

    transcripts: Mapping[str, Part]
    archives: tuple[Part, ...]
    beside: int
    refused: Mapping[str, Problem]


class Reader(Protocol):
    """One place with the sessions of one agent. Every method reads afresh, so that a proof does not check a memory."""

    @property
    def layout(self) -> str:
        """The layout's name in reports."""

    @property
    def agent(self) -> str:
        """The agent as the layout says, not yet judged."""

    @property
    def path(self) -> str:
        """Where the entries lie, for reports."""

    def entries(self) -> Iterator[RawEntry | BadEntry]:
        """Go through the entries. Raises: Refused, SourceError."""

    def listing(self) -> Listing:
        """Tell what files there are. Raises: Refused, SourceError."""

    def lines(self, part: Part) -> Iterator[Line]:
        """Go through the lines of a transcript or an archive. Raises: Refused, SourceError."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a state directory holds, before any session is read."""

    readers: tuple[Reader, ...]
    problems: tuple[Problem, ...]
