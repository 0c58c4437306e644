"""A process of its own that counts, or appends: `python -m tests.file.writer <count|append> <state> <name> <times>`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from sessionstore.sessions import Conflict
from sessionstore.sessions.file.store import FileStore


async def count(store: FileStore, name: str, times: int) -> None:
    """Raise one number that all share, by compare-and-set."""
    for _ in range(times):
        while True:
            session = await store.get("k")
            assert session is not None
            try:
                changed = session.entry.with_fields({"n": session.entry["n"] + 1})
                await store.set("k", changed, expected=session.revision)
                break
            except Conflict:
                continue


async def append(store: FileStore, name: str, times: int) -> None:
    for number in range(times):
        while True:
            session = await store.get("k")
            assert session is not None and session.transcript is not None
            head = session.transcript
            try:
                await store.append("k", [f"{name}:{number}".encode()], position=head.lines, generation=head.generation)
                break
            except Conflict:
                continue


if __name__ == "__main__":
    work, state, name, times = sys.argv[1:]
    asyncio.run({"count": count, "append": append}[work](FileStore(Path(state)), name, int(times)))
