"""The directory backend beside what one writes first: a JSON file for each session, replaced by `os.replace`.

The naive one keeps no revision, no feed and no transcript, and takes no care of a second process. Without fsync an
answered save may be lost with the machine; ours never is, so the fair neighbour is the one with fsync.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from sessionstore.sessions import open_store
from tests.bench.conftest import session
from tests.bench.side_by_side import OURS, Table, calls, in_turns

KEY = "agent:main:telegram:direct:123456789"
SESSION = session()
CALLS = 100


class Naive:
    def __init__(self, directory: Path, *, fsync: bool) -> None:
        directory.mkdir()
        self._path, self._fsync = directory / "session.json", fsync

    async def load(self) -> Any:
        return json.loads(await asyncio.to_thread(self._path.read_bytes))

    async def save(self) -> None:
        await asyncio.to_thread(self._save)

    def _save(self) -> None:
        new = self._path.with_suffix(".new")
        with new.open("w") as file:
            json.dump(SESSION, file)
            if self._fsync:
                file.flush()
                os.fsync(file.fileno())
        new.replace(self._path)


async def test_beside_a_file_for_each_session(tmp_path: Path, table: Table) -> None:
    safe, fast = Naive(tmp_path / "safe", fsync=True), Naive(tmp_path / "fast", fsync=False)
    async with open_store(f"directory://{tmp_path / 'ours'}") as store:
        await asyncio.gather(store.set(KEY, SESSION), safe.save(), fast.save())
        loading = {OURS: calls(lambda: store.get(KEY), CALLS), "a JSON file": calls(fast.load, CALLS)}
        table.speed("directory, load", await in_turns(loading))
        saving = {
            OURS: calls(lambda: store.set(KEY, SESSION), CALLS),
            "a JSON file, fsync": calls(safe.save, CALLS),
            "a JSON file, no fsync": calls(fast.save, CALLS),
        }
        table.speed("directory, save", await in_turns(saving))
