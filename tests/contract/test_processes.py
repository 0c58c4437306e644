"""Several processes on one session at once lose nothing."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict

import pytest

from sessionstore.sessions import Store
from tests.conftest import ROOT
from tests.contract.conftest import Backend

PROCESSES = 8


@pytest.fixture
async def shared(store: Store, backend: Backend) -> Store:
    if not backend.declared["processes"]:
        pytest.skip(f"{backend.name} lives in one process")
    await store.set("k", {"sessionId": "s"})
    return store


async def run(work: str, backend: Backend, count: int) -> None:
    """Run the writers to their end; each must succeed."""
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.contract.writer", work, backend.url, f"p{number}", str(count),
            cwd=ROOT, stderr=asyncio.subprocess.PIPE,
        )
        for number in range(PROCESSES)
    ]  # fmt: skip
    for process in started:
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()


async def test_appends_of_eight_processes_are_all_there_each_in_its_order(shared: Store, backend: Backend) -> None:
    count = 20
    await run("append", backend, count)
    transcript = await shared.read("k")
    by_process: dict[str, list[int]] = defaultdict(list)
    for line in transcript.lines:
        name, number = line.decode().split(":")
        by_process[name].append(int(number))
    assert by_process == {f"p{number}": list(range(count)) for number in range(PROCESSES)}
    assert (await shared.get("k")).revision == 1 + PROCESSES * count


async def test_updates_of_eight_processes_are_all_there(shared: Store, backend: Backend) -> None:
    count = 5
    await run("update", backend, count)
    session = await shared.get("k")
    assert session.revision == 1 + PROCESSES * count
    assert {name: value for name, value in session.entry.items() if name != "sessionId"} == {
        f"p{number}": count - 1 for number in range(PROCESSES)
    }
