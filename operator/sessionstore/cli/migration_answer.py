"""How a migration's command answers: to people, to machines, to Kubernetes, and with its exit status.

Several sources are worked on at once. Each has an answer of its own, and none fails because of another.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sessionstore.cli import arguments, migration_view, output, report_view
from sessionstore.migrate import report, sources
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.items import Source
from sessionstore.migrate.patience import USUAL, Patience
from sessionstore.migrate.progress import Watch
from sessionstore.migrate.report import Report
from sessionstore.openclaw.problems import SourceError
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions.exceptions import ConfigurationError, SessionError
from sessionstore.sessions.memory import MemoryStore
from sessionstore.sessions.store import Store


@dataclass(frozen=True, slots=True)
class Outlet:
    """What is read, and where the answer goes."""

    sources: tuple[str, ...]
    names: tuple[str, ...]
    max_file_bytes: int
    state_dir: str
    scratch: Path | None
    as_json: bool
    termination_log: Path | None = None
    set_aside_is_done: bool = False
    patience: Patience = USUAL


@dataclass(frozen=True, slots=True)
class Place:
    """What the work on one source needs. `text` is the source as it was named."""

    text: str
    name: str
    source: Source
    store: Store
    scratch: Scratch
    watch: Watch


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no report of a source."""

    reason: str
    message: str
    status: int

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"outcome": "Failed", "reason": self.reason, "message": self.message}


Work = Callable[[Place], Awaitable[Report]]
OpenStore = Callable[[], AbstractAsyncContextManager[Store]]
EXPECTED = (SourceError, MigrationError, SessionError)


@contextlib.asynccontextmanager
async def _no_store() -> AsyncIterator[Store]:
    """Stand in for a store where none is asked for."""
    yield MemoryStore()


def answer(outlet: Outlet, work: Work, open_store: OpenStore = _no_store) -> None:
    """Do the work, print the answer, and end with the exit status that it deserves."""
    began = time.monotonic()
    # The first process of a container ignores SIGTERM unless it has a handler. There is nothing to tidy up.
    signal.signal(signal.SIGTERM, _end)
    try:
        # First what is true if nothing more is ever written: a container that is killed leaves its reason behind.
        _log(outlet, report.failure("Interrupted", _INTERRUPTED, 0.0))
        found = output.until_interrupted(lambda: _work_on_all(outlet, work, open_store))
    except KeyboardInterrupt:
        output.fail(_INTERRUPTED, 130)
    except Exception as error:  # noqa: BLE001  whatever it is, a Job must say why it ended
        found = [_failure(error)] * len(outlet.sources)
    _tell(outlet, found, time.monotonic() - began)
    status = max(map(_status, found), key=_SEVERITY.index)
    sys.exit(output.DONE if status == output.SET_ASIDE and outlet.set_aside_is_done else status)


_INTERRUPTED = "ended before it was done; a further run goes on from there"


def _end(number: int, _: object) -> NoReturn:
    os.write(2, f"sessionstore: {_INTERRUPTED}\n".encode())
    os._exit(128 + number)


_SEVERITY = (output.DONE, output.SET_ASIDE, output.FAILED, output.MISUSED)
"""Of several sources the gravest speaks for all."""


async def _work_on_all(outlet: Outlet, work: Work, open_store: OpenStore) -> list[Report | Failure]:
    # A scratch directory that cannot be had, or a store that is configured wrongly, ends all.
    with _scratch(outlet) as scratch, migration_view.watching(outlet.names) as watch:
        async with open_store() as store:
            opening = sources.Opening(scratch, outlet.max_file_bytes, outlet.state_dir, outlet.patience)

            async def one(text: str, name: str) -> Report | Failure:
                try:
                    async with sources.open_source(text, opening) as source:
                        return await work(Place(text, name, source, store, scratch, watch))
                except Exception as error:  # noqa: BLE001  the other sources go on
                    return _failure(error)

            return await asyncio.gather(*map(one, outlet.sources, outlet.names))


def _scratch(outlet: Outlet) -> Scratch:
    try:
        return Scratch(outlet.scratch)
    except OSError as error:
        where = outlet.scratch or "TMPDIR"
        raise ConfigurationError(f"{where} is no place for scratch files: {error.strerror}; name --scratch") from error


def _failure(error: Exception) -> Failure:
    if isinstance(error, EXPECTED):
        return Failure(*arguments.explain(error))
    # A fault of ours is no interruption: a further run would meet it again, and a person must see it.
    traceback.print_exception(error)
    message = f"{type(error).__name__}: {error}; this is a fault of this program: report it with the lines above"
    return Failure("InternalError", message, output.FAILED)


def _tell(outlet: Outlet, found: Sequence[Report | Failure], seconds: float) -> None:
    _log(outlet, _summary(outlet, found, seconds))
    if outlet.as_json:
        documents = [one.document() for one in found]
        several = [{"source": name, **document} for name, document in zip(outlet.names, documents, strict=True)]
        output.json_line(documents[0] if len(found) == 1 else {"sources": several})
    for name, one in zip(outlet.names, found, strict=True):
        label = name if len(found) > 1 else ""
        if isinstance(one, Failure):
            output.warn(f"{label}: {one.message}" if label else one.message)
        elif not outlet.as_json:
            report_view.show(one.document(), name=label, seconds=seconds)


def _summary(outlet: Outlet, found: Sequence[Report | Failure], seconds: float) -> bytes:
    named = dict(zip(outlet.names, found, strict=True))
    failed = {name: one for name, one in named.items() if isinstance(one, Failure)}
    if failed:
        name, first = next(iter(failed.items()))
        message = f"{name}: {first.message}" if len(found) > 1 else first.message
        return report.failure(first.reason, message, seconds)
    return report.summary([one for one in found if isinstance(one, Report)], seconds)


def _status(found: Report | Failure) -> int:
    if isinstance(found, Failure):
        return found.status
    if found.mismatches:
        return output.FAILED
    return output.SET_ASIDE if found.is_set_aside else output.DONE


def _log(outlet: Outlet, summary: bytes) -> None:
    if outlet.termination_log:
        # Kubernetes mounts this very file: it is written in place, not replaced.
        outlet.termination_log.write_bytes(summary)
