"""A bridge that is killed at each of its steps, and begins anew: nothing is lost, nothing is there twice."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sessionstore.bridge import transcripts
from sessionstore.bridge.transcripts import Carried
from sessionstore.sessions import Store, open_store
from sessionstore.sessions.memory import MemoryStore
from tests import redis_server
from tests.bridge.killing import MODES, Killed, Killer
from tests.bridge.sides import ENTRY, KEY, Side, header, ids, is_linear, message, stored, talk

Prepare = Callable[[Side, Side], None]
BEFORE = ("1", "2", "3")


def said_here(a: Side, b: Side) -> None:
    b.say(*talk("b1", "b2", after="3"))


def said_there(a: Side, b: Side) -> None:
    a.say(*talk("a1", "a2", after="3"))


def said_on_both(a: Side, b: Side) -> None:
    said_here(a, b)
    said_there(a, b)


def compacted_here(a: Side, b: Side) -> None:
    b.write(header("/b"), *talk("sum", "3", "b1"))


def compacted_there(a: Side, b: Side) -> None:
    a.write(header("/a"), *talk("sum", "3", "a1"))


def compacted_here_said_there(a: Side, b: Side) -> None:
    compacted_here(a, b)
    said_there(a, b)


def said_here_compacted_there(a: Side, b: Side) -> None:
    said_here(a, b)
    compacted_there(a, b)


def no_file_here(a: Side, b: Side) -> None:
    said_there(a, b)
    b.file.unlink()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (said_here, "1 2 3 b1 b2"),
        (said_there, "1 2 3 a1 a2"),
        (said_on_both, "1 2 3 a1 a2 b1 b2"),
        (compacted_here, "sum 3 b1"),
        (compacted_there, "sum 3 a1"),
        (compacted_here_said_there, "sum 3 b1 a1 a2"),
        (said_here_compacted_there, "sum 3 a1 b1 b2"),
        (no_file_here, "1 2 3 a1 a2"),
    ],
)
async def test_a_bridge_may_be_killed_at_any_step(
    tmp_path: Path, prepare: Prepare, expected: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that a rewrite takes several steps, too.
    monkeypatch.setattr(transcripts, "REWRITE_BYTES", 1)
    monkeypatch.setattr("sessionstore.openclaw.transcript.BATCH_LINES", 2)
    killer = Killer()
    with killer.installed():
        killed = True
        step = 0
        while killed:
            killed = await _killed_once(tmp_path / str(step), prepare, expected.split(), killer, (step, mode))
            step += 1
    assert mode == "half" or step > 2


async def _killed_once(
    path: Path, prepare: Prepare, expected: list[str], killer: Killer, when: tuple[int, str]
) -> bool:
    store = MemoryStore()
    await store.set(KEY, ENTRY)
    with Side.opened(path, "a", store) as a, Side.opened(path, "b", store) as b:
        for side in (a, b):
            side.write(header(f"/{side.name}"), *talk(*BEFORE))
            assert await side.push() is Carried.SAME
        prepare(a, b)
        assert await a.push() is Carried.SAME

        killer.arm(*when)
        killed = False
        try:
            await b.push()
        except Killed:
            killed = True
        killer.disarm()
        b.restart()

        assert await b.push() is Carried.SAME
        assert await a.push() is Carried.SAME
        assert ids(b.lines) == ids(a.lines) == ids(await stored(store)) == expected
        assert is_linear(b.lines)
        assert [side.lines[0] for side in (a, b)] == [header("/a"), header("/a" if prepare is no_file_here else "/b")]
        assert message(expected[0]) in b.lines
        assert not [name for name in b.directory.names() if name.endswith(".tmp")]
    return killed


@contextlib.contextmanager
def bridging(url: str, directory: Path, how: str) -> Iterator[None]:
    """Run a bridge for a while, and kill it."""
    process = subprocess.Popen([sys.executable, "-m", "tests.bridge.carrying", url, str(directory), how])
    try:
        yield
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


async def _more(store: Store, than: int) -> int:
    """Wait until the store has more lines; return how many."""
    async with asyncio.timeout(120):
        while (found := await store.read(KEY, 0, 0)) is None or found.head.lines <= than:
            await asyncio.sleep(0.01)
        return found.head.lines


async def test_processes_that_are_killed_at_random_moments_lose_nothing(
    tmp_path: Path, count: Callable[[int, int], int]
) -> None:
    with redis_server.running(tmp_path / "redis") as server:
        url = server.url(server.add_user("killed"))
        async with open_store(url) as store:
            await store.set(KEY, ENTRY)
            with Side.opened(tmp_path, "a", store) as a, Side.opened(tmp_path, "b", store) as b:
                stop = threading.Event()
                gateway = threading.Thread(target=_talk_until, args=(a, stop))
                gateway.start()
                try:
                    lines = 0
                    for _ in range(count(5, 60)):
                        with bridging(url, a.path, "owning"), bridging(url, b.path, "following"):
                            lines = await _more(store, lines)
                            await asyncio.sleep(random.random() / 5)
                finally:
                    stop.set()
                    gateway.join()
                held = await store.acquire_lease(KEY, str(a.path), 15)
                await store.release_lease(held)
                for side in (a, b):
                    side.restart()
                    assert await side.push() is Carried.SAME

                assert a.lines == b.lines == await stored(store)
                assert ids(a.lines) == [str(number) for number in range(len(a.lines) - 1)]


def _talk_until(side: Side, stop: threading.Event) -> None:
    """Talk as a gateway does, line by line; of some lines a reader sees the half."""
    side.say(header("/a"))
    for number in itertools.count():
        line = message(str(number), str(number - 1)) + b"\n"
        with side.file.open("ab", buffering=0) as file:
            half = len(line) // 2 if number % 7 == 0 else len(line)
            file.write(line[:half])
            file.write(line[half:])
        if stop.wait(0.001):
            return
