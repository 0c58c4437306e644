"""`sessionstore inspect | migrate | verify`: a state directory, a store, and what stands between them.

The operator's Job runs `migrate` with `--termination-log`. Exit status: 0 done, 1 failed, absent or mismatching,
2 used wrongly, 3 done with something set aside.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import click

from sessionstore.cli import migration_view, output
from sessionstore.migrate import keeper, pipeline, report, source
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.plan import Policy
from sessionstore.migrate.report import Report
from sessionstore.migrate.source import Source
from sessionstore.openclaw import state_dir
from sessionstore.openclaw.problems import SourceError
from sessionstore.sessions import config
from sessionstore.sessions.config import SessionStorage
from sessionstore.sessions.exceptions import ConfigurationError, SessionError, Unavailable

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


def _seconds(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """Read `60s`, `5m`, or a number of seconds."""
    match = _DURATION.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is not a duration such as 60s or 5m")
    return float(match.group(1)) * _SECONDS[match.group(2)]


def _source_name(ctx: click.Context, param: click.Parameter, value: str) -> str:
    try:
        return keeper.check_source_name(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_DIR = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/migration.md).")
_MAX_FILE_BYTES = click.option(
    "--max-file-bytes",
    type=click.IntRange(min=1),
    default=state_dir.DEFAULT_MAX_FILE_BYTES,
    show_default=True,
    help="Larger files are reported and left where they are.",
)
_STORE_TIMEOUT = click.option(
    "--store-timeout",
    callback=_seconds,
    default="60s",
    show_default=True,
    help="How long the store may be away before this fails.",
)


@dataclass(frozen=True, slots=True)
class _Outlet:
    """Where a command's answer goes."""

    directory: Path
    max_file_bytes: int
    as_json: bool
    termination_log: Path | None = None
    set_aside_is_done: bool = False


@click.command("inspect")
@_DIR
@_MAX_FILE_BYTES
@_JSON
def inspect_command(directory: Path, max_file_bytes: int, as_json: bool) -> None:
    """Tell what sessions the state directory DIR holds, and what is wrong with them. Nothing is written."""

    async def work(found: Source, watch: pipeline.Watch) -> Report:
        return pipeline.inspect(found, watch)

    _answer(_Outlet(directory, max_file_bytes, as_json), work)


@click.command("migrate")
@_DIR
@click.option("--to", "url", metavar="URL", help="The store to fill. Default: --store, else SESSION_STORAGE_CONFIG.")
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and write nothing.")
@click.option(
    "--conflicts",
    type=click.Choice([policy.value for policy in Policy]),
    default=Policy.NEWEST.value,
    show_default=True,
    help="Who wins where source and store went apart. The other side is kept as a document.",
)
@click.option("--source-name", callback=_source_name, default="default", show_default=True, help="Names the report.")
@click.option("--termination-log", type=click.Path(path_type=Path), help="Write a summary of up to 4096 bytes here.")
@click.option("--set-aside-is-done", is_flag=True, help="End with 0 instead of 3; a Job knows done and failed only.")
@_STORE_TIMEOUT
@_MAX_FILE_BYTES
@_JSON
@click.pass_context
def migrate_command(  # noqa: PLR0913, PLR0917  click hands over each option by its name
    ctx: click.Context,
    directory: Path,
    url: str | None,
    dry_run: bool,
    conflicts: str,
    source_name: str,
    termination_log: Path | None,
    set_aside_is_done: bool,
    store_timeout: float,
    max_file_bytes: int,
    as_json: bool,
) -> None:
    """Copy the sessions of the state directory DIR into a store, and prove it. DIR is never written.

    Safe to interrupt and to repeat: a further run goes on where the last one ended.
    """
    options = pipeline.Options(source_name, Patience(store_timeout), Policy(conflicts), dry_run)

    async def work(found: Source, watch: pipeline.Watch) -> Report:
        async with config.open_store(_target(url or ctx.obj, directory)) as store:
            return await pipeline.migrate(found, store, options, watch)

    _answer(_Outlet(directory, max_file_bytes, as_json, termination_log, set_aside_is_done), work)


