"""What a turn of the example does about other programs' deletes, and lines that it cannot read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from examples.gateway import conversations
from sessionstore.sessions import SessionKey, SessionStorage, Store, Transcript, TranscriptHead, open_store
from sessionstore.sessions.memory import MemoryStore

NAME = SessionKey("main", "agent:main:main")


class DeletedMeanwhile(MemoryStore):
    """A store whose session another program changes once, between a turn's read and its append."""

    def __init__(self, left: dict[str, str] | None) -> None:
        """`left` is the entry that the other program leaves, None where it deletes the session."""
        super().__init__()
        self._left = left
        self._done = False

    async def append(
        self, key: SessionKey | str, lines: Sequence[bytes], *, position: int | None = None,
        generation: int | None = None,
    ) -> TranscriptHead:  # fmt: skip
        if not self._done:
            self._done = True
            await (self.delete(key) if self._left is None else self.set(key, self._left))
        return await super().append(key, lines, position=position, generation=generation)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_store(SessionStorage(backend="memory")) as opened:
        yield opened


async def read(store: Store) -> Transcript:
    found = await store.read(NAME)
    assert found is not None
    return found


@pytest.mark.parametrize("left", [None, {"channel": "demo"}], ids=["deleted", "left without a transcript"])
async def test_a_session_that_goes_between_read_and_append_is_begun_anew(left: dict[str, str] | None) -> None:
    store = DeletedMeanwhile(left)
    turn = await conversations.take_turn(store, NAME, "Hello")
    assert (turn.number, turn.lines) == (1, 3)
    assert len((await read(store)).lines) == 3


async def test_a_line_that_is_nested_too_deeply_says_nothing_and_stays(store: Store) -> None:
    deep = b"[" * 100_000
    await store.set(NAME, {"sessionId": "s"})
    await store.append(NAME, [deep])
    turn = await conversations.take_turn(store, NAME, "Hello")
    assert (turn.number, turn.lines) == (1, 3)
    assert (await read(store)).lines[0] == deep
