"""Random histories of every operation, some of them at once, come out as one order of them on the memory backend would.

A history is a list of moments; the operations of one moment run concurrently on the backend under test, and some
order of them, played on the model, must give the very same answers, the same state and, for each session, the same
events.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from sessionstore.sessions import (
    Conflict,
    LeaseHeld,
    LeaseLost,
    Lifetime,
    NoTranscript,
    Query,
    Session,
    SessionKey,
    SessionStorage,
    Status,
    Store,
    open_store,
)
from tests.contract.conftest import Backend

Operation = tuple[Any, ...]
Answers = list[object]

_agents = itertools.count(1)
NAMES = ("one", "two")
BRIEF = Lifetime(ttl_ms=1, idle_ms=0)
PAUSE_S = 0.03
"""Longer than `BRIEF`, and than the clocks of two processes of one machine differ."""

KEYS = st.sampled_from(NAMES)
ENTRIES = st.sampled_from([{}, {"n": 1}, {"sessionId": "s"}, {"sessionId": "t", "label": "x"}])
LINES = st.lists(st.sampled_from([b"", b"a", b"{}", b"\xff"]), max_size=3)
NUMBERS = st.none() | st.integers(0, 5)
TAGS = st.sets(st.sampled_from("abc"), max_size=2)
HOLDERS = st.sampled_from(["me", "you"])
SINGLE = st.one_of(
    st.tuples(st.just("set"), KEYS, ENTRIES, NUMBERS),
    st.tuples(st.just("create"), KEYS, ENTRIES, LINES),
    st.tuples(st.just("delete"), KEYS, NUMBERS),
    st.tuples(st.just("append"), KEYS, LINES, NUMBERS, NUMBERS),
    st.tuples(st.just("append"), KEYS, LINES, st.none(), st.none()),
    st.tuples(st.just("rewrite"), KEYS, LINES, NUMBERS),
    st.tuples(st.just("archive"), KEYS, st.sampled_from([None, "old", "new"]), NUMBERS),
    st.tuples(st.just("restore"), KEYS, NUMBERS),
    st.tuples(st.just("pin"), KEYS, st.booleans()),
    st.tuples(st.just("tag"), KEYS, TAGS, TAGS),
    st.tuples(st.just("title"), KEYS, st.sampled_from([None, "t", "ü"])),
    st.tuples(st.just("touch"), KEYS),
)
ALONE = st.one_of(
    SINGLE,
    st.tuples(st.just("expire"), KEYS),
    st.tuples(st.just("sweep")),
    st.tuples(st.just("invalidate")),
    st.tuples(st.just("acquire"), KEYS, HOLDERS),
    st.tuples(st.just("release"), KEYS),
    st.tuples(st.just("fenced"), KEYS, ENTRIES),
)
MOMENTS = st.one_of(ALONE.map(lambda one: (one,)), st.lists(SINGLE, min_size=2, max_size=3).map(tuple))


class Player:
    """Plays operations on one store, as one agent, and remembers the leases it was given."""

    def __init__(self, store: Store, agent: str) -> None:
        self._store, self._agent = store, agent
        self._leases: dict[str, Any] = {}

    async def act(self, operation: Operation) -> object:
        """Do one operation and return what it told, without times."""
        try:
            return await getattr(self, f"_{operation[0]}")(*operation[1:])
        except Conflict as error:
            return "conflict", told(error.current)
        except NoTranscript:
            return "no transcript"
        except LeaseHeld as error:
            return "held", error.lease.holder
        except LeaseLost:
            return "lost"

    async def state(self) -> Answers:
        """Return all that can be seen, without times."""
        await self._store.sweep()
        seen: Answers = []
        for status in (Status.ACTIVE, Status.ARCHIVED, None):
            rows = (await self._store.search(Query(agent=self._agent, status=status))).items
            seen.append(
                sorted((r.key.key, r.session_id or "", r.lines, r.revision, r.title or "", r.tags) for r in rows)
            )
            seen.append(await self._store.count(agent=self._agent, status=status))
        for name in NAMES:
            transcript = await self._store.read(self._name(name))
            seen.append(told(await self._store.get(self._name(name))))
            seen.append(transcript and (transcript.head, transcript.lines))
        return seen

    async def events(self, cursor: str) -> dict[str, Answers]:
        """Return each session's events in their order."""
        found: dict[str, Answers] = defaultdict(list)
        while (part := await self._store.changes(cursor)).items:
            for change in part.items:
                if change.key.agent == self._agent:
                    found[change.key.key].append((change.revision, change.operation))
            cursor = part.cursor
        return dict(found)

    def _name(self, name: str) -> SessionKey:
        return SessionKey(self._agent, name)

    async def _set(self, name: str, value: dict[str, Any], expected: int | None) -> object:
        return told(await self._store.set(self._name(name), self._entry(name, value), expected=expected))

    async def _create(self, name: str, value: dict[str, Any], lines: list[bytes]) -> object:
        return told(await self._store.create(self._name(name), self._entry(name, value), lines))

    def _entry(self, name: str, value: dict[str, Any]) -> dict[str, Any]:
        # Each key's own transcripts: where two sessions name one, files share what other backends keep apart.
        return value | ({"sessionId": f"{name}-{value['sessionId']}"} if "sessionId" in value else {})

    async def _delete(self, name: str, expected: int | None) -> object:
        return await self._store.delete(self._name(name), expected=expected)

    async def _append(self, name: str, lines: list[bytes], position: int | None, generation: int | None) -> object:
        return await self._store.append(self._name(name), lines, position=position, generation=generation)

    async def _rewrite(self, name: str, lines: list[bytes], generation: int | None) -> object:
        return await self._store.rewrite(self._name(name), lines, generation=generation)

    async def _archive(self, name: str, reason: str | None, expected: int | None) -> object:
        return told(await self._store.archive(self._name(name), reason=reason, expected=expected))

    async def _restore(self, name: str, expected: int | None) -> object:
        return told(await self._store.restore(self._name(name), expected=expected))

    async def _pin(self, name: str, pinned: bool) -> object:
        return told(await self._store.pin(self._name(name), pinned))

    async def _tag(self, name: str, add: set[str], remove: set[str]) -> object:
        return told(await self._store.tag(self._name(name), add=add, remove=remove))

    async def _title(self, name: str, title: str | None) -> object:
        return told(await self._store.title(self._name(name), title))

    async def _touch(self, name: str) -> object:
        return await self._store.touch(self._name(name))

    async def _expire(self, name: str) -> object:
        found = await self._store.touch(self._name(name), lifetime=BRIEF)
        await asyncio.sleep(PAUSE_S)
        return found

    async def _sweep(self) -> object:
        # How many is not compared: a backend may have swept some with an earlier write.
        await self._store.sweep()
        return "swept"

    async def _invalidate(self) -> object:
        return await self._store.invalidate(agent=self._agent)

    async def _acquire(self, name: str, holder: str) -> object:
        self._leases[name] = await self._store.acquire_lease(self._name(name), holder, 600)
        return "acquired"

    async def _release(self, name: str) -> object:
        return name in self._leases and await self._store.release_lease(self._leases[name])

    async def _fenced(self, name: str, value: dict[str, Any]) -> object:
        fence = self._leases[name].token if name in self._leases else 1
        return told(await self._store.set(self._name(name), self._entry(name, value), fence=fence))


