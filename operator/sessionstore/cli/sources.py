"""What the commands on a migration's documents share: the store they are in, and the sources that it has had."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import click

from sessionstore.cli import output
from sessionstore.migrate import shelves
from sessionstore.migrate.errors import MigrationError
from sessionstore.sessions import open_store
from sessionstore.sessions.store import Capability, Store

T = TypeVar("T")

source_option = click.option("--source-name", metavar="N", default=None, help="Only of this source. Default: of all.")


@contextlib.asynccontextmanager
async def opened(url: str | None) -> AsyncIterator[Store]:
    """Open a store that keeps documents. Raises: MigrationError where it does not."""
    async with open_store(url) as store:
        if Capability.DOCUMENTS not in store.capabilities:
            raise MigrationError(
                "NoDocuments",
                "this store keeps no documents, and so nothing of its migrations (`--store URL` names another "
                "one); what they set aside is in their --quarantine-dir and in their sources",
            )
        yield store


async def chosen(store: Store, source_name: str | None) -> list[str]:
    """Return the sources that are asked for.

    Raises: MigrationError where there is none of this name; it tells those that there are.
    """
    names = await shelves.source_names(store)
    if source_name is None:
        return names
    if source_name not in names:
        there = f"it has {', '.join(names)}" if names else "it has none at all"
        raise MigrationError("NoSuchSource", f"this store has nothing of a migration of {source_name!r}; {there}")
    return [source_name]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work as `output.run`; a MigrationError ends the program with what it says, too."""
    try:
        return output.run(work)
    except MigrationError as error:
        output.fail(str(error))
