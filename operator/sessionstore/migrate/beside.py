"""What a session has beside its entry and lines: status, marks and lifetime. Files say little of it, stores all.

A source adds and never takes away: who pinned a session in the store since did not do so for nothing.
"""

from __future__ import annotations

from sessionstore.migrate.items import SourceSession
from sessionstore.sessions.record import INHERITED, Session, Status
from sessionstore.sessions.store import Store


def lacks(session: SourceSession, held: Session) -> bool:
    """Tell whether the store's session lacks something that the source's has."""
    return not session.is_plain and bool(_missing(session, held))


async def put(store: Store, session: SourceSession, held: Session) -> Session:
    """Set what is lacking; return the session as it then is. Each step can be repeated."""
    missing = () if session.is_plain else _missing(session, held)
    for what in missing:
        await _put(store, session, what)
    return (await store.get(session.key) or held) if missing else held


def _missing(session: SourceSession, held: Session) -> tuple[str, ...]:
    marks, its = session.marks, held.marks
    lacking = {
        "lifetime": session.lifetime not in (INHERITED, held.lifetime),
        "title": marks.title not in (None, its.title),
        "tags": not set(marks.tags) <= set(its.tags),
        "pin": marks.pinned and not its.pinned,
        "status": session.status is Status.ARCHIVED and held.status is not Status.ARCHIVED,
    }
    return tuple(what for what, is_lacking in lacking.items() if is_lacking)


async def _put(store: Store, session: SourceSession, what: str) -> None:
    key, marks = session.key, session.marks
    if what == "lifetime":
        await store.touch(key, lifetime=session.lifetime)
    elif what == "title":
        await store.title(key, marks.title)
    elif what == "tags":
        await store.tag(key, add=marks.tags)
    elif what == "pin":
        await store.pin(key)
    else:
        await store.archive(key, reason=marks.reason)
