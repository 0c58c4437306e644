"""Killed at any moment and started again, on either side of the wire: the end is that of an undisturbed migration."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sessionstore.sessions import iterate, open_store
from tests import mongo_server, redis_server
from tests.migrate import many
from tests.migrate.conftest import command, run

SAME = (
    "outcome",
    "accounts",
    "sessions",
    "lines",
    "bytes",
    "archives",
    "digest",
    "storeDigest",
    "mismatches",
    "problems",
)
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
"""With `everysec` Redis may acknowledge what a kill loses: it does not write while the last fsync is under way."""
STORE_TIMEOUT = 120


@dataclass(frozen=True)
class Undisturbed:
    """What a migration that nobody disturbs says and leaves, and how long it takes."""

    document: dict[str, Any]
    rows: list[tuple[str, str, int, int]]
    seconds: float


@pytest.fixture(scope="module")
def source(count: Callable[[int, int], int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return many.sessions(tmp_path_factory.mktemp("killed") / "source", count(600, 10000), lines=8)


@pytest.fixture(scope="module")
def urls(server: redis_server.RedisServer) -> Iterator[str]:
    """Keyspaces of one server, each of them empty."""
    return (server.url(server.add_user(f"killed-at-random-{number}")) for number in itertools.count())


@pytest.fixture
async def undisturbed(source: Path, urls: Iterator[str]) -> Undisturbed:
    url, began = next(urls), time.monotonic()
    answer = run("migrate", source, "--to", url)
    assert answer.status == 0, answer.stderr
    return Undisturbed(_same(answer.document), await _rows(url), time.monotonic() - began)


async def test_the_job_is_killed_and_goes_on(
    count: Callable[[int, int], int], source: Path, urls: Iterator[str], undisturbed: Undisturbed
) -> None:
    kills, moments = count(4, 50), random.Random(6)
    while kills > 0:
        url = next(urls)
        program = command("migrate", source, "--to", url, "--json")
        said = None
        # Killed until it once gets through, each time somewhere else in what is left.
        while kills > 0 and said is None:
            kills -= _is_killed(program, moments.uniform(0, undisturbed.seconds))
            said = await _said(url)
        again = run("migrate", source, "--to", url)

        assert again.status == 0, again.stderr
        # Where all was done and said already, the next run may find everything there.
        assert undisturbed.document in (_same(again.document), said)
        assert await _rows(url) == undisturbed.rows


async def test_the_store_is_killed_and_waited_for(
    count: Callable[[int, int], int], source: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    moments = random.Random(7)
    server = _Restarted(tmp_path / "redis")
    try:
        for number in range(count(1, 10)):
            url = server.url(f"waited-{number}")
            process = _start(source, url)
            server.wait_for_keys(int(moments.uniform(0.1, 0.9) * undisturbed.document["sessions"]))
            server.restart()
            stdout, _ = process.communicate(timeout=300)

            assert process.returncode == 0, stdout
            assert _same(json.loads(stdout)) == undisturbed.document
            assert await _rows(url) == undisturbed.rows
    finally:
        server.stop()


async def test_ferretdb_is_killed_and_waited_for(tmp_path: Path, undisturbed: Undisturbed, source: Path) -> None:
    with mongo_server.running(tmp_path / "mongo") as server:
        url = server.url(server.add_user("waited"))
        process = _start(source, url)
        try:
            await _wait_for_sessions(url, undisturbed.document["sessions"] // 10)
            assert process.poll() is None
            server.ferretdb.kill()
            time.sleep(1)
            server.ferretdb.start()
            stdout, _ = process.communicate(timeout=580)
        finally:
            process.kill()

        assert process.returncode == 0, stdout
        assert _same(json.loads(stdout)) == undisturbed.document
        assert await _rows(url) == undisturbed.rows


async def _said(url: str) -> dict[str, Any] | None:
    """Return what the report says that a run has left in the store, if it came so far."""
    async with open_store(url) as store:
        report = await store.get_document("migration/default/report")
    return _same(json.loads(report)) if report else None


async def _wait_for_sessions(url: str, count: int) -> None:
    """Wait until a store has so many sessions."""
    deadline = time.monotonic() + 300
    async with open_store(url) as store:
        while await store.count() < count:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


class _Restarted:
    """A Redis that keeps what it acknowledged; killed, it comes back a second later at the same place."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._entered = redis_server.running(directory, *DURABLE)
        self._server = self._entered.__enter__()
        self._process = self._server.process

    def url(self, keyspace: str) -> str:
        url = self._server.url(self._server.add_user(keyspace))
        with self._server.admin() as admin:
            # Redis replays its file as this user, and drops what that may not do (tests/redis/test_restart.py).
            admin.execute_command("ACL", "SETUSER", "default", "off", "~*", "&*", "+@all")
            admin.acl_save()
        return url

    def wait_for_keys(self, count: int) -> None:
        """Wait until so many more keys are there."""
        with self._server.admin() as admin:
            count, deadline = count + int(admin.dbsize()), time.monotonic() + 120
            while admin.dbsize() < count:
                assert time.monotonic() < deadline
                time.sleep(0.005)

    def restart(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        time.sleep(1)
        users = (self._directory / "users.acl").read_text()
        restarted = redis_server.make_command(redis_server.redis_binary(), self._server.port, self._directory, *DURABLE)
        (self._directory / "users.acl").write_text(users)
        self._process = subprocess.Popen(restarted, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._entered.__exit__(None, None, None)


def _start(source: Path, url: str) -> subprocess.Popen[bytes]:
    program = command("migrate", source, "--to", url, "--json", "--store-timeout", f"{STORE_TIMEOUT}s")
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _is_killed(program: list[str], after_s: float) -> bool:
    """Run `program` and SIGKILL it after that many seconds; return whether it was still at work."""
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    timer = threading.Timer(after_s, process.kill)
    timer.start()
    ended = process.wait(300)
    timer.cancel()
    timer.join()
    assert ended in {0, -signal.SIGKILL}
    return ended != 0


def _same(document: dict[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in SAME}


async def _rows(url: str) -> list[tuple[str, str, int, int]]:
    """Return what people see of each session."""
    async with open_store(url) as store:
        return sorted([(r.key.agent, r.key.key, r.lines, r.updated_ms) async for r in iterate(store)])
