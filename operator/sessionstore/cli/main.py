"""The `sessionstore` command: finds a subcommand's module only when it is asked for.

`sessionstore list` must not pay for importing kopf, and a base install has no kopf to import.
Each command lives in the module that the table names, as a click command of that name.
Exit status: 0 done, 1 failed or absent, 2 used wrongly (click's own), 3 done with something set aside, 4 the store
cannot say.
"""

from __future__ import annotations

import importlib

import click

import sessionstore

# command -> (module, one line for `--help`), so that help needs no import either
COMMANDS: dict[str, tuple[str, str]] = {
    "list": ("sessionstore.cli.sessions", "List sessions, newest first."),
    "get": ("sessionstore.cli.sessions", "Print one session's entry."),
    "put": ("sessionstore.cli.sessions", "Write one session's entry."),
    "delete": ("sessionstore.cli.sessions", "Delete one session."),
    "exists": ("sessionstore.cli.sessions", "Tell by exit status whether a session exists."),
    "transcript": ("sessionstore.cli.sessions", "Print a session's transcript."),
    "window": ("sessionstore.cli.window", "Print what of a session fits into a model's context."),
    "search": ("sessionstore.cli.search", "Find sessions by tag, title, channel, sender, time."),
    "archive": ("sessionstore.cli.marks", "Take a session out of the active ones."),
    "restore": ("sessionstore.cli.marks", "Make an archived session active again."),
    "pin": ("sessionstore.cli.marks", "Exempt a session from expiry."),
    "unpin": ("sessionstore.cli.marks", "Let a pinned session expire again."),
    "tag": ("sessionstore.cli.marks", "Add tags to a session, and take others away."),
    "title": ("sessionstore.cli.marks", "Give a session a title."),
    "touch": ("sessionstore.cli.marks", "Count as a use of a session; set its lifetime."),
    "changes": ("sessionstore.cli.changes", "Print what changed in the store, and follow it."),
    "count": ("sessionstore.cli.upkeep", "Print how many sessions there are."),
    "stats": ("sessionstore.cli.upkeep", "Print what the keyspace holds."),
    "invalidate": ("sessionstore.cli.search", "Delete every session of a sender, a channel or an agent."),
    "sweep": ("sessionstore.cli.upkeep", "Turn expired sessions into tombstones."),
    "health": ("sessionstore.cli.upkeep", "Say whether the store can be used."),
    "rekey": ("sessionstore.cli.rekey", "Encrypt everything with the last key."),
    "inspect": ("sessionstore.cli.migration", "Tell what sessions a state directory holds."),
    "migrate": ("sessionstore.cli.migration", "Copy a state directory's sessions into a store."),
    "verify": ("sessionstore.cli.migration", "Prove that a store holds what a state directory holds."),
    "export": ("sessionstore.cli.export", "Write a store's sessions as files, or as a dump."),
    "quarantine": ("sessionstore.cli.quarantine", "List, show, retry and drop what migrations set aside."),
    "report": ("sessionstore.cli.reports", "Print what migrations left in the store."),
    "finalize": ("sessionstore.cli.reports", "Drop what a migration keeps for a way back."),
    "bridge": ("sessionstore.cli.bridge", "Share an unmodified gateway's sessions over a store."),
    "operator": ("sessionstore.cli.operator", "Run the operator."),
    "crds": ("sessionstore.cli.crds", "Print the CustomResourceDefinitions."),
}
_EXTRAS = {"cryptography": "encryption"}


class _LazyGroup(click.Group):
    """A click group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        try:
            found = getattr(importlib.import_module(module), f"{cmd_name}_command")
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("sessionstore"):
                raise
            raise click.ClickException(
                f"`sessionstore {cmd_name}` needs the Python package {error.name!r}; "
                f"install sessionstore-operator[{_EXTRAS.get(error.name or '', 'operator,redis')}]"
            ) from error
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--store",
    metavar="URL",
    default=None,
    help="Where the sessions are: file:///dir, redis://host:port. Default: SESSION_STORAGE_CONFIG, else ~/.openclaw.",
)
@click.version_option(sessionstore.__version__, prog_name="sessionstore")
@click.pass_context
def main(ctx: click.Context, store: str | None) -> None:
    """Work with session stores: look into them, migrate to them, run them on Kubernetes."""
    ctx.obj = store
