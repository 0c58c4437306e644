"""What was exported, in a scratch database: a million rows need no memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions.record import SessionKey

SESSION, ARCHIVE = "session", "archive"


@dataclass(frozen=True, slots=True)
class Row:
    """A session or archive as it was read from the store.

    Attributes:
        revision: the session's, when it was read; 0 for an archive.
        bytes: of entry and lines together.
        digest: as docs/design/0001-identity.md has it, of what the store held.
    """

    kind: str
    agent: str
    name: str
    revision: int
    lines: int
    bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Totals:
    """What there is altogether."""

    sessions: int
    lines: int
    bytes: int
    archives: int
    archive_lines: int


class Catalogue:
    """Rows by kind, agent and name."""

    def __init__(self, scratch: Scratch) -> None:
        self._database = scratch.database()
        self._database.execute(
            "CREATE TABLE exported (kind TEXT, agent TEXT, name TEXT, revision INT, lines INT, bytes INT, digest TEXT,"
            " PRIMARY KEY (kind, agent, name)) WITHOUT ROWID"
        )
        self._database.execute("BEGIN")

    def put(self, row: Row) -> None:
        """Note a row, in place of what is known by its name."""
        values = (row.kind, row.agent, row.name, row.revision, row.lines, row.bytes, row.digest)
        self._database.execute("INSERT OR REPLACE INTO exported VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def drop(self, kind: str, agent: str, name: str) -> bool:
        """Forget a row; return whether there was one."""
        where = "DELETE FROM exported WHERE kind = ? AND agent = ? AND name = ?"
        return self._database.execute(where, (kind, agent, name)).rowcount == 1

    def get(self, kind: str, agent: str, name: str) -> Row | None:
        """Return a row, or None."""
        where = "SELECT * FROM exported WHERE kind = ? AND agent = ? AND name = ?"
        found = self._database.execute(where, (kind, agent, name)).fetchone()
        return None if found is None else Row(*found)

    def session(self, key: SessionKey) -> Row | None:
        """Return a session's row, or None."""
        return self.get(SESSION, key.agent, key.key)

    def agents(self, kind: str) -> list[str]:
        """Return the agents that have a row of this kind, sorted."""
        select = "SELECT DISTINCT agent FROM exported WHERE kind = ? ORDER BY agent"
        return [agent for (agent,) in self._database.execute(select, (kind,))]

    def rows(self, kind: str) -> Iterator[Row]:
        """Go through the rows of a kind, by agent and name. Rows may be put and dropped meanwhile."""
        last = ("", "")
        while True:
            where = "SELECT * FROM exported WHERE kind = ? AND (agent, name) > (?, ?) ORDER BY agent, name LIMIT 500"
            found = [Row(*values) for values in self._database.execute(where, (kind, *last)).fetchall()]
            yield from found
            if not found:
                return
            last = found[-1].agent, found[-1].name

    def count(self, kind: str) -> int:
        """Count the rows of a kind."""
        (found,) = self._database.execute("SELECT count(*) FROM exported WHERE kind = ?", (kind,)).fetchone()
        return int(found)

    def totals(self) -> Totals:
        """Count everything."""
        select = "SELECT count(*), coalesce(sum(lines), 0), coalesce(sum(bytes), 0) FROM exported WHERE kind = ?"
        sessions, lines, size = self._database.execute(select, (SESSION,)).fetchone()
        archives, archive_lines, archive_size = self._database.execute(select, (ARCHIVE,)).fetchone()
        return Totals(sessions, lines, size + archive_size, archives, archive_lines)

    def digest(self) -> str:
        """Return the digest of all, as `digest.whole_digest` makes it."""
        whole = hashlib.sha256()
        for (digest,) in self._database.execute("SELECT digest FROM exported WHERE digest <> '' ORDER BY digest"):
            whole.update(bytes.fromhex(digest))
        return whole.hexdigest()
