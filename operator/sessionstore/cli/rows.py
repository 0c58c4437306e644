"""Sessions as rows, for `list` and `search`: objects for programs, a table for people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import rich.table

from sessionstore.cli import output
from sessionstore.sessions import Page, SessionInfo

PAGE = 500
"""Rows asked for at once."""

Fetch = Callable[[int, str | None], Awaitable[Page]]
"""Takes how many rows at most, and the cursor."""


async def show(fetch: Fetch, limit: int | None, as_json: bool) -> None:
    """Print up to `limit` rows, as they come or as a table."""
    if as_json:
        async for info in every(fetch, limit):
            output.json_line(document(info))
        return
    found = [info async for info in every(fetch, limit)]
    if not found:
        output.console(stderr=True).print("No sessions.")
        return
    output.console().print(table(found))


async def every(fetch: Fetch, limit: int | None = None) -> AsyncIterator[SessionInfo]:
    """Go through rows page by page; a page may be empty and yet have a cursor."""
    cursor: str | None = None
    left = limit
    while True:
        page = await fetch(PAGE if left is None else min(PAGE, left), cursor)
        for info in page.items:
            yield info
        cursor = page.cursor
        left = None if left is None else left - len(page.items)
        if cursor is None or left == 0:
            return


def document(info: SessionInfo) -> dict[str, Any]:
    """Return a row for programs. Members are added, never changed or taken away."""
    return {
        "key": info.key.key,
        "sessionId": info.session_id,
        "agent": info.key.agent,
        "status": info.status.value,
        "lines": info.lines,
        "revision": info.revision,
        "updatedAt": info.updated_ms,
        "title": info.title,
        "tags": list(info.tags),
        "pinned": info.pinned,
        "channel": info.channel,
        "sender": info.sender,
        "expiresAt": info.expires_ms,
    }


def table(rows: list[SessionInfo]) -> rich.table.Table:
    """Return rows for people."""
    found = rich.table.Table(box=None, pad_edge=False, header_style="bold")
    found.add_column("KEY", overflow="fold", min_width=20)
    found.add_column("AGENT", overflow="fold")
    found.add_column("STATUS", no_wrap=True)
    found.add_column("LINES", justify="right", no_wrap=True)
    found.add_column("REV", justify="right", no_wrap=True)
    found.add_column("UPDATED", no_wrap=True)
    for info in rows:
        counts = (str(info.lines), str(info.revision), output.moment(info.updated_ms))
        found.add_row(output.printable(info.key.key), output.printable(info.key.agent), info.status.value, *counts)
    return found
