"""`changes`: the feed of a store, once or for as long as one likes, from where one left off."""

from __future__ import annotations

import click

from sessionstore.cli import output
from sessionstore.cli.keys import json_option
from sessionstore.sessions import Change, FeedLost, Store, open_store

WAIT_S = 5.0
"""How long one request waits for the next change."""


@click.command("changes")
@click.option("--from", "cursor", default=None, help="Go on from the cursor of an earlier run. Default: from now on.")
@click.option("--follow", is_flag=True, help="Wait for more, until interrupted.")
@json_option
@click.pass_obj
def changes_command(url: str | None, cursor: str | None, follow: bool, as_json: bool) -> None:
    """Print what changed since --from, and the cursor to go on with; without --from, the cursor of now.

    With --json, one object a line: changes, and after each batch of them {"cursor": …}. Keep the last cursor whose
    changes were dealt with.
    """
    output.run(_changes(url, cursor, follow, as_json))


async def _changes(url: str | None, cursor: str | None, follow: bool, as_json: bool) -> None:
    async with open_store(url) as store:
        at = _Cursor(await store.position() if cursor is None else cursor, as_json)
        try:
            if cursor is None:
                at.told()
            if cursor is not None or follow:
                await _print_changes(store, at, follow)
        except FeedLost as error:
            output.fail(f"{error}; list all sessions, then go on from the cursor that `changes` without --from prints")
        finally:
            at.last_word()


async def _print_changes(store: Store, at: _Cursor, follow: bool) -> None:
    while True:
        found = await store.changes(at.text, wait_s=WAIT_S if follow else 0.0)
        for change in found.items:
            _print(change, at.as_json)
        at.text = found.cursor
        if found.items:
            at.told()
        elif not follow:
            return


class _Cursor:
    """Where the reader is. Programs are told after each batch; people once, at the end, beside the changes."""

    def __init__(self, text: str, as_json: bool) -> None:
        self.text = text
        self.as_json = as_json

    def told(self) -> None:
        if self.as_json:
            output.json_line({"cursor": self.text})

    def last_word(self) -> None:
        if not self.as_json:
            output.console(stderr=True).print(output.printable(f"cursor: {self.text}"), soft_wrap=True)


def _print(change: Change, as_json: bool) -> None:
    if as_json:
        named = {"key": change.key.key, "agent": change.key.agent}
        output.json_line({**named, "revision": change.revision, "operation": change.operation.value})
    else:
        line = f"{change.operation.value:<8} {change.key}, revision {change.revision}"
        output.console().print(output.printable(line), soft_wrap=True)
