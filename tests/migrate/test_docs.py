"""docs/migration.md shows what the commands print, and names every reason."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from sessionstore.openclaw.problems import Reason
from tests.conftest import ROOT
from tests.migrate.conftest import run
from tests.migrate.states import HEADER, State

TEXT = (ROOT / "docs" / "migration.md").read_text()


def _example(before: str) -> dict[str, Any]:
    """Return the first JSON block behind the text `before`."""
    match = re.search(re.escape(before) + r"\n+```json\n(.*?)```", TEXT, re.DOTALL)
    assert match is not None, f"no example behind {before!r}"
    document: dict[str, Any] = json.loads(match.group(1))
    return document


def test_the_examples_are_what_the_real_state_directory_gives(real: Path, url: str) -> None:
    assert run("inspect", real).document == _example("`sessionstore inspect DIR --json`")
    assert run("migrate", real, "--to", url).document == _example("`sessionstore migrate DIR --to URL --json`")
    assert run("verify", real, "--against", url).document == _example("`sessionstore verify DIR --against URL --json`")


def test_the_example_of_a_problem_is_one(state: State) -> None:
    state.session("k", lines=HEADER + b"\n{")

    assert run("inspect", state.root).document["problems"] == [_example("A problem:")]


def test_every_reason_of_a_problem_is_described() -> None:
    table = TEXT.partition("## What is broken")[2].partition("## What ends it")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)

    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == {reason.value for reason in Reason}


def test_every_reason_to_fail_is_described() -> None:
    """Reasons are the first argument of the two exceptions, and of `report.failure`."""
    pattern = re.compile(r'(?:MigrationError|SourceError|failure)\(\s*"(\w+)"')
    code = [*(ROOT / "operator/sessionstore").rglob("*.py")]
    used = {name for path in code for name in pattern.findall(path.read_text())} | {"StoreUnavailable", "Mismatch"}

    rows = re.findall(r"^\| (`.*?) \|", TEXT.partition("## What ends it")[2], re.MULTILINE)
    described = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert used <= described


def test_every_option_is_described() -> None:
    source = (ROOT / "operator/sessionstore/cli/migration.py").read_text()

    assert {option for option in re.findall(r'"(--[a-z-]+)"', source) if option not in TEXT} == set()
