"""Which things the commands of `sessionstore quarantine` are about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import click

from sessionstore.cli import sources
from sessionstore.migrate import shelves
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.kept import Shelf
from sessionstore.migrate.shelves import Found, Place
from sessionstore.sessions.store import Store

ids_argument = click.argument("ids", metavar="ID...", nargs=-1)
conflicts_option = click.option("--conflicts", is_flag=True, help="What lost a conflict, not the quarantine.")
reason_option = click.option("--reason", metavar="R", default=None, help="Only with this reason, such as InvalidJSON.")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which things a command is about."""

    source_name: str | None
    shelf: Shelf = Shelf.QUARANTINE
    reason: str | None = None

    def takes(self, found: Found) -> bool:
        """Tell whether a thing is one of them; what cannot be read has no reason."""
        return self.reason is None or found.text("reason") == self.reason


def check(ids: tuple[str, ...], every: bool, reason: str | None, *, conflicts: bool) -> None:
    """Refuse a choice that is none, or two. Raises: click.UsageError."""
    if bool(ids) == every:
        raise click.UsageError("say which: one ID or more, or --all")
    if ids and (reason or conflicts):
        raise click.UsageError("--reason and --conflicts go with --all; an ID says which by itself")


async def find(store: Store, ids: Iterable[str], source_name: str | None) -> list[Place]:
    """Return the things that ids or their beginnings name, each once. Raises: MigrationError; click.UsageError."""
    everything = [
        place
        for name in await sources.chosen(store, source_name)
        for shelf in Shelf
        for place in await shelves.places(store, name, shelf)
    ]
    return list(dict.fromkeys(_one(id, shelves.matching(id, everything)) for id in ids))


async def choose(store: Store, wanted: Wanted) -> list[Place]:
    """Return all the things that are wanted; of what has a reason, headers are read."""
    chosen: list[Place] = []
    for name in await sources.chosen(store, wanted.source_name):
        there = await shelves.places(store, name, wanted.shelf)
        if wanted.reason is None:
            chosen += there
        else:
            chosen += [found.place async for found in shelves.look(store, there) if wanted.takes(found)]
    return chosen


def _one(id: str, matching: list[Place]) -> Place:
    if not id:
        raise click.UsageError("an empty ID names everything, and so nothing")
    if not matching:
        raise MigrationError("NoSuchThing", f"nothing is kept under {id!r}; see `sessionstore quarantine list`")
    if len(matching) > 1:
        several = ", ".join(f"{place.id} of {place.source_name}" for place in matching[:3])
        more = f" and {len(matching) - 3} more" if len(matching) > 3 else ""
        raise click.UsageError(f"{id!r} is the beginning of {several}{more}; say more of it, or --source-name")
    return matching[0]
