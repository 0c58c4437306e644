"""Random histories have the same outcome on every backend; the memory backend is the model."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import hypothesis
from hypothesis import strategies as st

from sessionstore.sessions import Conflict, NoTranscript, SessionKey, SessionStorage, Store, TranscriptHead, open_store

_histories = itertools.count(1)

KEYS = st.sampled_from(["one", "two"])
# Each key's own transcripts: where two sessions name one transcript, files share what other backends keep apart.
ENTRIES = st.sampled_from([{}, {"n": 1}, {"sessionId": "s"}, {"sessionId": "t", "n": 2}])
LINES = st.lists(st.sampled_from([b"", b"a", b"{}", b"\xff"]), max_size=3)
NUMBERS = st.none() | st.integers(0, 5)
OPERATIONS = st.one_of(
    st.tuples(st.just("set"), KEYS, ENTRIES, NUMBERS),
    st.tuples(st.just("delete"), KEYS, st.none(), NUMBERS),
    st.tuples(st.just("append"), KEYS, LINES, NUMBERS),
    st.tuples(st.just("append"), KEYS, LINES, st.none()),
    st.tuples(st.just("rewrite"), KEYS, LINES, NUMBERS),
)


async def act(store: Store, agent: str, operation: tuple[str, str, Any, int | None]) -> object:
    """Do one operation and return what it told, without times."""
    what, key, value, number = operation
    name = SessionKey(agent, key)
    try:
        if what == "set":
            entry = value | ({"sessionId": f"{key}-{value['sessionId']}"} if "sessionId" in value else {})
            return told(await store.set(name, entry, expected=number))
        if what == "delete":
            return await store.delete(name, expected=number)
        if what == "append":
            return await store.append(name, value, position=number)
        return await store.rewrite(name, value, generation=number)
    except Conflict as error:
        return "conflict", told(error.current)
    except NoTranscript:
        return "no transcript"


def told(session: Any) -> object:
    return session and (session.revision, session.entry.raw, session.status, session.transcript)


async def state(store: Store, agent: str) -> list[object]:
    """Return all that can be seen of an agent's sessions, without times."""
    rows = (await store.list(agent=agent)).items
    seen: list[object] = [sorted((row.key, row.session_id, row.lines, row.revision) for row in rows)]
    for key in ("one", "two"):
        transcript = await store.read(SessionKey(agent, key))
        seen += [told(await store.get(SessionKey(agent, key))), transcript and (transcript.head, transcript.lines)]
    return seen


async def play(config: SessionStorage, agent: str, history: list[Any]) -> list[object]:
    async with open_store(config) as store:
        outcomes = [await act(store, agent, operation) for operation in history]
        return [*outcomes, *await state(store, agent)]


def test_a_random_history_is_the_same_everywhere(redis_config: SessionStorage, tmp_path_factory: Any) -> None:
    file_config = SessionStorage(backend="file", state_dir=str(tmp_path_factory.mktemp("state")))
    with asyncio.Runner() as runner:

        @hypothesis.given(st.lists(OPERATIONS, max_size=12))
        @hypothesis.example([("set", "one", {"sessionId": "s"}, 0), ("append", "one", [b"a"], 0)])
        def same(history: list[Any]) -> None:
            agent = f"a{next(_histories)}"
            expected = runner.run(play(SessionStorage(backend="memory"), agent, history))
            assert runner.run(play(file_config, agent, history)) == expected
            assert runner.run(play(redis_config, agent, history)) == expected

        same()


async def test_the_model_is_not_vacuous() -> None:
    """Name what one history must give, so that all backends being wrong alike does not pass."""
    history = [
        ("set", "one", {"sessionId": "s"}, 0),
        ("append", "one", [b"a"], 1),
        ("append", "one", [b"a"], 0),
        ("delete", "one", None, 2),
        ("append", "one", [b"a"], None),
    ]
    seen = await play(SessionStorage(backend="memory"), "a", history)
    assert seen[1][0] == "conflict"
    assert seen[2] == TranscriptHead("one-s", 0, 1)
    assert seen[3:6] == [True, "no transcript", []]
