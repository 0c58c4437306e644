"""Keeps rows of any number in numbered documents: `migration/<source>/plan/<n>`, `problems/<n>`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from sessionstore.migrate.keeper import Keeper, document_name
from sessionstore.sessions.exceptions import Unreadable
from sessionstore.sessions.store import Store

PAGE_ROWS = 1000
PAGE_BYTES = 1024 * 1024


class Pages:
    """Writes rows, a line of JSON each, in place of those of an earlier run.

    `begin`, `add` for each row, `end`. Those of an earlier run go first, so that what a killed run leaves is the
    beginning of its own rows, and never a mixture.
    """

    def __init__(self, keeper: Keeper, name: str) -> None:
        self._keeper, self._name = keeper, name
        self._rows: list[bytes] = []
        self._bytes = 0
        self._number = 0

    async def begin(self) -> None:
        """Remove the rows of an earlier run."""
        await self._keeper.remove(f"{self._name}/")

    async def add(self, row: Mapping[str, Any]) -> None:
        """Add a row."""
        line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
        if self._rows and (len(self._rows) == PAGE_ROWS or self._bytes + len(line) > PAGE_BYTES):
            await self.end()
        self._rows.append(line)
        self._bytes += len(line)

    async def end(self) -> None:
        """Write the rows that wait for their page to be full."""
        if self._rows:
            await self._keeper.put(f"{self._name}/{self._number}", b"".join(self._rows))
            self._rows, self._bytes, self._number = [], 0, self._number + 1


async def read_rows(store: Store, source_name: str, name: str) -> AsyncIterator[dict[str, Any]]:
    """Go through the rows that a run left, a page in memory at a time. Raises: Unreadable, Unavailable."""
    number = 0
    while (page := await store.get_document(document_name(source_name, f"{name}/{number}"))) is not None:
        for line in page.rstrip(b"\n").split(b"\n"):
            yield _row(line, f"{name}/{number}")
        number += 1


def _row(line: bytes, page: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the document {page} of this migration holds a line that is no JSON: {error}") from error
    if not isinstance(row, dict):
        raise Unreadable(f"the document {page} of this migration holds a line that is no JSON object")
    return row
