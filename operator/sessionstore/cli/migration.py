"""`sessionstore inspect | migrate | verify`: sources, a store, and what stands between them.

The operator's Job runs `migrate` with `--termination-log`. Exit status: 0 done, 1 failed, absent or mismatching,
2 used wrongly, 3 done with something set aside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from sessionstore.cli import arguments, following
from sessionstore.cli.migration_answer import Outlet, Place, answer
from sessionstore.migrate import pipeline, sources
from sessionstore.migrate.folder import Folder
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.plan import Policy
from sessionstore.migrate.report import Report
from sessionstore.openclaw import files, openclaw_json
from sessionstore.sessions import config
from sessionstore.sessions.config import SessionStorage
from sessionstore.sessions.exceptions import ConfigurationError

_PATH = click.Path(path_type=Path)

Command = Callable[..., Any]


_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/migration.md).")


def _reading(command: Command) -> Command:
    """Give a command the options of everything that reads a source."""
    for option in (
        click.option(
            "--max-file-bytes",
            type=click.IntRange(min=1),
            default=files.DEFAULT_MAX_FILE_BYTES,
            show_default=True,
            help="Larger files are reported and left where they are.",
        ),
        click.option(
            "--state-dir",
            default=openclaw_json.STATE_DIR,
            show_default=True,
            help="Where the gateway sees the directory: absolute paths in its configuration begin with it.",
        ),
        click.option("--scratch", type=_PATH, help="Where to put what does not fit into memory. Default: TMPDIR."),
    ):
        command = option(command)
    return command


@click.command("inspect")
@click.argument("source", metavar="SOURCE")
@_reading
@_JSON
def inspect_command(source: str, max_file_bytes: int, state_dir: str, scratch: Path | None, as_json: bool) -> None:
    """Tell what sessions SOURCE holds, and what is wrong with them. Nothing is written.

    SOURCE is OpenClaw's state directory, wherever it is mounted, the URL of a store, or a dump: FILE.jsonl, or - for
    standard input.
    """

    async def work(place: Place) -> Report:
        return await pipeline.inspect(place.source, place.scratch, place.watch, place.name)

    answer(Outlet((source,), ("",), max_file_bytes, state_dir, scratch, as_json), work)


@click.command("migrate")
@click.argument("source", metavar="SOURCE…", nargs=-1, required=True)
@click.option("--to", "url", metavar="URL", help="The store to fill. Default: --store, else SESSION_STORAGE_CONFIG.")
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and change no session.")
@click.option("--keep-report", is_flag=True, help="Leave the report of a dry run in the store, with all of its rows.")
@click.option("--live", is_flag=True, help="Copy while a gateway writes to SOURCE; a run without this finishes it.")
@following.options
@click.option("--thorough", is_flag=True, help="Look at everything, whatever an earlier run left.")
@click.option(
    "--conflicts",
    type=click.Choice([policy.value for policy in Policy]),
    default=Policy.NEWEST.value,
    show_default=True,
    help="Who wins where source and store went apart. The other side is kept as a document.",
)
@click.option("--source-name", "names", multiple=True, help="Names the report, once for each SOURCE; else `default`.")
@click.option(
    "--origin", default="", help="What tells SOURCE from another one of its name, path and inode: a volume's id."
)
@click.option("--quarantine-dir", type=_PATH, help="Keep what is set aside in this directory, too.")
@click.option("--termination-log", type=_PATH, help="Write a summary of up to 4096 bytes here.")
@click.option("--set-aside-is-done", is_flag=True, help="End with 0 instead of 3; a Job knows done and failed only.")
@arguments.store_timeout_option
@_reading
@_JSON
@click.pass_context
def migrate_command(  # noqa: PLR0913, PLR0917  click hands over each option by its name
    ctx: click.Context,
    source: tuple[str, ...],
    url: str | None,
    dry_run: bool,
    keep_report: bool,
    live: bool,
    follow: bool,
    fence: str | None,
    thorough: bool,
    conflicts: str,
    names: tuple[str, ...],
    origin: str,
    quarantine_dir: Path | None,
    termination_log: Path | None,
    set_aside_is_done: bool,
    store_timeout: float,
    max_file_bytes: int,
    state_dir: str,
    scratch: Path | None,
    as_json: bool,
) -> None:
    """Copy the sessions of each SOURCE into a store, and prove it. A source is never written.

    Safe to interrupt and to repeat: a further run goes on where the last one ended.
    """
    options = pipeline.Options(
        "", Patience(store_timeout), Policy(conflicts), dry_run, keep_report, live, thorough
    )  # fmt: skip

    async def work(place: Place) -> Report:
        folder = Folder(quarantine_dir, place.name) if quarantine_dir else None
        its = replace(options, source_name=place.name, origin=sources.origin_of(place.text, origin), folder=folder)
        if live:
            return await pipeline.migrate(place.source, place.store, place.scratch, its, place.watch)
        return await following.carry_out(place, its, fence, follow=follow)

    _check_outside(quarantine_dir, source)
    following.check(source, follows=follow or fence is not None)
    try:
        named = tuple(sources.names_of(source, names))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--source-name") from error
    outlet = Outlet(
        source, named, max_file_bytes, state_dir, scratch, as_json, termination_log, set_aside_is_done, options.patience
    )
    answer(outlet, work, lambda: config.open_store(_target(url or ctx.obj, source)))


@click.command("verify")
@click.argument("source", metavar="SOURCE")
@click.option(
    "--against", "url", metavar="URL", help="The store to check. Default: --store, else SESSION_STORAGE_CONFIG."
)
@arguments.store_timeout_option
@_reading
@_JSON
@click.pass_context
def verify_command(  # noqa: PLR0913, PLR0917  click hands over each option by its name
    ctx: click.Context,
    source: str,
    url: str | None,
    store_timeout: float,
    max_file_bytes: int,
    state_dir: str,
    scratch: Path | None,
    as_json: bool,
) -> None:
    """Prove that a store holds all that SOURCE holds, just as it is there. Nothing is written."""

    async def work(place: Place) -> Report:
        options = pipeline.Options(place.name, Patience(store_timeout))
        return await pipeline.prove(place.source, place.store, place.scratch, options, place.watch)

    outlet = Outlet((source,), ("",), max_file_bytes, state_dir, scratch, as_json, patience=Patience(store_timeout))
    answer(outlet, work, lambda: config.open_store(_target(url or ctx.obj, (source,))))


def _target(url: str | None, texts: tuple[str, ...]) -> SessionStorage:
    """Read where the sessions are to go. Raises: ConfigurationError, also for a source itself.

    The source is what an unconfigured program would find: no store named means the gateway's own files.
    """
    target = SessionStorage.from_url(url) if url else SessionStorage.from_environment()
    for text in texts:
        if target.backend == "file" and target.directory().is_dir() and _is_same(target.directory(), Path(text)):
            raise ConfigurationError(f"{text} would be its own store; name another one with a URL, or --store")
    return target


def _check_outside(directory: Path | None, texts: tuple[str, ...]) -> None:
    """Refuse to keep anything in a source: it is never written. Raises: click.BadParameter."""
    for text in texts:
        if directory and not sources.is_store(text) and directory.resolve().is_relative_to(Path(text).resolve()):
            raise click.BadParameter(
                f"{directory} lies in {text}, and a source is never written; name another one",
                param_hint="--quarantine-dir",
            )


def _is_same(directory: Path, other: Path) -> bool:
    return other.exists() and directory.samefile(other)
