"""Rows that are looked up by name: the same answers in whatever order they are asked for."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sessionstore.migrate import named_rows
from sessionstore.migrate.named_rows import FACTS, NamedRows, facts_of, facts_values
from sessionstore.migrate.rows import Facts, Name
from sessionstore.openclaw.scratch import Scratch

COUNT = 50


class Asked:
    """A database that counts what it is asked."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database, self.queries = database, 0
        self.executemany = database.executemany

    def execute(self, query: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        self.queries += query.startswith("SELECT")
        return self._database.execute(query, values)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    monkeypatch.setattr(named_rows, "AHEAD", 5)
    monkeypatch.setattr(named_rows, "HELD", 12)
    with Scratch(tmp_path) as scratch:
        yield Asked(scratch.database())


def rows_in(asked: Asked) -> NamedRows[Facts]:
    rows = NamedRows(asked, "items", FACTS, facts_of)  # type: ignore[arg-type]
    rows.put((fact.name, facts_values(fact)) for fact in map(facts, range(COUNT)))
    return rows


def facts(number: int, lines: int = 1) -> Facts:
    return Facts(Name("session", "main", f"k{number}"), b"e", None, b"d", lines, number, is_torn=number % 2 == 1)


def test_rows_in_the_order_of_a_pass_are_read_along(asked: Asked) -> None:
    rows = rows_in(asked)

    for _ in range(2):
        assert [rows.get(facts(number).name) for number in range(COUNT)] == list(map(facts, range(COUNT)))
    # One query finds where to begin, one reads: for five rows each.
    assert asked.queries == 2 * 2 * COUNT // 5


def test_rows_in_any_order_are_found(asked: Asked) -> None:
    rows, numbers = rows_in(asked), [*range(COUNT)] * 4
    random.Random(7).shuffle(numbers)

    assert [rows.get(facts(number).name) for number in numbers] == [facts(number) for number in numbers]


def test_a_later_row_of_a_name_counts_though_the_earlier_was_looked_up(asked: Asked) -> None:
    rows = rows_in(asked)
    assert rows.get(facts(3).name) == facts(3)

    rows.put([(facts(3).name, facts_values(facts(3, lines=9)))])

    assert rows.get(facts(3).name) == facts(3, lines=9)
    assert rows.get(facts(4).name) == facts(4)
    assert rows.get(facts(COUNT).name) is None
