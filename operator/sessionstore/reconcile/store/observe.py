"""Stage one: read everything a decision needs into one frozen value. Never decides.

Absence and refusal come back as values. Events are read only where something does not come up,
since a namespace may have thousands.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sessionstore import errors
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.engines import engine
from sessionstore.gateways import fence, injection
from sessionstore.kube import explain, kinds, owner, selectors
from sessionstore.reconcile import frame
from sessionstore.reconcile.store import documents, facts, jobs, records

_WORKLOADS = {"Deployment": kinds.DEPLOYMENT, "StatefulSet": kinds.STATEFUL_SET}
_OWN_USER = "app"


async def observe(live: kinds.Manifest, store: api.SessionStore, rt: frame.Runtime) -> facts.Observed:
    """Look at one store and all that belongs to it."""
    namespace, name = store.metadata.namespace, store.metadata.name
    credentials, own, pods, remembered, bound = await asyncio.gather(
        _credentials(rt, live),
        _own_password(rt, store),
        rt.kube.list(kinds.POD, namespace),
        rt.kube.get(kinds.CONFIG_MAP, namespace, f"{name}-migrations"),
        _bound(rt, namespace, name),
    )
    look = _Look(rt, store, tuple(pods), [])
    children = await look.children()
    gateways = await asyncio.gather(*(look.gateway(gateway) for gateway in store.spec.gateways))
    # What an earlier store of this name remembered is about to go, and was of other data.
    known = records.read_all(remembered if remembered is None or owner.is_adoptable(remembered, live) else None)
    answer = await look.engine(credentials, children)
    sources = [await look.source(source, known.get(source.name)) for source in look.sources]
    if isinstance(answer, engine.EngineFacts):
        sources = [await documents.with_documents(source, store, credentials.passwords, rt) for source in sources]
    wanted = {facts_of.live["metadata"]["uid"] for facts_of in gateways if facts_of.live}
    return facts.Observed(
        live=live,
        credentials=credentials,
        own_password=own,
        children=children,
        engine=answer,
        trouble=await look.engine_trouble(children),
        gateways=tuple(gateways),
        sources=tuple(sources),
        records=known,
        released=tuple(workload for workload in bound if workload["metadata"]["uid"] not in wanted),
        mounted=frozenset(name for pod in pods for name in _secrets_of(pod)),
    )


def _secrets_of(pod: kinds.Manifest) -> Iterator[str]:
    """Name the Secrets that a pod mounts, unless it has ended."""
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return
    for volume in pod["spec"].get("volumes", []):
        if "secret" in volume:
            yield volume["secret"]["secretName"]
        for part in volume.get("projected", {}).get("sources") or ():
            if "secret" in part:
                yield part["secret"]["name"]


async def _credentials(rt: frame.Runtime, live: kinds.Manifest) -> facts.Credentials:
    """Read the passwords. One that an earlier store of this name left is about to go, and is no one's to use."""
    meta = live["metadata"]
    secret = await rt.kube.get(kinds.SECRET, meta["namespace"], f"{meta['name']}-credentials")
    if secret is None or not owner.is_adoptable(secret, live):
        return facts.Credentials()
    passwords = {user: _decode(value) for user, value in (secret.get("data") or {}).items()}
    return facts.Credentials(passwords, secret["metadata"]["resourceVersion"])


def _decode(value: str) -> str:
    return base64.b64decode(value).decode("utf-8", errors="replace")


async def _own_password(rt: frame.Runtime, store: api.SessionStore) -> str | facts.Refused | None:
    """Read `auth.existingSecret`; what is wrong with it comes back as words."""
    reference = store.spec.auth.existing_secret if store.spec.auth else None
    if reference is None:
        return None
    secret = await rt.kube.get(kinds.SECRET, store.metadata.namespace, reference.name)
    if secret is None:
        return facts.Refused(f"there is no Secret {reference.name!r} in this namespace")
    password = _decode((secret.get("data") or {}).get("password", ""))
    return password or facts.Refused(f"Secret {reference.name!r} has no key 'password', or it is empty", forbidden=True)


