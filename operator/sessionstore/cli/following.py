"""`sessionstore migrate URL --to URL [--follow | --fence COMMAND]`: the part of `migrate` that is about live stores."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click

from sessionstore.cli.migration_answer import Place
from sessionstore.migrate import following, pipeline, sources, stores
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.following import Both, Terms
from sessionstore.migrate.pipeline import Options
from sessionstore.migrate.report import Report
from sessionstore.migrate.stores import StoreSource

Command = Callable[..., Any]


def options(command: Command) -> Command:
    """Give `migrate` its options for live stores."""
    for option in (
        click.option(
            "--follow", is_flag=True, help="Follow SOURCE, a store, until SIGTERM or SIGINT: its writers are stopped."
        ),
        click.option(
            "--fence",
            metavar="COMMAND",
            help="Follow SOURCE, a store, until the lag is below 1 s, then run this; it stops the writers.",
        ),
    ):
        command = option(command)
    return command


def check(texts: Sequence[str], *, follows: bool) -> None:
    """Refuse to follow what cannot be followed. Raises: BadParameter."""
    if follows and not (len(texts) == 1 and sources.is_store(texts[0])):
        raise click.BadParameter("one store can be followed, and no directory; use --live", param_hint="--follow")


async def carry_out(place: Place, options: Options, fence: str | None, *, follow: bool) -> Report:
    """Migrate; follow the source where it is a store, and that can be done. Raises: as following.migrate."""
    source = place.source
    if options.is_dry_run or not isinstance(source, StoreSource):
        return await pipeline.migrate(source, place.store, place.scratch, options, place.watch)
    await options.patience.of(partial(stores.check_apart, source.store, place.store))
    if not following.can_follow(source.store, place.store):
        if follow or fence:
            raise MigrationError("CannotFollow", "the source has no feed of changes, or the target keeps no documents")
        return await pipeline.migrate(source, place.store, place.scratch, options, place.watch)
    terms = Terms(follow, fence, tell=lambda text: click.echo(text, err=True))
    if follow:
        _stop_on_signals(terms.stop)
    return await following.migrate(Both(source, place.store, place.scratch, place.watch), options, terms)


def _stop_on_signals(stop: asyncio.Event) -> None:
    """Take the first signal for the word that the writers are stopped; the second ends the program."""
    loop = asyncio.get_running_loop()

    def end(number: int) -> None:
        loop.remove_signal_handler(number)
        click.echo("Follow: the writers are stopped; reading what is left, then proving", err=True)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
