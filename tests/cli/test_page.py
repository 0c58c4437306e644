"""The page of the command line names all that there is."""

from __future__ import annotations

import click
import pytest

from sessionstore.cli.main import COMMANDS, main
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text()
OTHER_PAGES = ("migration", "operator", "crds")
"""Modules whose commands are documented elsewhere, or are for us."""
ON_SESSIONS = [name for name, (module, _) in COMMANDS.items() if module.rpartition(".")[2] not in OTHER_PAGES]


@pytest.mark.parametrize("name", ON_SESSIONS)
def test_a_command_on_sessions_is_on_its_page_with_all_its_options(name: str) -> None:
    (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{name}"))
    command = main.get_command(click.Context(main), name)
    assert command is not None
    options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    everywhere = {"--json", "--agent"}
    assert {option for option in options - everywhere if option not in row} == set()
