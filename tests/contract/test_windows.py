"""Windows and compactions work on every backend, since they use nothing but the protocol."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from sessionstore.sessions import InvalidEntry, SessionKey, Store
from sessionstore.sessions.window import compact, window
from tests.conftest import ROOT

KEY = SessionKey("main", "agent:main:telegram:direct:7")
HEADER = b'{"type":"session","version":3,"id":"s","timestamp":"2026-11-20T10:06:59.004Z","cwd":"/w"}'


def message(number: int) -> bytes:
    said = {"role": "user", "content": f"message {number}"}
    parent = f"m{number - 1}" if number else None
    line = {"type": "message", "id": f"m{number}", "parentId": parent, "timestamp": "2026-11-20T10:00:00.000Z"}
    return json.dumps({**line, "message": said}).encode()


MESSAGES = [message(number) for number in range(700)]


@pytest.fixture
async def filled(store: Store) -> Store:
    await store.set(KEY, {"sessionId": "s"})
    await store.append(KEY, [HEADER, *MESSAGES])
    return store


async def test_the_newest_lines_that_fit(filled: Store) -> None:
    found = await window(filled, KEY, max_tokens=300, counter=lambda line: 1)
    assert found is not None
    assert found.lines == tuple(MESSAGES[-300:])
    assert (found.head.lines, found.complete, found.over_budget, found.skipped) == (701, False, False, 0)


async def test_all_lines_where_all_fit(filled: Store) -> None:
    found = await window(filled, KEY, max_tokens=700, counter=lambda line: 1)
    assert found is not None
    assert (found.lines, found.complete) == (tuple(MESSAGES), True)


async def test_a_turn_goes_behind_the_window_it_was_made_from(filled: Store) -> None:
    found = await window(filled, KEY, max_tokens=10)
    assert found is not None
    head = await filled.append(KEY, [message(700)], position=found.head.lines, generation=found.head.generation)
    assert head.lines == 702


async def test_a_compaction_is_one_line_more_and_a_shorter_window(filled: Store) -> None:
    head = await compact(filled, KEY, "700 messages", "m690")
    found = await window(filled, KEY, max_tokens=10**9)
    assert found is not None
    assert head == found.head
    assert (head.lines, head.generation) == (702, 0)
    assert (found.lines, found.summary, found.complete) == (tuple(MESSAGES[690:]), "700 messages", True)


async def test_a_compaction_that_keeps_what_is_not_there_changes_nothing(filled: Store) -> None:
    with pytest.raises(InvalidEntry):
        await compact(filled, KEY, "700 messages", "m700")
    part = await filled.read(KEY, 0, 0)
    assert part is not None
    assert part.head.lines == 701


async def test_no_session_no_window(store: Store) -> None:
    assert await window(store, KEY, max_tokens=1) is None


async def test_the_guide_s_context_is_compacted_when_it_is_too_long(filled: Store) -> None:
    guide: dict[str, Any] = {}
    texts = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(), re.DOTALL)
    exec(next(text for text in texts if "async def context" in text), guide)
    whole = await guide["context"](filled, KEY, 10**6)
    assert (whole.summary, len(whole.lines)) == (None, 700)
    part = await guide["context"](filled, KEY, 200)
    assert part.summary is not None
    assert 0 < len(part.lines) < 50
    assert part.tokens <= 200
