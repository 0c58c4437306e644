"""Doors in front of OpenClaw's own lock on a transcript: it waits, rings, and goes on when it may."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sessionstore.bridge.doors import Doors
from sessionstore.bridge.watch import Notified, Polled, Watch
from tests.conftest import LONG
from tests.openclaw.program import CACHE, FILES, is_installed

pytestmark = pytest.mark.skipif(
    not LONG and not is_installed(), reason="real OpenClaw is run by `make test-long`, or once `make openclaw` got it"
)

DEADLINE_S = 120.0
WAITS_S = 5.0

# Takes the lock, says so, gives it back when told to, and says so.
TURN = """
const { acquireSessionWriteLock } = await import(process.argv[1]);
const { release } = await acquireSessionWriteLock({ sessionFile: process.argv[2], timeoutMs: Number(process.argv[3]) });
console.log("begun");
process.stdin.once("data", async () => { await release(); console.log("ended"); process.exit(0); });
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture(params=["inotify", "polling"])
def watching(request: pytest.FixtureRequest, directory: int) -> Iterator[Watch]:
    made: Watch = Notified(directory) if request.param == "inotify" else Polled(directory)
    yield made
    made.close()


@contextlib.asynccontextmanager
async def _turn(
    sessions: Path, transcript_id: str, timeout_ms: int = 60_000
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Have OpenClaw ask for the lock of a transcript."""
    library = CACHE / FILES / "node_modules" / "openclaw" / "dist" / "plugin-sdk" / "agent-harness-runtime.js"
    turn = await asyncio.create_subprocess_exec(
        *(CACHE / "node" / "package" / "bin" / "node", "--input-type=module", "-e", TURN, "--"),
        *(str(library), str(sessions / f"{transcript_id}.jsonl"), str(timeout_ms)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"HOME": str(sessions), "OPENCLAW_STATE_DIR": str(sessions), "PATH": os.environ["PATH"]},
    )
    try:
        yield turn
    finally:
        with contextlib.suppress(ProcessLookupError):
            turn.kill()
        await turn.wait()


async def _says(turn: asyncio.subprocess.Process) -> str:
    assert turn.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        return (await turn.stdout.readline()).decode().strip()


async def _ends(turn: asyncio.subprocess.Process) -> str:
    assert turn.stdin is not None
    turn.stdin.write(b"\n")
    return await _says(turn)


async def _bell(watching: Watch) -> frozenset[str]:
    """Wait until somebody stands in front of a door."""
    async with asyncio.timeout(DEADLINE_S):
        while not (noticed := await watching.wait(DEADLINE_S)).opened:
            pass
    return noticed.opened


async def test_a_turn_waits_in_front_of_a_door_and_begins_when_it_is_opened(
    directory: int, watching: Watch, tmp_path: Path
) -> None:
    doors = Doors(directory, shared=not watching.needs_own_files)
    for transcript_id in ("s1", "s2", "s3"):
        doors.plant(transcript_id)
    async with _turn(tmp_path, "s2") as turn:
        assert await _bell(watching) == {"s2"}
        said = asyncio.create_task(_says(turn))
        for _ in range(int(WAITS_S)):
            await asyncio.sleep(1)
            assert doors.refresh() == []
        assert not said.done()
        assert not doors.is_running("s2")
        opened = time.monotonic()
        doors.open("s2")
        assert await said == "begun"
        print(f"begun {(time.monotonic() - opened) * 1000:.0f} ms behind the opening")
        assert doors.is_running("s2")
        assert not doors.plant("s2")
        assert await _ends(turn) == "ended"
    assert not doors.is_running("s2")
    assert doors.plant("s2")
    assert doors.planted() == {"s1", "s2", "s3"}


async def test_a_door_that_nobody_keeps_fresh_is_taken_away_and_that_is_told(directory: int, tmp_path: Path) -> None:
    doors = Doors(directory)
    for transcript_id in ("s1", "s2"):
        doors.plant(transcript_id)
    long_ago = time.time() - 31
    os.utime(tmp_path / "s1.jsonl.lock", (long_ago, long_ago))
    async with _turn(tmp_path, "s1") as turn:
        assert await _says(turn) == "begun"
        assert doors.refresh() == ["s1"]
        assert doors.is_running("s1")
        assert await _ends(turn) == "ended"
    assert doors.planted() == {"s2"}
    assert doors.refresh() == []
