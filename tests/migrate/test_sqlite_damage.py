"""Databases that are damaged anywhere: no crash, no hang, and nothing missing without a word."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionstore.openclaw.problems import Reason
from sessionstore.openclaw.scratch import Scratch
from tests.migrate import sqlite_states
from tests.migrate.sqlite_states import Database, zstd
from tests.migrate.states import HEADER, TURN
from tests.migrate.test_sqlite_era import LINES, RAW, Found, found_in

Damage = Callable[[bytearray, random.Random], None]


def flip_one(raw: bytearray, chance: random.Random) -> None:
    raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)


def flip_many(raw: bytearray, chance: random.Random) -> None:
    for _ in range(200):
        flip_one(raw, chance)


def flip_headers(raw: bytearray, chance: random.Random) -> None:
    """Change what tells SQLite where its rows are: the first bytes of pages."""
    for _ in range(3):
        raw[4096 * chance.randrange(len(raw) // 4096) + chance.randrange(120)] = chance.randrange(256)


def cut(raw: bytearray, chance: random.Random) -> None:
    del raw[chance.randrange(len(raw)) :]


def swap_pages(raw: bytearray, chance: random.Random) -> None:
    one, other = (4096 * chance.randrange(len(raw) // 4096) for _ in range(2))
    raw[one : one + 4096], raw[other : other + 4096] = raw[other : other + 4096], raw[one : one + 4096]


def zero_page(raw: bytearray, chance: random.Random) -> None:
    at = 4096 * chance.randrange(len(raw) // 4096)
    raw[at : at + 4096] = bytes(4096)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database with something in every table that is read, on several pages each."""
    database = Database(tmp_path_factory.mktemp("whole") / "state")
    database.connection.execute("BEGIN")
    for number in range(60):
        database.session(f"agent:main:k-{number:03}", [HEADER, *[b'{"n":%d}' % n for n in range(number)], *LINES])
    for number in range(20):
        database.archive(f"a-{number}.jsonl.deleted.2026-11-20T10-08-02.716Z.{'0' * 32}.zst", zstd.compress(RAW * 9))
        database.window(f"cold-{number}", f"agent:main:k-{number:03}")
        database.cold(f"cold-{number}", [HEADER, TURN] * 20, storage="sqlite")
    database.connection.execute("COMMIT")
    database.close()
    return database.file.read_bytes()


@pytest.mark.parametrize("damage", [flip_one, flip_many, flip_headers, cut, swap_pages, zero_page])
async def test_damage_is_told_wherever_it_is(
    whole: bytes, tmp_path: Path, count: Callable[[int, int], int], damage: Damage
) -> None:
    file = tmp_path / "state/agents/main/agent/openclaw-agent.sqlite"
    file.parent.mkdir(parents=True)
    file.write_bytes(whole)
    with Scratch(tmp_path) as scratch:
        expected = await found_in(tmp_path / "state", scratch)
    assert (len(expected.sessions), len(expected.archives), expected.aside) == (60, 40, [])

    for seed in range(count(12, 500)):
        raw = bytearray(whole)
        damage(raw, random.Random(seed))
        file.write_bytes(raw)
        with Scratch(tmp_path) as scratch:
            found = await found_in(tmp_path / "state", scratch)

        is_told = bool(found.aside or found.problems)
        assert is_told or _same(found, expected), f"seed {seed}"
        whole_is_kept = (Reason.DAMAGED_DATABASE, bytes(raw)) in found.aside
        ends = any(problem.reason is Reason.UNSUPPORTED_LAYOUT for problem in found.problems)
        # A bit in an entry's text is not SQLite's to see: that entry is set aside by itself.
        lost = expected.sessions.keys() - found.sessions.keys()
        assert whole_is_kept or ends or len(lost) <= len(found.aside), f"seed {seed}"


def _same(found: Found, expected: Found) -> bool:
    """Tell whether nothing is missing. A bit in a text that SQLite knows no checksum of makes it another text."""
    return (len(found.sessions), len(found.archives)) == (len(expected.sessions), len(expected.archives))


async def test_what_a_damaged_log_loses_is_told(tmp_path: Path, count: Callable[[int, int], int]) -> None:
    root = sqlite_states.unpack(sqlite_states.COLD, tmp_path / "cold")
    log = root / "agents/main/agent/openclaw-agent.sqlite-wal"
    raw = log.read_bytes()
    with Scratch(tmp_path) as scratch:
        expected = await found_in(root, scratch)
    told = 0
    for seed in range(count(10, 200)):
        changed = bytearray(raw)
        flip_many(changed, random.Random(seed))
        log.write_bytes(changed)
        with Scratch(tmp_path) as scratch:
            found = await found_in(root, scratch)

        whole_is_kept = (Reason.DAMAGED_DATABASE, bytes(changed)) in found.aside
        assert whole_is_kept or found == expected, f"seed {seed}"
        told += whole_is_kept
    assert told
