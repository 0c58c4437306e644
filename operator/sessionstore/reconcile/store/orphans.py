"""Clean up after a SessionStore that is gone: our parts in workloads that are not ours.

Without a finalizer nothing waits for this, so a namespace never hangs; with the operator down it is
done when it is back. Children are the garbage collector's, by their owner references.
"""

from __future__ import annotations

import logging

from sessionstore import errors
from sessionstore.gateways import fence, injection, ownership
from sessionstore.kube import kinds
from sessionstore.reconcile import frame, queue
from sessionstore.reconcile.store import perform

logger = logging.getLogger(__name__)

_WORKLOADS = (kinds.DEPLOYMENT, kinds.STATEFUL_SET)


async def clean_up(key: queue.ObjectKey, rt: frame.Runtime) -> queue.Requeue:
    """Lift fences and release workloads of the store `key` in its namespace.

    Raises: the first refusal, after everything else was done: one workload must not keep another at 0 replicas.
    """
    listed = [await rt.kube.list(kind, key.namespace) for kind in _WORKLOADS]
    workloads = [w for found in listed for w in found if not w["metadata"].get("deletionTimestamp")]
    refused: list[errors.KubeError] = []
    for clean in (_lift, _release):
        for workload in workloads:
            try:
                await clean(workload, key, rt)
            except errors.NotFound:
                continue  # The workload went meanwhile, with all that we had put into it.
            except errors.KubeError as error:
                refused.append(error)
    if refused:
        raise refused[0]
    return queue.Requeue.never()


async def _lift(workload: kinds.Manifest, key: queue.ObjectKey, rt: frame.Runtime) -> None:
    mark = fence.read_fence(workload)
    if mark is not None and mark.store_name == key.name:
        logger.info("lifting the fence of the deleted store %s from %s", key, workload["metadata"]["name"])
        await perform.lift_fence(workload, mark, rt)


async def _release(workload: kinds.Manifest, key: queue.ObjectKey, rt: frame.Runtime) -> None:
    if injection.holds_parts(workload, key.name):
        await perform.release(workload, key.name, rt)


async def find(rt: frame.Runtime) -> set[queue.ObjectKey]:
    """Find stores that workloads still speak of: what was deleted while no operator ran is among them."""
    found = set()
    for namespace in rt.settings.watch_namespaces or (None,):
        for kind in _WORKLOADS:
            for workload in await rt.kube.list(kind, namespace):
                meta = workload["metadata"]
                mark = fence.read_fence(workload)
                if mark is not None:
                    found.add(queue.ObjectKey(meta["namespace"], mark.store_name))
                found |= {queue.ObjectKey(meta["namespace"], name) for name in ownership.stores_on(workload)}
    return found
