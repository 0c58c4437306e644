"""What the commands on single sessions share: how a session is named, and how a change of it is told."""

from __future__ import annotations

from typing import Any, NoReturn

import click

from sessionstore.cli import output
from sessionstore.sessions import SessionKey

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
agent_option = click.option(
    "--agent", default=None, help="The agent it belongs to; default: KEY's agent:<id>:, or main."
)
expected_option = click.option(
    "--expected", type=click.IntRange(min=0), default=None, help="The revision that must be current; 0: must not exist."
)


def name_of(key: str, agent: str | None) -> SessionKey:
    """Return the session that KEY and --agent name."""
    return SessionKey.of(key) if agent is None else SessionKey(agent, key)


def absent(name: SessionKey) -> NoReturn:
    """End with the word that there is no such session."""
    output.fail(f"there is no session {name}")


def done(as_json: bool, document: dict[str, Any], what: str) -> None:
    """Tell what was done to the session that `document` names."""
    if as_json:
        output.json_line(document)
        return
    revision = f", revision {document['revision']}" if "revision" in document else ""
    output.console().print(output.printable(f"{document['agent']}/{document['key']} {what}{revision}"), soft_wrap=True)
