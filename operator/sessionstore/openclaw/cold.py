"""Transcripts of inactive sessions, which OpenClaw 2026.9 moves out of its database: zstd, a line of JSON a record.

The file lies in `sessions/cold/` under the SHA-256 of its bytes, or its bytes lie in the row. Its records are a
header, the events as they were in the database, and indexes that OpenClaw makes anew when it takes the events back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sessionstore.openclaw import transcript
from sessionstore.openclaw.packed import Packed, WholeFile
from sessionstore.openclaw.problems import Reason, Refused
from sessionstore.openclaw.transcript import Batch

FILE_NAME = re.compile(r"[0-9a-f]{64}\.jsonl\.zst")


@dataclass(frozen=True, slots=True)
class Record:
    """What the database says of a transcript that it has moved out; None where nothing is known."""

    session_id: str | None = None
    generation: str | None = None
    event_count: int | None = None

    def batches(self, read: Callable[[int], bytes]) -> Iterator[Batch]:
        """Go through the events' lines. Raises: Refused where they are not what the record says."""
        offset = count = 0
        header: dict[str, Any] | None = None
        for batch in transcript.batches(read):
            records = [_record(raw) for raw in batch.lines]
            if batch.torn:
                raise _refusal("it ends within a record")
            if header is None and records:
                header = self._checked(records[0])
            lines = [_event(record) for record in records if record["kind"] == "event"]
            count += len(lines)
            yield Batch(lines, offset)
            offset += sum(map(len, lines)) + len(lines)
        if header is None:
            raise _refusal("it is empty")
        if self.event_count is not None and count != self.event_count:
            raise _refusal(f"it has {count} events, and should have {self.event_count}")

    def _checked(self, header: dict[str, Any]) -> dict[str, Any]:
        if header["kind"] != "header" or header.get("version") != 1:
            raise _refusal("it does not begin with a header that is known")
        said = (header.get("sessionId"), header.get("generation"))
        if self.session_id is not None and said != (self.session_id, self.generation):
            raise _refusal("it is of another transcript than its record says")
        if self.session_id is None and not (isinstance(said[0], str) and said[0]):
            raise _refusal("it does not say of which transcript it is")
        return header


def session_id_of(file: WholeFile) -> str:
    """Return which transcript a file is of. Raises: Refused, SourceError."""
    first = Packed(file, file.path, "", "", None, lines=transcript.batches)
    for batch in first.batches():
        session_id = _record(batch.lines[0]).get("sessionId") if batch.lines else None
        if isinstance(session_id, str) and session_id:
            return session_id
        break
    raise _refusal("it does not say of which transcript it is")


def _record(raw: bytes) -> dict[str, Any]:
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _refusal(f"a record of it is not JSON: {error}") from error
    if not isinstance(record, dict) or "kind" not in record:
        raise _refusal("a record of it is of no kind that is known")
    return record


def _event(record: dict[str, Any]) -> bytes:
    try:
        line = record["row"]["event_json"].encode()
    except (KeyError, TypeError, AttributeError, UnicodeEncodeError) as error:
        raise _refusal("an event of it has no text") from error
    if b"\n" not in line:
        return bytes(line)
    raise _refusal("an event of it holds a line feed")


def _refusal(detail: str) -> Refused:
    return Refused(Reason.UNDECODABLE, f"the cold archive cannot be read: {detail}")
