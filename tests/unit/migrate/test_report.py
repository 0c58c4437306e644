"""The report adds up or says so, and its summary always fits where Kubernetes keeps it."""

from __future__ import annotations

import json

import pytest

from sessionstore.migrate import report
from sessionstore.migrate.report import Account, Accounts, Mismatch, Proof, Report, Survey
from sessionstore.openclaw.problems import Problem, Reason

SURVEY = Survey(("sessions.json",), ("main",), 2, 5, 100, 1, 3, 0, 0, 4, 0, "d" * 64)
PROBLEM = Problem("p", Reason.SYMLINK, "d")
BALANCED = Accounts(Account(migrated=1, present=1), Account(migrated=3, conflicts=2), Account(quarantined=1))


@pytest.mark.parametrize(
    ("accounts", "wrong"),
    [
        pytest.param(BALANCED, None, id="everything is accounted for"),
        pytest.param(None, None, id="nothing was accounted for"),
        pytest.param(
            Accounts(Account(migrated=1), BALANCED.lines, BALANCED.archives),
            "sessions: 2 found, 1 accounted for",
            id="a session is missing",
        ),
        pytest.param(
            Accounts(BALANCED.sessions, Account(), Account()),
            "lines: 5 found, 0 accounted for; archives: 1 found, 0 accounted for",
            id="lines and archives are missing",
        ),
    ],
)
def test_counts_that_do_not_add_up_are_named(accounts: Accounts | None, wrong: str | None) -> None:
    assert Report("Verified", SURVEY, accounts).imbalance() == wrong


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(Report("Verified", SURVEY, BALANCED), False, id="clean"),
        pytest.param(
            Report("Verified", SURVEY, problems=(Problem("p", Reason.SYMLINK, "d"),), problem_count=1),
            True,
            id="a problem",
        ),
        pytest.param(Report("Verified", SURVEY, Accounts(Account(conflicts=1))), True, id="a conflict of sessions"),
        pytest.param(
            Report("Verified", SURVEY, Accounts(archives=Account(conflicts=1))), True, id="a conflict of archives"
        ),
    ],
)
def test_what_needs_a_look_is_set_aside(found: Report, expected: bool) -> None:
    assert found.is_set_aside is expected


def test_a_summary_fits_however_long_a_key_is() -> None:
    mismatch = Mismatch("session", "main", "\N{SNOWMAN}" * 4000, "line 1 differs", 1)
    proof = Proof("d" * 64, "e" * 64, (mismatch,) * 100, 1000, 1000)

    words = report.summary([Report("Failed", SURVEY, BALANCED, proof)], 1.5)

    assert len(words) <= report.SUMMARY_BYTES
    assert json.loads(words)["mismatches"] == 1000


def test_a_failure_fits_however_long_its_message_is() -> None:
    words = report.failure("PathNotFound", 'a "quoted" path ' * 1000, 0.5)

    assert len(words) <= report.SUMMARY_BYTES
    assert json.loads(words)["reason"] == "PathNotFound"
