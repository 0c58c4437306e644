"""Leases: who may write a session, for how long, and what happens when that ends.

`acquire`, `renew` and `released` are pure, for the backends that decide in Python. `Holding` is the block that
`Store.lease` opens; it works on every backend.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from sessionstore.sessions.exceptions import InvalidEntry, LeaseHeld, LeaseLost, SessionError
from sessionstore.sessions.record import Lease, SessionKey, check_text

MIN_TTL_S, MAX_TTL_S = 0.05, 3600.0
_RETRY_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class LeaseState:
    """What is kept of a session's leases. `token` stays when the lease ends, so that it only ever grows."""

    holder: str
    token: int
    until_ms: int
    """0 when it was released."""


def acquire(name: SessionKey, state: LeaseState | None, holder: str, now_ms: int, ttl_s: float) -> LeaseState:
    """Give the lease to `holder`. Raises: LeaseHeld."""
    until_ms = now_ms + duration_ms(ttl_s)
    check_text(holder, "holder")
    if state is None or state.until_ms <= now_ms:
        return LeaseState(holder, state.token + 1 if state else 1, until_ms)
    if state.holder != holder:
        raise held(lease_of(name, state), now_ms)
    return LeaseState(holder, state.token, until_ms)


def renew(lease: Lease, state: LeaseState | None, now_ms: int, ttl_s: float) -> LeaseState:
    """Extend a lease. Raises: LeaseLost."""
    until_ms = now_ms + duration_ms(ttl_s)
    check_fence(lease.key, state, lease.token, now_ms)
    return LeaseState(lease.holder, lease.token, until_ms)


def released(lease: Lease, state: LeaseState | None, now_ms: int) -> LeaseState | None:
    """Return the state once `lease` is given back; None where it was not held any more."""
    if state is None or state.token != lease.token or state.until_ms <= now_ms:
        return None
    return LeaseState(state.holder, state.token, 0)


def check_fence(name: SessionKey, state: LeaseState | None, fence: int | None, now_ms: int) -> None:
    """Raise LeaseLost unless `fence` is None or the token of the lease that is held now."""
    if fence is not None and (state is None or state.token != fence or state.until_ms <= now_ms):
        raise lost(name, fence)


def lease_of(name: SessionKey, state: LeaseState) -> Lease:
    """Return the lease as callers see it."""
    return Lease(name, state.holder, state.token, state.until_ms)


def duration_ms(ttl_s: float) -> int:
    """Return a lease's length in milliseconds. Raises: InvalidEntry."""
    if not MIN_TTL_S <= ttl_s <= MAX_TTL_S:
        raise InvalidEntry(f"a lease lasts {MIN_TTL_S:g} to {MAX_TTL_S:g} seconds, not {ttl_s:g}")
    return round(ttl_s * 1000)


def held(lease: Lease, now_ms: int) -> LeaseHeld:
    """Make the error for a lease that another holder has."""
    left = max(lease.until_ms - now_ms, 0) / 1000
    return LeaseHeld(f"session {lease.key} is leased to {lease.holder} for another {left:.1f} s", lease)


def lost(name: SessionKey, fence: int) -> LeaseLost:
    """Make the error for a lease that is not held any more."""
    return LeaseLost(f"the lease {fence} of session {name} ran out or was given to another holder; nothing was written")


def new_holder() -> str:
    """Return a name that tells people where a holder runs, and no two holders share."""
    return f"{socket.gethostname()[:200]}/{os.getpid()}/{secrets.token_hex(4)}"


class _Leases(Protocol):
    async def acquire_lease(self, key: SessionKey, holder: str, ttl_s: float) -> Lease: ...
    async def renew_lease(self, lease: Lease, ttl_s: float) -> Lease: ...
    async def release_lease(self, lease: Lease) -> bool: ...


class Holding:
    """A block in which a lease is held. Made by `Store.lease`; to be entered once."""

    def __init__(self, store: _Leases, name: SessionKey, *, ttl_s: float, wait_s: float, holder: str | None) -> None:
        duration_ms(ttl_s)
        self._store, self._name, self._ttl_s, self._wait_s = store, name, ttl_s, wait_s
        self._holder = holder or new_holder()
        self._lease: Lease | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._lost: LeaseLost | None = None
        self._cancelling = 0  # the cancellations of the task that were not dealt with when the block began

    async def __aenter__(self) -> Lease:
        self._lease, until = await self._acquire()
        body = asyncio.current_task()
        assert body is not None
        self._cancelling = body.cancelling()
        self._keeper = asyncio.create_task(self._keep(self._lease, until, body))
        return self._lease

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._keeper is not None and self._lease is not None
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        if self._lost is None:
            # Where the store is away the lease ends by itself; the block's own outcome matters more.
            await _quietly(self._store.release_lease(self._lease))
            return
        body = asyncio.current_task()
        assert body is not None
        also_others = body.uncancel() > self._cancelling
        # Where somebody else cancelled the block as well, that goes on.
        if kind is None or (issubclass(kind, asyncio.CancelledError) and not also_others):
            raise self._lost from error

    async def _acquire(self) -> tuple[Lease, float]:
        end = time.monotonic() + self._wait_s
        while True:
            asked = time.monotonic()
            try:
                return await self._store.acquire_lease(self._name, self._holder, self._ttl_s), asked + self._ttl_s
            except LeaseHeld:
                if time.monotonic() >= end:
                    raise
            await asyncio.sleep(min(_RETRY_PAUSE_S, self._ttl_s / 4))

    async def _keep(self, lease: Lease, until: float, body: asyncio.Task[object]) -> None:
        """Renew each third of the time, until the block ends or the lease is lost."""
        while True:
            await asyncio.sleep(self._ttl_s / 3)
            asked = time.monotonic()
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + until - asked):
                    await self._store.renew_lease(lease, self._ttl_s)
                until = asked + self._ttl_s
            except LeaseLost as error:
                return self._lose(error, body)
            except (SessionError, TimeoutError):
                # Until our own time is over nobody else can have it: the store may come back.
                if time.monotonic() >= until:
                    return self._lose(lost(self._name, lease.token), body)

    def _lose(self, error: LeaseLost, body: asyncio.Task[object]) -> None:
        self._lost = error
        body.cancel()


async def _quietly(releasing: object) -> None:
    try:
        await releasing  # type: ignore[misc]
    except SessionError:
        return
