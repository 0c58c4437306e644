"""Gateways that talk, compact and crash, bridges that are killed, leases that are lost and a store that forgets.

In the end every line that nobody took away is in every file and in the store, once, and all rows are the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sessionstore.bridge import transcripts
from sessionstore.bridge.transcripts import Carried
from sessionstore.sessions.exceptions import LeaseHeld, LeaseLost
from sessionstore.sessions.memory import MemoryStore
from sessionstore.sessions.record import Lease
from tests.bridge.killing import MODES, Killed, Killer
from tests.bridge.sides import ENTRY, ID, KEY, Side, header, ids, is_linear, message, stored

T = TypeVar("T")
SIDES = 3
TTL_S = 10.0


class Gateways(RuleBasedStateMachine):
    """Three directories over one store."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.runner = self.stack.enter_context(asyncio.Runner())
        self.killer = Killer()
        self.stack.enter_context(self.killer.installed())
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(transcripts, "REWRITE_BYTES", 1)
        patch.setattr("sessionstore.openclaw.transcript.BATCH_LINES", 2)
        path = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.now_ms = 1_000_000
        self.store = MemoryStore(lambda: self.now_ms)
        self.do(self.store.set(KEY, ENTRY))
        self.sides = [self.stack.enter_context(Side.opened(path, f"{n}", self.store)) for n in range(SIDES)]
        self.leases: dict[str, Lease] = {}
        self.numbers = itertools.count()
        self.said: set[str] = set()
        self.removed: set[str] = set()
        self.remembered: Any = None
        self.is_tame = True
        """Nothing happened yet after which lines that were taken away may come back, or stand in another row."""

    def do(self, what: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(what)

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            self.stack.close()

    # -- turns ----------------------------------------------------------------------------------

    @rule(side=st.integers(0, SIDES - 1))
    def begin_turn(self, side: int) -> None:
        """Let a gateway in, with a lease, and the transcript as the store has it."""
        one = self.sides[side]
        if ID in one.running:
            return
        try:
            lease = self.do(self.store.acquire_lease(KEY, one.name, TTL_S))
        except LeaseHeld:
            return
        self.leases[one.name] = lease
        if self.do(one.carry(lease)) is Carried.SAME:
            one.running.add(ID)

    @rule(side=st.integers(0, SIDES - 1))
    def break_in(self, side: int) -> None:
        """Let a gateway run without a lease: the bridge was dead for too long."""
        self.sides[side].running.add(ID)
        self.is_tame = False

    @rule(side=st.integers(0, SIDES - 1), count=st.integers(1, 3))
    def say(self, side: int, count: int) -> None:
        one = self.sides[side]
        if ID not in one.running:
            return
        if not one.lines:
            one.say(header(f"/{one.name}"))
        last = (ids(one.lines) or [None])[-1]
        for _ in range(count):
            name = f"{one.name}-{next(self.numbers)}"
            one.say(message(name, last))
            self.said.add(name)
            last = name

    @rule(side=st.integers(0, SIDES - 1), kept=st.integers(0, 3))
    def compact(self, side: int, kept: int) -> None:
        one = self.sides[side]
        if ID not in one.running or len(one.lines) < 3:
            return
        rows = one.lines
        last = rows[1:][-kept:] if kept else []
        self.removed |= set(ids(rows)) - set(ids(last))
        name = f"{one.name}-{next(self.numbers)}"
        self.said.add(name)
        if last:
            last[0] = message(ids(last)[0], name)
        one.write(rows[0], message(name), *last)

    @rule(side=st.integers(0, SIDES - 1), count=st.integers(1, 3))
    def take_back(self, side: int, count: int) -> None:
        """Take lines off the end, as OpenClaw does with a prompt that came to nothing."""
        one = self.sides[side]
        rows = one.lines
        if ID not in one.running or len(rows) - count < 2:
            return
        self.removed |= set(ids(rows[-count:]))
        one.write(*rows[:-count])

    @rule(side=st.integers(0, SIDES - 1), cwd=st.text("abc", max_size=5))
    def move(self, side: int, cwd: str) -> None:
        """Write another header."""
        one = self.sides[side]
        if ID in one.running and one.lines:
            one.write(header(cwd), *one.lines[1:])

    @rule(side=st.integers(0, SIDES - 1))
    def end_turn(self, side: int) -> None:
        one = self.sides[side]
        one.running.discard(ID)
        lease = self.leases.pop(one.name, None)
        if lease is None:
            return
        try:
            self.do(one.carry(lease))
        except LeaseLost:
            return
        self.do(self.store.release_lease(lease))

    # -- bridges --------------------------------------------------------------------------------

    @rule(side=st.integers(0, SIDES - 1))
    def carry(self, side: int) -> None:
        one = self.sides[side]
        with contextlib.suppress(LeaseLost):
            self.do(one.carry(self.leases.get(one.name)))

    @rule(side=st.integers(0, SIDES - 1), step=st.integers(0, 12), mode=st.sampled_from(MODES))
    def kill(self, side: int, step: int, mode: str) -> None:
        """End a bridge in the midst of its work; its gateway goes on."""
        one = self.sides[side]
        self.killer.arm(step, mode)
        try:
            self.do(one.carry(self.leases.get(one.name)))
        except (Killed, LeaseLost):
            pass
        finally:
            self.killer.disarm()
        one.restart()

    @rule(pauses=st.lists(st.integers(0, 6), min_size=2 * SIDES, max_size=2 * SIDES))
    def all_at_once(self, pauses: list[int]) -> None:
        """Let all bridges carry, and all gateways whose turn it is talk, at the same time."""

        async def carry(side: int) -> None:
            await _pause(pauses[2 * side])
            with contextlib.suppress(LeaseLost):
                await self.sides[side].carry(self.leases.get(self.sides[side].name))

        async def say(side: int) -> None:
            await _pause(pauses[2 * side + 1])
            self.say(side, 1)

        async def together() -> None:
            await asyncio.gather(*(act(side) for side in range(SIDES) for act in (carry, say)))

        self.do(together())

    @rule(seconds=st.sampled_from([3, 30]))
    def wait(self, seconds: int) -> None:
        """Let leases run out, that nobody renews."""
        self.now_ms += seconds * 1000
        if seconds > TTL_S and self.leases:
            self.is_tame = False

    # -- the store ------------------------------------------------------------------------------

    @rule()
    def remember(self) -> None:
        kept = self.store._kept
        self.remembered = copy.deepcopy((kept.records, kept.lines))

    @precondition(lambda self: self.remembered is not None)
    @rule()
    def forget(self) -> None:
        """Go back, as a store does that lost what it had confirmed."""
        self.store._kept.records, self.store._kept.lines = copy.deepcopy(self.remembered)
        self.is_tame = False

    # -- what must hold -------------------------------------------------------------------------

    @invariant()
    def nothing_is_in_neither(self) -> None:
        """A line that nobody took away is in a file or in the store at any moment."""
        there = set(ids(self.do(stored(self.store))))
        for one in self.sides:
            there |= set(ids(one.lines))
        assert self.said - self.removed <= there

    def settle(self) -> None:
        self.now_ms += 100_000
        for one in self.sides:
            one.running.clear()
        for _ in range(2):
            for one in self.sides:
                assert self.do(one.push()) is Carried.SAME
        rows = self.do(stored(self.store))
        for one in self.sides:
            assert one.lines[1:] == rows[1:]
        names = ids(rows)
        assert len(names) == len(set(names))
        assert self.said - self.removed <= set(names)
        if self.is_tame:
            assert self.removed.isdisjoint(names)
            assert is_linear(rows)


async def _pause(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


def test_whatever_happens_all_end_with_the_same_lines_and_none_is_lost(count: Callable[[int, int], int]) -> None:
    examples = count(50, 2000)
    run_state_machine_as_test(Gateways, settings=settings(stateful_step_count=30, deadline=None, max_examples=examples))
