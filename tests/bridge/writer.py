"""A process that writes as an OpenClaw gateway does: read the whole sheet, change it, put a new file in its place.

`python -m tests.bridge.writer SHEET NAME COUNT WORK START`; START is when to begin, in seconds since the epoch, so that
several begin at once. It prints the keys that it had made and did not find again, as a JSON list.
`tests/openclaw/writer.mjs` does the same with OpenClaw's own functions.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

Entries = dict[str, dict[str, Any]]
COUNTED = "agent:main:counted"


def key_of(name: str, number: int) -> str:
    return f"agent:main:explicit:{name}-{number}"


def update(sheet: Path, change: Callable[[Entries], object]) -> None:
    """Do what OpenClaw's `updateSessionStore` does."""
    try:
        entries: Entries = json.loads(sheet.read_bytes())
    except FileNotFoundError:
        entries = {}
    change(entries)
    fresh = sheet.with_name(f"sessions.json.{uuid.uuid4()}.tmp")
    fresh.write_bytes(json.dumps(entries, indent=2, ensure_ascii=False).encode())
    fresh.replace(sheet)


class Writer:
    """One gateway's work on its sheet."""

    def __init__(self, sheet: Path, name: str) -> None:
        self._sheet, self._name = sheet, name
        self.missing: list[str] = []

    def create(self, number: int) -> None:
        """Make a session, and change it a little later."""
        key = key_of(self._name, number)

        def make(entries: Entries) -> None:
            entries[key] = {"sessionId": f"{self._name}-{number}", "updatedAt": _now_ms(), "n": 0}

        def change(entries: Entries) -> None:
            if key in entries:
                entries[key] |= {"n": entries[key]["n"] + 1, "updatedAt": _now_ms(), "label": f"L{number}"}
            else:
                self.missing.append(key)

        update(self._sheet, make)
        _pause(8)
        update(self._sheet, change)

    def churn(self, number: int) -> None:
        """Make a session, and delete every fourth again."""
        self.create(number)
        if number % 4 == 3:
            update(self._sheet, lambda entries: entries.pop(key_of(self._name, number - 1), None))

    def count(self, number: int) -> None:
        """Count up in a session that others count up in, too."""

        def change(entries: Entries) -> None:
            entry = entries[COUNTED]
            for field in ("compactionCount", f"by-{self._name}"):
                entry[field] = entry.get(field, 0) + 1
            entry["updatedAt"] = _now_ms()

        update(self._sheet, change)
        _pause(12)


def _now_ms() -> int:
    return int(time.time() * 1000)


def _pause(most_ms: int) -> None:
    time.sleep(random.uniform(0, most_ms) / 1000)


def main() -> None:
    sheet, name, count, work, start = sys.argv[1:]
    writer = Writer(Path(sheet), name)
    time.sleep(max(0.0, float(start) - time.time()))
    for number in range(int(count)):
        getattr(writer, work)(number)
        _pause(10)
    sys.stdout.write(json.dumps(writer.missing))


if __name__ == "__main__":
    os.umask(0o077)
    main()
