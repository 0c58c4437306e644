"""`sessionstore operator`: wires kopf's triggers, the Lease and the work queue into one process."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import click
import kopf

from sessionstore import settings as operator_settings
from sessionstore.engines.redis import standalone
from sessionstore.handlers import health, startup, triggers
from sessionstore.kube import client, lease
from sessionstore.reconcile import frame, queue
from sessionstore.reconcile.store import orphans, reconciler

logger = logging.getLogger("sessionstore.operator")

SWEEP_S = 3600.0
"""Between two searches for what deleted stores left in workloads; one is made at each start of leadership."""


@click.command()
def operator_command() -> None:
    """Run the operator. It is configured by environment variables, which the Helm chart sets."""
    try:
        settings = operator_settings.OperatorSettings.from_environment(os.environ)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # kopf's and the client's chatter at INFO would bury what a person looks for.
    for noisy in ("kopf", "aiohttp", "kubernetes"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(settings.log_level)))
    asyncio.run(_run(settings))


async def _run(settings: operator_settings.OperatorSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        kube = await stack.enter_async_context(client.connect())
        pulse = health.Pulse(clock=loop.time)
        await stack.enter_async_context(health.serve(pulse, settings.health_port))
        runtime = frame.Runtime(
            kube=kube,
            engines={"redis": standalone.RedisEngine()},
            settings=settings,
            now=lambda: datetime.now(UTC),
            new_password=lambda: secrets.token_urlsafe(32),
        )
        await _work_until(stop, runtime, pulse)


async def _work_until(stop: asyncio.Event, runtime: frame.Runtime, pulse: health.Pulse) -> None:
    """Run the election and kopf's watches side by side; whichever ends first ends the process."""
    settings = runtime.settings
    work = queue.WorkQueue()
    election = lease.Leadership(
        kube=runtime.kube,
        namespace=settings.pod_namespace,
        identity=settings.pod_name,
        duration_s=settings.lease_duration_s,
        now=runtime.now,
        saw=pulse.read,
    )
    tasks = [
        asyncio.create_task(election.run(lambda: _lead(work, runtime)), name="election"),
        asyncio.create_task(_watch(work, pulse, settings), name="watches"),
        asyncio.create_task(stop.wait(), name="stop"),
    ]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    for task in done:
        task.result()


async def _lead(work: queue.WorkQueue, runtime: frame.Runtime) -> None:
    def reconcile(key: queue.ObjectKey) -> Awaitable[queue.Requeue]:
        return frame.run(key, runtime, work, reconciler.reconcile, reconciler.report)

    async with asyncio.TaskGroup() as group:
        group.create_task(work.work(reconcile, runtime.settings.workers))
        group.create_task(_sweep(work, runtime))


async def _sweep(work: queue.WorkQueue, runtime: frame.Runtime) -> None:
    """List all stores when leadership begins, and now and then what stores that are gone left behind."""
    while True:
        try:
            for key in await reconciler.find(runtime) | await orphans.find(runtime):
                work.add(key)
            await asyncio.sleep(SWEEP_S)
        except Exception as error:  # noqa: BLE001 -- a sweep that fails must not end the leadership
            logger.warning("looking for stores failed, trying again: %s: %s", type(error).__name__, error)
            await asyncio.sleep(5)


def _served_only(
    work: queue.WorkQueue, settings: operator_settings.OperatorSettings
) -> Callable[[queue.ObjectKey], None]:
    """Leave out our own namespace where others are named: it is watched for the Lease alone."""

    def add(key: queue.ObjectKey) -> None:
        if not settings.watch_namespaces or key.namespace in settings.watch_namespaces:
            work.add(key)

    return add


async def _watch(work: queue.WorkQueue, pulse: health.Pulse, settings: operator_settings.OperatorSettings) -> None:
    registry = kopf.OperatorRegistry()
    triggers.register(registry, _served_only(work, settings), pulse.watched)
    kopf_settings = kopf.OperatorSettings()
    startup.configure(kopf_settings)
    namespaces = settings.watch_namespaces
    await kopf.operator(
        registry=registry,
        settings=kopf_settings,
        clusterwide=not namespaces,
        namespaces=[*namespaces, *([settings.pod_namespace] if namespaces else [])],
    )
