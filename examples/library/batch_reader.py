"""Keeps a table of all sessions in SQLite up to date: walks them once, then follows the changes.

    SESSION_STORAGE_CONFIG=session_storage.yaml python batch_reader.py sessions.db [--once]

The feed's cursor lies in the same database and moves in the same transaction as the rows, so that a run that is killed
anywhere goes on where it stopped, and misses nothing.
"""

import asyncio
import contextlib
import sqlite3
import sys

from sessionstore import sessions
from sessionstore.sessions import Changes, FeedLost, Session, SessionKey, Store, Unavailable, Unreadable, open_store

TABLES = """
CREATE TABLE IF NOT EXISTS sessions (
  agent TEXT, key TEXT, revision INTEGER, status TEXT, lines INTEGER, updated_ms INTEGER, PRIMARY KEY (agent, key));
CREATE TABLE IF NOT EXISTS feed (one INTEGER PRIMARY KEY CHECK (one = 1), cursor TEXT);
"""


async def walk(store: Store, database: sqlite3.Connection) -> str:
    """Read all sessions, and return the cursor of before: what changes meanwhile is read once more, and not missed."""
    cursor = await store.position()
    # One transaction: who reads the table meanwhile sees it as it was.
    with database:
        database.execute("DELETE FROM sessions")
        async for row in sessions.iterate(store):
            keep(database, row.key, row.revision, row.status, row.lines, row.updated_ms)
        database.execute("INSERT OR REPLACE INTO feed VALUES (1, ?)", [cursor])
        (found,) = database.execute("SELECT count(*) FROM sessions").fetchone()
    print(f"walked: {found} sessions", flush=True)
    return cursor


async def take_over(store: Store, database: sqlite3.Connection, changes: Changes) -> None:
    """Look at what changed, and keep it together with the cursor behind it."""
    keys = sorted({change.key for change in changes.items})
    states = [await read(store, key) for key in keys]
    with database:
        for key, session in zip(keys, states, strict=True):
            if session is None:
                database.execute("DELETE FROM sessions WHERE agent = ? AND key = ?", [key.agent, key.key])
            else:
                lines = session.transcript.lines if session.transcript else 0
                keep(database, key, session.revision, session.status, lines, session.updated_ms)
        database.execute("UPDATE feed SET cursor = ?", [changes.cursor])
    print(f"changed: {len(keys)} sessions", flush=True)


async def read(store: Store, key: SessionKey) -> Session | None:
    try:
        return await store.get(key)
    except Unreadable as error:
        print(f"left out: {error}")
        return None


def keep(database: sqlite3.Connection, key: SessionKey, *state: object) -> None:
    database.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?)", [key.agent, key.key, *state])


async def main(path: str, once: bool) -> None:
    async with open_store() as store:
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.executescript(TABLES)
            known = database.execute("SELECT cursor FROM feed").fetchone()
            cursor = known[0] if known else None
            while True:
                try:
                    cursor = cursor or await walk(store, database)
                    changes = await store.changes(cursor, wait_s=0 if once else 30)
                    if changes.items:
                        await take_over(store, database, changes)
                    elif once:
                        return
                    cursor = changes.cursor
                except FeedLost:
                    # Too much went by unread, or the store came back from a backup: look at everything again.
                    cursor = None
                except Unavailable as error:
                    if once:
                        sys.exit(f"stopped, and the next run goes on from here: {error}")
                    await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], "--once" in sys.argv))