def told(session: Session | None) -> object:
    return session and (session.revision, session.entry.raw, session.status, session.transcript, session.marks)


async def played(config: SessionStorage, agent: str, history: list[tuple[Operation, ...]]) -> Answers:
    """Play a history; the operations of one moment at once."""
    async with open_store(config) as store:
        player = Player(store, agent)
        start = await store.position()
        answers: Answers = []
        for moment in history:
            answers.append(list(await asyncio.gather(*map(player.act, moment))))
        return [answers, await player.state(), await player.events(start)]


def orders(history: list[tuple[Operation, ...]]) -> Iterator[list[tuple[int, ...]]]:
    """Go through the orders of each moment's operations, as lists of permutations."""
    yield from map(list, itertools.product(*(itertools.permutations(range(len(moment))) for moment in history)))


async def as_model(history: list[tuple[Operation, ...]], order: list[tuple[int, ...]]) -> Answers:
    """Play a history on the model, one operation after another in this order; answers stand as in the history."""
    async with open_store("memory://") as store:
        player = Player(store, "model")
        start = await store.position()
        answers: Answers = []
        for moment, places in zip(history, order, strict=True):
            given = {place: await player.act(moment[place]) for place in places}
            answers.append([given[place] for place in range(len(moment))])
        return [answers, await player.state(), await player.events(start)]


def few_at_once(history: list[tuple[Operation, ...]]) -> bool:
    """Keep the number of orders small: each is played."""
    return sum(len(moment) > 1 for moment in history) <= 2


@pytest.mark.parametrize("seed", ["sequential", "concurrent"])
def test_a_random_history_is_that_of_the_model(backend: Backend, seed: str) -> None:
    moments = ALONE.map(lambda one: (one,)) if seed == "sequential" else MOMENTS
    with asyncio.Runner() as runner:

        @hypothesis.settings(max_examples=_examples(backend))
        @hypothesis.given(st.lists(moments, max_size=10).filter(few_at_once))
        @hypothesis.example(
            [(("set", "one", {"sessionId": "s"}, 0),), (("append", "one", [b"a"], 0, 0),), (("expire", "one"),)]
        )
        @hypothesis.example(
            [
                (("create", "one", {"sessionId": "s"}, [b"a"]),),
                (("expire", "one"),),
                (("create", "one", {"sessionId": "s"}, [b"", b"a"]), ("append", "one", [b"a"], 0, None)),
            ]
        )
        @hypothesis.example([(("set", "one", {}, None), ("set", "one", {"n": 1}, 0), ("archive", "one", "old", None))])
        def linearizable(history: list[tuple[Operation, ...]]) -> None:
            seen = runner.run(played(backend.config, f"a{next(_agents)}", history))
            expected = []
            for order in orders(history):
                expected.append(runner.run(as_model(history, order)))
                if seen == expected[-1]:
                    return
            assert seen == expected[0], f"none of {len(expected)} orders explains it"

        linearizable()


def _examples(backend: Backend) -> int:
    return max(20, hypothesis.settings.default.max_examples // backend.declared.get("slower", 1))


async def test_the_model_is_not_vacuous() -> None:
    """Name what one history must give, so that all backends being wrong alike does not pass."""
    history = [
        (("set", "one", {"sessionId": "s"}, 0),),
        (("append", "one", [b"a"], 1, None),),
        (("tag", "one", {"a"}, set()),),
        (("acquire", "one", "me"),),
        (("fenced", "one", {"n": 2}),),
        (("acquire", "one", "you"),),
        (("expire", "one"),),
        (("delete", "one", None),),
    ]
    answers, state, events = await as_model(history, [(0,)] * len(history))
    assert answers[1][0][0] == "conflict"
    assert answers[4][0][0] == 3
    assert answers[5:8] == [[("held", "me")], [True], [False]]
    assert state[:2] == [[], 0]
    assert [operation for _, operation in events["one"]] == ["set", "mark", "set", "mark", "expire"]
