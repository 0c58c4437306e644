"""When a process is worth keeping: a watch that died is told from a quiet cluster, and from one that is away.

Time is a number that a test moves.
"""

from __future__ import annotations

import socket

import aiohttp
import pytest

from sessionstore.handlers import health

RENEWAL_S = 5.0


class Lease:
    """The Lease as one replica comes to know it: `pulse` is what is tested, time is what `pass_s` makes it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.renewals = 0
        self.pulse = health.Pulse(clock=lambda: self.now)

    @property
    def renew_time(self) -> str:
        return f"renewed {self.renewals} times"

    def pass_s(self, seconds: float, *, renewed: bool = True, read: bool = True, watched: bool = True) -> None:
        """Let time pass, renewal by renewal; what is watched comes before it is read, as with a stream and a poll."""
        end = self.now + seconds
        while self.now < end:
            self.now += RENEWAL_S
            self.renewals += renewed
            if watched and renewed:
                self.pulse.watched(self.renew_time)
            if read:
                self.pulse.read(self.renew_time)

    @property
    def is_alive(self) -> bool:
        return self.pulse.lag_s <= health.MAX_LAG_S


@pytest.fixture
def lease() -> Lease:
    """Give a replica that has been up for a while, in sync."""
    found = Lease()
    found.pass_s(60)
    return found


def test_in_sync_the_watch_lags_behind_nothing(lease: Lease) -> None:
    lease.pass_s(3600)

    assert lease.pulse.lag_s == 0.0


def test_a_watch_that_is_silent_while_the_lease_moves_is_dead(lease: Lease) -> None:
    lease.pass_s(health.MAX_LAG_S, watched=False)
    assert lease.is_alive

    lease.pass_s(2 * RENEWAL_S, watched=False)
    assert not lease.is_alive


def test_a_watch_that_delivers_again_is_alive(lease: Lease) -> None:
    lease.pass_s(3600, watched=False)

    lease.pulse.watched(lease.renew_time)

    assert lease.pulse.lag_s == 0.0


def test_a_cluster_where_nobody_leads_is_quiet_and_not_dead(lease: Lease) -> None:
    lease.pass_s(3600, renewed=False)

    assert lease.is_alive


@pytest.mark.parametrize("behind_s", [0.0, 30.0], ids=["in sync before", "behind before"])
def test_an_api_server_that_is_away_is_no_reason_to_restart(lease: Lease, behind_s: float) -> None:
    lease.pass_s(behind_s, watched=False)

    lease.pass_s(3600, read=False, watched=False)

    assert lease.is_alive


def test_after_the_api_server_was_away_the_watch_gets_its_time_anew(lease: Lease) -> None:
    lease.pass_s(30, watched=False)
    lease.pass_s(3600, read=False, watched=False)

    lease.pass_s(health.MAX_LAG_S, watched=False)
    assert lease.is_alive

    lease.pass_s(2 * RENEWAL_S, watched=False)
    assert not lease.is_alive


# -- over HTTP --------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def _get(pulse: health.Pulse, path: str) -> tuple[int, str]:
    port = _free_port()
    async with (
        health.serve(pulse, port),
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, await response.text()


async def test_a_process_that_knows_nothing_yet_is_alive_and_not_ready() -> None:
    pulse = Lease().pulse

    assert await _get(pulse, "/healthz") == (200, "ok\n")
    assert await _get(pulse, "/readyz") == (503, "no answer from the API server yet\n")


async def test_a_process_in_sync_is_alive_and_ready(lease: Lease) -> None:
    assert await _get(lease.pulse, "/healthz") == (200, "ok\n")
    assert await _get(lease.pulse, "/readyz") == (200, "ok\n")


async def test_a_namespace_without_a_lease_yet_is_an_answer_too() -> None:
    pulse = Lease().pulse
    pulse.read("")

    assert (await _get(pulse, "/readyz"))[0] == 200


async def test_a_dead_watch_is_told_to_the_kubelet_with_its_age(lease: Lease) -> None:
    lease.pass_s(65.0 + RENEWAL_S, watched=False)

    assert await _get(lease.pulse, "/healthz") == (
        503,
        "the watch has been silent for 65 s while the Lease moved\n",
    )
