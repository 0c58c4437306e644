"""`sessionstore quarantine retry`: tries again to carry what migrations set aside."""

from __future__ import annotations

import functools
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from sessionstore.cli import output, sources
from sessionstore.cli import quarantine_choice as choice
from sessionstore.cli.counting import counting
from sessionstore.cli.keys import json_option
from sessionstore.migrate.again import Outcome, Retrier, Tried
from sessionstore.migrate.bounded import Room
from sessionstore.migrate.kept_items import Wishes
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.plan import Policy

PATIENCE_S = 60.0
"""How long the store may be away before this fails."""


@dataclass(frozen=True, slots=True)
class _Retry:
    """What is asked for."""

    ids: tuple[str, ...]
    wanted: choice.Wanted
    wishes: Wishes
    policy: Policy
    as_json: bool


@click.command("retry")
@choice.ids_argument
@click.option("--all", "every", is_flag=True, help="All of the quarantine that --source-name and --reason name.")
@click.option("--from", "file", type=click.Path(path_type=Path), help="Carry this mended file instead; of one ID.")
@click.option("--agent", default=None, help="Carry it as this agent's; of one ID.")
@click.option("--key", default=None, help="Carry it under this key, an archive under this file name; of one ID.")
@click.option(
    "--policy",
    type=click.Choice([policy.value for policy in Policy]),
    default=Policy.NEWEST.value,
    show_default=True,
    help="Who wins where the store has the session. The other side is kept.",
)
@sources.source_option
@choice.reason_option
@json_option
@click.pass_obj
def retry_command(  # noqa: PLR0913, PLR0917  click hands over each option by its name
    url: str | None,
    ids: tuple[str, ...],
    every: bool,
    file: Path | None,
    agent: str | None,
    key: str | None,
    policy: str,
    source_name: str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Try again to carry what is kept; what the store has then is kept no more.

    What lost a conflict is put in place of what won, which is kept first. Exit status 3 where some of it could not be
    carried, or lost a conflict, 1 where none of it could be.
    """
    choice.check(ids, every, reason, conflicts=False)
    wishes = Wishes(file, agent, key)
    if wishes != Wishes() and len(ids) != 1:
        raise click.UsageError("--from, --agent and --key are about one thing: give its ID")
    wanted = choice.Wanted(source_name, reason=reason)
    outcomes = sources.run(_retry(url, _Retry(ids, wanted, wishes, Policy(policy), as_json)))
    sys.exit(_status(outcomes))


async def _retry(url: str | None, asked: _Retry) -> Counter[Outcome]:
    outcomes: Counter[Outcome] = Counter()
    patience = Patience(PATIENCE_S)
    async with sources.opened(url) as store:
        if asked.ids:
            places = await choice.find(store, asked.ids, asked.wanted.source_name)
        else:
            places = await choice.choose(store, asked.wanted)
        with counting("Tried", len(places)) as advance:
            retrier = Retrier(store, asked.policy, Room())
            for place in places:
                tried = await patience.of(functools.partial(retrier.retry, place, asked.wishes))
                _print(tried, asked.as_json)
                outcomes[tried.outcome] += 1
                advance(1)
    return outcomes


def _print(tried: Tried, as_json: bool) -> None:
    if as_json:
        output.json_line(_document(tried))
    else:
        detail = f": {tried.detail}" if tried.detail else ""
        output.console().print(output.printable(f"{tried.place.id} {tried.outcome}{detail}"), soft_wrap=True)


def _document(tried: Tried) -> dict[str, Any]:
    return {
        "id": tried.place.id,
        "source": tried.place.source_name,
        "outcome": tried.outcome.value,
        "detail": tried.detail,
        "kept": list(tried.kept),
    }


def _status(outcomes: Counter[Outcome]) -> int:
    if outcomes[Outcome.FAILED] and outcomes[Outcome.FAILED] == outcomes.total():
        return output.FAILED
    return output.SET_ASIDE if outcomes[Outcome.FAILED] or outcomes[Outcome.CONFLICT] else output.DONE
