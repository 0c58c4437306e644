"""The ConfigMap with a migration's summary and first problems: whatever a report holds, it fits."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from sessionstore import errors
from sessionstore.kube import client
from sessionstore.reconcile import frame
from sessionstore.reconcile.store import facts, perform, plan, reconciler, report_map, status, steps
from sessionstore.settings import OperatorSettings
from tests import builders

STORE = builders.a_store(builders.a_gateway(), migration=builders.a_migration())

JOB = builders.a_job(STORE).manifest


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


def test_a_list_of_any_length_fits() -> None:
    made = _made({"outcome": "Planned", "agents": [f"agent-{number:06}" for number in range(200_000)]})

    assert len(json.dumps(made)) < 1_000_000


@pytest.mark.parametrize("text", ["", "[]", "not JSON", "[" * 100_000, '{"problems": 7, "mismatches": {}}'])
def test_what_is_no_report_breaks_nothing(text: str) -> None:
    assert _made(text)["data"]["problems.jsonl"] == ""


def test_a_report_that_was_read_is_handed_on_in_that_pass() -> None:
    source = builders.a_source_seen(STORE, report=facts.Report("job-1", '{"outcome": "Planned"}'))

    plan = builders.planned(STORE, sources=(source,))

    assert "chat-migration-old-home" in [made["metadata"]["name"] for made in plan.reports]


def test_without_one_nothing_is_made() -> None:
    plan = builders.planned(STORE)

    assert "chat-migration-old-home" not in [made["metadata"]["name"] for made in plan.reports]


class _Kube:
    """An API server where nothing is yet, and that refuses objects by their names."""

    def __init__(self, refused: str) -> None:
        self.refused = refused
        self.did: list[str] = []

    async def get(self, kind: object, namespace: str, name: str) -> None:
        return None

    async def apply(self, manifest: dict[str, Any], **how: Any) -> None:
        if manifest["metadata"]["name"] == self.refused:
            raise errors.Invalid("not by this policy")
        self.did.append(manifest["metadata"]["name"])


def _runtime(kube: _Kube) -> frame.Runtime:
    return frame.Runtime(
        kube=cast(client.Kube, kube),
        engines={},
        settings=OperatorSettings("operator:1", "redis:7", "pod", "ns"),
        now=lambda: builders.NOW,
        new_password=lambda: "",
    )


async def test_a_report_that_is_refused_is_told_and_keeps_no_gateway_from_its_configuration() -> None:
    source = builders.a_source_seen(
        STORE,
        report=facts.Report("job-1", '{"outcome": "Planned"}'),
        record=builders.a_record(finished_at=builders.NOW.strftime("%Y-%m-%dT%H:%M:%SZ")),
    )
    seen = builders.observed(STORE, sources=(source,))
    made, kube = plan.make_plan(STORE, seen, builders.MEANS, builders.NOW), _Kube("chat-migration-old-home")

    applied = await perform.apply(made, seen, STORE, _runtime(kube))

    assert "openclaw" in kube.did and not applied.children
    shown = status.make_status(STORE, seen, made, applied, builders.NOW)["conditions"]
    (warning,) = [found for found in shown if found["type"] == "ConfigurationWarning"]
    assert warning["status"] == "True" and "not by this policy" in warning["message"]


@pytest.mark.parametrize(
    ("step", "is_done"),
    [
        pytest.param(steps.DeleteJob(JOB), True, id="a Job that has to go before a gateway comes back"),
        pytest.param(steps.CreateJob(JOB), False, id="a Job that may need what was refused"),
    ],
)
def test_what_gives_a_gateway_back_is_done_although_a_child_is_refused(step: steps.Step, is_done: bool) -> None:
    refused = perform.Applied(children={"Service/chat": facts.Refused("over quota")})

    assert reconciler.step_of(plan.Plan(step=step), refused) == (step if is_done else None)
    assert reconciler.step_of(plan.Plan(step=step), perform.Applied()) == step
