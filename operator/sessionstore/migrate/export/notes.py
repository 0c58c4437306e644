"""What an export could not write as it is, or at all: counted, and the first ones named."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

SHOWN = 100


class Remark(StrEnum):
    """What there is to say of a session or an archive."""

    NO_SESSION_ID = "NoSessionId"
    """OpenClaw cannot use an entry without `sessionId`; it is left out, and stays in the store."""
    NO_PLACE = "NoPlace"
    """The layout has no place for it; it is left out, and stays in the store."""
    RENAMED = "Renamed"
    """Its file has another name than in the store: two sessions claim that name, or no file can have it."""
    MARKS_NOT_KEPT = "MarksNotKept"
    """Files have no place for title, tags, pin or lifetime; they stay in the store."""


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that a person should know. `name` is the session key, or the archive's name."""

    reason: Remark
    agent: str
    name: str
    detail: str

    def document(self) -> dict[str, Any]:
        """Return the note as JSON has it."""
        return {"reason": self.reason.value, "agent": self.agent, "name": self.name, "detail": self.detail}


class Notes:
    """The notes of a run. One that is made again, its session being written again, counts once where it is shown."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.shown: list[Note] = []

    def add(self, note: Note) -> None:
        """Take a note."""
        if note in self.shown:
            return
        self.counts[note.reason.value] += 1
        if len(self.shown) < SHOWN:
            self.shown.append(note)
