"""Drops what a migration keeps for a way back, when nobody wants to go back any more.

The report stays, marked as finalized, and so does the quarantine: what could not be carried is nowhere else when the
old volume is gone. Killed anywhere, it is run again: the mark comes last.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sessionstore.migrate import claims
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.keeper import document_name
from sessionstore.migrate.kept import Shelf
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.shelves import LEDGER, ROWS
from sessionstore.sessions.store import Store

FOLLOWING, CLAIMS = "following", "claims"
DROPPED = (FOLLOWING, LEDGER, *ROWS, Shelf.CONFLICTS.value, CLAIMS)
"""What is dropped, in this order: a follower needs the ledger, and without that a run begins anew, and needs nothing of
the others."""
LOOK_S = 12.0
"""How long a run that has not ended is watched. One that lives writes its progress every 5 s."""
_AT_ONCE = 32
_ENDED = (None, "Done")

Advance = Callable[[int], None]
"""Told how many documents more are gone."""


@dataclass(slots=True)
class Finalized:
    """What was dropped; name of a folder -> how many documents."""

    source_name: str
    dropped: dict[str, int] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return what the command prints for programs."""
        return {"outcome": "Finalized", "source": self.source_name, "dropped": self.dropped}


@dataclass(frozen=True, slots=True)
class Finalizer:
    """Finalizes one source of a store."""

    store: Store
    source_name: str
    patience: Patience

    async def refuse_while_a_run_lives(self, look_s: float = LOOK_S) -> None:
        """Watch a run that has not ended. Raises: MigrationError where its progress moves, so that it is not dead."""
        before = await self._get("progress")
        if _phase(before) in _ENDED:
            return
        await asyncio.sleep(look_s)
        if await self._get("progress") != before:
            raise MigrationError(
                "RunUnderWay",
                f"a migration of {self.source_name} is under way ({_phase(before)}); wait for its end, or end it first",
            )

    async def names(self) -> dict[str, list[str]]:
        """Return what would be dropped: name of a folder -> names of documents. Raises: Unavailable."""
        return {folder: await self.patience.of(functools.partial(self._names, folder)) for folder in DROPPED}

    async def drop(self, names: dict[str, list[str]], advance: Advance) -> Finalized:
        """Drop it, and mark the report. Raises: Unavailable; what was dropped until then is."""
        done = Finalized(self.source_name)
        for folder in DROPPED:
            await self._delete(names[folder], advance)
            done.dropped[folder] = len(names[folder])
        await self._mark()
        return done

    async def _names(self, folder: str) -> list[str]:
        if folder == CLAIMS:
            return await claims.claimed(self.store, self.source_name)
        prefix = document_name(self.source_name, f"{folder}/")
        return [name async for name in self.store.list_documents(prefix)]

    async def _delete(self, names: Iterable[str], advance: Advance) -> None:
        left = iter(names)
        while group := list(islice(left, _AT_ONCE)):
            await self.patience.of(functools.partial(self._delete_group, group))
            advance(len(group))

    async def _delete_group(self, names: Iterable[str]) -> None:
        await asyncio.gather(*map(self.store.delete_document, names))

    async def _mark(self) -> None:
        report = _object(await self._get("report"))
        if report is None or report.get("finalized") is True:
            return
        body = json.dumps(report | {"finalized": True}, ensure_ascii=False).encode()
        await self.patience.of(lambda: self.store.put_document(document_name(self.source_name, "report"), body))

    async def _get(self, rest: str) -> bytes | None:
        return await self.patience.of(lambda: self.store.get_document(document_name(self.source_name, rest)))


def _phase(progress: bytes | None) -> str | None:
    """Return the phase; None where nothing is known of a run."""
    phase = (_object(progress) or {}).get("phase")
    return phase if isinstance(phase, str) else None


def _object(document: bytes | None) -> dict[str, Any] | None:
    try:
        found = json.loads(document or b"")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
