"""`sessionstore bridge`: runs beside one gateway of the file era, and makes its files a live view of a store."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import click

from sessionstore.bridge.bridge import Bridge
from sessionstore.cli import output
from sessionstore.openclaw import openclaw_json
from sessionstore.openclaw.problems import SourceError
from sessionstore.openclaw.tree import Tree
from sessionstore.sessions import Capability, ConfigurationError, SessionStorage, open_store

_USUAL = f"/agents/{openclaw_json.TEMPLATE}/sessions/sessions.json"
_NEEDED = (Capability.FEED, Capability.LEASES, Capability.ARCHIVES, Capability.SHARED)


@click.command("bridge")
@click.argument("state_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--name", default=None, help="Of this gateway, another one for each. Default: the host's, a pod's own.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Session keys are named at debug alone.",
)
@click.pass_obj
def bridge_command(url: str | None, state_dir: Path, name: str | None, log_level: str) -> None:
    """Share the sessions of the gateway on STATE_DIR with others, over a store; until SIGTERM.

    Start it before the gateway. It prints `ready` when the gateway's files are the store's. A store that is away is
    waited for: sessions that there are wait, too, and new ones are brought together when it is back.
    """
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    output.run(_run(url, state_dir, name or socket.gethostname()))


async def _run(url: str | None, state_dir: Path, name: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_store(_looking(url)) as store:
        missing = [one.value for one in _NEEDED if one not in store.capabilities]
        if missing:
            raise ConfigurationError(
                f"a bridge needs a store that several gateways can share, with {', '.join(missing)}: Redis or MongoDB"
            )
        _check_place(state_dir)
        await Bridge(store, state_dir, name, lambda: click.echo("ready")).run(stop)


def _looking(url: str | None) -> SessionStorage:
    """Return the store's configuration. What the bridge reads is no use: the gateway's writes keep sessions alive."""
    found = SessionStorage.from_url(url) if url else SessionStorage.from_environment()
    return replace(found, count_uses=False)


def _check_place(state_dir: Path) -> None:
    """Refuse a gateway that keeps its sessions elsewhere than where the bridge looks. Raises: ConfigurationError."""
    try:
        with Tree(state_dir) as tree:
            configured = openclaw_json.read(tree).store
    except SourceError as error:
        raise ConfigurationError(str(error)) from error
    if configured is not None and not configured.endswith(_USUAL):
        raise ConfigurationError(
            f"{openclaw_json.FILE} sets session.store, and a bridge shares the sessions below agents/ alone; "
            "take session.store out, and bring what lies there along with `sessionstore migrate`"
        )
