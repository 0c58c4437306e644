"""The directory backend, beside the few lines that one would write instead: a JSON file per session, put in place.

The usual few lines wait for no disk: after a power failure the file may be empty. Beside those with `fsync`, too.
SESSIONSTORE_BENCH_FILES sets how many sessions the list is out of.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from sessionstore.sessions import SessionKey
from sessionstore.sessions.directory import DirectoryStore
from tests.bench.side_by_side import OURS, Table, calls, in_turns

CALLS = 200
FILES = int(os.environ.get("SESSIONSTORE_BENCH_FILES", "10000"))
LINES = 1_000_000
ENTRY = json.dumps({"sessionId": "s", "channel": "telegram", "updatedAt": 1, "text": "x" * 500}).encode()
LINE = b'{"type":"message","message":{"role":"user","content":"' + b"x" * 100 + b'"}}'


class JsonFiles:
    """What one would write instead."""

    def __init__(self, path: Path, *, sync: bool) -> None:
        path.mkdir()
        self._path, self._sync = path, sync

    async def get(self, key: str) -> dict[str, object]:
        return await asyncio.to_thread(lambda: json.loads(self._file(key).read_bytes()))

    async def set(self, key: str, entry: bytes) -> None:
        await asyncio.to_thread(self._set, key, entry)

    def _set(self, key: str, entry: bytes) -> None:
        temporary = self._file(key).with_suffix(f".{secrets.token_hex(8)}")
        with temporary.open("wb") as file:
            file.write(json.dumps(json.loads(entry)).encode())
            if self._sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(self._file(key))

    def _file(self, key: str) -> Path:
        return self._path / hashlib.sha256(key.encode()).hexdigest()


async def test_get_and_set(tmp_path: Path, table: Table) -> None:
    ours = DirectoryStore(tmp_path / "ours")
    quick, safe = JsonFiles(tmp_path / "quick", sync=False), JsonFiles(tmp_path / "safe", sync=True)
    for store in (ours, quick, safe):
        await store.set("agent:main:k", ENTRY)
    for what, work in (
        ("set", lambda store: store.set("agent:main:k", ENTRY)),
        ("get", lambda store: store.get("agent:main:k")),
    ):
        for concurrency in (1, 8):
            contenders = {OURS: ours, "JSON files": quick, "JSON files, fsync": safe}
            turns = {name: calls(_bound(work, store), CALLS, concurrency) for name, store in contenders.items()}
            table.speed(f"directory {what}, {concurrency} at once", await in_turns(turns, 5))


def _bound(work: Callable[[object], Awaitable[object]], store: object) -> Callable[[], Awaitable[object]]:
    return lambda: work(store)


async def test_the_end_of_a_long_transcript(tmp_path: Path, table: Table) -> None:
    store = DirectoryStore(tmp_path)
    for key, lines in (("long", LINES), ("short", 1000)):
        await store.set(key, {"sessionId": key})
        await store.append(key, [LINE] * lines)
    for what, work in (
        ("the last 50 lines", lambda key: store.read(key, -50)),
        ("50 lines of the middle", lambda key: store.read(key, 500_000 if key == "long" else 500, 500_050)),
        ("append", lambda key: store.append(key, [LINE])),
    ):
        turns = {
            OURS: calls(_bound(work, "long"), CALLS),
            "of 1,000": calls(_bound(work, "short"), CALLS),
        }  # fmt: skip
        table.cost(f"directory {what} of {LINES}", await in_turns(turns, 5), "")


async def test_newest_50(tmp_path: Path, table: Table) -> None:
    stores = {FILES: DirectoryStore(tmp_path / "many"), 100: DirectoryStore(tmp_path / "few")}
    for count, store in stores.items():
        numbers = iter(range(count))
        await asyncio.gather(*(_fill(store, numbers) for _ in range(16)))
    fresh = DirectoryStore(tmp_path / "many")
    began = time.perf_counter()
    await fresh.list()
    print(f"  the first list out of {FILES} sessions, which reads them all: {time.perf_counter() - began:.2f} s")
    changes = itertools.count()

    def after_a_change(store: DirectoryStore) -> Callable[[], Awaitable[object]]:
        async def call() -> None:
            await store.title(SessionKey("main", "k5"), f"title {next(changes)}")
            await store.list()

        return call

    few, many = stores[100], stores[FILES]
    quiet = {OURS: calls(many.list, CALLS), "of 100": calls(few.list, CALLS)}
    table.cost(f"directory list 50 of {FILES}", await in_turns(quiet, 5), "")
    busy = {OURS: calls(after_a_change(many), CALLS), "of 100": calls(after_a_change(few), CALLS)}
    table.cost(f"directory change, list 50 of {FILES}", await in_turns(busy, 5), "")


async def _fill(store: DirectoryStore, numbers: object) -> None:
    for number in numbers:  # type: ignore[attr-defined]
        await store.set(f"k{number}", ENTRY)