@click.command("verify")
@_DIR
@click.option(
    "--against", "url", metavar="URL", help="The store to check. Default: --store, else SESSION_STORAGE_CONFIG."
)
@_STORE_TIMEOUT
@_MAX_FILE_BYTES
@_JSON
@click.pass_context
def verify_command(
    ctx: click.Context, directory: Path, url: str | None, store_timeout: float, max_file_bytes: int, as_json: bool
) -> None:
    """Prove that a store holds exactly what the state directory DIR holds. Nothing is written."""

    async def work(found: Source, watch: pipeline.Watch) -> Report:
        async with config.open_store(_target(url or ctx.obj, directory)) as store:
            return await pipeline.prove(found, store, Patience(store_timeout), watch)

    _answer(_Outlet(directory, max_file_bytes, as_json), work)


def _answer(outlet: _Outlet, work: Callable[[Source, pipeline.Watch], Awaitable[Report]]) -> None:
    """Do the work, print the answer, and end with the exit status that it deserves."""
    began = time.monotonic()
    # The first process of a container ignores SIGTERM unless it has a handler. There is nothing to tidy up.
    signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    # First what is true if nothing more is ever written: a container that is killed leaves its reason behind.
    _log(outlet, report.failure("Interrupted", "ended before it was done; a further run goes on from there", 0.0))
    try:
        found = asyncio.run(_work(outlet, work))
    except (SourceError, MigrationError, SessionError) as error:
        reason, message, status = _explain(error)
        _fail(outlet, began, reason, message)
        output.fail(message, status)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001  whatever it is, a Job must say why it ended
        # A fault of ours is no interruption: a further run would meet it again, and a person must see it.
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}; this is a fault of this program: report it with the lines above"
        _fail(outlet, began, "InternalError", message)
        output.fail(message, output.FAILED)
    _log(outlet, report.summary(found, time.monotonic() - began))
    if outlet.as_json:
        output.json_line(found.document())
    else:
        migration_view.show(found, time.monotonic() - began)
    status = _status(found)
    sys.exit(output.DONE if status == output.SET_ASIDE and outlet.set_aside_is_done else status)


def _fail(outlet: _Outlet, began: float, reason: str, message: str) -> None:
    """Tell machines why there is no report."""
    _log(outlet, report.failure(reason, message, time.monotonic() - began))
    if outlet.as_json:
        output.json_line({"outcome": "Failed", "reason": reason, "message": message})


async def _work(outlet: _Outlet, work: Callable[[Source, pipeline.Watch], Awaitable[Report]]) -> Report:
    with source.open_source(outlet.directory, outlet.max_file_bytes) as found, migration_view.watching() as watch:
        return await work(found, watch)


def _target(url: str | None, directory: Path) -> SessionStorage:
    """Read where the sessions are to go. Raises: ConfigurationError, also for the source itself.

    The source is what an unconfigured program would find: no store named means the gateway's own files.
    """
    target = SessionStorage.from_url(url) if url else SessionStorage.from_environment()
    if target.backend == "file" and target.directory().is_dir() and target.directory().samefile(directory):
        raise ConfigurationError(f"{directory} would be its own store; name another one with a URL, or --store")
    return target


def _status(found: Report) -> int:
    if found.mismatches:
        return output.FAILED
    return output.SET_ASIDE if found.is_set_aside else output.DONE


def _explain(error: Exception) -> tuple[str, str, int]:
    """Return the reason for machines, the message for people, and the exit status."""
    if isinstance(error, SourceError | MigrationError):
        return error.reason, str(error), output.FAILED
    assert isinstance(error, SessionError)
    message, status = output.explain(error)
    if isinstance(error, Unavailable):
        return "StoreUnavailable", message, status
    return "InvalidConfiguration" if isinstance(error, ConfigurationError) else type(error).__name__, message, status


def _log(outlet: _Outlet, summary: bytes) -> None:
    if outlet.termination_log:
        # Kubernetes mounts this very file: it is written in place, not replaced.
        outlet.termination_log.write_bytes(summary)
