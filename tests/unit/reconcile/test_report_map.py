"""The ConfigMap with a migration's summary and first problems: whatever a report holds, it fits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sessionstore.reconcile.store import facts, report_map
from tests import builders

STORE = builders.a_store(builders.a_gateway(), migration=builders.a_migration())


def _made(report: Any) -> dict[str, Any]:
    return report_map.config_map("chat", "old-home", "job-1", report if isinstance(report, str) else json.dumps(report))


def _problem(number: int, path: str = "agents/main/sessions/x.jsonl") -> dict[str, Any]:
    return {"path": path, "reason": "TornLastLine", "detail": "the file ends within a line", "offset": number}


def test_it_has_the_summary_and_the_problems_a_line_each() -> None:
    made = _made(
        {"outcome": "Planned", "sessions": 11, "problems": [_problem(1), _problem(2)], "plan": [1], "kept": []}
    )

    assert made["metadata"]["name"] == "chat-migration-old-home"
    assert json.loads(made["data"]["summary.json"]) == {"outcome": "Planned", "sessions": 11, "mismatches": []}
    assert [json.loads(line) for line in made["data"]["problems.jsonl"].splitlines()] == [_problem(1), _problem(2)]
    assert report_map.job_of(made) == "job-1"


@pytest.mark.parametrize(
    ("count", "path", "shown"),
    [
        pytest.param(0, "x", 0, id="none"),
        pytest.param(1000, "x", report_map.MAX_PROBLEMS, id="many"),
        pytest.param(1000, "x" * 4096, 125, id="many long ones"),
        pytest.param(1, "x" * report_map.MAX_BYTES, 0, id="one that does not fit"),
    ],
)
def test_it_fits_into_a_config_map(count: int, path: str, shown: int) -> None:
    made = _made({"outcome": "Planned", "problems": [_problem(number, path) for number in range(count)]})

    assert len(made["data"]["problems.jsonl"].splitlines()) == shown
    assert len(json.dumps(made)) < 1_000_000


@pytest.mark.parametrize("text", ["", "[]", "not JSON", "[" * 100_000, '{"problems": 7, "mismatches": {}}'])
def test_what_is_no_report_breaks_nothing(text: str) -> None:
    assert _made(text)["data"]["problems.jsonl"] == ""


def test_a_report_that_was_read_is_handed_on_in_that_pass() -> None:
    source = builders.a_source_seen(STORE, report=facts.Report("job-1", '{"outcome": "Planned"}'))

    plan = builders.planned(STORE, sources=(source,))

    assert "chat-migration-old-home" in [made["metadata"]["name"] for made in plan.objects]


def test_without_one_nothing_is_made() -> None:
    plan = builders.planned(STORE)

    assert "chat-migration-old-home" not in [made["metadata"]["name"] for made in plan.objects]
