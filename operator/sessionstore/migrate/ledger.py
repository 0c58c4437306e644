"""What one run knows of a source of any size: on disk, in a scratch database, never in memory.

Inspect fills it, Plan adds what is to become of each thing, Copy and Verify look it up. What earlier runs left in the
store is put in at the start (`journal`). It is gone with the run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from sessionstore.migrate.items import SourceArchive, SourceSession
from sessionstore.migrate.named_rows import FACTS, NamedRows, facts_of, facts_values, row_of, row_values
from sessionstore.migrate.rows import ELSEWHERE, Ending, Facts, Intent, Name, Row, entry_hash, name_of
from sessionstore.openclaw.problems import Problem, Reason
from sessionstore.openclaw.scratch import Scratch

_TABLES = """
CREATE TABLE planned (
    kind TEXT, agent TEXT, name TEXT, ending TEXT, common INT, PRIMARY KEY (kind, agent, name)) WITHOUT ROWID;
CREATE TABLE decisions (kind TEXT, agent TEXT, name TEXT, decision TEXT, lines INT);
CREATE TABLE marked (flag TEXT, kind TEXT, agent TEXT, name TEXT, PRIMARY KEY (flag, kind, agent, name)) WITHOUT ROWID;
CREATE TABLE problems (
    number INTEGER PRIMARY KEY, path TEXT, reason TEXT, detail TEXT, agent TEXT, key TEXT, position INT);
CREATE TABLE refused (
    kind TEXT, agent TEXT, name TEXT, path TEXT, reason TEXT, detail TEXT, key TEXT,
    PRIMARY KEY (kind, agent, name)) WITHOUT ROWID;
