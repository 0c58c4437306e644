"""`sessionstore export`: a store's sessions as files, or as a dump. The operator's Job runs it for a rollback.

Exit status: 0 done, 1 failed or not proven, 2 used wrongly, 3 done and something to look at.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import secrets
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NoReturn

import click
import rich.progress

from sessionstore.cli import arguments, output
from sessionstore.migrate import report, stores
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.export import run
from sessionstore.migrate.export.report import Exported
from sessionstore.migrate.export.run import Format, Options, Watch
from sessionstore.migrate.export.staging import Owner
from sessionstore.migrate.patience import Patience
from sessionstore.openclaw.problems import SourceError
from sessionstore.sessions import SessionStorage, Store, open_store
from sessionstore.sessions.exceptions import ConfigurationError, InvalidKey, SessionError
from sessionstore.sessions.record import check_agent
from sessionstore.sessions.store import Capability

LINE_EVERY_S = 5.0
_STAMP = "%Y-%m-%dT%H-%M-%S"
_OWNER = re.compile(r"(\d{1,10}):(\d{1,10})")


def _owner(ctx: click.Context, param: click.Parameter, value: str | None) -> Owner | None:
    """Read `1000:1000`."""
    if value is None:
        return None
    match = _OWNER.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is not UID:GID such as 1000:1000")
    return Owner(int(match.group(1)), int(match.group(2)))


def _agents(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(check_agent(agent) for agent in value)
    except InvalidKey as error:
        raise click.BadParameter(str(error)) from error


def _state_dir(ctx: click.Context, param: click.Parameter, value: str | None) -> PurePosixPath | None:
    if value is not None and not value.startswith("/"):
        raise click.BadParameter(f"{value!r} is not an absolute path such as /home/node/.openclaw")
    return None if value is None else PurePosixPath(value)


@dataclass(frozen=True, slots=True)
class _Outlet:
    """Where the answer goes. The dump itself may have taken standard output."""

    as_json: bool
    to_stderr: bool
    source_name: str | None
    termination_log: Path | None
    set_aside_is_done: bool


@click.command("export")
@click.argument("url", required=False)
@click.option("--to", "path", metavar="PATH", required=True, help="A directory, or a file for jsonl; - is stdout.")
@click.option(
    "--format",
    "form",
    type=click.Choice([form.value for form in Format]),
    default=Format.OPENCLAW_FILES.value,
    show_default=True,
    help="Files that OpenClaw reads, one file an entry, or a portable dump.",
)
@click.option("--in-place", is_flag=True, help="Replace the sessions in PATH; they stay beside, under another name.")
@click.option("--agent", "agents", multiple=True, callback=_agents, help="Only this agent's sessions. May be repeated.")
@click.option("--state-dir", callback=_state_dir, help="Where the gateway will see PATH. Default: PATH.")
@click.option("--owner", callback=_owner, metavar="UID:GID", help="Whose files to write. Default: the owner of PATH.")
@click.option("--scratch", type=click.Path(path_type=Path), help="A directory for temporary files. Default: in PATH.")
@click.option(
    "--source-name", callback=arguments.source_name, help="Keep the report in the store, as migration/<name>/export."
)
@click.option("--termination-log", type=click.Path(path_type=Path), help="Write a summary of up to 4096 bytes here.")
@click.option("--set-aside-is-done", is_flag=True, help="End with 0 instead of 3; a Job knows done and failed only.")
@arguments.store_timeout_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/migration.md).")
@click.pass_context
def export_command(  # noqa: PLR0913, PLR0917  click hands over each option by its name
    ctx: click.Context,
    url: str | None,
    path: str,
    form: str,
    in_place: bool,
    agents: tuple[str, ...],
    state_dir: PurePosixPath | None,
    owner: Owner | None,
    scratch: Path | None,
    source_name: str | None,
    termination_log: Path | None,
    set_aside_is_done: bool,
    store_timeout: float,
    as_json: bool,
) -> None:
    """Write the sessions of the store URL to PATH, and prove them. The store is not changed."""
    _check(path, Format(form), in_place=in_place)
    options = Options(
        Format(form),
        Patience(store_timeout),
        secrets.token_hex(4),
        datetime.datetime.now(datetime.UTC).strftime(_STAMP),
        agents=agents,
        state_dir=state_dir,
        in_place=in_place,
        owner=owner,
        scratch=scratch,
    )
    _answer(
        url or ctx.obj, path, options, _Outlet(as_json, path == "-", source_name, termination_log, set_aside_is_done)
    )


def _check(path: str, form: Format, *, in_place: bool) -> None:
    if form is Format.JSONL and in_place:
        raise click.UsageError("--in-place replaces OpenClaw's files; a dump goes to a new file")
    if form is not Format.JSONL and path == "-":
        raise click.UsageError("only --format jsonl can go to standard output; name a directory with --to")


def _answer(url: str | None, path: str, options: Options, outlet: _Outlet) -> NoReturn:
    """Do the work, print the answer, and end with the exit status that it deserves."""
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    try:
        # First what is true if nothing more is ever written: a container that is killed leaves its reason behind.
        _log(outlet, report.failure("Interrupted", "ended before it was done; a further run starts over", 0.0))
        found = output.until_interrupted(lambda: _work(url, path, options, outlet.source_name))
    except (SourceError, MigrationError, SessionError) as error:
        reason, message, status = arguments.explain(error)
        _fail(outlet, began, reason, message)
        output.fail(message, status)
    except BrokenPipeError:
        output.seen_enough()
        output.fail("the reader of the dump is gone; what it has is not whole")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001  whatever it is, a Job must say why it ended
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}; this is a fault of this program: report it with the lines above"
        _fail(outlet, began, "InternalError", message)
        output.fail(message, output.FAILED)
    seconds = time.monotonic() - began
    _log(outlet, found.summary(seconds))
    if outlet.as_json:
        _print_json(outlet, found.document())
    else:
        _show(found, seconds, to_stderr=outlet.to_stderr)
    sys.exit(_status(found, outlet))


async def _work(url: str | None, path: str, options: Options, source_name: str | None) -> Exported:
    async with open_store(_origin(url, path)) as store:
        await options.patience.of(lambda: _check_known(store))
        with _watching() as watch:
            found = await _export(store, path, options, watch)
        if source_name:
            body = json.dumps(found.document()).encode()
            await options.patience.of(lambda: store.put_document(f"migration/{source_name}/export", body))
    return found


async def _check_known(store: Store) -> None:
    """Refuse a store that nobody has used: its name is misspelt, and nothing would be put in place of old sessions.

    One of which all sessions were deleted still has the report of its migration.
    """
    if Capability.DOCUMENTS not in store.capabilities:
        return
    async for _ in store.list_documents():
        return
    await stores.check_holds(store, "the store")


def _origin(url: str | None, path: str) -> SessionStorage:
    """Read which store is asked for; being looked at keeps no session alive. Raises: ConfigurationError."""
    found = SessionStorage.from_url(url) if url else SessionStorage.from_environment()
    is_local = found.backend == "file" and found.directory().is_dir() and Path(path).is_dir()
    if is_local and found.directory().samefile(path):
        raise ConfigurationError(f"{path} is the store itself; name the store to export with URL, or --store")
    return replace(found, count_uses=False)


async def _export(store: Store, path: str, options: Options, watch: Watch) -> Exported:
    if options.format is not Format.JSONL:
        return await run.to_directory(store, Path(path), options, watch)
    if path != "-":
        return await run.to_dump(store, Path(path), options, watch)
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as stream:
        return await run.to_stream(store, stream, options, watch)


def _status(found: Exported, outlet: _Outlet) -> int:
    if found.differing:
        return output.FAILED
    is_done = outlet.set_aside_is_done or not found.is_set_aside
    return output.DONE if is_done else output.SET_ASIDE


def _fail(outlet: _Outlet, began: float, reason: str, message: str) -> None:
    _log(outlet, report.failure(reason, message, time.monotonic() - began))
    if outlet.as_json:
        _print_json(outlet, {"outcome": "Failed", "reason": reason, "message": message})


def _print_json(outlet: _Outlet, document: dict[str, object]) -> None:
    if outlet.to_stderr:
        click.echo(json.dumps(document), err=True)
    else:
        output.json_line(document)


def _log(outlet: _Outlet, summary: bytes) -> None:
    if outlet.termination_log:
        outlet.termination_log.write_bytes(summary)


def _show(found: Exported, seconds: float, *, to_stderr: bool) -> None:
    """Print a report as people read it."""
    console = output.console(stderr=to_stderr)
    totals = found.totals
    console.print(output.printable(f"{found.outcome}: {found.format} in {found.path}, {seconds:.1f} s"), soft_wrap=True)
    console.print(
        f"{totals.sessions} sessions of {len(found.agents)} agents, {totals.lines} lines, {totals.bytes} bytes, "
        f"{totals.archives} archives",
        soft_wrap=True,
    )
    console.print(f"digest  {found.digest or found.store_digest}", soft_wrap=True)
    if found.moving:
        console.print(
            f"{found.moving} sessions changed meanwhile, and may be older in what was written", soft_wrap=True
        )
    for aside in found.put_aside:
        console.print(output.printable(f"what was there before is now {aside}"), soft_wrap=True)
    for mismatch in found.mismatches:
        text = f"mismatch: {mismatch.kind} {mismatch.agent}/{mismatch.name}: {mismatch.detail}"
        console.print(output.printable(text), soft_wrap=True)
    for note in found.notes[:20]:
        text = f"{note.reason}: {note.agent}/{note.name}: {note.detail}"
        console.print(output.printable(text), soft_wrap=True)
    for reason, count in found.note_counts:
        console.print(f"{reason}: {count} in all", soft_wrap=True)


@contextlib.contextmanager
def _watching() -> Iterator[Watch]:
    """Show progress on standard error: a spinner in a terminal, now and then a line elsewhere."""
    console = output.console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (
        rich.progress.SpinnerColumn(),
        rich.progress.TextColumn("{task.description:8} {task.completed:.0f} sessions"),
        rich.progress.TimeElapsedColumn(),
    )
    with rich.progress.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("Export", total=None)
        yield lambda phase, done: bar.update(task, description=phase, completed=done)


class _Lines:
    """Prints a line when LINE_EVERY_S have passed since the last one."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, phase: str, done: int) -> None:
        now = time.monotonic()
        if now - self._last >= LINE_EVERY_S:
            self._last = now
            click.echo(f"{phase}: {done} sessions", err=True)
