"""Ephemeral sessions are gone at the end of their block, on every backend; and the guide's scopes do what it says."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from sessionstore.sessions import SessionKey, Store
from sessionstore.sessions.scopes import ephemeral
from tests.conftest import ROOT

KEY = SessionKey("main", "agent:main:kiosk:ephemeral:42")


async def test_an_ephemeral_session_ends_with_its_block(store: Store) -> None:
    async with ephemeral(store, KEY, {"channel": "kiosk"}) as session:
        assert (await store.append(session.key, [b"{}"])).lines == 1
        assert await store.exists(session.key)
    assert await store.get(session.key) is None
    assert await store.read(session.key) is None


async def test_an_ephemeral_session_ends_when_its_task_is_cancelled(store: Store) -> None:
    made: list[SessionKey] = []

    async def serve() -> None:
        async with ephemeral(store, KEY) as session:
            made.append(session.key)
            asyncio.current_task().cancel()  # type: ignore[union-attr]
            await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(serve())
    assert await store.get(made[0]) is None


async def test_the_guide_s_messages_go_where_their_scope_says(store: Store) -> None:
    guide: dict[str, Any] = {}
    texts = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(), re.DOTALL)
    exec(next(text for text in texts if "async def receive" in text), guide)
    counts = [await guide["receive"](store, channel, "42", b"{}") for channel in ("telegram", "telegram", "support")]
    counts += [await guide["receive"](store, "kiosk", "42", b"{}") for _ in range(2)]
    assert counts == [1, 2, 1, 1, 1]
    keys = {info.key.key for info in (await store.list()).items}
    assert keys == {"agent:main:telegram:direct:42", "agent:main:support:default:direct:42"}
