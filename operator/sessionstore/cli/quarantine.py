"""`sessionstore quarantine list | show | retry | drop`: what migrations set aside, and what lost a conflict."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from sessionstore.cli import output, quarantine_view, sources
from sessionstore.cli.counting import Advance, counting
from sessionstore.cli.keys import json_option
from sessionstore.migrate import shelves
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.kept import Shelf
from sessionstore.migrate.shelves import Found, Place
from sessionstore.sessions.store import Store

_ids = click.argument("ids", metavar="ID...", nargs=-1)
_conflicts = click.option("--conflicts", is_flag=True, help="Those that lost a conflict, instead of the quarantine.")
_reason = click.option("--reason", metavar="R", default=None, help="Only those with this reason, such as InvalidJSON.")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which things a command is about."""

    source_name: str | None
    shelf: Shelf = Shelf.QUARANTINE
    reason: str | None = None

    def takes(self, found: Found) -> bool:
        """Tell whether a thing is one of them; what cannot be read has no reason."""
        return self.reason is None or found.text("reason") == self.reason


@click.group("quarantine")
def quarantine_command() -> None:
    """Look at what migrations set aside, try again to carry it, or drop it.

    ID is what `list` shows, or as much of its beginning as is unique.
    """


@quarantine_command.command("list")
@sources.source_option
@_reason
@_conflicts
@click.option("--limit", type=click.IntRange(min=0), default=None, help="At most so many. Default: 50; --json: all.")
@json_option
@click.pass_obj
def list_command(
    url: str | None, source_name: str | None, reason: str | None, conflicts: bool, limit: int | None, as_json: bool
) -> None:
    """List what is kept. Exit status 3 where some of it cannot be read."""
    wanted = Wanted(source_name, Shelf.CONFLICTS if conflicts else Shelf.QUARANTINE, reason)
    flawed = sources.run(_list(url, wanted, limit, as_json))
    sys.exit(output.SET_ASIDE if flawed else output.DONE)


@quarantine_command.command("show")
@click.argument("id", metavar="ID")
@sources.source_option
@click.option("--raw", is_flag=True, help="Print the bytes as they were.")
@click.option("--to", "file", type=click.Path(path_type=Path), help="Write the bytes into this file, which is new.")
@json_option
@click.pass_obj
def show_command(
    url: str | None, id: str, source_name: str | None, raw: bool, file: Path | None, as_json: bool
) -> None:
    """Show what one thing is, and its bytes."""
    sources.run(_show(url, id, source_name, raw=raw, file=file, as_json=as_json))


@quarantine_command.command("drop")
@_ids
@click.option("--all", "every", is_flag=True, help="Everything that --source-name, --reason and --conflicts name.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@sources.source_option
@_reason
@_conflicts
@json_option
@click.pass_obj
def drop_command(  # noqa: PLR0913, PLR0917  click hands over each option by its name
    url: str | None,
    ids: tuple[str, ...],
    every: bool,
    yes: bool,
    source_name: str | None,
    reason: str | None,
    conflicts: bool,
    as_json: bool,
) -> None:
    """Drop what is kept: it is gone then."""
    check_choice(ids, every, reason, conflicts=conflicts)
    if every and not yes and not sys.stdin.isatty():
        raise click.UsageError("say --yes: there is no terminal to ask in, and what is dropped is gone")
    wanted = Wanted(source_name, Shelf.CONFLICTS if conflicts else Shelf.QUARANTINE, reason)
    dropped = sources.run(_drop(url, ids, wanted, yes=yes))
    output.json_line({"dropped": dropped}) if as_json else output.console().print(f"{dropped} dropped")


def check_choice(ids: tuple[str, ...], every: bool, reason: str | None, *, conflicts: bool) -> None:
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


async def _list(url: str | None, wanted: Wanted, limit: int | None, as_json: bool) -> int:
    """List, and return how many cannot be read."""
    most = limit or (None if as_json or limit == 0 else 50)
    flawed = count = 0
    rows = quarantine_view.Rows()
    async with sources.opened(url) as store:
        for name in await sources.chosen(store, wanted.source_name):
            there = await shelves.places(store, name, wanted.shelf)
            async for found in shelves.look(store, there):
                if not wanted.takes(found):
                    continue
                count += 1
                flawed += found.flaw is not None
                if most is not None and count > most:
                    continue
                if as_json:
                    output.json_line(quarantine_view.document(found))
                else:
                    rows.add(found)
    if not as_json:
        rows.end()
        quarantine_view.show_count(wanted.shelf, count, most)
    return flawed


async def _show(
    url: str | None, id: str, source_name: str | None, *, raw: bool, file: Path | None, as_json: bool
) -> None:
    async with sources.opened(url) as store:
        (place,) = await find(store, [id], source_name)
        found = await shelves.look_at(store, place)
        if found is None:
            raise MigrationError("NoSuchThing", f"{place.id} was dropped just now")
        if file is not None:
            with quarantine_view.new_file(file) as written:
                async for piece in shelves.pieces(store, found):
                    written.write(piece)
            output.console(stderr=True).print(output.printable(f"{found.header['bytes']} bytes written to {file}"))
        elif raw:
            await shelves.check(store, found)
            async for piece in shelves.pieces(store, found):
                output.write_bytes(piece)
        elif as_json:
            output.json_line(quarantine_view.document(found))
        else:
            quarantine_view.show(found)
        if found.flaw:
            output.fail(f"{place.document()}: {found.flaw}", output.UNKNOWN)


async def _drop(url: str | None, ids: tuple[str, ...], wanted: Wanted, *, yes: bool) -> int:
    async with sources.opened(url) as store:
        places = await find(store, ids, wanted.source_name) if ids else await choose(store, wanted)
        if not ids and not yes:
            what = "sides that lost a conflict" if wanted.shelf is Shelf.CONFLICTS else "quarantined things"
            click.confirm(f"Drop {len(places)} {what}? They are gone then.", abort=True, err=True)
        with counting("Dropped", len(places)) as advance:
            return sum([await _drop_one(store, place, advance) for place in places])


async def _drop_one(store: Store, place: Place, advance: Advance) -> bool:
    dropped = await shelves.drop(store, place)
    advance(1)
    return dropped
