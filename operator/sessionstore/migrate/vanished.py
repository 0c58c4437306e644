"""What a gateway has deleted since its files were copied while it ran: it must not come back by the cutover.

A session is dropped only where the store still has exactly what the copy has left, so that nobody else has touched it,
and it is kept as a document first. A gateway that deletes a session puts its transcript away as well: where that
still lies there, an index was lost or cut short, and nothing was deleted. Called by the run without the gateway that
ends what such a copy began, and only where all of the source could be read: what is set aside is not gone.
"""

from __future__ import annotations

from functools import partial

from sessionstore.migrate.rows import Name, Row, mark_of
from sessionstore.migrate.run import Run
from sessionstore.openclaw import names
from sessionstore.sessions.exceptions import Conflict
from sessionstore.sessions.record import Session, SessionKey


async def drop(run: Run) -> None:
    """Delete from the store what the copy brought and the source has no more. Raises: Unavailable."""
    if not run.keeper.can_keep:
        return
    for row in run.ledger.gone("session"):
        await run.patience.of(partial(_drop, run, row))


async def _drop(run: Run, row: Row) -> None:
    key = SessionKey(row.facts.name.agent, row.facts.name.name)
    held = await run.store.get(key)
    if held is None or mark_of(held) != row.mark or _is_left_behind(run, held):
        return
    try:
        run.ledger.keep([await run.keeper.keep_stored(held)])
        await run.store.delete(key, expected=held.revision)
    except Conflict:
        # Somebody uses it in the store after all, so it is theirs.
        return


def _is_left_behind(run: Run, held: Session) -> bool:
    """Tell whether the source has the session's transcript still, as one that no entry names."""
    if held.transcript is None:
        return False
    orphan = Name("archive", held.key.agent, names.file_of(held.transcript.id))
    return run.ledger.facts(orphan) is not None
