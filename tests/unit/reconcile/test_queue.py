"""The work queue, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from sessionstore.reconcile import queue

A, B = queue.ObjectKey("ns", "a"), queue.ObjectKey("ns", "b")


class Recorder:
    """A reconcile that takes a second, and notes when it ran and how many ran at once."""

    def __init__(self, *answers: queue.Requeue) -> None:
        self.answers = list(answers)
        self.runs: list[tuple[float, queue.ObjectKey]] = []
        self.running: list[queue.ObjectKey] = []
        self.twice = False
        self.most = 0

    async def __call__(self, key: queue.ObjectKey) -> queue.Requeue:
        self.twice = self.twice or key in self.running
        self.running.append(key)
        self.most = max(self.most, len(self.running))
        self.runs.append((asyncio.get_running_loop().time(), key))
        await asyncio.sleep(1)
        self.running.remove(key)
        return self.answers.pop(0) if self.answers else queue.Requeue.never()


async def _run(work: queue.WorkQueue, reconcile: Recorder, seconds: float, workers: int = 2) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await work.work(reconcile, workers)


@pytest.mark.looptime
async def test_a_key_added_often_runs_once() -> None:
    work, reconcile = queue.WorkQueue(), Recorder()
    for _ in range(5):
        work.add(A)

    await _run(work, reconcile, 10)

    assert [key for _, key in reconcile.runs] == [A]


@pytest.mark.looptime
async def test_one_key_is_never_worked_on_twice_at_once_and_no_trigger_is_lost() -> None:
    work, reconcile = queue.WorkQueue(), Recorder()
    work.add(A)
    asyncio.get_running_loop().call_later(0.5, work.add, A)

    await _run(work, reconcile, 10)

    assert [when for when, _ in reconcile.runs] == [0.0, 1.0]
    assert not reconcile.twice


@pytest.mark.looptime
async def test_two_keys_run_side_by_side_up_to_the_number_of_workers() -> None:
    work, reconcile = queue.WorkQueue(), Recorder()
    for key in (A, B, queue.ObjectKey("ns", "c")):
        work.add(key)

    await _run(work, reconcile, 10, workers=2)

    assert reconcile.most == 2
    assert len(reconcile.runs) == 3


@pytest.mark.looptime
async def test_a_requeue_runs_after_its_time_or_at_an_earlier_trigger() -> None:
    work, reconcile = queue.WorkQueue(), Recorder(queue.Requeue(30.0), queue.Requeue(30.0))
    work.add(A)
    asyncio.get_running_loop().call_later(40, work.add, A)

    await _run(work, reconcile, 60)

    assert [when for when, _ in reconcile.runs] == [0.0, 31.0, 40.0]


@pytest.mark.looptime
async def test_success_forgets_failures() -> None:
    work = queue.WorkQueue()
    for _ in range(5):
        work.failed(A)

    work.succeeded(A)

    assert (work.failed(A).after_s or 0) <= 1.25


@pytest.mark.parametrize(
    ("failures", "low", "high"), [(1, 0.75, 1.25), (2, 1.5, 2.5), (20, 90, 150), (100_000, 90, 150)]
)
def test_backoff_doubles_up_to_a_limit_and_spreads(failures: int, low: float, high: float) -> None:
    assert queue.backoff_s(failures, 0.0) == low
    assert queue.backoff_s(failures, 1.0) == high
