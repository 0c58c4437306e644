"""The page of the command line names all that there is."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from sessionstore.cli.main import COMMANDS, main
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text()
OTHER_PAGES = ("migration", "export", "operator", "crds", "bridge")
"""Modules whose commands are documented elsewhere, or are for us."""
ON_SESSIONS = [name for name, (module, _) in COMMANDS.items() if module.rpartition(".")[2] not in OTHER_PAGES]


def _commands() -> Iterator[tuple[str, click.Command]]:
    """Go through the commands on sessions; those of a group one by one, as `group command`."""
    for name in ON_SESSIONS:
        command = main.get_command(click.Context(main), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", found) for inner, found in command.commands.items())
        else:
            yield name, command


ALL = dict(_commands())


@pytest.mark.parametrize("name", ALL)
def test_a_command_on_sessions_is_on_its_page_with_all_its_options(name: str) -> None:
    (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{name}"))
    options = {option for parameter in ALL[name].params for option in parameter.opts if option.startswith("--")}
    everywhere = {"--json", "--agent"}
    assert {option for option in options - everywhere if option not in row} == set()