CREATE TABLE kept (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE digests (side TEXT, digest BLOB);
"""
_PENDING = 500
"""Rows that are written at once."""

EXCUSED = "excused"
"""The store rightly holds something else, so the proof leaves it out."""
HELD = "held"
"""The store has something under this name, so both sides are to be compared."""
MOVING = "moving"
"""It changed while a live source was copied."""


class Ledger:
    """A scratch ledger. For one event loop."""

    def __init__(self, scratch: Scratch) -> None:
        self._database = scratch.database()
        self._database.executescript(_TABLES)
        self._known = NamedRows(
            self._database, "known", f"{FACTS}, mark BLOB, ending TEXT, common INT, run INT", row_of
        )
        self._items = NamedRows(self._database, "items", FACTS, facts_of)
        self._database.execute("BEGIN")
        self._has_known = self._has_intents = False
        self._facts: list[Facts] = []
        self._digests: list[tuple[str, bytes]] = []
        self._decisions: list[tuple[object, ...]] = []
        self._intents: list[tuple[object, ...]] = []

    # -- what earlier runs left -----------------------------------------------------------------

    def learn(self, rows: Iterable[Row], *, from_earlier_run: bool = False) -> None:
        """Take rows over; the later one of a name counts."""
        self._has_known = self._has_known or from_earlier_run
        self._known.put((row.facts.name, row_values(row)) for row in rows)

    def known(self, name: Name) -> Row | None:
        """Return what an earlier run left about a thing."""
        return self._known.get(name) if self._has_known else None

    def unchanged(self, item: SourceSession | SourceArchive) -> Row | None:
        """Return what an earlier run left about a thing, where the source still has what it speaks of."""
        row = self.known(name_of(item)) if self._has_known else None
        if row is None or item.lines is None:
            return None
        return row if row.holds_for(entry_hash(item), item.lines.stamp) else None

    def mark(self, name: Name) -> bytes | None:
        """Return the mark of what this source has left in the store, in an earlier run or in this one."""
        row = self._known.get(name)
        return row.mark if row and row.run > ELSEWHERE else None

    def rows(self, *, with_gone: bool) -> Iterator[Row]:
        """Go through what is known; of things that the source has not any more only where that is asked for."""
        self._write_facts()
        query = (
            "SELECT known.* FROM known"
            if with_gone
            else "SELECT known.* FROM known JOIN items USING (kind, agent, name)"
        )
        return map(row_of, self._database.cursor().execute(query))

    def gone(self, kind: str) -> Iterator[Row]:
        """Go through what this source has left in the store and has not any more."""
        self._write_facts()
        query = (
            "SELECT known.* FROM known LEFT JOIN items USING (kind, agent, name) "
            "WHERE items.kind IS NULL AND kind=? AND run>?"
        )
        return map(row_of, self._database.cursor().execute(query, (kind, ELSEWHERE)))

    def known_names(self, kind: str) -> Iterator[Name]:
        """Go through the names of all things of one kind that this source has left in the store."""
        query = "SELECT kind, agent, name FROM known WHERE kind=? AND run>?"
        return (Name(*values) for values in self._database.cursor().execute(query, (kind, ELSEWHERE)))

    def count_rows(self) -> int:
        """Count them, and those of things that the source has not any more."""
        return self._count("known")

    # -- what Inspect found ---------------------------------------------------------------------

    def add(self, facts: Facts) -> None:
        """Take in what was found; a digest counts for the whole one."""
        self._facts.append(facts)
        if len(self._facts) >= _PENDING:
            self._write_facts()

    def facts(self, name: Name) -> Facts | None:
        """Return what Inspect found; None for what came later."""
        self._write_facts()
        return self._items.get(name)

    def groups(self, kind: str, size: int) -> Iterator[list[Facts]]:
        """Go through the things of one kind, in groups, as the source has them."""
        self._write_facts()
        found = self._database.cursor().execute("SELECT * FROM items WHERE +kind=? ORDER BY number", (kind,))
        while group := [facts_of(values) for values in islice(found, size)]:
            yield group

    def whole_digest(self) -> str:
        """Return the digest of all that was found."""
        self._write_facts()
        return _digest_of(self._database.cursor().execute("SELECT digest FROM items ORDER BY digest"))

    # -- problems -------------------------------------------------------------------------------

    def add_problem(self, problem: Problem) -> None:
        """Take in a problem; they come out in this order."""
        self._database.execute("INSERT INTO problems VALUES (NULL,?,?,?,?,?,?)", _problem_values(problem))

    def refuse(self, name: Name, problem: Problem) -> None:
        """Say that the store refuses a thing; said twice it is one problem."""
        values = (*name, problem.path, problem.reason.value, problem.detail, problem.key)
        self._database.execute("INSERT OR REPLACE INTO refused VALUES (?,?,?,?,?,?,?)", values)

    def is_refused(self, name: Name) -> bool:
        """Tell whether the store refuses a thing."""
        return self._one("SELECT 1 FROM refused WHERE kind=? AND agent=? AND name=?", name) is not None

    def problems(self) -> Iterator[Problem]:
        """Go through all problems: the source's, then what the store refuses."""
        found = self._database.cursor().execute(
            "SELECT path, reason, detail, agent, key, position FROM problems ORDER BY number"
        )
        yield from (_problem(*values) for values in found)
        refused = self._database.cursor().execute(
            "SELECT path, reason, detail, agent, key, NULL FROM refused ORDER BY path, key"
        )
        yield from (_problem(*values) for values in refused)

    def count_problems(self) -> int:
        """Count them."""
        return self._count("problems") + self._count("refused")

    # -- plans ----------------------------------------------------------------------------------

    def intend(self, name: Name, intent: Intent) -> None:
        """Note what is planned for a thing; what is not noted is new."""
        self._has_intents = True
        self._intents.append((*name, intent.ending.value, intent.common))
        if len(self._intents) >= _PENDING:
            self._write_intents()

    def intent(self, name: Name) -> Intent | None:
        """Return what is planned for a thing; None where nothing was noted."""
        if not self._has_intents:
            return None
        self._write_intents()
        values = self._one("SELECT ending, common FROM planned WHERE kind=? AND agent=? AND name=?", name)
        return Intent(Ending(values[0]), values[1]) if values else None

    def intents(self) -> Iterator[tuple[Name, Intent]]:
        """Go through all that is planned and not new."""
        self._write_intents()
        for kind, agent, name, ending, common in self._database.cursor().execute("SELECT * FROM planned"):
            yield Name(kind, agent, name), Intent(Ending(ending), common)

    def forget_intents(self) -> None:
        """Forget what is planned: it was another run's."""
        self._intents.clear()
        self._database.execute("DELETE FROM planned")

    def decide(self, name: Name, decision: str, lines: int) -> None:
        """Take in a row of the plan, for people."""
        self._decisions.append((*name, decision, lines))
        if len(self._decisions) >= _PENDING:
            self._write_decisions()

    def decisions(self) -> Iterator[dict[str, str | int]]:
        """Go through the rows of the plan."""
        self._write_decisions()
        found = self._database.cursor().execute("SELECT * FROM decisions ORDER BY rowid")
        for kind, agent, name, decision, lines in found:
            label = "key" if kind == "session" else "archive"
            yield {"agent": agent, label: name, "decision": decision, "lines": lines}

    def decision_counts(self) -> dict[str, int]:
        """Count the sessions of the plan by decision."""
        self._write_decisions()
        query = "SELECT decision, count(*) FROM decisions WHERE kind='session' GROUP BY decision"
        return dict(self._database.execute(query).fetchall())

    def first_decided(self, decision: str) -> str:
        """Return the first name of which this was decided."""
        self._write_decisions()
        query = "SELECT agent, name FROM decisions WHERE decision=? ORDER BY agent, name LIMIT 1"
        return "/".join(self._one(query, (decision,)) or ())

    # -- what was done --------------------------------------------------------------------------

    def flag(self, flag: str, name: Name) -> None:
        """Note something about a thing."""
        self._database.execute("INSERT OR IGNORE INTO marked VALUES (?,?,?,?)", (flag, *name))

    def has_flag(self, flag: str, name: Name) -> bool:
        """Tell whether it was noted."""
        query = "SELECT 1 FROM marked WHERE flag=? AND kind=? AND agent=? AND name=?"
        return self._one(query, (flag, *name)) is not None

    def count_flag(self, flag: str) -> int:
        """Count the things of which it was noted."""
        (count,) = self._database.execute("SELECT count(*) FROM marked WHERE flag=?", (flag,)).fetchone()
        return int(count)

    def keep(self, names: Iterable[str]) -> None:
        """Note documents that keep something."""
        self._database.executemany("INSERT OR IGNORE INTO kept VALUES (?)", ((name,) for name in names))

    def kept(self) -> Iterator[str]:
        """Go through their names, sorted."""
        for (name,) in self._database.cursor().execute("SELECT name FROM kept ORDER BY name"):
            yield name

    def count_kept(self) -> int:
        """Count them."""
        return self._count("kept")

    # -- the proof ------------------------------------------------------------------------------

    def add_digest(self, side: str, digest: bytes) -> None:
        """Take in a digest of one side, `source` or `store`."""
        self._digests.append((side, digest))
        if len(self._digests) >= _PENDING:
            self._write_digests()

    def proven_digest(self, side: str) -> str:
        """Return the whole digest of one side."""
        self._write_digests()
        found = self._database.cursor().execute("SELECT digest FROM digests WHERE side=? ORDER BY digest", (side,))
        return _digest_of(found)

    # -- the inner workings ---------------------------------------------------------------------

    def _one(self, query: str, values: tuple[object, ...]) -> Sequence[Any] | None:
        found: Sequence[Any] | None = self._database.execute(query, values).fetchone()
        return found

    def _count(self, table: str) -> int:
        (count,) = self._database.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608  a name of ours
        return int(count)

    def _write_facts(self) -> None:
        if self._facts:
            self._items.put((facts.name, facts_values(facts)) for facts in self._facts)
            self._facts.clear()

    def _write_intents(self) -> None:
        if self._intents:
            self._database.executemany("INSERT OR REPLACE INTO planned VALUES (?,?,?,?,?)", self._intents)
            self._intents.clear()

    def _write_decisions(self) -> None:
        if self._decisions:
            self._database.executemany("INSERT INTO decisions VALUES (?,?,?,?,?)", self._decisions)
            self._decisions.clear()

    def _write_digests(self) -> None:
        if self._digests:
            self._database.executemany("INSERT INTO digests VALUES (?,?)", self._digests)
            self._digests.clear()


def _digest_of(found: Iterable[tuple[bytes]]) -> str:
    """Make the whole digest of sorted ones, as `digest.whole_digest` does of a list in memory."""
    whole = hashlib.sha256()
    for (one,) in found:
        whole.update(one)
    return whole.hexdigest()


def _problem_values(problem: Problem) -> tuple[object, ...]:
    return problem.path, problem.reason.value, problem.detail, problem.agent, problem.key, problem.offset


def _problem(path: str, reason: str, detail: str, agent: str | None, key: str | None, offset: int | None) -> Problem:
    return Problem(path, Reason(reason), detail, agent, key, offset)
