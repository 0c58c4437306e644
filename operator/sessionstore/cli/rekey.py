"""`rekey`: bring an encrypted store under its last key.

What people see while it works is on standard error; the counts at the end are what it prints.
"""

from __future__ import annotations

import time
from typing import Any

import click
import rich.table

from sessionstore.cli import output
from sessionstore.cli.keys import json_option
from sessionstore.sessions import open_store
from sessionstore.sessions.encryption import Progress, rekey

_TOLD_EACH_S = 1.0


@click.command("rekey")
@click.option("--dry-run", is_flag=True, help="Only count, and tell what cannot be read.")
@json_option
@click.pass_obj
def rekey_command(url: str | None, dry_run: bool, as_json: bool) -> None:
    """Encrypt with the last of encryption_key_files all that is under older ones, or in plain.

    Gateways may go on meanwhile, if their last key is the same. What was interrupted is repeated. Exit status 3 where
    something was left, because it cannot be read.
    """
    done = output.run(_rekey(url, dry_run))
    for problem in done.problems.values():
        output.warn(problem)
    try:
        output.json_line(_document(done, dry_run)) if as_json else _print(done, dry_run)
    except BrokenPipeError:
        output.seen_enough()
    raise SystemExit(output.SET_ASIDE if done.problems else output.DONE)


async def _rekey(url: str | None, dry_run: bool) -> Progress:
    async with open_store(url) as store:
        return await rekey(store, _Told(), dry_run=dry_run)


class _Told:
    """Says now and then how far it is."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _TOLD_EACH_S

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _TOLD_EACH_S
            output.console(stderr=True).print(f"{_counts(progress)}, {progress.changed} encrypted anew")


def _document(done: Progress, dry_run: bool) -> dict[str, Any]:
    return {
        "sessions": done.sessions,
        "archives": done.archives,
        "documents": done.documents,
        "changed": done.changed,
        "dryRun": dry_run,
        "keys": dict(sorted(done.keys.items())),
        "left": len(done.problems),
    }


def _print(done: Progress, dry_run: bool) -> None:
    console = output.console()
    console.print(f"{_counts(done)}: {done.changed} {'to be encrypted' if dry_run else 'encrypted'} anew")
    if not done.keys:
        return
    table = rich.table.Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("KEY", no_wrap=True)
    table.add_column("FOUND UNDER IT", justify="right", no_wrap=True)
    for key_id, count in sorted(done.keys.items()):
        table.add_row(output.printable(key_id), str(count))
    console.print(table)


def _counts(progress: Progress) -> str:
    return f"{progress.sessions} sessions, {progress.archives} archives, {progress.documents} documents"
