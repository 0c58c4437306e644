"""Doors, bells and leases of two gateways that share sessions."""

from __future__ import annotations

import pytest

from sessionstore.bridge import turns
from sessionstore.bridge.turns import Turns
from sessionstore.sessions import Lease, LeaseLost, SessionKey, Unavailable
from sessionstore.sessions.memory import MemoryStore
from sessionstore.sessions.store import Key

T = "transcript-1"
KEY = SessionKey("main", "agent:main:a")


class Clock:
    """A clock that is set by hand; seconds."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def ms(self) -> int:
        return int(self.now_s * 1000)


class Store(MemoryStore):
    """Is away when it is told to be."""

    is_away = False

    async def acquire_lease(self, key: Key, holder: str, ttl_s: float) -> Lease:
        self._check()
        return await super().acquire_lease(key, holder, ttl_s)

    async def renew_lease(self, lease: Lease, ttl_s: float) -> Lease:
        self._check()
        return await super().renew_lease(lease, ttl_s)

    def _check(self) -> None:
        if self.is_away:
            raise Unavailable("away")


class Doors:
    """Doors in memory: `running` is where a gateway has its own lock."""

    def __init__(self) -> None:
        self.planted: set[str] = set()
        self.running: set[str] = set()

    def plant(self, transcript_id: str) -> bool:
        if transcript_id not in self.running:
            self.planted.add(transcript_id)
        return transcript_id in self.planted

    def open(self, transcript_id: str) -> None:
        self.planted.discard(transcript_id)

    def is_planted(self, transcript_id: str) -> bool:
        return transcript_id in self.planted

    def is_running(self, transcript_id: str) -> bool:
        return transcript_id in self.running


class Gateway:
    """One gateway, its doors and turns, and a room that notes what it is asked."""

    def __init__(self, store: Store, clock: Clock, name: str) -> None:
        self.doors, self.done, self.owned, self.marked = Doors(), [], set[SessionKey](), False
        self.failure: Exception | None = None
        self.private = False
        self.done: list[tuple[str, bool]] = []
        self.turns = Turns(store, self.doors, self, name, clock)
        self.turns.know([T])

    def key_of(self, transcript_id: str) -> SessionKey | None:
        return KEY if transcript_id == T else None

    def is_marked(self, transcript_id: str) -> bool:
        return self.marked

    async def fetch(self, key: SessionKey, transcript_id: str) -> None:
        self._note("fetch", transcript_id)

    def is_private(self, transcript_id: str) -> bool:
        return self.private

    async def carry(self, key: SessionKey, transcript_id: str, token: int) -> None:
        self._note("carry", transcript_id)

    def owns(self, key: SessionKey, owned: bool) -> None:
        (self.owned.add if owned else self.owned.discard)(key)

    def _note(self, what: str, transcript_id: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.done.append((what, self.doors.is_planted(transcript_id)))

    async def ring(self) -> None:
        self.turns.rang(T)
        await self.turns.step()

    @property
    def is_open(self) -> bool:
        return not self.doors.is_planted(T)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Store:
    return Store(clock.ms)


@pytest.fixture
def ours(store: Store, clock: Clock) -> Gateway:
    return Gateway(store, clock, "ours")


@pytest.fixture
def theirs(store: Store, clock: Clock) -> Gateway:
    return Gateway(store, clock, "theirs")


async def test_a_door_opens_when_the_lease_is_ours_and_what_others_said_is_here(ours: Gateway) -> None:
    assert not ours.is_open
    await ours.ring()
    assert ours.is_open
    assert ours.done == [("fetch", True)]
    assert ours.owned == {KEY}
    assert ours.turns.token(T) is not None


async def test_a_turn_that_is_over_is_carried_behind_a_shut_door_and_given_back(
    ours: Gateway, theirs: Gateway, clock: Clock
) -> None:
    await ours.ring()
    ours.doors.running.add(T)
    await ours.turns.step()
    await theirs.ring()
    assert not theirs.is_open
    ours.doors.running.clear()
    clock.now_s += turns.QUIET_S / 2
    await ours.turns.step()
    assert ours.turns.token(T) is not None
    clock.now_s += turns.QUIET_S
    await ours.turns.step()
    assert ours.done == [("fetch", True), ("carry", True)]
    assert (ours.is_open, ours.owned, ours.turns.is_busy()) == (False, set(), False)
    await theirs.turns.step()
    assert theirs.is_open


async def test_who_waits_elsewhere_comes_before_who_had_it(ours: Gateway, theirs: Gateway, clock: Clock) -> None:
    await ours.ring()
    ours.doors.running.add(T)
    await ours.turns.step()
    ours.doors.running.clear()
    clock.now_s += 2 * turns.QUIET_S
    await ours.turns.step()
    await ours.ring()
    assert not ours.is_open
    await theirs.ring()
    assert theirs.is_open
    clock.now_s += 2 * turns.COURTESY_S
    await ours.ring()
    assert not ours.is_open


async def test_a_turn_goes_on_while_its_entry_says_so_but_not_for_ever(ours: Gateway, clock: Clock) -> None:
    await ours.ring()
    ours.doors.running.add(T)
    await ours.turns.step()
    ours.doors.running.clear()
    ours.marked = True
    clock.now_s += 10 * turns.QUIET_S
    await ours.turns.step()
    assert ours.turns.token(T) is not None
    for _ in range(int(turns.ABANDONED_S / turns.RENEW_S) + 1):
        clock.now_s += turns.RENEW_S + 0.1
        await ours.turns.renew()
        await ours.turns.step()
    assert ours.turns.token(T) is None


async def test_a_gateway_that_rang_and_does_not_come_is_not_waited_for(ours: Gateway, clock: Clock) -> None:
    await ours.ring()
    clock.now_s += turns.UNUSED_S + 0.1
    await ours.turns.step()
    assert not ours.is_open
    assert ours.turns.token(T) is None


async def test_a_bell_of_long_ago_opens_nothing(ours: Gateway, theirs: Gateway, clock: Clock) -> None:
    await theirs.ring()
    await ours.ring()
    clock.now_s += turns.HEARD_S + turns.UNUSED_S
    await theirs.turns.step()
    await ours.turns.step()
    assert not ours.is_open
    assert not ours.turns.is_busy()


async def test_a_gateway_that_is_inside_already_gets_the_lease(store: Store, clock: Clock) -> None:
    gateway = Gateway(store, clock, "ours")
    gateway.turns.know([])
    gateway.doors.running.add(T)
    gateway.turns.know([T])
    assert gateway.turns.is_busy()
    await gateway.turns.step()
    assert gateway.turns.token(T) is not None
    assert gateway.doors.planted == set()


async def test_what_a_gateway_said_that_came_out_before_the_lease_was_asked_for_is_carried(
    store: Store, clock: Clock
) -> None:
    gateway = Gateway(store, clock, "ours")
    gateway.turns.know([])
    gateway.doors.running.add(T)
    gateway.turns.know([T])
    gateway.doors.running.clear()
    await gateway.turns.adopt()
    assert gateway.turns.token(T) is not None
    assert await gateway.turns.end()
    assert gateway.done == [("carry", True)]


async def test_the_door_of_a_session_that_is_gone_is_taken_away(ours: Gateway) -> None:
    ours.turns.know([])
    assert ours.doors.planted == set()


async def test_a_store_that_is_away_keeps_the_door_shut(ours: Gateway, store: Store) -> None:
    store.is_away = True
    with pytest.raises(Unavailable):
        await ours.ring()
    assert not ours.is_open
    store.is_away = False
    await ours.turns.step()
    assert ours.is_open


async def test_a_session_that_nobody_else_can_know_begins_without_a_store(ours: Gateway, store: Store) -> None:
    store.is_away = True
    with pytest.raises(Unavailable):
        await ours.ring()
    ours.turns.let_in_alone()
    assert not ours.is_open
    ours.private = True
    ours.turns.let_in_alone()
    assert ours.is_open
    ours.doors.running.add(T)
    store.is_away = False
    await ours.turns.step()
    assert ours.turns.token(T) is not None


async def test_what_cannot_be_fetched_keeps_the_door_shut(ours: Gateway) -> None:
    ours.failure = Unavailable("away")
    with pytest.raises(Unavailable):
        await ours.ring()
    assert not ours.is_open
    assert ours.owned == set()
    ours.failure = None
    await ours.turns.step()
    assert ours.is_open


async def test_what_cannot_be_carried_is_kept_and_carried_later(ours: Gateway, clock: Clock) -> None:
    await ours.ring()
    ours.doors.running.add(T)
    await ours.turns.step()
    ours.doors.running.clear()
    clock.now_s += 2 * turns.QUIET_S
    ours.failure = Unavailable("away")
    with pytest.raises(Unavailable):
        await ours.turns.step()
    assert not ours.is_open
    ours.failure = None
    await ours.turns.step()
    assert ours.done[-1] == ("carry", True)
    assert ours.turns.token(T) is None


async def test_a_lease_that_could_not_be_renewed_in_time_is_not_ours_any_more(
    ours: Gateway, theirs: Gateway, store: Store, clock: Clock
) -> None:
    await ours.ring()
    ours.doors.running.add(T)
    await ours.turns.step()
    store.is_away = True
    clock.now_s += turns.TTL_S
    with pytest.raises(Unavailable):
        await ours.turns.renew()
    with pytest.raises(Unavailable):
        await ours.turns.step()
    assert (ours.turns.token(T), ours.owned) == (None, set())
    store.is_away = False
    await theirs.ring()
    assert theirs.is_open
    # The gateway that lost it is still inside; once it is out, the door is shut behind it.
    ours.doors.running.clear()
    await ours.turns.step()
    assert not ours.is_open


async def test_a_refused_write_ends_the_ownership(ours: Gateway, clock: Clock) -> None:
    await ours.ring()
    ours.doors.running.add(T)
    await ours.turns.step()
    ours.doors.running.clear()
    clock.now_s += 2 * turns.QUIET_S
    ours.failure = LeaseLost("lost")
    await ours.turns.step()
    assert ours.turns.token(T) is None
    assert not ours.is_open


async def test_a_turn_that_no_look_saw_is_over_when_its_lines_are_there(ours: Gateway, clock: Clock) -> None:
    await ours.ring()
    ours.turns.saw(T)
    clock.now_s += 2 * turns.QUIET_S
    await ours.turns.step()
    assert ours.done[-1] == ("carry", True)


async def test_what_is_owed_is_carried_when_the_lease_is_free(ours: Gateway, theirs: Gateway, clock: Clock) -> None:
    await theirs.ring()
    ours.turns.owe(T)
    await ours.turns.step()
    assert ours.done == []
    clock.now_s += turns.UNUSED_S + 0.1
    await theirs.turns.step()
    await ours.turns.step()
    assert ours.done == [("carry", True)]
    assert not ours.turns.is_busy()


async def test_exactly_one_resumes_what_ran_nowhere(ours: Gateway, theirs: Gateway) -> None:
    for gateway in (ours, theirs):
        await gateway.turns.resume([T])
    assert (ours.owned, theirs.owned) == ({KEY}, set())
    assert (ours.is_open, theirs.is_open) == (True, False)


async def test_in_the_end_what_is_owed_is_waited_for(ours: Gateway, theirs: Gateway) -> None:
    await theirs.ring()
    ours.turns.owe(T)
    assert not await ours.turns.end()
    await theirs.turns.end()
    assert await ours.turns.end()
    assert ours.done == [("carry", True)]


@pytest.mark.parametrize("is_inside", [False, True])
async def test_in_the_end_what_was_said_under_a_lost_lease_is_carried_under_another(
    ours: Gateway, is_inside: bool
) -> None:
    await ours.ring()
    ours.doors.running |= {T} if is_inside else set()
    ours.failure = LeaseLost("lost")
    assert not await ours.turns.end()
    ours.failure = None
    await ours.turns.adopt()
    assert await ours.turns.end()
    assert ours.done[-1] == ("carry", not is_inside)


async def test_in_the_end_a_turn_that_goes_on_is_carried_and_keeps_its_lease(ours: Gateway, theirs: Gateway) -> None:
    await ours.ring()
    ours.doors.running.add(T)
    assert await ours.turns.end()
    assert ours.done[-1] == ("carry", False)
    await theirs.ring()
    assert not theirs.is_open


async def test_in_the_end_everything_is_carried_and_given_back(ours: Gateway, theirs: Gateway) -> None:
    await ours.ring()
    await ours.turns.end()
    assert ours.done[-1] == ("carry", True)
    await theirs.ring()
    assert theirs.is_open
