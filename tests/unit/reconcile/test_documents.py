"""What migrations tell in the store: asked for seldom, and never a reason for a pass to fail."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from sessionstore.engines import engine
from sessionstore.kube import client
from sessionstore.reconcile import frame, progress
from sessionstore.reconcile.store import documents, facts, perform, report_map, status
from sessionstore.settings import OperatorSettings
from tests import builders

STORE = builders.a_store(builders.a_gateway(), migration=builders.a_migration())
TELLS = '{"phase": "Copy", "done": 3, "total": 11, "sessions": 4, "lines": 9, "bytes": -1, "conflicts": "x"}'


class _Engine:
    """An engine of which only `documents` is asked."""

    def __init__(self, answer: Mapping[str, str] | engine.Unreachable) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str]] = []

    async def documents(
        self, store: object, passwords: object, keyspace: str, names: Sequence[str], endpoint: object = None
    ) -> Mapping[str, str] | engine.Unreachable:
        self.asked += [(keyspace, name) for name in names]
        return self.answer


class _Kube:
    """An API server that has one ConfigMap, or none."""

    def __init__(self, there: dict[str, Any] | None = None) -> None:
        self.there = there

    async def get(self, kind: object, namespace: str, name: str) -> dict[str, Any] | None:
        return self.there if self.there and self.there["metadata"]["name"] == name else None


def _runtime(asked: _Engine, kube: _Kube | None = None, now: datetime = builders.NOW) -> frame.Runtime:
    return frame.Runtime(
        kube=cast(client.Kube, kube or _Kube()),
        engines={"redis": cast(engine.Engine, asked)},
        settings=OperatorSettings("operator:1", "redis:7", "pod", "ns"),
        now=lambda: now,
        new_password=lambda: "",
    )


def _source(job: facts.JobFacts | None) -> facts.SourceFacts:
    return builders.a_source_seen(STORE, jobs={job.name: job} if job else {})


RUNNING = _source(builders.a_job(STORE))
ENDED = _source(builders.a_job(STORE, outcome={"outcome": "Planned"}))


async def _look(source: facts.SourceFacts, rt: frame.Runtime) -> facts.SourceFacts:
    return await documents.with_documents(source, STORE, builders.passwords_of(STORE), rt)


async def test_a_running_job_is_asked_how_far_it_is_and_the_status_shows_it() -> None:
    asked = _Engine({"migration/old-home/progress": TELLS})

    seen = await _look(RUNNING, _runtime(asked))

    assert asked.asked == [("chat", "migration/old-home/progress")]
    plan = builders.planned(STORE, sources=(seen,))
    observed = builders.observed(STORE, sources=(seen,))
    shown = status.make_status(STORE, observed, plan, perform.Applied(), builders.NOW)
    assert shown["migrations"][0]["progress"] == {"phase": "Copy", "done": 3, "total": 11, "sessions": 4, "lines": 9}
    assert shown["migrating"] == "Planning 3/11"


async def test_nothing_is_asked_where_no_job_runs() -> None:
    asked = _Engine({})

    seen = await _look(_source(None), _runtime(asked))

    assert (seen.progress, seen.report, asked.asked) == (None, None, [])


@pytest.mark.parametrize(("later_s", "questions"), [(progress.EVERY_S - 0.1, 1), (progress.EVERY_S, 2)])
async def test_a_job_is_asked_again_after_some_seconds(later_s: float, questions: int) -> None:
    asked = _Engine({"migration/old-home/progress": TELLS})
    first = _runtime(asked)
    second = dataclasses.replace(first, now=lambda: builders.NOW + timedelta(seconds=later_s))

    await _look(RUNNING, first)
    seen = await _look(RUNNING, second)

    assert len(asked.asked) == questions
    assert seen.progress is not None and seen.progress["done"] == 3


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(engine.Unreachable("timeout", "chat does not answer"), id="a store that is away"),
        pytest.param({}, id="a Job that has told nothing yet"),
        pytest.param({"migration/old-home/progress": "[]"}, id="what is no object"),
    ],
)
async def test_what_cannot_be_read_is_not_shown(answer: Mapping[str, str] | engine.Unreachable) -> None:
    seen = await _look(RUNNING, _runtime(_Engine(answer)))

    assert seen.progress is None


async def test_the_report_of_a_job_that_ended_is_read_once() -> None:
    asked = _Engine({"migration/old-home/report": '{"outcome": "Planned"}'})
    (job,) = ENDED.jobs.values()

    seen = await _look(ENDED, _runtime(asked))
    assert seen.report == facts.Report(job.name, '{"outcome": "Planned"}')

    there = report_map.config_map("chat", "old-home", job.name, "{}")
    again = await _look(ENDED, _runtime(asked, _Kube(there)))
    assert again.report is None
    assert len(asked.asked) == 1


async def test_a_report_that_cannot_be_read_now_is_read_later() -> None:
    away = _Engine(engine.Unreachable("connection", "gone"))

    assert (await _look(ENDED, _runtime(away))).report is None
