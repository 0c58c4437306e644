"""`count`, `stats`, `sweep`, `health`: the store as a whole."""

from __future__ import annotations

import dataclasses

import click

from sessionstore.cli import output
from sessionstore.cli.keys import json_option
from sessionstore.sessions import Status, open_store

_STATUSES = {"active": Status.ACTIVE, "archived": Status.ARCHIVED, "all": None}
_SWEPT_AT_ONCE = 1000


@click.command("count")
@click.option("--agent", default=None, help="Only this agent's.")
@click.option("--status", type=click.Choice(list(_STATUSES)), default="active", show_default=True, help="Only these.")
@json_option
@click.pass_obj
def count_command(url: str | None, agent: str | None, status: str, as_json: bool) -> None:
    """Print how many sessions there are."""
    output.run(_count(url, agent, _STATUSES[status], as_json))


@click.command("stats")
@json_option
@click.pass_obj
def stats_command(url: str | None, as_json: bool) -> None:
    """Print what the keyspace holds."""
    output.run(_stats(url, as_json))


@click.command("sweep")
@click.option("--limit", type=click.IntRange(min=1), default=None, help="At most so many. Default: all.")
@json_option
@click.pass_obj
def sweep_command(url: str | None, limit: int | None, as_json: bool) -> None:
    """Turn expired sessions into tombstones, and print how many. Nobody has to: writes do it bit by bit."""
    output.run(_sweep(url, limit, as_json))


@click.command("health")
@json_option
@click.pass_obj
def health_command(url: str | None, as_json: bool) -> None:
    """Say whether the store can be used, and what is wrong where it cannot. Exit status 4 then."""
    output.run(_health(url, as_json))


async def _count(url: str | None, agent: str | None, status: Status | None, as_json: bool) -> None:
    async with open_store(url) as store:
        count = await store.count(agent=agent, status=status)
    output.json_line({"count": count}) if as_json else output.console().print(str(count))


async def _stats(url: str | None, as_json: bool) -> None:
    async with open_store(url) as store:
        found = dataclasses.asdict(await store.stats())
    if as_json:
        output.json_line(found)
    else:
        output.facts({name.capitalize(): str(value) for name, value in found.items()})


async def _sweep(url: str | None, limit: int | None, as_json: bool) -> None:
    swept, left = 0, limit
    async with open_store(url) as store:
        while left is None or left > 0:
            size = _SWEPT_AT_ONCE if left is None else min(_SWEPT_AT_ONCE, left)
            found = await store.sweep(size)
            swept, left = swept + found, None if left is None else left - found
            if found == 0:
                break
    if as_json:
        output.json_line({"swept": swept})
    else:
        output.console().print(f"{swept} expired {'session' if swept == 1 else 'sessions'} swept")


async def _health(url: str | None, as_json: bool) -> None:
    async with open_store(url) as store:
        found = await store.health()
    if as_json:
        document = {"ok": found.ok, "message": found.message, "reason": found.reason, "latencyMs": found.latency_ms}
        output.json_line({**document, "facts": dict(found.facts)})
    else:
        latency = {} if found.latency_ms is None else {"latency": f"{found.latency_ms:.1f} ms"}
        output.console().print(output.printable(found.message), soft_wrap=True)
        if shown := latency | dict(found.facts):
            output.facts(shown)
    raise SystemExit(output.DONE if found.ok else output.UNKNOWN)
