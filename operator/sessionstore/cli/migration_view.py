"""How a migration looks to people: its progress while it runs, its report at the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import click
import rich.console
import rich.progress
import rich.table

from sessionstore.cli import output
from sessionstore.migrate.pipeline import Progress, Watch
from sessionstore.migrate.report import Report, problem_document

LINE_EVERY_S = 5.0
"""Between two lines of progress where there is no terminal, say in a Job's log."""
PROBLEMS_SHOWN = 20


@contextlib.contextmanager
def watching() -> Iterator[Watch]:
    """Show progress on standard error: a bar in a terminal, now and then a line elsewhere."""
    console = output.console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (
        rich.progress.TextColumn("{task.description:8}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeElapsedColumn(),
    )
    with rich.progress.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("Inspect", total=None)
        yield lambda seen: bar.update(task, description=seen.phase, completed=seen.done, total=seen.total or None)


class _Lines:
    """Prints a line when LINE_EVERY_S have passed since the last one."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, seen: Progress) -> None:
        now = time.monotonic()
        if now - self._last >= LINE_EVERY_S:
            self._last = now
            click.echo(f"{seen.phase}: {seen.done}{f' of {seen.total}' if seen.total else ''}", err=True)


def show(report: Report, seconds: float) -> None:
    """Print a report as people read it."""
    console = output.console()
    console.print(_headline(report, seconds))
    console.print(_counts(report))
    console.print(f"digest  {report.proof.source_digest if report.proof else report.survey.digest}", soft_wrap=True)
    for mismatch in report.mismatches:
        text = f"mismatch: {mismatch.kind} {mismatch.agent}/{mismatch.name}: {mismatch.detail}"
        console.print(output.printable(text), soft_wrap=True)
    for problem in report.problems[:PROBLEMS_SHOWN]:
        fields = problem_document(problem)
        where = f"{problem.path}{f' at byte {problem.offset}' if problem.offset is not None else ''}"
        whose = f" ({fields['agent']}/{fields['key']})" if problem.agent and problem.key else ""
        console.print(output.printable(f"{problem.reason}: {where}{whose}: {problem.detail}"), soft_wrap=True)
    if len(report.problems) > PROBLEMS_SHOWN:
        console.print(f"and {len(report.problems) - PROBLEMS_SHOWN} more problems; --json shows all")
    if report.kept:
        keep = "1 document keeps" if len(report.kept) == 1 else f"{len(report.kept)} documents keep"
        console.print(f"{keep} what was set aside, under {report.kept[0].rsplit('/', 2)[0]}/", soft_wrap=True)


def _headline(report: Report, seconds: float) -> str:
    survey = report.survey
    agents = f"{len(survey.agents)} agent{'' if len(survey.agents) == 1 else 's'}"
    return (
        f"{report.outcome}: {', '.join(survey.layouts) or 'no layout'}, {agents}, {survey.bytes} bytes, {seconds:.1f} s"
    )


def _counts(report: Report) -> rich.table.Table:
    table = rich.table.Table()
    columns = ["found", "migrated", "present", "conflicts", "quarantined"] if report.accounts else ["found"]
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    survey, accounts = report.survey, report.accounts
    for name, found in (("sessions", survey.sessions), ("lines", survey.lines), ("archives", survey.archives)):
        counts = getattr(accounts, name).document(found) if accounts else {"found": found}
        table.add_row(name, *(str(counts[column]) for column in columns))
    return table
