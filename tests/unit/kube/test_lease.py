"""The election, against a Lease kept in memory with the API server's rule: a stale resourceVersion is refused.

Time is virtual (looptime), so the durations are those of production.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sessionstore import errors
from sessionstore.kube import lease

pytestmark = pytest.mark.looptime

EPOCH = datetime(2026, 11, 21, tzinfo=UTC)


class LeaseServer:
    """What `kube.Kube` does for one Lease. `away` makes it unreachable for a client."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] | None = None
        self.version = 0

    def client(self) -> LeaseClient:
        return LeaseClient(self)


class LeaseClient:
    def __init__(self, server: LeaseServer) -> None:
        self.server = server
        self.away = False

    def _reach(self) -> None:
        if self.away:
            raise errors.ServerUnavailable("no connection")

    async def get(self, *_: object) -> dict[str, Any] | None:
        self._reach()
        await asyncio.sleep(0)
        return copy.deepcopy(self.server.stored)

    async def create(self, body: dict[str, Any], **_: object) -> dict[str, Any]:
        self._reach()
        if self.server.stored is not None:
            raise errors.Conflicted("exists")
        return self._store(body)

    async def replace(self, body: dict[str, Any]) -> dict[str, Any]:
        self._reach()
        assert self.server.stored is not None
        if body["metadata"]["resourceVersion"] != self.server.stored["metadata"]["resourceVersion"]:
            raise errors.Conflicted("changed")
        return self._store(body)

    def _store(self, body: dict[str, Any]) -> dict[str, Any]:
        self.server.version += 1
        self.server.stored = copy.deepcopy(body)
        self.server.stored["metadata"]["resourceVersion"] = str(self.server.version)
        return self.server.stored


class Replica:
    """One operator process: its election, and a log of when it worked."""

    def __init__(self, server: LeaseServer, name: str, log: list[tuple[str, str]]) -> None:
        self.kube = server.client()
        loop = asyncio.get_running_loop()
        self.election = lease.Leadership(
            kube=self.kube,  # type: ignore[arg-type]
            namespace="system",
            identity=name,
            duration_s=15.0,
            now=lambda: EPOCH + timedelta(seconds=loop.time()),
            saw=lambda _: None,
        )
        self.name = name
        self.log = log
        self.task = asyncio.create_task(self.election.run(self._work))

    async def _work(self) -> None:
        self.log.append((self.name, "starts"))
        try:
            await asyncio.Event().wait()
        finally:
            self.log.append((self.name, "stops"))

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def _until(condition: Callable[[], bool], deadline_s: float) -> float:
    """Wait in virtual time; return how long it took."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    while not condition():
        assert loop.time() - start < deadline_s, "the deadline has passed"
        await asyncio.sleep(0.1)
    return loop.time() - start


async def test_one_of_two_leads_and_keeps_leading() -> None:
    log: list[tuple[str, str]] = []
    server = LeaseServer()
    first, second = Replica(server, "a", log), Replica(server, "b", log)

    await asyncio.sleep(300)

    assert len(log) == 1
    assert [first.election.leading, second.election.leading].count(True) == 1
    await first.stop()
    await second.stop()


async def test_an_orderly_stop_gives_the_lease_up_at_once() -> None:
    log: list[tuple[str, str]] = []
    server = LeaseServer()
    first = Replica(server, "a", log)
    await _until(lambda: first.election.leading, 5)
    second = Replica(server, "b", log)
    await asyncio.sleep(10)

    await first.stop()
    took = await _until(lambda: second.election.leading, 15)

    assert took < 5
    assert log == [("a", "starts"), ("a", "stops"), ("b", "starts")]
    await second.stop()


async def test_after_a_death_the_other_waits_for_the_whole_duration_and_then_leads() -> None:
    log: list[tuple[str, str]] = []
    server = LeaseServer()
    first = Replica(server, "a", log)
    await _until(lambda: first.election.leading, 5)
    second = Replica(server, "b", log)
    await asyncio.sleep(30)

    # A killed process stops in mid-air: it neither works on nor gives the Lease up.
    first.kube.away = True
    first.task.cancel()
    took = await _until(lambda: second.election.leading, 20)

    assert 9 < took < 20
    await second.stop()


async def test_a_leader_cut_off_from_the_api_server_stops_before_another_starts() -> None:
    log: list[tuple[str, str]] = []
    server = LeaseServer()
    first = Replica(server, "a", log)
    await _until(lambda: first.election.leading, 5)
    second = Replica(server, "b", log)
    await asyncio.sleep(30)

    first.kube.away = True
    await _until(lambda: second.election.leading, 25)

    assert log == [("a", "starts"), ("a", "stops"), ("b", "starts")]
    first.kube.away = False
    await asyncio.sleep(60)
    assert not first.election.leading
    await first.stop()
    await second.stop()


async def test_work_that_raises_ends_the_election() -> None:
    server = LeaseServer()
    replica = Replica(server, "a", [])
    await replica.stop()

    async def broken() -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await replica.election.run(broken)
