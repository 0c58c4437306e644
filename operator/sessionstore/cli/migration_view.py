"""How a migration looks to people: its progress while it runs, its report at the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence

import click
import rich.console
import rich.progress
import rich.table
import rich.text

from sessionstore.cli import output
from sessionstore.migrate.progress import Progress, Watch
from sessionstore.migrate.report import Report, problem_document

LINE_EVERY_S = 5.0
"""Between two lines of progress where there is no terminal, say in a Job's log."""
PROBLEMS_SHOWN = 20
_MEGABYTE = 1_000_000
_COUNTED = ("New", "Same", "NewerHere", "NewerThere", "Conflict", "Quarantine")


@contextlib.contextmanager
def watching(names: Sequence[str]) -> Iterator[Watch]:
    """Show progress on standard error: a bar for each source in a terminal, now and then a line elsewhere."""
    console = output.console(stderr=True)
    label = max(map(len, names)) if len(names) > 1 else 0
    if not console.is_terminal:
        yield _Lines(label)
        return
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(bar_width=None),
        rich.progress.TextColumn("{task.fields[facts]}"),
    )
    with rich.progress.Progress(*columns, console=console, transient=True, expand=True) as bar:
        yield _Bars(bar, label)


class _Pace:
    """How fast one phase of one source goes."""

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self._began = time.monotonic()

    def facts(self, seen: Progress) -> str:
        """Return count, rate and time left in words."""
        seconds = time.monotonic() - self._began
        total = f" of {seen.total:,}" if seen.total else ""
        words = [f"{seen.done:,}{total} sessions and archives"]
        if seconds >= 1 and seen.done:
            words.append(f"{seen.done / seconds:,.0f}/s, {seen.bytes / seconds / _MEGABYTE:.1f} MB/s")
        left = _left_s(seen, seconds)
        if left is not None:
            words.append(f"{_spelled(left)} left")
        return ", ".join(words)


class _Paces:
    """The pace of each source; begins anew with each phase."""

    def __init__(self) -> None:
        self._paces: dict[str, _Pace] = {}

    def facts(self, seen: Progress) -> str:
        """Return the words for one source."""
        pace = self._paces.get(seen.source)
        if pace is None or pace.phase != seen.phase:
            pace = self._paces[seen.source] = _Pace(seen.phase)
        return pace.facts(seen)


class _Bars:
    """Moves a bar for each source."""

    def __init__(self, bar: rich.progress.Progress, label: int) -> None:
        self._bar, self._label = bar, label
        self._paces = _Paces()
        self._tasks: dict[str, rich.progress.TaskID] = {}

    def __call__(self, seen: Progress) -> None:
        if seen.source not in self._tasks:
            self._tasks[seen.source] = self._bar.add_task("", total=None, facts="")
        name = f"{seen.source:{self._label}} " if self._label else ""
        self._bar.update(
            self._tasks[seen.source],
            description=f"{name}{seen.phase:8}",
            completed=seen.done,
            total=seen.total or None,
            facts=self._paces.facts(seen),
        )


class _Lines:
    """Prints a line for a source when LINE_EVERY_S have passed since its last one."""

    def __init__(self, label: int) -> None:
        self._label = label
        self._paces = _Paces()
        self._last: dict[str, float] = {}

    def __call__(self, seen: Progress) -> None:
        facts, now = self._paces.facts(seen), time.monotonic()
        if now - self._last.setdefault(seen.source, now) >= LINE_EVERY_S:
            self._last[seen.source] = now
            click.echo(f"{seen.source + ' ' if self._label else ''}{seen.phase}: {facts}", err=True)


def _left_s(seen: Progress, seconds: float) -> float | None:
    """Return how long the phase will take yet: by bytes, since a session may have ten lines or a million."""
    done, total = (seen.bytes, seen.total_bytes) if seen.bytes else (seen.done, seen.total)
    return seconds * (total - done) / done if done and total >= done and seconds >= 1 else None


def _spelled(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def show(report: Report, seconds: float, name: str = "") -> None:
    """Print a report as people read it; `name` says which source it is of, where there are several."""
    console = output.console()
    console.print(f"{name + ': ' if name else ''}{_headline(report, seconds)}")
    console.print(_counts(report))
    if report.plan:
        console.print(_decisions(report))
    console.print(f"digest  {report.proof.source_digest if report.proof else report.survey.digest}", soft_wrap=True)
    if report.following:
        console.print(_followed(report.following), soft_wrap=True)
    if report.moving:
        console.print(f"{report.moving} changed meanwhile; run again when nothing writes to the source any more")
    for mismatch in report.mismatches:
        text = f"mismatch: {mismatch.kind} {mismatch.agent}/{mismatch.name}: {mismatch.detail}"
        console.print(output.printable(text), soft_wrap=True)
    _say_more(console, report.proof.mismatch_count if report.proof else 0, len(report.mismatches), "mismatches")
    _show_problems(console, report)
    if report.kept:
        keep = "1 document keeps" if report.kept_count == 1 else f"{report.kept_count} documents keep"
        console.print(f"{keep} what was set aside, under {report.kept[0].rsplit('/', 2)[0]}/", soft_wrap=True)


def _followed(told: Mapping[str, int | float | None]) -> str:
    counts = ", ".join(f"{told[name]} {name}" for name in ("created", "changed", "deleted", "conflicts"))
    pause = told["pauseSeconds"]
    return f"followed {told['changes']} changes: {counts}{'' if pause is None else f'; writers paused for {pause} s'}"


def _show_problems(console: rich.console.Console, report: Report) -> None:
    for problem in report.problems[:PROBLEMS_SHOWN]:
        fields = problem_document(problem)
        where = f"{problem.path}{f' at byte {problem.offset}' if problem.offset is not None else ''}"
        whose = f" ({fields['agent']}/{fields['key']})" if problem.agent and problem.key else ""
        console.print(output.printable(f"{problem.reason}: {where}{whose}: {problem.detail}"), soft_wrap=True)
    _say_more(console, report.problem_count, min(PROBLEMS_SHOWN, len(report.problems)), "problems")


def _say_more(console: rich.console.Console, count: int, shown: int, what: str) -> None:
    if count > shown:
        console.print(f"and {count - shown} more {what}; --json shows more of them, the store keeps the report")


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


def _decisions(report: Report) -> rich.table.Table:
    """Lay out how many sessions of each kind a dry run found."""
    assert report.plan is not None
    table = rich.table.Table("decision", rich.table.Column("sessions", justify="right"))
    for decision in _COUNTED:
        if report.plan.decisions.get(decision):
            table.add_row(decision, str(report.plan.decisions[decision]))
    return table
