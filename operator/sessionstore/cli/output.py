"""How every command prints: people get tables and one line per failure, machines get JSON on standard output.

Exit status: 0 done, 1 failed or absent, 2 used wrongly, 3 done with something set aside; of the commands on sessions
also 4, the store cannot say: out of reach, or what it holds cannot be read.
"""

from __future__ import annotations

import asyncio
import datetime
import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NoReturn, TypeVar

import click
import rich.console
import rich.text

from sessionstore.sessions.exceptions import ConfigurationError, InvalidKey, SessionError, Unavailable, Unreadable

DONE, FAILED, MISUSED, SET_ASIDE, UNKNOWN = 0, 1, 2, 3, 4

_HINTS = {
    "timeout": "is the server there, and its network open? See --store and `connect_timeout`",
    "connection": "is the address right and the server running? See --store",
    "auth": "check the username and the password file",
    "permission": "the user lacks a command or the keyspace; check its ACL rules",
    "readonly": "this server takes no writes; point --store at the primary",
    "full": "the server is out of memory; raise its maxmemory, or delete sessions",
    "loading": "the server is still loading its data; try again in a moment",
}
T = TypeVar("T")


class _Console(rich.console.Console):
    """Leaves a reader that has seen enough to `run`; rich itself ends with status 1, which is our "absent"."""

    def on_broken_pipe(self) -> None:
        # By its number click knows it, and ends without a traceback.
        raise BrokenPipeError(errno.EPIPE, "the reader is gone")


def console(*, stderr: bool = False) -> rich.console.Console:
    """Return a console for people. Made per use, so that a test's or a pipe's stream is the one written to."""
    return _Console(stderr=stderr, highlight=False, soft_wrap=False)


def printable(text: str) -> rich.text.Text:
    """Return text that was not ours to choose: neither markup nor terminal escapes in it take effect."""
    return rich.text.Text("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text))


def facts(values: Mapping[str, str]) -> None:
    """Print names and values below one another."""
    width = max(12, *(len(name) + 2 for name in values))
    for name, value in values.items():
        label = rich.text.Text(f"{name + ':':<{width}}", style="bold")
        console().print(label + printable(value), soft_wrap=True)


def moment(ms: int) -> str:
    """Return a time in milliseconds since the epoch as people read it, in UTC."""
    try:
        when = datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"
    return f"{when:%Y-%m-%d %H:%M:%S}Z"


def json_line(document: object) -> None:
    """Print a JSON document as one line of UTF-8, whatever the locale is."""
    write_bytes(json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(", ", ": ")).encode() + b"\n")


def write_bytes(data: bytes) -> None:
    """Print bytes as they are."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def warn(message: str) -> None:
    """Print one line on standard error."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
    click.echo(f"sessionstore: {line}", err=True)


def fail(message: str, status: int = FAILED) -> NoReturn:
    """Print one line on standard error and end with `status`."""
    warn(message)
    sys.exit(status)


def seen_enough() -> None:
    """Write nowhere from here on: the reader, say `head`, is gone, and standard output is flushed again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def explain(error: SessionError) -> tuple[str, int]:
    """Return what to tell a person about `error`, and the exit status."""
    if isinstance(error, Unavailable):
        return f"{error} ({_HINTS[error.reason]})" if error.reason in _HINTS else str(error), FAILED
    return str(error), MISUSED if isinstance(error, ConfigurationError | InvalidKey) else FAILED


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work on sessions; a SessionError ends the program with its explanation, and no traceback.

    An outage is not an absence: what `exists` and the others say by status 1 must not be said by a store that is away.
    """
    try:
        return until_interrupted(lambda: work)
    except SessionError as error:
        message, status = explain(error)
        fail(message, UNKNOWN if isinstance(error, Unavailable | Unreadable) else status)
    except BrokenPipeError:
        seen_enough()
        sys.exit(DONE)
    except KeyboardInterrupt:
        sys.exit(130)


def until_interrupted(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run work that the first SIGINT cancels. Raises: KeyboardInterrupt, and what the work does.

    The signal waits while the event loop starts and ends: there it would leave behind, and print, what is half made.
    """

    async def hearing() -> T:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        try:
            return await work()
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return asyncio.run(hearing())
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
