"""Tells one source of a store that another one rightly won a session: `migration/.won/<hash of its name>`.

Two sources may hold one key, and be carried at once, by one process or by several. The one that loses has proven
nothing wrong, and finds here that what the store has is the other's.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from sessionstore.migrate.ledger import Ledger
from sessionstore.migrate.rows import Name
from sessionstore.sessions.store import Capability, Store

ROOT = "migration/.won/"


@dataclass(frozen=True, slots=True)
class Claims:
    """The sessions that the sources of one store took from each other."""

    store: Store
    source_name: str
    ledger: Ledger

    async def win(self, name: Name) -> None:
        """Say that what this source has takes the place of what the store has; before that is done."""
        facts = self.ledger.facts(name)
        if facts is None or Capability.DOCUMENTS not in self.store.capabilities:
            return
        claim = {"source": self.source_name, "digest": facts.digest.hex()}
        await self.store.put_document(_document(name), json.dumps(claim).encode())

    async def winner(self, name: Name) -> bytes | None:
        """Return the digest of what another source put in the place of ours, or is about to; None where none did."""
        if Capability.DOCUMENTS not in self.store.capabilities:
            return None
        found = await self.store.get_document(_document(name))
        claim = json.loads(found) if found else {"source": self.source_name}
        return None if claim["source"] == self.source_name else bytes.fromhex(claim["digest"])


async def claimed(store: Store, source_name: str) -> list[str]:
    """Return the documents that tell of what a source won. Raises: Unavailable."""
    found = []
    async for document in store.list_documents(ROOT):
        body = await store.get_document(document)
        if body is not None and json.loads(body)["source"] == source_name:
            found.append(document)
    return found


def _document(name: Name) -> str:
    return f"{ROOT}{hashlib.sha256(json.dumps(name).encode()).hexdigest()[:32]}"
