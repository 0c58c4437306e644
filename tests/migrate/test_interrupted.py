"""Killed at any moment and run again, a migration ends as if nothing had happened."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from sessionstore.sessions import iterate, open_store
from tests import redis_server
from tests.migrate import states
from tests.migrate.conftest import command, run

COPIES = 20
KILLS = 10


async def test_killed_at_ten_moments_it_ends_the_same(tmp_path: Path, server: redis_server.RedisServer) -> None:
    state = states.unpack_often(tmp_path / "state", COPIES)
    whole = server.url(server.add_user("killed-never"))
    _reset(server)
    expected = run("migrate", state, "--to", whole)
    calls = _calls(server)
    assert (expected.status, expected.document["migrated"]) == (0, 11 * COPIES)
    moments = random.Random(4)
    killed = 0

    for number in range(KILLS):
        url = server.url(server.add_user(f"killed-{number}"))
        _reset(server)
        killed += _kill_after(server, moments.randrange(1, calls), command("migrate", state, "--to", url))
        again = run("migrate", state, "--to", url)

        assert again.status == 0, again.stderr
        assert again.document["digest"] == again.document["storeDigest"] == expected.document["digest"]
        assert again.document["migrated"] + again.document["present"] == 11 * COPIES
        assert await _rows(url) == await _rows(whole)
    assert killed


async def _rows(url: str) -> list[tuple[str, str, int, int]]:
    """Return what people see of each session; the revision tells how often we wrote, which may differ."""
    async with open_store(url) as store:
        return sorted([(r.key.agent, r.key.key, r.lines, r.updated_ms) async for r in iterate(store)])


def _kill_after(server: redis_server.RedisServer, calls: int, program: list[str]) -> bool:
    """Run `program` until the server has run that many scripts, then SIGKILL it; return whether it came to that."""
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and _calls(server) < calls:
        pass
    process.kill()
    return process.wait() == -9


def _reset(server: redis_server.RedisServer) -> None:
    with server.admin() as admin:
        admin.config_resetstat()


def _calls(server: redis_server.RedisServer) -> int:
    with server.admin() as admin:
        return sum(
            stats["calls"] for name, stats in admin.info("commandstats").items() if name.startswith("cmdstat_eval")
        )
