"""What a room has to know of entries: which transcript each names, and whether it says that a turn runs. Pure.

An entry is parsed once for as long as its bytes stay the same, so that thousands of them cost nothing in each step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sessionstore.sessions.exceptions import InvalidEntry
from sessionstore.sessions.record import Entry

RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Fact:
    """What one entry says.

    Attributes:
        transcript_id: None where it names none, or an impossible one.
        is_running: a turn runs, or was cut off.
    """

    transcript_id: str | None
    is_running: bool


NOTHING = Fact(None, False)


def fact_of(raw: bytes) -> Fact:
    """Read an entry; what is no entry says nothing."""
    try:
        entry = Entry(raw)
        return Fact(entry.transcript_id, entry.get("status") == RUNNING)
    except InvalidEntry:
        return NOTHING


class Facts:
    """The entries of one sheet."""

    def __init__(self) -> None:
        self._facts: dict[str, tuple[bytes, Fact]] = {}
        self._keys: dict[str, str] = {}

    def learn(self, entries: Mapping[str, bytes]) -> None:
        """Take the entries as they are now; those that are not among them are forgotten."""
        self._facts = {key: self._known(key, raw) for key, raw in entries.items()}
        self._keys = {}
        # Where two keys name one transcript, every bridge must take the lease of the same one.
        for key in sorted(self._facts, reverse=True):
            transcript_id = self._facts[key][1].transcript_id
            if transcript_id is not None:
                self._keys[transcript_id] = key

    def of(self, key: str) -> Fact:
        """Return what an entry says; nothing where there is none."""
        return self._facts[key][1] if key in self._facts else NOTHING

    def key_of(self, transcript_id: str) -> str | None:
        """Return the session whose lease stands for a transcript; None where no entry names it."""
        return self._keys.get(transcript_id)

    def transcripts(self) -> Iterable[str]:
        """Return the transcripts that entries name."""
        return self._keys.keys()

    def _known(self, key: str, raw: bytes) -> tuple[bytes, Fact]:
        known = self._facts.get(key)
        return known if known is not None and known[0] == raw else (raw, fact_of(raw))
