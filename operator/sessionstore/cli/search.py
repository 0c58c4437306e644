"""`search` and `invalidate`: sessions by what they are, instead of by their key."""

from __future__ import annotations

import datetime
from typing import Any

import click

from sessionstore.cli import output, rows
from sessionstore.cli.keys import json_option
from sessionstore.sessions import Page, Query, Status, Store, open_store

_STATUSES = {"active": Status.ACTIVE, "archived": Status.ARCHIVED, "all": None}


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Return milliseconds since the epoch, read as such or from ISO 8601; UTC where it names no zone."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return int(value)
    try:
        at = datetime.datetime.fromisoformat(value)
    except ValueError as error:
        why = f"{value!r} is no time; write 2026-11-20, 2026-11-20T10:07:17Z or milliseconds"
        raise click.BadParameter(why) from error
    return round((at if at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp() * 1000)


@click.command("search")
@click.option("--agent", default=None, help="Only this agent's.")
@click.option("--status", type=click.Choice(list(_STATUSES)), default="active", show_default=True, help="Only these.")
@click.option("--tag", "tags", multiple=True, help="With this tag; several: with all of them.")
@click.option("--title", default=None, help="With this in the title, in whatever case.")
@click.option("--channel", default=None, help="Of this channel.")
@click.option("--sender", default=None, help="Of this sender.")
@click.option("--pinned/--not-pinned", default=None, help="Only pinned ones, or only others.")
@click.option("--since", metavar="TIME", callback=_moment, help="Updated at this time or later.")
@click.option("--before", metavar="TIME", callback=_moment, help="Updated earlier than this.")
@click.option("--limit", type=click.IntRange(min=1), default=None, help="At most so many. Default: all.")
@json_option
@click.pass_obj
def search_command(url: str | None, /, limit: int | None, as_json: bool, **wanted: Any) -> None:
    """Find sessions, newest first; all that is said must hold. With --json, one object a line."""
    query = Query(
        agent=wanted["agent"],
        status=_STATUSES[wanted["status"]],
        tags=frozenset(wanted["tags"]),
        title=wanted["title"],
        channel=wanted["channel"],
        sender=wanted["sender"],
        pinned=wanted["pinned"],
        updated_from_ms=wanted["since"],
        updated_before_ms=wanted["before"],
    )
    output.run(_search(url, query, limit, as_json))


@click.command("invalidate")
@click.option("--sender", default=None, help="Every session of this sender.")
@click.option("--channel", default=None, help="Every session of this channel.")
@click.option("--agent", default=None, help="Every session of this agent.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def invalidate_command(
    url: str | None, sender: str | None, channel: str | None, agent: str | None, yes: bool, as_json: bool
) -> None:
    """Delete every session of a sender, a channel or an agent, archived and pinned ones too. Prints how many.

    For a logout or a leaked token. What is said together must hold together.
    """
    chosen = {"sender": sender, "channel": channel, "agent": agent}
    if not any(value is not None for value in chosen.values()):
        raise click.UsageError("say whose sessions: --sender, --channel, --agent, or several of them")
    output.run(_invalidate(url, chosen, yes, as_json))


async def _search(url: str | None, query: Query, limit: int | None, as_json: bool) -> None:
    async with open_store(url) as store:

        async def fetch(size: int, cursor: str | None) -> Page:
            return await store.search(query, limit=size, cursor=cursor)

        await rows.show(fetch, limit, as_json)


async def _invalidate(url: str | None, chosen: dict[str, str | None], yes: bool, as_json: bool) -> None:
    async with open_store(url) as store:
        if not yes:
            await _ask(store, chosen)
        deleted = await store.invalidate(**chosen)
    if as_json:
        output.json_line({"invalidated": deleted})
    else:
        output.console().print(f"{deleted} {'session' if deleted == 1 else 'sessions'} deleted")


async def _ask(store: Store, chosen: dict[str, str | None]) -> None:
    query = Query(status=None, sender=chosen["sender"], channel=chosen["channel"], agent=chosen["agent"])

    async def fetch(size: int, cursor: str | None) -> Page:
        return await store.search(query, limit=size, cursor=cursor)

    count = len([info async for info in rows.every(fetch)])
    said = output.printable(", ".join(f"{name} {value}" for name, value in chosen.items() if value is not None))
    click.confirm(f"Delete {count} sessions and their transcripts ({said})?", abort=True, err=True)
