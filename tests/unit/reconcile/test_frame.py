"""What becomes of an error: it is said, logged, and tried again, and no worker dies of it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from sessionstore import errors
from sessionstore.reconcile import frame, queue

KEY = queue.ObjectKey("openclaw", "chat")
RUNTIME: Any = object()  # handed on, and never looked into


class Pass:
    """A reconcile and a report in one: each answers as it is told, and notes that it was called."""

    def __init__(self, answer: queue.Requeue | BaseException, report: Exception | None = None) -> None:
        self.answer = answer
        self.fault = report
        self.reported: list[Exception] = []

    async def reconcile(self, key: queue.ObjectKey, runtime: frame.Runtime) -> queue.Requeue:
        assert (key, runtime) == (KEY, RUNTIME)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    async def report(self, key: queue.ObjectKey, runtime: frame.Runtime, error: Exception) -> None:
        assert (key, runtime) == (KEY, RUNTIME)
        self.reported.append(error)
        if self.fault is not None:
            raise self.fault


async def _run(one: Pass, work: queue.WorkQueue | None = None) -> queue.Requeue:
    return await frame.run(KEY, RUNTIME, work or queue.WorkQueue(), one.reconcile, one.report)


@pytest.mark.parametrize("answer", [queue.Requeue(30.0), queue.Requeue.never()], ids=["later", "never"])
async def test_a_pass_that_succeeds_says_when_it_wants_the_next(answer: queue.Requeue) -> None:
    one = Pass(answer)

    assert await _run(one) == answer
    assert one.reported == []


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(errors.ServerUnavailable("503"), id="of the API server"),
        pytest.param(errors.SpecError("ConfigRefused", "no"), id="of the spec"),
        pytest.param(KeyError("a fault of ours"), id="of ours"),
    ],
)
@pytest.mark.parametrize("report", [None, errors.ServerUnavailable("503")], ids=["told", "that cannot be told"])
async def test_an_error_is_told_and_tried_again(error: Exception, report: Exception | None) -> None:
    one = Pass(error, report)

    requeue = await _run(one)

    assert one.reported == [error]
    assert requeue.after_s is not None
    assert 0 < requeue.after_s <= 1.25


async def test_each_error_in_a_row_waits_longer_and_success_starts_anew() -> None:
    work, fails = queue.WorkQueue(), Pass(KeyError("x"))
    waits = [(await _run(fails, work)).after_s or 0.0 for _ in range(4)]

    await _run(Pass(queue.Requeue.never()), work)
    anew = await _run(fails, work)

    assert waits == sorted(waits)
    assert waits[-1] >= 6.0
    assert (anew.after_s or 0.0) <= 1.25


@pytest.mark.parametrize("report", [None, KeyError("y")], ids=["told", "that cannot be told"])
async def test_losing_the_leadership_is_no_error(report: Exception | None) -> None:
    one = Pass(asyncio.CancelledError(), report)

    with pytest.raises(asyncio.CancelledError):
        await _run(one)

    assert one.reported == []


@pytest.mark.parametrize(
    ("error", "has_traceback"),
    [
        pytest.param(errors.Forbidden("may not list pods"), False, id="expected: its words are enough"),
        pytest.param(KeyError("x"), True, id="a fault of ours: the place too"),
    ],
)
async def test_the_log_names_the_store_and_the_cause(
    error: Exception, has_traceback: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        await _run(Pass(error))

    (line,) = caplog.records
    assert line.getMessage() == f"reconcile of openclaw/chat failed: {type(error).__name__}: {error}"
    assert bool(line.exc_info) is has_traceback


async def test_that_a_status_could_not_be_written_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await _run(Pass(KeyError("x"), report=errors.ServerUnavailable("503 from the API server")))

    assert "its status could not be written: 503 from the API server" in caplog.records[-1].getMessage()
