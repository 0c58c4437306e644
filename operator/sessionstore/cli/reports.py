"""`sessionstore report | finalize`: what migrations left in a store, and the end of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import rich.table

from sessionstore.cli import output, report_view, sources
from sessionstore.cli.counting import counting
from sessionstore.cli.keys import json_option
from sessionstore.migrate import pages, report
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.finalize import Finalized, Finalizer
from sessionstore.migrate.keeper import document_name
from sessionstore.migrate.patience import Patience
from sessionstore.sessions.exceptions import SessionError, Unavailable, Unreadable
from sessionstore.sessions.store import Store

PATIENCE_S = 60.0
"""How long the store may be away before `finalize` fails."""
_SHOWN = ("sessions", "conflicts", "quarantined")
_SUMMED = ("sessions", "migrated", "present", "conflicts", "quarantined")


@click.command("report")
@sources.source_option
@click.option("--plan", "rows", flag_value="plan", help="Print what was planned for each session.")
@click.option("--problems", "rows", flag_value="problems", help="Print all problems.")
@json_option
@click.pass_obj
def report_command(url: str | None, source_name: str | None, rows: str | None, as_json: bool) -> None:
    """Print what migrations left in the store: a table of all sources, or the report of one."""
    if rows and source_name is None:
        raise click.UsageError(f"--{rows} needs --source-name; `sessionstore report` lists the sources")
    sources.run(_report(url, source_name, rows, as_json))


@click.command("finalize")
@click.option("--source-name", metavar="N", required=True, help="The source that was migrated.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Do not look whether a run is under way.")
@click.option("--termination-log", type=click.Path(path_type=Path), help="Write a summary of up to 4096 bytes here.")
@json_option
@click.pass_obj
def finalize_command(
    url: str | None, source_name: str, yes: bool, force: bool, termination_log: Path | None, as_json: bool
) -> None:
    """Drop what a migration keeps for a way back: its ledger, plan and problems, and the sides that lost conflicts.

    What it noted while it followed a store, and what it claimed of other sources, goes too.

    Its report and its quarantine stay. Safe to interrupt, and to repeat.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("say --yes: there is no terminal to ask in, and what is dropped is gone")
    log = _Log(termination_log)
    done = sources.run(log.of(_finalize(url, source_name, yes=yes, force=force)))
    if as_json:
        output.json_line(done.document())
    else:
        counts = ", ".join(f"{count} of {folder}" for folder, count in done.dropped.items() if count)
        text = f"Finalized {source_name}: documents dropped: {counts or 'none, nothing was left'}"
        output.console().print(output.printable(text), soft_wrap=True)


async def _report(url: str | None, source_name: str | None, rows: str | None, as_json: bool) -> None:
    async with sources.opened(url) as store:
        names = await sources.chosen(store, source_name)
        if source_name is None:
            await _show_sources(store, names, as_json)
        elif rows:
            await _show_rows(store, source_name, rows, as_json)
        else:
            await _show_report(store, source_name, as_json)


async def _show_sources(store: Store, names: list[str], as_json: bool) -> None:
    table = rich.table.Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("SOURCE", overflow="fold", min_width=8)
    table.add_column("OUTCOME", no_wrap=True)
    for column in ("SESSIONS", "CONFLICTS", "SET ASIDE"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("DIGEST", no_wrap=True)
    table.add_column("LAST SEEN", no_wrap=True)
    for name in names:
        row = _row(name, await _document(store, name, "report"), await _document(store, name, "progress"))
        if as_json:
            output.json_line(row)
            continue
        counts = ("" if row[count] is None else str(row[count]) for count in _SHOWN)
        seen = output.moment(row["at"])[:16] if isinstance(row["at"], int) else ""
        outcome = "Finalized" if row["finalized"] else str(row["outcome"] or row["phase"])
        cells = (name, outcome, *counts, str(row["digest"] or "")[:8], seen)
        table.add_row(*map(output.printable, cells))
    if not as_json:
        output.console().print(table if names else "This store has had no migration.")


def _row(name: str, found: Mapping[str, Any] | None, progress: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what is known of a source, in one row; `outcome` is None where no run came to its end."""
    report, progress = found or {}, progress or {}
    counts = {count: report.get(count, progress.get(count)) for count in _SUMMED}
    return {
        "source": name,
        "outcome": report.get("outcome"),
        "finalized": report.get("finalized") is True,
        "phase": progress.get("phase"),
        **counts,
        "digest": report.get("digest"),
        "at": progress.get("at"),
    }


async def _show_report(store: Store, name: str, as_json: bool) -> None:
    found = await _document(store, name, "report")
    if found is None:
        phase = (await _document(store, name, "progress") or {}).get("phase", "nothing")
        raise MigrationError("NoSuchReport", f"no migration of {name} came to its end; the last one was at {phase}")
    if as_json:
        output.json_line(found)
    else:
        report_view.show(found, more=f"`sessionstore report --source-name {name} --problems` shows all")


async def _show_rows(store: Store, name: str, rows: str, as_json: bool) -> None:
    is_empty = True
    async for row in pages.read_rows(store, name, rows):
        is_empty = False
        if as_json:
            output.json_line(row)
        else:
            text = report_view.problem_line(row) if rows == "problems" else _planned(row)
            output.console().print(output.printable(text), soft_wrap=True)
    if is_empty:
        output.console(stderr=True).print(f"The last run of {name} left no {rows}.")


def _planned(row: Mapping[str, Any]) -> str:
    whose = f"{row.get('agent')}/{row.get('key', row.get('archive'))}"
    return f"{row.get('decision', '?'):<11} {row.get('lines', '?'):>7} {whose}"


async def _document(store: Store, name: str, rest: str) -> dict[str, Any] | None:
    """Return a document that is a JSON object; None where there is none. Raises: Unreadable for any other."""
    document = document_name(name, rest)
    raw = await store.get_document(document)
    try:
        found = None if raw is None else json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the document {document} is not what a migration wrote: {error}") from error
    if found is not None and not isinstance(found, dict):
        raise Unreadable(f"the document {document} is not what a migration wrote: it is no JSON object")
    return found


async def _finalize(url: str | None, source_name: str, *, yes: bool, force: bool) -> Finalized:
    async with sources.opened(url) as store:
        await sources.chosen(store, source_name)
        work = Finalizer(store, source_name, Patience(PATIENCE_S))
        if not force:
            await work.refuse_while_a_run_lives()
        names = await work.names()
        total = sum(map(len, names.values()))
        if not yes:
            lost = len(names["conflicts"])
            click.confirm(
                f"Drop {total} documents of {source_name}, the losing sides of conflicts ({lost}) among them?",
                abort=True,
                err=True,
            )
        with counting("Dropped", total) as advance:
            return await work.drop(names, advance)


class _Log:
    """A container's termination message: what is true if nothing more is ever written, then what is true."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._began = time.monotonic()
        self._write(report.failure("Interrupted", "ended before it was done; run it again", 0.0))

    async def of(self, work: Any) -> Finalized:
        """Do the work, and write how it ended."""
        try:
            done: Finalized = await work
        except (MigrationError, SessionError) as error:
            self._write(report.failure(_reason(error), str(error), self._seconds))
            raise
        self._write(json.dumps(done.document() | {"seconds": round(self._seconds, 3)}).encode())
        return done

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _write(self, summary: bytes) -> None:
        if self._path:
            self._path.write_bytes(summary)


def _reason(error: MigrationError | SessionError) -> str:
    if isinstance(error, MigrationError):
        return error.reason
    return "StoreUnavailable" if isinstance(error, Unavailable) else type(error).__name__