async def _bound(rt: frame.Runtime, namespace: str, name: str) -> list[dict[str, Any]]:
    """Find the workloads of others that hold something of this store's: bound now or once, or fenced."""
    found = await asyncio.gather(*(rt.kube.list(kind, namespace) for kind in _WORKLOADS.values()))
    return [workload for listed in found for workload in listed if holds_ours(workload, name)]


def holds_ours(workload: kinds.Manifest, store_name: str) -> bool:
    """Return whether there is something of this store's to take out of a workload that is not our child."""
    mark = fence.read_fence(workload)
    fenced = mark is not None and mark.store_name == store_name
    ours = workload["metadata"].get("labels", {}).get(owner.MANAGED_BY) == owner.FIELD_MANAGER
    return not ours and (fenced or injection.holds_parts(workload, store_name) or _is_labelled(workload, store_name))


def _is_labelled(workload: kinds.Manifest, store_name: str) -> bool:
    return bool(workload["metadata"].get("labels", {}).get(owner.STORE_LABEL) == store_name)


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at one store: what every reader below needs."""

    rt: frame.Runtime
    store: api.SessionStore
    pods: tuple[kinds.Manifest, ...]
    happened: list[tuple[dict[str, Any], ...]]
    """The namespace's events once they were read; a look reads them once, and only where something is wrong."""

    @property
    def namespace(self) -> str:
        return self.store.metadata.namespace

    @property
    def sources(self) -> Sequence[api.MigrationSource]:
        return self.store.spec.migration.sources if self.store.spec.migration else ()

    # -- the engine ---------------------------------------------------------------------------

    async def children(self) -> dict[tuple[str, str], kinds.Manifest]:
        """Read the StatefulSet and its claims: what cannot be changed by simply applying it."""
        name = f"{self.store.metadata.name}-redis"
        found = await asyncio.gather(
            self.rt.kube.get(kinds.STATEFUL_SET, self.namespace, name),
            self.rt.kube.get(kinds.CLAIM, self.namespace, f"data-{name}-0"),
        )
        return {(child["kind"], child["metadata"]["name"]): child for child in found if child is not None}

    async def engine(
        self, credentials: facts.Credentials, children: Mapping[tuple[str, str], kinds.Manifest]
    ) -> engine.EngineFacts | engine.Unreachable | None:
        """Ask the store itself, once it can have come up."""
        running = children.get(("StatefulSet", f"{self.store.metadata.name}-redis"))
        if running is None or not running.get("status", {}).get("readyReplicas") or not credentials.passwords:
            return None
        return await self.rt.engines[self.store.spec.engine].probe(self.store, credentials.passwords)

    async def engine_trouble(self, children: Mapping[tuple[str, str], kinds.Manifest]) -> explain.Explanation | None:
        """Find out why the engine's pods do not come up; None when they are ready or not made yet."""
        running = children.get(("StatefulSet", f"{self.store.metadata.name}-redis"))
        if running is None or running.get("status", {}).get("readyReplicas"):
            return None
        trouble = await self.trouble(running)
        claim = next((child for (kind, _), child in children.items() if kind == kinds.CLAIM.kind), None)
        if trouble is not None or claim is None:
            return trouble
        return explain.explain_claim(claim, await self.events())

    # -- gateways -----------------------------------------------------------------------------

    async def gateway(self, gateway: api.Gateway) -> facts.GatewayFacts:
        """Read one gateway's workload and pods; rehearse its injection where it has none yet."""
        reference = gateway.workload_ref
        assert reference is not None  # the schema has no other way to name a workload yet
        try:
            live = await self.rt.kube.get(_WORKLOADS[reference.kind], self.namespace, reference.name)
        except errors.Forbidden as error:
            return facts.GatewayFacts(gateway, facts.Refused(str(error), forbidden=True))
        if live is None:
            return facts.GatewayFacts(gateway, None)
        ready = live.get("status", {}).get("readyReplicas", 0) >= live["spec"].get("replicas", 1)
        return facts.GatewayFacts(
            gateway,
            live,
            pods=self.pods_of(live),
            rehearsal=await self._rehearse(gateway, live),
            trouble=None if ready else await self.trouble(live),
        )

    async def _rehearse(self, gateway: api.Gateway, live: kinds.Manifest) -> facts.Refused | None:
        """Ask for the injection as a dry run, so that a refusal is known before anything is fenced."""
        wanted = injection.make_injection(self.store, gateway, live, "rehearsal")
        if isinstance(wanted, injection.Refusal) or injection.is_injected(live, self.store.metadata.name):
            return None
        return await apply_to_gateway(self.rt, wanted.patch, self.store.metadata.name, dry_run=True)

    # -- sources ------------------------------------------------------------------------------

    async def source(self, source: api.MigrationSource, record: records.Record | None) -> facts.SourceFacts:
        """Read one migration source: its claim, who mounts it, and its Jobs."""
        selector = f"{owner.STORE_LABEL}={self.store.metadata.name},{jobs.SOURCE_LABEL}={source.name}"
        claim, found = await asyncio.gather(
            self.rt.kube.get(kinds.CLAIM, self.namespace, source.persistent_volume_claim),
            self.rt.kube.list(kinds.JOB, self.namespace, labels=selector),
        )
        looked_at = [await self._job(job) for job in found if not job["metadata"].get("deletionTimestamp")]
        return facts.SourceFacts(
            source=source,
            claim=claim,
            users=tuple(pod for pod in self.pods if self._uses(pod, source.persistent_volume_claim)),
            jobs={job.name: job for job in looked_at},
            record=record,
        )

    def _uses(self, pod: kinds.Manifest, claim: str) -> bool:
        ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
        own = (
            pod["metadata"].get("labels", {}).get(owner.STORE_LABEL) and jobs.SOURCE_LABEL in pod["metadata"]["labels"]
        )
        return not ended and not own and claim in fence.claims_of_pod(pod["spec"])

    async def _job(self, job: kinds.Manifest) -> facts.JobFacts:
        pods = [pod for pod in self.pods if owner.is_owned(pod, job)]
        done = any(c["status"] == "True" for c in job.get("status", {}).get("conditions", []))
        trouble = None if done and _outcome(pods) else explain.explain_job(job, pods, await self.events())
        return facts.JobFacts(job, _outcome(pods), trouble)

    # -- pods and events ----------------------------------------------------------------------

    def pods_of(self, workload: kinds.Manifest) -> tuple[kinds.Manifest, ...]:
        """Return the pods that a workload's selector matches."""
        selector = workload["spec"]["selector"]
        return tuple(pod for pod in self.pods if selectors.matches(selector, pod["metadata"].get("labels") or {}))

    async def trouble(self, workload: kinds.Manifest) -> explain.Explanation | None:
        """Explain why a workload's pods are not there or not ready."""
        happened = await self.events()
        sets = await self.rt.kube.list(kinds.REPLICA_SET, self.namespace) if workload["kind"] == "Deployment" else []
        mine = [replica_set for replica_set in sets if owner.is_owned(replica_set, workload)]
        by_pod = (explain.explain_pod(pod, happened) for pod in self.pods_of(workload))
        return next((found for found in by_pod if found), None) or explain.explain_workload(workload, mine, happened)

    async def events(self) -> tuple[dict[str, Any], ...]:
        """Read the namespace's events, newest last."""
        if not self.happened:
            found = await self.rt.kube.list(kinds.EVENT, self.namespace)
            self.happened.append(tuple(sorted(found, key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "")))
        return self.happened[0]


async def apply_to_gateway(
    rt: frame.Runtime, body: kinds.Manifest, store_name: str, *, dry_run: bool = False
) -> facts.Refused | None:
    """Server-side apply to what is not ours: never forced; what the API server refuses is a value."""
    try:
        await rt.kube.apply(body, manager=f"sessionstore.dev/{store_name}", force=False, dry_run=dry_run)
    except errors.Conflicted as error:
        return facts.Refused(str(error), error.managers)
    except (errors.Forbidden, errors.Invalid) as error:
        return facts.Refused(str(error), forbidden=isinstance(error, errors.Forbidden))
    return None


def _outcome(pods: Sequence[kinds.Manifest]) -> Mapping[str, Any] | None:
    """Read what a Job's container left as its termination message."""
    for pod in pods:
        for status in pod.get("status", {}).get("containerStatuses", []):
            message = status.get("state", {}).get("terminated", {}).get("message", "")
            try:
                outcome = json.loads(message)
            except ValueError:
                continue
            if isinstance(outcome, dict):
                return outcome
    return None
