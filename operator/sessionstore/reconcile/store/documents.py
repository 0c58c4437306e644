"""What migrations tell in the store, read for people: how far a Job is, and the report of one that ended.

Part of stage one. Nothing is decided from either, so a store that does not answer is no failure: what cannot be read
now is read in a later pass.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.engines import engine
from sessionstore.kube import kinds
from sessionstore.reconcile import frame
from sessionstore.reconcile.store import facts, jobs, report_map

logger = logging.getLogger(__name__)

_REPORTING = ("plan", "precopy", "copy", "delta")


async def with_documents(
    source: facts.SourceFacts, store: api.SessionStore, passwords: Mapping[str, str], rt: frame.Runtime
) -> facts.SourceFacts:
    """Add to a source what its Jobs tell in the store."""
    return replace(
        source,
        progress=await _progress(source, store, passwords, rt),
        report=await _report(source, store, passwords, rt),
    )


async def _progress(
    source: facts.SourceFacts, store: api.SessionStore, passwords: Mapping[str, str], rt: frame.Runtime
) -> Mapping[str, Any] | None:
    name = source.source.name
    key = (store.metadata.namespace, store.metadata.name, name)
    running = next((job for job in source.jobs.values() if not job.has_ended), None)
    if running is None:
        rt.told.forget(key)
        return None

    async def read() -> Mapping[str, Any] | None:
        text = await _read(f"migration/{name}/progress", running, store, passwords, rt)
        return report_map.parse(text) if text is not None else None

    return await rt.told.ask(key, rt.now(), read)


async def _report(
    source: facts.SourceFacts, store: api.SessionStore, passwords: Mapping[str, str], rt: frame.Runtime
) -> facts.Report | None:
    """Read the report of the Job that ended last, unless the ConfigMap has it."""
    ended = [job for job in source.jobs.values() if job.succeeded and jobs.purpose_of(job.manifest) in _REPORTING]
    if not ended:
        return None
    last = max(ended, key=lambda job: str(job.manifest["metadata"].get("creationTimestamp", "")))
    name = report_map.name_of(store.metadata.name, source.source.name)
    there = await rt.kube.get(kinds.CONFIG_MAP, store.metadata.namespace, name)
    if there is not None and report_map.job_of(there) == last.name:
        return None
    text = await _read(f"migration/{source.source.name}/report", last, store, passwords, rt)
    return facts.Report(last.name, text) if text is not None else None


async def _read(
    document: str, job: facts.JobFacts, store: api.SessionStore, passwords: Mapping[str, str], rt: frame.Runtime
) -> str | None:
    keyspace = jobs.keyspace_of(job.manifest, store)
    found = await rt.engines[store.spec.engine].documents(store, passwords, keyspace, [document])
    if isinstance(found, engine.Unreachable):
        logger.info("%s: %s is not read: %s", store.key, document, found.message)
        return None
    return found.get(document)
