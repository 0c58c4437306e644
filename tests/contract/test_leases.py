"""Leases: one writer at a time, fenced, renewed while held, lost loudly."""

from __future__ import annotations

import asyncio
import time

import pytest

from sessionstore.sessions import Capability, Conflict, InvalidEntry, Lease, LeaseHeld, LeaseLost, SessionKey, Store

DEADLINE_S = 30


@pytest.fixture(autouse=True)
def _declared(store: Store) -> None:
    assert Capability.LEASES in store.capabilities


async def ended(store: Store, lease: Lease) -> None:
    """Wait until a lease that nobody renews is over."""
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            await store.acquire_lease(lease.key, "the next", 60)
            return
        except LeaseHeld:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)


async def test_one_holder_at_a_time(store: Store) -> None:
    mine = await store.acquire_lease("k", "me", 60)
    assert (mine.key, mine.holder) == (SessionKey.of("k"), "me")
    with pytest.raises(LeaseHeld, match="leased to me") as caught:
        await store.acquire_lease("k", "you", 60)
    assert caught.value.lease == mine
    assert (await store.acquire_lease("other", "you", 60)).holder == "you"
    assert await store.release_lease(mine) is True
    yours = await store.acquire_lease("k", "you", 60)
    assert yours.token > mine.token


async def test_its_own_holder_extends_it(store: Store) -> None:
    first = await store.acquire_lease("k", "me", 30)
    again = await store.acquire_lease("k", "me", 60)
    assert again.token == first.token
    assert again.until_ms > first.until_ms
    renewed = await store.renew_lease(again, 120)
    assert renewed.token == first.token
    assert renewed.until_ms > again.until_ms


async def test_a_lease_needs_no_session_and_makes_none(store: Store) -> None:
    await store.acquire_lease("k", "me", 60)
    assert await store.get("k") is None
    assert (await store.list()).items == ()
    assert (await store.set("k", {"sessionId": "s"}, expected=0)).revision == 1


async def test_tokens_grow_over_deletes_and_releases(store: Store) -> None:
    tokens = []
    for _ in range(3):
        lease = await store.acquire_lease("k", "me", 60)
        tokens.append(lease.token)
        await store.set("k", {"sessionId": "s"}, fence=lease.token)
        await store.delete("k", fence=lease.token)
        await store.release_lease(lease)
    assert tokens == sorted(set(tokens))


async def test_writes_go_through_while_it_is_held(store: Store) -> None:
    lease = await store.acquire_lease("k", "me", 60)
    made = await store.set("k", {"sessionId": "s"}, expected=0, fence=lease.token)
    assert (await store.append("k", [b"1"], position=0, fence=lease.token)).lines == 1
    assert (await store.rewrite("k", [b"2"], fence=lease.token)).generation == 1
    with pytest.raises(Conflict):
        await store.set("k", {}, expected=made.revision, fence=lease.token)
    assert await store.delete("k", fence=lease.token) is True


async def test_nothing_is_written_without_it(store: Store) -> None:
    await store.set("k", {"sessionId": "s"})
    await store.append("k", [b"1"])
    lease = await store.acquire_lease("k", "me", 60)
    await store.release_lease(lease)
    before = await store.get("k")
    for fence in (lease.token, lease.token + 1, 0):
        with pytest.raises(LeaseLost):
            await store.set("k", {"n": 1}, fence=fence)
        with pytest.raises(LeaseLost):
            await store.append("k", [b"x"], fence=fence)
        with pytest.raises(LeaseLost):
            await store.append("k", [b"1"], position=0, fence=fence)
        with pytest.raises(LeaseLost):
            await store.rewrite("k", [], fence=fence)
        with pytest.raises(LeaseLost):
            await store.delete("k", fence=fence)
    assert await store.get("k") == before


async def test_another_sessions_token_opens_nothing(store: Store) -> None:
    other = await store.acquire_lease("other", "me", 60)
    with pytest.raises(LeaseLost):
        await store.set("k", {}, fence=other.token)
    assert await store.get("k") is None


