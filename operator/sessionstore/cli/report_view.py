"""A migration's report as people read it, from the document that it is: the one that a run left, or has just made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import rich.console
import rich.table

from sessionstore.cli import output

PROBLEMS_SHOWN = 20
COLUMNS = ("found", "migrated", "present", "conflicts", "quarantined")
_COUNTED = ("sessions", "lines", "archives")


def show(report: Mapping[str, Any], *, more: str, seconds: float | None = None) -> None:
    """Print a report. Whoever may have edited it: what is not there is left out.

    Args:
        more: how to see all of its problems.
        seconds: how long the run took, where that is known.
    """
    console = output.console()
    console.print(output.printable(_headline(report, seconds)), soft_wrap=True)
    console.print(_counts(report))
    for name, title in (("digest", "digest"), ("storeDigest", "the store's")):
        if report.get(name) and (name == "digest" or report[name] != report.get("digest")):
            console.print(output.printable(f"{title}  {report[name]}"), soft_wrap=True)
    for mismatch in _objects(report, "mismatches"):
        console.print(output.printable(f"mismatch: {_mismatch(mismatch)}"), soft_wrap=True)
    _show_problems(report, more)
    _show_kept(report)


def problem_line(problem: Mapping[str, Any]) -> str:
    """Return a problem in one line."""
    place = f" at byte {problem['offset']}" if "offset" in problem else ""
    where = f"{problem.get('path', '?')}{place}"
    whose = f" ({problem['agent']}/{problem['key']})" if problem.get("agent") and problem.get("key") else ""
    return f"{problem.get('reason', '?')}: {where}{whose}: {problem.get('detail', '')}"


def _headline(report: Mapping[str, Any], seconds: float | None) -> str:
    agents = report.get("agents") or []
    facts = [
        ", ".join(map(str, report.get("layouts") or ["no layout"])),
        f"{len(agents)} agent{'' if len(agents) == 1 else 's'}",
        f"{report.get('bytes', '?')} bytes",
    ]
    facts += [] if seconds is None else [f"{seconds:.1f} s"]
    facts += ["finalized"] if report.get("finalized") is True else []
    return f"{report.get('outcome', 'no outcome')}: {', '.join(facts)}"


def _counts(report: Mapping[str, Any]) -> rich.table.Table:
    accounts = report.get("accounts")
    columns = COLUMNS if isinstance(accounts, dict) else COLUMNS[:1]
    table = rich.table.Table()
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for name in _COUNTED:
        counts = accounts.get(name) if isinstance(accounts, dict) else {"found": report.get(name)}
        counts = counts if isinstance(counts, dict) else {}
        table.add_row(name, *(output.printable(str(counts.get(column, "?"))) for column in columns))
    return table


def _show_problems(report: Mapping[str, Any], more: str) -> None:
    console = output.console()
    problems = _objects(report, "problems")
    for problem in problems[:PROBLEMS_SHOWN]:
        console.print(output.printable(problem_line(problem)), soft_wrap=True)
    count = report.get("problemCount", len(problems))
    left = count - min(len(problems), PROBLEMS_SHOWN) if isinstance(count, int) else 0
    if left > 0:
        console.print(output.printable(f"and {left} more problems; {more}"), soft_wrap=True)


def _show_kept(report: Mapping[str, Any]) -> None:
    names = report.get("kept")
    if not isinstance(names, list) or not names:
        return
    keep = "1 thing is kept" if len(names) == 1 else f"{len(names)} things are kept"
    text = f"{keep} that {'was' if len(names) == 1 else 'were'} set aside; see `sessionstore quarantine list`"
    output.console().print(text, soft_wrap=True)


def _objects(report: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    values = report.get(name)
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _mismatch(mismatch: Mapping[str, Any]) -> str:
    return f"{mismatch.get('kind')} {mismatch.get('agent')}/{mismatch.get('name')}: {mismatch.get('detail')}"
