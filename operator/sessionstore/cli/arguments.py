"""What the commands of a migration and of the way back have in common: a duration, a reason."""

from __future__ import annotations

import re

import click

from sessionstore.cli import output
from sessionstore.migrate import keeper
from sessionstore.migrate.errors import MigrationError
from sessionstore.openclaw.problems import SourceError
from sessionstore.sessions.exceptions import ConfigurationError, SessionError, Unavailable

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


def seconds(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """Read `60s`, `5m`, or a number of seconds."""
    match = _DURATION.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is not a duration such as 60s or 5m")
    return float(match.group(1)) * _SECONDS[match.group(2)]


def source_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Read the name under which a report is kept."""
    try:
        return value if value is None else keeper.check_source_name(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


store_timeout_option = click.option(
    "--store-timeout",
    callback=seconds,
    default="60s",
    show_default=True,
    help="How long the store may be away before this fails.",
)


def explain(error: SourceError | MigrationError | SessionError) -> tuple[str, str, int]:
    """Return the reason for machines, the message for people, and the exit status."""
    if isinstance(error, SourceError | MigrationError):
        return error.reason, str(error), output.FAILED
    message, status = output.explain(error)
    if isinstance(error, Unavailable):
        return "StoreUnavailable", message, status
    return "InvalidConfiguration" if isinstance(error, ConfigurationError) else type(error).__name__, message, status