async def test_a_lease_that_ran_out_is_lost_even_where_nobody_took_it(store: Store) -> None:
    lease = await store.acquire_lease("k", "me", 0.05)
    await asyncio.sleep(0.2)
    with pytest.raises(LeaseLost):
        await store.set("k", {}, fence=lease.token)
    with pytest.raises(LeaseLost):
        await store.renew_lease(lease, 60)
    assert await store.release_lease(lease) is False


async def test_who_was_away_too_long_meets_the_next_holder(store: Store) -> None:
    lease = await store.acquire_lease("k", "me", 0.05)
    await ended(store, lease)
    with pytest.raises(LeaseLost):
        await store.append("k", [b"x"], fence=lease.token)
    with pytest.raises(LeaseLost):
        await store.renew_lease(lease, 60)
    assert await store.release_lease(lease) is False
    with pytest.raises(LeaseHeld, match="the next"):
        await store.acquire_lease("k", "me", 60)


@pytest.mark.parametrize("ttl_s", [0, -1, 1e9])
async def test_a_time_that_makes_no_sense_is_refused(store: Store, ttl_s: float) -> None:
    with pytest.raises(InvalidEntry, match="seconds"):
        await store.acquire_lease("k", "me", ttl_s)
    with pytest.raises(InvalidEntry, match="seconds"):
        store.lease("k", ttl_s=ttl_s)


async def test_a_block_holds_it_and_gives_it_back(store: Store) -> None:
    async with store.lease("k", ttl_s=60) as lease:
        await store.set("k", {"sessionId": "s"}, fence=lease.token)
        with pytest.raises(LeaseHeld):
            async with store.lease("k"):
                raise AssertionError("two hold it")
    async with store.lease("k") as again:
        assert again.token > lease.token


async def test_a_block_that_fails_gives_it_back_too(store: Store) -> None:
    with pytest.raises(KeyError):
        async with store.lease("k", ttl_s=60):
            raise KeyError
    async with store.lease("k"):
        pass


async def test_a_block_is_renewed_for_as_long_as_it_takes(store: Store) -> None:
    async with store.lease("k", ttl_s=1.5) as lease:
        await asyncio.sleep(3)
        await store.set("k", {}, fence=lease.token)


async def test_waiting_for_another_holder(store: Store) -> None:
    holding = asyncio.Event()

    async def first() -> None:
        async with store.lease("k", ttl_s=60):
            holding.set()
            await asyncio.sleep(0.2)

    one = asyncio.create_task(first())
    await holding.wait()
    async with store.lease("k", wait_s=DEADLINE_S):
        assert one.done() or await asyncio.wait_for(one, DEADLINE_S) is None


async def test_a_block_whose_lease_is_taken_is_cancelled_and_told(store: Store) -> None:
    with pytest.raises(LeaseLost):
        async with store.lease("k", ttl_s=0.6) as lease:
            await store.release_lease(lease)  # as an operator's hand, or a store that lost it, would
            await asyncio.sleep(DEADLINE_S)
            raise AssertionError("the block went on without its lease")
    assert asyncio.current_task().cancelling() == 0


async def test_cancelling_from_outside_stays_a_cancellation(store: Store) -> None:
    entered = asyncio.Event()

    async def work() -> None:
        async with store.lease("k", ttl_s=60):
            entered.set()
            await asyncio.sleep(DEADLINE_S)

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with store.lease("k"):
        pass


async def test_a_task_that_was_cancelled_before_is_told_too(store: Store) -> None:
    """One that cleans up after a cancellation, say: that one is no reason to be silent about the lease."""

    async def clean_up() -> None:
        try:
            await asyncio.sleep(DEADLINE_S)
        except asyncio.CancelledError:
            async with store.lease("k", ttl_s=0.6) as lease:
                await store.release_lease(lease)
                await asyncio.sleep(DEADLINE_S)

    task = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(LeaseLost):
        await task


async def test_sixteen_take_turns(store: Store) -> None:
    inside = 0

    async def turn() -> None:
        nonlocal inside
        async with store.lease("k", ttl_s=60, wait_s=DEADLINE_S) as lease:
            inside += 1
            assert inside == 1
            current = await store.get("k")
            n = current.entry["n"] if current else 0
            await store.set("k", {"n": n + 1}, fence=lease.token)
            inside -= 1

    await asyncio.gather(*(turn() for _ in range(16)))
    assert (await store.get("k")).entry["n"] == 16
