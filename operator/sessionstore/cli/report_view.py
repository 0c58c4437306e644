"""A migration's report as people read it, from the document that it is: the one that a run left, or has just made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import rich.console
import rich.table

from sessionstore.cli import output
from sessionstore.migrate.keeper import ROOT
from sessionstore.migrate.kept import Shelf

PROBLEMS_SHOWN = 20
MORE = "--json shows more of them, and `sessionstore report` what the store keeps of a migration"
COLUMNS = ("found", "migrated", "present", "conflicts", "quarantined")
_COUNTED = ("sessions", "lines", "archives")


def show(report: Mapping[str, Any], *, name: str = "", seconds: float | None = None, more: str = MORE) -> None:
    """Print a report. Whoever may have edited it: what is not there is left out.

    Args:
        name: which source it is of, where there are several.
        seconds: how long the run took, where that is known.
        more: how to see all of its problems.
    """
    console = output.console()
    label = f"{name}: " if name else ""
    console.print(output.printable(label + _headline(report, seconds)), soft_wrap=True)
    console.print(_counts(report))
    if decisions := _decisions(report):
        console.print(decisions)
    digest, its = report.get("digest"), report.get("storeDigest")
    console.print(output.printable(f"digest  {digest}"), soft_wrap=True)
    if its is not None and its != digest:
        why = "  (other where the store rightly has another side)" if report.get("outcome") == "Verified" else ""
        console.print(output.printable(f"store's {its}{why}"), soft_wrap=True)
    if isinstance(report.get("following"), dict):
        console.print(output.printable(_followed(report["following"])), soft_wrap=True)
    if report.get("moving"):
        text = f"{report['moving']} changed meanwhile; run again when nothing writes to the source any more"
        console.print(output.printable(text), soft_wrap=True)
    _show_some(report, "mismatches", "mismatchCount", 100, lambda mismatch: f"mismatch: {_mismatch(mismatch)}", more)
    _show_some(report, "problems", "problemCount", PROBLEMS_SHOWN, problem_line, more)
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
        is_to_come = column == "migrated" and report.get("outcome") == "Planned"
        table.add_column("to migrate" if is_to_come else column, justify="right")
    for name in _COUNTED:
        counts = accounts.get(name) if isinstance(accounts, dict) else {"found": report.get(name)}
        counts = counts if isinstance(counts, dict) else {}
        table.add_row(name, *(output.printable(str(counts.get(column, "?"))) for column in columns))
    return table


def _followed(told: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{told.get(name, '?')} {name}" for name in ("created", "changed", "deleted", "conflicts"))
    pause = told.get("pauseSeconds")
    paused = "" if pause is None else f"; writers paused for {pause} s"
    return f"followed {told.get('changes', '?')} changes: {counts}{paused}"


def _decisions(report: Mapping[str, Any]) -> rich.table.Table | None:
    """Lay out how many sessions of each kind a dry run found."""
    decisions = report.get("decisions")
    if not isinstance(decisions, dict):
        return None
    table = rich.table.Table("decision", rich.table.Column("sessions", justify="right"))
    for decision, count in decisions.items():
        if count:
            table.add_row(output.printable(str(decision)), output.printable(str(count)))
    return table


def _show_some(
    report: Mapping[str, Any], name: str, counted: str, most: int, line: Callable[[Mapping[str, Any]], str], more: str
) -> None:
    """Print the first of many things, and how many more there are."""
    console = output.console()
    shown = _objects(report, name)[:most]
    for thing in shown:
        console.print(output.printable(line(thing)), soft_wrap=True)
    count = report.get(counted, len(shown))
    if isinstance(count, int) and count > len(shown):
        console.print(output.printable(f"and {count - len(shown)} more {name}; {more}"), soft_wrap=True)


def _show_kept(report: Mapping[str, Any]) -> None:
    names = report.get("kept")
    if not isinstance(names, list) or not names:
        return
    count = report.get("keptCount", len(names))
    keep = "1 thing that was set aside is kept" if count == 1 else f"{count} things that were set aside are kept"
    where = str(names[0]).rsplit("/", 2)[0]
    shelves = {str(name).rsplit("/", 2)[1] for name in names if str(name).startswith(f"{ROOT}/")}
    lists = ["`sessionstore quarantine list`"] if Shelf.QUARANTINE in shelves else []
    lists += ["`sessionstore quarantine list --conflicts`"] if Shelf.CONFLICTS in shelves else []
    hint = f"; see {' and '.join(lists)}" if lists else ""
    output.console().print(output.printable(f"{keep} under {where}/{hint}"), soft_wrap=True)


def _objects(report: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    values = report.get(name)
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _mismatch(mismatch: Mapping[str, Any]) -> str:
    return f"{mismatch.get('kind')} {mismatch.get('agent')}/{mismatch.get('name')}: {mismatch.get('detail')}"
