"""How a migration looks to people while it runs; `report_view` shows its report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

import click
import rich.progress

from sessionstore.cli import output
from sessionstore.migrate.progress import Progress, Watch

LINE_EVERY_S = 5.0
"""Between two lines of progress where there is no terminal, say in a Job's log."""
_MEGABYTE = 1_000_000


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
        words = [f"{seen.done:,}{total}"]
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
