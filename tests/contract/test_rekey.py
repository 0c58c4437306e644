"""`rekey` on real servers, while others write: nothing is lost, and the old key is needed no more."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from sessionstore.sessions import Conflict, SessionStorage, Store, iterate_lines, open_store
from sessionstore.sessions.encryption import Progress, rekey
from tests.contract.conftest import Backend, encrypted

SESSIONS = 30
WRITERS = 4
ROUNDS = 2
"""At least; writers go on until all is under the new key."""


@pytest.fixture
def both(backend: Backend, tmp_path: Path) -> SessionStorage:
    """Return a configuration with the old key and the new one."""
    return encrypted(backend, tmp_path).config


async def write(config: SessionStorage, name: str, least: int, over: asyncio.Event) -> int:
    """Append to every session, and count in its entry, by compare-and-set; return how often."""
    rounds = 0
    async with open_store(config) as store:
        while rounds < least or not over.is_set():
            for session in range(SESSIONS):
                await store.append(f"k{session}", [f"{name}:{rounds}".encode()])
                await count_in_entry(store, f"k{session}", name)
            rounds += 1
    return rounds


async def count_in_entry(store: Store, key: str, name: str) -> None:
    while True:
        found = await store.get(key)
        assert found is not None
        counted = found.entry.with_fields({name: found.entry.get(name, 0) + 1})
        try:
            await store.set(key, counted, expected=found.revision)
            return
        except Conflict:
            continue


@pytest.mark.parametrize("backend", ["redis", "mongodb", "directory"], indirect=True)
async def test_writers_lose_nothing_and_the_old_key_can_go(both: SessionStorage) -> None:
    old, new = (dataclasses.replace(both, encryption_key_files=(file,)) for file in both.encryption_key_files)
    async with open_store(old) as store:
        for number in range(SESSIONS):
            await store.set(f"k{number}", {"sessionId": "s", "label": "x"})
            await store.append(f"k{number}", [b"first"] * 3)
            await store.title(f"k{number}", f"title {number}")
    over = asyncio.Event()
    writers = [asyncio.create_task(write(both, f"w{number}", ROUNDS, over)) for number in range(WRITERS)]
    done = await rekeyed(both)
    over.set()
    rounds = await asyncio.gather(*writers)
    assert done.problems == {}
    counts = {f"w{number}": rounds[number] for number in range(WRITERS)}
    expected = [b"first"] * 3 + [f"{name}:{r}".encode() for name, upto in counts.items() for r in range(upto)]
    async with open_store(new) as store:
        for number in range(SESSIONS):
            assert sorted([line async for line in iterate_lines(store, f"k{number}")]) == sorted(expected)
            session = await store.get(f"k{number}")
            assert {name: session.entry[name] for name in counts} == counts
            assert session.marks.title == f"title {number}"


async def rekeyed(config: SessionStorage) -> Progress:
    async with open_store(config) as store:
        return await rekey(store)
