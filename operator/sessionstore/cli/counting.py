"""Progress of a command over many things of which the number is known: on standard error, and not for short work."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import click
import rich.progress

from sessionstore.cli import output

LINE_EVERY_S = 5.0
"""Between two lines where there is no terminal."""
FEW = 20
"""So many are done before anybody wonders."""

Advance = Callable[[int], None]
"""Told how many more are done."""


@contextlib.contextmanager
def counting(what: str, total: int) -> Iterator[Advance]:
    """Show how far it is: a bar in a terminal, now and then a line elsewhere."""
    console = output.console(stderr=True)
    if total <= FEW:
        yield lambda count: None
    elif not console.is_terminal:
        yield _Lines(what, total)
    else:
        columns = (
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
        )
        with rich.progress.Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda count: bar.advance(task, count)


class _Lines:
    """Prints a line when LINE_EVERY_S have passed since the last one."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._last = time.monotonic()

    def __call__(self, count: int) -> None:
        self._done += count
        if time.monotonic() - self._last >= LINE_EVERY_S:
            self._last = time.monotonic()
            click.echo(f"{self._what}: {self._done} of {self._total}", err=True)
