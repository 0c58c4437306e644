"""Rows of a scratch table that are looked up by name, one after another, in the order in which they were put in.

All passes over a source go in one order. So whoever looks a row up soon wants those behind it, and they are read along:
most look-ups are answered from memory, of which a bounded part is used whatever the size of the table.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from sessionstore.migrate.rows import Ending, Facts, Intent, Name, Row

FACTS = (
    "kind TEXT, agent TEXT, name TEXT, entry BLOB, stamp TEXT, digest BLOB, lines INT, bytes INT, torn INT, clean INT"
)
"""The columns of Facts; a Row has more of them."""
AHEAD = 500
"""Rows that are read along."""
HELD = 4000
"""Rows in memory; more than a pass works on at a time."""

T = TypeVar("T")


class NamedRows(Generic[T]):
    """A table of rows, each under a name of its own."""

    def __init__(
        self, database: sqlite3.Connection, table: str, columns: str, of: Callable[[Sequence[Any]], T]
    ) -> None:
        """Make the table.

        Args:
            columns: as in FACTS, which they begin with.
            of: makes a row of their values.
        """
        database.execute(f"CREATE TABLE {table} ({columns}, number INTEGER PRIMARY KEY, UNIQUE (kind, agent, name))")
        marks = ",".join("?" * (columns.count(",") + 1))
        self._put = f"INSERT OR REPLACE INTO {table} VALUES ({marks},NULL)"  # noqa: S608  names of ours
        self._find = f"SELECT number FROM {table} WHERE kind=? AND agent=? AND name=?"  # noqa: S608
        self._from = f"SELECT * FROM {table} WHERE number>=? ORDER BY number LIMIT ?"  # noqa: S608
        self._database, self._of = database, of
        self._near: dict[Name, T] = {}
        self._idle = 0

    def put(self, rows: Iterable[tuple[Name, Sequence[object]]]) -> None:
        """Put rows in by their values; the later one of a name counts."""
        self._database.executemany(self._put, map(self._taken, rows))

    def get(self, name: Name) -> T | None:
        """Return the row of a name."""
        found = self._near.get(name)
        if found is None:
            return self._read(name)
        if self._idle:
            self._idle -= 1
        return found

    def _taken(self, row: tuple[Name, Sequence[object]]) -> Sequence[object]:
        self._near.pop(row[0], None)
        return row[1]

    def _read(self, name: Name) -> T | None:
        number = self._database.execute(self._find, name).fetchone()
        if number is None:
            return None
        # Where nobody asks for what was read along, the order is another one, and reading along would only cost.
        count = AHEAD if self._idle < HELD else 1
        near = self._near
        for values in self._database.execute(self._from, (*number, count)):
            near[Name(*values[:3])] = self._of(values)
        self._idle += count - 1
        for old in list(islice(near, max(0, len(near) - HELD))):
            del near[old]
        return near[name]


def facts_values(facts: Facts) -> tuple[object, ...]:
    """Return what `facts_of` makes Facts of."""
    return (
        *facts.name, facts.entry, facts.stamp, facts.digest, facts.lines, facts.bytes, facts.is_torn, facts.is_clean,
    )  # fmt: skip


def facts_of(values: Sequence[Any]) -> Facts:
    """Make Facts of values, which may be followed by others."""
    kind, agent, name, entry, stamp, digest, lines, size, torn, clean = values[:10]
    return Facts(Name(kind, agent, name), entry, stamp, digest, lines, size, bool(torn), bool(clean))


def row_values(row: Row) -> tuple[object, ...]:
    """Return what `row_of` makes a Row of."""
    return *facts_values(row.facts), row.mark, row.intent.ending.value, row.intent.common, row.run


def row_of(values: Sequence[Any]) -> Row:
    """Make a Row of values, which may be followed by others."""
    mark, ending, common, run = values[10:14]
    return Row(facts_of(values), mark, Intent(Ending(ending), common), run)
