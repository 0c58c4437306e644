"""What every reconcile runs in: the runtime it is given, and what becomes of an error.

Called by the work queue, once per key at a time. The only place that catches everything: a stage
that raises ends as a condition and a later try, never as a dead worker.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sessionstore import errors, settings
from sessionstore.engines import engine
from sessionstore.kube import client
from sessionstore.reconcile import progress, queue

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a reconcile may use. Wired once, in `cli.operator`.

    Attributes:
        engines: `spec.engine` -> the engine that runs it.
        now: the clock, in UTC.
        new_password: draws one password, from the operating system's randomness.
        told: what the migrations that run told last.
    """

    kube: client.Kube
    engines: Mapping[str, engine.Engine]
    settings: settings.OperatorSettings
    now: Callable[[], datetime]
    new_password: Callable[[], str]
    told: progress.Told = field(default_factory=progress.Told)


Reconcile = Callable[[queue.ObjectKey, Runtime], Awaitable[queue.Requeue]]
Report = Callable[[queue.ObjectKey, Runtime, Exception], Awaitable[None]]


async def run(
    key: queue.ObjectKey, runtime: Runtime, work: queue.WorkQueue, reconcile: Reconcile, report: Report
) -> queue.Requeue:
    """Reconcile once; on an error say so in the object's status, and try again later."""
    try:
        requeue = await reconcile(key, runtime)
    except Exception as error:
        # Class and message only in the line a person reads first; the traceback says where.
        logger.warning("reconcile of %s failed: %s: %s", key, type(error).__name__, error, exc_info=_unexpected(error))
        await _report(key, runtime, error, report)
        return work.failed(key)
    work.succeeded(key)
    return requeue


async def _report(key: queue.ObjectKey, runtime: Runtime, error: Exception, report: Report) -> None:
    try:
        await report(key, runtime, error)
    except Exception as second:
        logger.warning("and its status could not be written: %s", second)


def _unexpected(error: Exception) -> bool:
    return not isinstance(error, errors.OperatorError)
