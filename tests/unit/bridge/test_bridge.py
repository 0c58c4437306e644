"""A bridge of which one part fails does not go on as if nothing were."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sessionstore.bridge.bridge import Bridge
from sessionstore.bridge.room import Room
from sessionstore.sessions.memory import MemoryStore


@pytest.mark.parametrize("part", ["refresh_doors", "noticed"])
async def test_a_part_that_fails_ends_the_bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(f"no {part}")

    sessions = tmp_path / "agents" / "main" / "sessions"
    sessions.mkdir(parents=True)
    bridge = Bridge(MemoryStore(), tmp_path, "a", lambda: (sessions / "id-1.jsonl").write_bytes(b""))
    monkeypatch.setattr(Room, part, fail)

    with pytest.raises(OSError, match=part):
        async with asyncio.timeout(60):
            await bridge.run(asyncio.Event())
