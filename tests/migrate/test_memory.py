"""A migration's memory does not grow with its source: not with sessions, not with an index, not with a transcript."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import redis_server
from tests.migrate import many

LIMIT_MIB = 200
GROWTH_MIB = 40
"""Between a small source and one many times its size: the caches of scratch fill up to their bounds, nothing else."""
MB = 1_000_000


@pytest.fixture
def peak(server: redis_server.RedisServer, tmp_path: Path) -> Iterator[Callable[[Path], float]]:
    """Migrate a directory into an empty keyspace and verify it; return the most memory in MiB that this took."""
    url = server.url(server.add_user("memory"))

    def measure(source: Path) -> float:
        told = tmp_path / "peak"
        program = [sys.executable, "-m", "tests.migrate.measured", str(told), "migrate", str(source), "--to", url]
        done = subprocess.run(program, capture_output=True, text=True, timeout=3600, check=False)
        assert done.returncode in {0, 3}, done.stderr
        shutil.rmtree(source)
        with server.admin() as admin:
            admin.flushall()
        print(f"{source.name}: {int(told.read_text()) / 1024:.0f} MiB")
        return int(told.read_text()) / 1024

    yield measure
    with server.admin() as admin:
        admin.flushall()


def test_memory_does_not_grow_with_sessions(
    count: Callable[[int, int], int], peak: Callable[[Path], float], tmp_path: Path
) -> None:
    few = peak(many.sessions(tmp_path / "few", count(1000, 10000), lines=2))
    more = peak(many.sessions(tmp_path / "more", count(10000, 1000000), lines=2))

    assert few < LIMIT_MIB and more < LIMIT_MIB
    assert more - few < GROWTH_MIB


def test_memory_does_not_grow_with_an_index(
    count: Callable[[int, int], int], peak: Callable[[Path], float], tmp_path: Path
) -> None:
    assert peak(many.large_index(tmp_path / "index", count(80, 400) * MB)) < LIMIT_MIB


def test_memory_does_not_grow_with_a_transcript(
    count: Callable[[int, int], int], peak: Callable[[Path], float], tmp_path: Path
) -> None:
    assert peak(many.large_transcript(tmp_path / "transcript", count(250, 2000) * MB)) < LIMIT_MIB


def test_memory_does_not_grow_with_what_is_broken(
    count: Callable[[int, int], int], peak: Callable[[Path], float], tmp_path: Path
) -> None:
    """Each session of these names a transcript that is not there, and is a problem of its own."""
    few = peak(many.without_transcripts(tmp_path / "few", count(1000, 10000)))
    more = peak(many.without_transcripts(tmp_path / "more", count(10000, 1000000)))

    assert more < LIMIT_MIB
    assert more - few < GROWTH_MIB
