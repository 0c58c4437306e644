"""What an export tells: one JSON document, and the summary for a container's termination message. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sessionstore.migrate.export.catalogue import Totals
from sessionstore.migrate.export.notes import Note
from sessionstore.migrate.report import SUMMARY_BYTES, Mismatch

_SHORT_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class Exported:
    """Everything there is to say.

    Attributes:
        moving: sessions that changed in the store while it was read, and may be older in what was written.
        left_out: sessions that this format has no place for.
        digest: of what was written, read again; None where it went to a stream.
        store_digest: of what the store held. Both are the same where no entry had to be changed.
        put_aside: what was there before -> where it is now, relative to the target.
        carried: files beside the sessions that were carried along.
    """

    format: str
    path: str
    agents: tuple[str, ...]
    totals: Totals
    moving: int
    left_out: int
    digest: str | None
    store_digest: str
    mismatches: tuple[Mismatch, ...] = ()
    differing: int = 0
    notes: tuple[Note, ...] = ()
    note_counts: tuple[tuple[str, int], ...] = ()
    put_aside: tuple[str, ...] = ()
    carried: int = 0

    @property
    def outcome(self) -> str:
        return "Failed" if self.differing else "Exported"

    @property
    def is_set_aside(self) -> bool:
        """Whether a person should look: something moved, was left out, or is not as it was."""
        return bool(self.moving or self.left_out or self.notes)

    def document(self) -> dict[str, Any]:
        """Return the JSON document that docs/migration.md describes."""
        return {
            "outcome": self.outcome,
            "format": self.format,
            "path": self.path,
            "agents": list(self.agents),
            "sessions": self.totals.sessions,
            "lines": self.totals.lines,
            "bytes": self.totals.bytes,
            "archives": self.totals.archives,
            "archiveLines": self.totals.archive_lines,
            "moving": self.moving,
            "leftOut": self.left_out,
            "beside": self.carried,
            "putAside": list(self.put_aside),
            "digest": self.digest,
            "storeDigest": self.store_digest,
            "mismatches": [_mismatch(mismatch) for mismatch in self.mismatches],
            "noteCounts": dict(self.note_counts),
            "notes": [note.document() for note in self.notes],
        }

    def summary(self, seconds: float) -> bytes:
        """Return the report in at most SUMMARY_BYTES."""
        first = next(iter(self.mismatches), None)
        counts = ("outcome", "sessions", "lines", "bytes", "archives", "moving", "leftOut", "digest", "storeDigest")
        document = self.document()
        return _fitting(
            {name: document[name] for name in counts}
            | {
                "mismatches": self.differing,
                "seconds": round(seconds, 3),
                "reason": "Mismatch" if first else None,
                "message": f"{first.agent}/{first.name}: {first.detail}" if first else None,
            }
        )


def _fitting(document: dict[str, Any]) -> bytes:
    text = json.dumps(document, separators=(",", ":"))
    if len(text) > SUMMARY_BYTES:
        document["message"] = f"{str(document['message'])[: _SHORT_MESSAGE // 8]}..."
        text = json.dumps(document, separators=(",", ":"))
    return text.encode("ascii")


def _mismatch(mismatch: Mismatch) -> dict[str, Any]:
    named = {"kind": mismatch.kind, "agent": mismatch.agent, "name": mismatch.name, "detail": mismatch.detail}
    return named | ({} if mismatch.line is None else {"line": mismatch.line})
