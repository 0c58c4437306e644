"""What OpenClaw does to its files, without a thought for ours: `python -m tests.file.openclaw <sessions> <turns>`.

OpenClaw 2026.7.1-2 reads `sessions.json`, changes the object, writes it to a temporary file and renames that over it;
it appends to transcripts in place, and renames those of deleted sessions. It takes turns with the library: a turn is
what happens while the library's lock is held.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Entries = dict[str, Any]


@contextmanager
def turn(sessions: Path) -> Iterator[Entries]:
    """Have the directory alone; what becomes of the entries is written."""
    with (sessions / ".sessionstore.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with changing(sessions) as entries:
            yield entries


@contextmanager
def changing(sessions: Path) -> Iterator[Entries]:
    """Read the entries, and write what becomes of them."""
    file = sessions / "sessions.json"
    entries = json.loads(file.read_bytes())
    yield entries
    temporary = sessions / f"sessions.json.{os.getpid()}.{uuid.uuid4()}.tmp"
    temporary.write_text(json.dumps(entries, indent=2, ensure_ascii=False))
    temporary.rename(file)


def say(sessions: Path, transcript_id: str, line: str) -> None:
    """Append to a transcript, as OpenClaw does: in place, and without waiting for the disk."""
    with (sessions / f"{transcript_id}.jsonl").open("a") as file:
        file.write(line + "\n")


def delete(sessions: Path, entries: Entries, key: str) -> None:
    """Delete a session as OpenClaw does: the entry goes, its transcript becomes an archive."""
    transcript = sessions / f"{entries.pop(key)['sessionId']}.jsonl"
    if transcript.exists():
        transcript.rename(f"{transcript}.deleted.2026-11-20T10-00-00.{os.getpid() % 1000:03d}Z")


def main(sessions: Path, turns: int) -> None:
    for number in range(turns):
        with turn(sessions) as entries:
            entries["k"]["openclaw"] = number
            entries["k"]["updatedAt"] = 1_000_000 + number
            say(sessions, entries["k"]["sessionId"], f"openclaw:{number}")
            entries[f"run-{number}"] = {"sessionId": f"run-{number}", "updatedAt": number}
            say(sessions, f"run-{number}", "a run")
            if number % 2:
                delete(sessions, entries, f"run-{number - 1}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
