"""Mutations of a database as SQL has them: rows that the schema forbids, lengths that lie, bombs, schemas of others."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence

from tests.fuzz.site import Site, Touch, touched
from tests.migrate import sqlite_states

_MAX_STEPS = 10_000_000
_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i"


def bomb(blocks: int) -> bytes:
    """Return a zstd frame of a few bytes that says 128 KiB of one letter, so many times. By hand: RFC 8878, 3.1.1."""
    block = (1 << 1 | (128 * 1024) << 3).to_bytes(3, "little") + b"x"
    last = (1 | 1 << 1 | 1 << 3).to_bytes(3, "little") + b"x"
    return b"\x28\xb5\x2f\xfd" + b"\x00\x68" + block * blocks + last


_EVENTS: Sequence[tuple[str, Sequence[object]]] = (
    ("event_utf8_bytes = event_utf8_bytes + 1", ()),
    ("event_utf8_bytes = ?", (-1,)),
    ("event_utf8_bytes = ?", (2**40,)),
    ("event_json = ?, event_zstd = NULL", ("not JSON \0 at all",)),
    ("event_json = ?, event_zstd = NULL", (b"\xff\xfe",)),
    ("event_json = ?, event_zstd = NULL", ("two\nlines",)),
    ("event_json = NULL, event_zstd = NULL", ()),
    ("event_json = NULL, event_zstd = ?", (b"no frame",)),
    ("event_json = NULL, event_zstd = ?", (bomb(1),)),
    ("event_json = NULL, event_zstd = ?, event_utf8_bytes = 4000000", (bomb(8192),)),
    ("event_json = NULL, event_zstd = ?, event_utf8_bytes = 1", (bomb(8192),)),
    ("event_json = ?, event_zstd = NULL, event_utf8_bytes = 5000001", ("x" * 5_000_001,)),
    ("seq = -1", ()),
    ("seq = 9223372036854775807", ()),
    ("session_id = 'nobody'", ()),
)
_NODES: Sequence[tuple[str, Sequence[object]]] = (
    ("entry_json = ?", ("not JSON",)),
    ("entry_json = ?", (b"\xff",)),
    ("entry_json = ?", ("[" * 100_000,)),
    ("entry_json = ?", ('{"a":1,"a":2}',)),
    ("entry_json = ?", ("",)),
    ("entry_json = ?", ('{"sessionId":"x","note":"' + "n" * 9_000_000 + '"}',)),
    ("current_session_id = NULL", ()),
    ("current_session_id = 'nobody'", ()),
    ("current_session_id = '../../../outside/canary'", ()),
    ("session_key = ?", ("k" * 4097,)),
    ("session_key = ?", ("a\0b",)),
    ("session_key = ?", (b"\xff",)),
    ("session_key = ''", ()),
    ("updated_at = -1", ()),
    ("updated_at = 9223372036854775807", ()),
    ("entry_valid = -1", ()),
    ("archived_at = 1", ()),
)
_SCHEMAS = (
    "PRAGMA user_version = 999999",
    "PRAGMA user_version = 0",
    "PRAGMA application_id = 1",
    "UPDATE schema_meta SET agent_id = 'another'",
    "DELETE FROM schema_meta",
    "DROP TABLE transcript_events",
    "DROP TABLE session_windows",
    "ALTER TABLE session_nodes RENAME COLUMN entry_json TO entry",
    "ALTER TABLE transcript_events RENAME COLUMN event_zstd TO event_lz4",
    "ALTER TABLE transcript_events RENAME TO events",
    "CREATE TABLE unheard_of (x)",
    f"ALTER TABLE transcript_events RENAME TO events; CREATE VIEW transcript_events AS {_ENDLESS} AS seq, 'id-0' AS"
    " session_id, '{}' AS event_json, NULL AS event_zstd, 2 AS event_utf8_bytes, 1 AS created_at FROM n",
    "ALTER TABLE session_nodes RENAME TO nodes; CREATE VIEW session_nodes AS"
    f" SELECT nodes.* FROM nodes, ({_ENDLESS} FROM n)",
)  # fmt: skip


def change(site: Site, chance: random.Random) -> Touch:
    """Change one database. What it cannot be made to take is left as it was."""
    names = [name for name in site.files if name.endswith(".sqlite") and (site.root / name).is_file()]
    if not names:
        return Touch()
    name = chance.choice(names)
    connection = sqlite_states.connect(site.root / name)
    # An earlier change may have put a table there that does not end.
    connection.set_progress_handler(lambda: True, _MAX_STEPS)
    try:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA secure_delete = ON")
        _change(connection, chance)
    except sqlite3.Error:
        pass
    finally:
        connection.close()
    return touched(name, f"{name}-wal", f"{name}-shm")


def _change(connection: sqlite3.Connection, chance: random.Random) -> None:
    kind = chance.choice(("event", "event", "node", "node", "schema"))
    if kind == "schema":
        connection.executescript(chance.choice(_SCHEMAS))
        return
    _without_triggers(connection)
    changes, table = (_EVENTS, "transcript_events") if kind == "event" else (_NODES, "session_nodes")
    sql, values = chance.choice(changes)
    key = "session_id, seq" if kind == "event" else "session_key"
    (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    at = chance.randrange(count) if count else 0
    where = f"({key}) = (SELECT {key} FROM {table} ORDER BY {key} LIMIT 1 OFFSET {at})"
    connection.execute(f"UPDATE {table} SET {sql} WHERE {where}", values)


def _without_triggers(connection: sqlite3.Connection) -> None:
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f'DROP TRIGGER "{name}"')
