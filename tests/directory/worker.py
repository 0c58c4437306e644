"""A process of its own on a directory store: `python -m tests.directory.worker`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from sessionstore.sessions import Conflict
from sessionstore.sessions.directory import DirectoryStore


async def count(store: DirectoryStore, name: str, times: int) -> None:
    """Add one, so many times, by compare-and-set."""
    for _ in range(times):
        while True:
            session = await store.get("counter")
            assert session is not None
            try:
                fields = {"n": session.entry["n"] + 1, name: 1}
                await store.set("counter", session.entry.with_fields(fields), expected=session.revision)
                break
            except Conflict:
                continue


async def append(store: DirectoryStore, name: str, times: int) -> None:
    for number in range(times):
        await store.append("log", [f"{name}:{number}:{part}".encode() for part in range(3)])


async def append_twice(store: DirectoryStore, name: str, times: int) -> None:
    """Append behind what is there, each time once more as if no answer had come."""
    for number in range(times):
        while True:
            transcript = await store.read("log", -1)
            assert transcript is not None
            line, position = f"{name}:{number}".encode(), transcript.head.lines
            try:
                await store.append("log", [line], position=position)
                await store.append("log", [line], position=position)
                break
            except Conflict:
                continue


async def mix(store: DirectoryStore, name: str, times: int) -> None:
    """Make, change, archive, delete and expire sessions of its own, and list them all the while."""
    for number in range(times):
        for keep in ("stays", "goes", "archived"):
            key = f"{name}:{number}:{keep}"
            await store.set(key, {"sessionId": "s", "updatedAt": number})
            await store.append(key, [b"1"])
            if keep == "goes":
                await store.rewrite(key, [b"2"])
                await store.delete(key)
            if keep == "archived":
                await store.archive(key)
        own = [row for row in await listed(store) if row.startswith(f"{name}:")]
        assert len(own) == 2 * (number + 1), own


async def begin(store: DirectoryStore, name: str, times: int) -> None:
    """Begin stores, one after the other, at the same time as the others do."""
    for number in range(times):
        path = store._kept.path / str(number)
        await asyncio.gather(*(DirectoryStore(path).set(f"{name}:{part}", {}) for part in range(4)))


async def listed(store: DirectoryStore) -> list[str]:
    page = await store.list(status=None, limit=10_000)
    return [row.key.key for row in page.items]


WORK = {"count": count, "append": append, "append_twice": append_twice, "mix": mix, "begin": begin}

if __name__ == "__main__":
    path, work, name, times = sys.argv[1:]
    asyncio.run(WORK[work](DirectoryStore(Path(path)), name, int(times)))
