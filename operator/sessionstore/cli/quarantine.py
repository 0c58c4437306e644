"""`sessionstore quarantine list | show | retry | drop`: what migrations set aside, and what lost a conflict."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sessionstore.cli import output, quarantine_view, sources
from sessionstore.cli import quarantine_choice as choice
from sessionstore.cli.counting import Advance, counting
from sessionstore.cli.keys import json_option
from sessionstore.cli.quarantine_retry import retry_command
from sessionstore.migrate import shelves
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.kept import Shelf
from sessionstore.migrate.shelves import Place
from sessionstore.sessions.store import Store


@click.group("quarantine")
def quarantine_command() -> None:
    """Look at what migrations set aside, try again to carry it, or drop it.

    ID is what `list` shows, or as much of its beginning as is unique.
    """


@quarantine_command.command("list")
@sources.source_option
@choice.reason_option
@choice.conflicts_option
@click.option("--limit", type=click.IntRange(min=0), default=None, help="At most so many. Default: 50; --json: all.")
@json_option
@click.pass_obj
def list_command(
    url: str | None, source_name: str | None, reason: str | None, conflicts: bool, limit: int | None, as_json: bool
) -> None:
    """List what is kept. Exit status 3 where some of it cannot be read."""
    wanted = choice.Wanted(source_name, Shelf.CONFLICTS if conflicts else Shelf.QUARANTINE, reason)
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
@choice.ids_argument
@click.option("--all", "every", is_flag=True, help="Everything that --source-name, --reason and --conflicts name.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@sources.source_option
@choice.reason_option
@choice.conflicts_option
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
    choice.check(ids, every, reason, conflicts=conflicts)
    if every and not yes and not sys.stdin.isatty():
        raise click.UsageError("say --yes: there is no terminal to ask in, and what is dropped is gone")
    wanted = choice.Wanted(source_name, Shelf.CONFLICTS if conflicts else Shelf.QUARANTINE, reason)
    dropped = sources.run(_drop(url, ids, wanted, yes=yes))
    output.json_line({"dropped": dropped}) if as_json else output.console().print(f"{dropped} dropped")


async def _list(url: str | None, wanted: choice.Wanted, limit: int | None, as_json: bool) -> int:
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
        (place,) = await choice.find(store, [id], source_name)
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


async def _drop(url: str | None, ids: tuple[str, ...], wanted: choice.Wanted, *, yes: bool) -> int:
    async with sources.opened(url) as store:
        places = await choice.find(store, ids, wanted.source_name) if ids else await choice.choose(store, wanted)
        if not ids and not yes:
            what = "sides that lost a conflict" if wanted.shelf is Shelf.CONFLICTS else "quarantined things"
            click.confirm(f"Drop {len(places)} {what}? They are gone then.", abort=True, err=True)
        with counting("Dropped", len(places)) as advance:
            return sum([await _drop_one(store, place, advance) for place in places])


async def _drop_one(store: Store, place: Place, advance: Advance) -> bool:
    dropped = await shelves.drop(store, place)
    advance(1)
    return dropped


quarantine_command.add_command(retry_command)
