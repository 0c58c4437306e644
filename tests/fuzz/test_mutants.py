"""Broken directories of every layout: no crash, no hang, nothing outside read, and nothing lost silently.

A failure names its mutant by a number; SESSIONSTORE_MUTANT=4711 runs that one alone.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests import redis_server
from tests.fuzz import mutants, oracle, worker
from tests.fuzz.site import MAX_FILE_BYTES
from tests.migrate.conftest import run

WORKERS, BATCH = 2, 20


def test_mutants_are_carried_set_aside_or_named(count: Callable[[int, int], int], tmp_path: Path) -> None:
    ends: Counter[str] = Counter()
    failures: list[str] = []
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=context) as pool:
        jobs = [pool.submit(worker.run, numbers, tmp_path) for numbers in _batches(count(60, 5000))]
        for job in concurrent.futures.as_completed(jobs):
            found, failed = job.result()
            ends += found
            failures += failed

    print(dict(ends))
    assert not failures, "\n\n".join(sorted(failures)[:20])


def _batches(count: int) -> Iterator[list[int]]:
    chosen = os.environ.get("SESSIONSTORE_MUTANT")
    numbers = [int(chosen)] if chosen else range(count)
    for start in range(0, len(numbers), BATCH):
        yield list(numbers[start : start + BATCH])


def test_some_of_them_by_the_program_into_redis(
    count: Callable[[int, int], int], tmp_path: Path, server: redis_server.RedisServer
) -> None:
    for number in range(count(4, 100)):
        mutant = mutants.make(number, tmp_path / str(number))
        url = server.url(server.add_user(f"fuzz-{number}"))
        before = oracle.fingerprint(mutant.site.root)

        first = run("migrate", mutant.site.root, "--to", url, "--max-file-bytes", MAX_FILE_BYTES)
        assert first.status in {0, 1, 3} and "Traceback" not in first.stderr, (mutant.story, first.stderr)
        if first.status != 1 and not mutant.is_busy:
            again = run("verify", mutant.site.root, "--against", url, "--max-file-bytes", MAX_FILE_BYTES)
            assert again.status == first.status, mutant.story
            assert again.document["storeDigest"] == first.document["digest"], mutant.story
        assert oracle.fingerprint(mutant.site.root) == before, mutant.story
