"""State directories of OpenClaw 2026.8 and later go into a store whole, by the commands, and the proof holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migrate import sqlite_states
from tests.migrate.conftest import Answer, run
from tests.migrate.sqlite_states import Database, zstd
from tests.migrate.states import HEADER, TURN
from tests.migrate.test_sqlite_era import NAME, RAW


def _is_balanced(answer: Answer) -> bool:
    return all(
        account["found"] == sum(count for name, count in account.items() if name != "found")
        for account in answer.document["accounts"].values()
    )


@pytest.mark.parametrize(
    ("fixture", "sessions", "lines", "archives"),
    [
        pytest.param(sqlite_states.UPDATED, 11, 30, 3, id="updated from files"),
        pytest.param(sqlite_states.COLD, 5, 47, 1, id="cold, deleted, with a log"),
    ],
)
def test_a_real_state_directory_is_migrated_and_proven(
    tmp_path: Path, url: str, fixture: Path, sessions: int, lines: int, archives: int
) -> None:
    root = sqlite_states.unpack(fixture, tmp_path / "real")

    first, second = run("migrate", root, "--to", url), run("migrate", root, "--to", url)
    proof = run("verify", root, "--against", url)

    accounts = first.document["accounts"]
    assert [accounts[name]["migrated"] for name in ("sessions", "lines", "archives")] == [sessions, lines, archives]
    assert [second.document["accounts"][name]["present"] for name in ("sessions", "archives")] == [sessions, archives]
    assert _is_balanced(first) and _is_balanced(second)
    assert (first.status, second.status, proof.status) == (0, 0, 0)
    assert proof.document["digest"] == proof.document["storeDigest"] == first.document["digest"]
    assert (first.document["problems"], first.document["mismatches"]) == ([], [])


def test_what_is_damaged_is_quarantined_and_accounted_for(tmp_path: Path, url: str) -> None:
    database = Database(tmp_path / "state")
    database.session("k", [HEADER, TURN])
    database.session("bad", [HEADER], entry="{")
    database.unchecked(
        "INSERT INTO transcript_events (session_id, seq, created_at, event_zstd, event_utf8_bytes, navigation_json) "
        "VALUES ('id-0', 2, 1, ?, 9, '{}')",
        b"no zstd",
    )
    database.archive(f"{NAME}.zst", zstd.compress(RAW)[:-3])
    root = database.close()

    done = run("migrate", root, "--to", url)

    assert done.status == 3 and _is_balanced(done)
    assert (
        done.document["accounts"]["sessions"] | {"found": 2, "migrated": 1, "quarantined": 1}
        == (done.document["accounts"]["sessions"])
    )
    # The entry's transcript is an orphan; the event and the archive are set aside.
    assert done.document["accounts"]["archives"] == {
        "found": 3,
        "migrated": 1,
        "present": 0,
        "conflicts": 0,
        "quarantined": 2,
    }
    assert sorted(problem["reason"] for problem in done.document["problems"]) == [
        "InvalidJSON",
        "Undecodable",
        "Undecodable",
    ]


def test_a_schema_of_a_later_openclaw_ends_the_migration(tmp_path: Path, url: str) -> None:
    database = Database(tmp_path / "state")
    database.session("k", [HEADER])
    database.connection.execute("PRAGMA user_version = 24")

    done = run("migrate", database.close(), "--to", url)

    assert done.status == 1
    assert "newer sessionstore" in done.stderr


def test_too_little_scratch_ends_the_migration(tmp_path: Path, url: str) -> None:
    database = Database(tmp_path / "state")
    database.session("k", [HEADER])
    root = database.close()
    with database.file.open("r+b") as stream:
        # Sparse: as large as no scratch is, and nothing on the disk.
        stream.truncate(15 * 1024**4)

    done = run("migrate", root, "--to", url, "--max-file-bytes", 16 * 1024**4)

    assert done.status == 1
    assert "--scratch" in done.stderr
