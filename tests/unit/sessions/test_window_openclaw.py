"""OpenClaw's own reader and ours give a model the same messages.

`openclaw_contexts/recorded.json` holds what OpenClaw 2026.7.1-2 made of each transcript; `record.py` there wrote it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sessionstore.sessions.memory import MemoryStore
from sessionstore.sessions.window import compact, window

RECORDED = json.loads((Path(__file__).parent / "openclaw_contexts" / "recorded.json").read_text())


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in RECORDED["cases"]])
async def test_a_window_with_room_for_all_is_what_openclaw_replays(case: dict[str, Any]) -> None:
    store = MemoryStore()
    await store.set("k", {"sessionId": "s"})
    await store.append("k", [line.encode() for line in case["lines"]])
    found = await window(store, "k", max_tokens=10**9)
    assert found is not None
    assert found.complete
    assert list(found.messages) == case["messages"]


@pytest.mark.parametrize(
    ("details", "theirs"),
    [
        pytest.param({"readFiles": ["a"], "modifiedFiles": []}, RECORDED["compactions"][0], id="with details"),
        pytest.param(None, RECORDED["compactions"][1], id="without details"),
    ],
)
async def test_a_compaction_is_the_line_that_openclaw_writes(details: Any, theirs: str) -> None:
    store = MemoryStore()
    await store.set("k", {"sessionId": "s"})
    line = {"type": "message", "id": "aaaaaaaa", "parentId": None, "message": {"role": "user", "content": "x"}}
    await store.append("k", [json.dumps(line).encode()])
    await compact(store, "k", "what was said", "aaaaaaaa", tokens_before=1234, details=details)
    found = await store.read("k", -1)
    assert found is not None
    assert alike(found.lines[0].decode()) == alike(theirs)
    assert json.loads(found.lines[0])["parentId"] == "aaaaaaaa"


def alike(line: str) -> str:
    """Take out what differs from one line to the next: ids and times; their form stays."""
    line = re.sub(r'"[0-9a-f]{8}"', '"<8 hexadecimal digits>"', line)
    return re.sub(r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"', '"<a moment>"', line)
