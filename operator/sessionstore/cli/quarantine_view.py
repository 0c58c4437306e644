"""How things that migrations keep look: rows for `quarantine list`, one of them for `show`."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import rich.table

from sessionstore.cli import output
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.kept import Shelf
from sessionstore.migrate.shelves import Found

PAGE = 500
"""Rows of one table: columns are as wide as these rows need."""
PREVIEW_BYTES = 2000
WHAT_LENGTH = 120


class Rows:
    """Prints a table page by page; of what it holds meanwhile only the headers."""

    def __init__(self) -> None:
        self._rows: list[Found] = []

    def add(self, found: Found) -> None:
        """Take in a row."""
        self._rows.append(Found(found.place, found.header, flaw=found.flaw))
        if len(self._rows) == PAGE:
            self.end()

    def end(self) -> None:
        """Print what has not been printed."""
        if self._rows:
            output.console().print(_table(self._rows))
        self._rows = []


def document(found: Found) -> dict[str, Any]:
    """Return a thing for programs: where it is, what is wrong with it, and what its header says."""
    place = {"id": found.place.id, "source": found.place.source_name, "shelf": found.place.shelf.value}
    return {**place, "flaw": found.flaw, **{name: value for name, value in found.header.items() if name not in place}}


def what_of(found: Found) -> str:
    """Return what a thing is of, for people."""
    whose = found.text("key") or found.text("archive")
    return f"{found.text('agent') or '?'}/{whose}" if whose else found.text("path") or "?"


def show_count(shelf: Shelf, count: int, most: int | None) -> None:
    """Say that there is nothing, or that there is more."""
    console = output.console(stderr=True)
    if not count:
        console.print("Nothing lost a conflict." if shelf is Shelf.CONFLICTS else "Nothing is in quarantine.")
    elif most is not None and count > most:
        console.print(f"{most} of {count}; --limit 0 shows all")


def show(found: Found) -> None:
    """Print what a thing is, and the beginning of its bytes."""
    facts = {"id": found.place.id, "source": found.place.source_name, "shelf": found.place.shelf.value}
    output.facts(facts | {name: _shown(value) for name, value in found.header.items()})
    if found.flaw:
        return
    console = output.console()
    console.print()
    for line in found.first[:PREVIEW_BYTES].decode("utf-8", "backslashreplace").split("\n"):
        console.print(output.printable(line), soft_wrap=True)
    left = found.header["bytes"] - min(len(found.first), PREVIEW_BYTES)
    if left > 0:
        output.console(stderr=True).print(f"{left} bytes more; --raw prints all of them, --to FILE writes them")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file that was not there; leave none where that fails. Raises: MigrationError."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            try:
                yield file
                file.flush()
            except BaseException:
                path.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise MigrationError("CannotWrite", f"{path}: {error.strerror or error}; name another file") from error


def _table(rows: list[Found]) -> rich.table.Table:
    table = rich.table.Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("ID", no_wrap=True)
    table.add_column("SOURCE", overflow="fold", min_width=8)
    table.add_column("SIDE" if rows[0].place.shelf is Shelf.CONFLICTS else "REASON", no_wrap=True)
    table.add_column("KIND", no_wrap=True)
    table.add_column("BYTES", justify="right", no_wrap=True)
    table.add_column("WHAT", overflow="fold", min_width=20)
    for found in rows:
        size = found.number("bytes")
        cells = (found.place.id, found.place.source_name, _why(found), found.text("kind") or "?")
        about = _short(found.flaw or what_of(found))
        table.add_row(*map(output.printable, (*cells, "?" if size is None else str(size), about)))
    return table


def _short(text: str) -> str:
    return text if len(text) <= WHAT_LENGTH else f"{text[:WHAT_LENGTH]}…"


def _why(found: Found) -> str:
    if found.flaw:
        return "damaged"
    return found.text("side") or found.text("reason") or "?"
