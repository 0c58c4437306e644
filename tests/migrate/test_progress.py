"""How far a migration is: told at each phase and now and then, kept in the store, and spelled for people."""

from __future__ import annotations

import asyncio
import json

import pytest

from sessionstore.cli import migration_view
from sessionstore.migrate import pipeline, progress
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.progress import Meter, Progress
from sessionstore.sessions import Unavailable
from sessionstore.sessions.memory import MemoryStore
from tests.migrate import conftest
from tests.migrate.states import HEADER, State


async def test_every_phase_is_told_and_kept(state: State) -> None:
    state.session("k", lines=HEADER + b"\n{")
    told: list[Progress] = []
    store = MemoryStore()

    await conftest.migrate(state.root, store, watch=told.append)

    phases = list(dict.fromkeys(seen.phase for seen in told))
    assert phases == ["Inspect", "Plan", "Copy", "Verify", "Done"]
    kept = json.loads(await store.get_document("migration/s/progress") or b"{}")
    assert (kept["phase"], kept["total"], kept["sessions"], kept["lines"]) == ("Done", 1, 1, 2)
    assert {"at", "done", "bytes", "conflicts", "quarantined"} <= kept.keys()


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_dry_run_keeps_what_it_found_on_request_alone(state: State, keeps: bool) -> None:
    state.session("k")
    store = MemoryStore()
    options = pipeline.Options("s", Patience(0), is_dry_run=True, keeps_plan=keeps)

    report = await conftest.migrate(state.root, store, options)

    names = {name async for name in store.list_documents()}
    assert names == ({f"migration/s/{name}" for name in ("progress", "report", "plan/0")} if keeps else set())
    assert report.plan and report.plan.decisions == {"New": 1}
    assert report.document()["plan"] == [{"agent": "main", "key": "k", "decision": "New", "lines": 1}]
    assert not await store.exists("k")


async def test_a_long_wait_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "KEEP_S", 0.001)
    told, kept = asyncio.Event(), asyncio.Event()

    async def keep(seen: Progress) -> None:
        kept.set()
        raise Unavailable("away", "connection")

    meter = Meter("s", lambda seen: told.set(), keep)
    async with meter.ticking():
        await told.wait()
        told.clear()
        await kept.wait()
        await told.wait()


@pytest.mark.parametrize(
    ("seen", "seconds", "words"),
    [
        pytest.param(Progress("s", "Inspect", 5), 0.5, "5", id="too early for a rate"),
        pytest.param(Progress("s", "Inspect", 5000, bytes=2_000_000), 2, "5,000, 2,500/s, 1.0 MB/s", id="no total yet"),
        pytest.param(
            Progress("s", "Copy", 1000, 2000, 25, 100), 10, "1,000 of 2,000, 100/s, 0.0 MB/s, 30 s left", id="by bytes"
        ),
        pytest.param(Progress("s", "Copy", 1, 7201), 1, "1 of 7,201, 1/s, 0.0 MB/s, 2 h 0 min left", id="hours"),
        pytest.param(Progress("s", "Copy", 1, 101), 1, "1 of 101, 1/s, 0.0 MB/s, 1 min 40 s left", id="minutes"),
    ],
)
def test_a_person_reads_count_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, seen: Progress, seconds: float, words: str
) -> None:
    clock = iter([100.0, 100.0 + seconds])
    pace = _pace(monkeypatch, clock, seen)

    assert pace.facts(seen) == words


def _pace(monkeypatch: pytest.MonkeyPatch, clock: object, seen: Progress) -> migration_view._Pace:
    """Return the pace of a phase that began when the clock was first asked."""

    class Clock:
        monotonic = staticmethod(clock.__next__)  # type: ignore[attr-defined]

    monkeypatch.setattr(migration_view, "time", Clock)
    return migration_view._Pace(seen.phase)


def test_lines_come_now_and_then_and_name_the_source_where_there_are_several(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(migration_view, "LINE_EVERY_S", 0.0)
    for names in (("a",), ("a", "b")):
        with migration_view.watching(names) as watch:
            watch(Progress("a", "Copy", 3, 4))

    assert capsys.readouterr().err.splitlines() == ["Copy: 3 of 4", "a Copy: 3 of 4"]
