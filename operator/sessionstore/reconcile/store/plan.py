"""Stage two: from spec and facts to what shall be. Pure: no I/O, no clock of its own, no randomness.

A plan has objects (ours, applied by force), injections (into gateways, never by force), at most one
disruptive step, and a verdict for each condition. Every prefix of it, carried out, leaves a state
from which the next plan is safe: credentials come first and alone, what is remembered is written
before what relies on it, and a gateway is injected only when its user can log in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from sessionstore import errors
from sessionstore.apis import conditions
from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.engines import engine as engines
from sessionstore.gateways import binding, fence, injection
from sessionstore.kube import kinds
from sessionstore.reconcile import queue
from sessionstore.reconcile.store import (
    credentials,
    facts,
    injecting,
    job_pods,
    migration,
    records,
    sources,
    steps,
    storage,
    telling,
    verdicts,
)

R = reasons.Reason

SOON_S = 2.0
"""Between two looks while something is awaited that no watch announces."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one pass shall do and say.

    Attributes:
        users: names whose passwords must be drawn first; nothing else is done in that pass.
        forget: names whose passwords and bindings are no longer wanted.
        verdicts: condition type -> what to say, before anything was applied.
        sources: source name -> its migration.
        reports: ConfigMaps for people; nothing waits for them.
    """

    users: frozenset[str] = frozenset()
    forget: frozenset[str] = frozenset()
    objects: tuple[kinds.Manifest, ...] = ()
    injections: tuple[injecting.Injecting, ...] = ()
    reports: tuple[kinds.Manifest, ...] = ()
    step: steps.Step | None = None
    verdicts: Mapping[str, conditions.Verdict] = field(default_factory=dict)
    sources: Mapping[str, migration.SourcePlan] = field(default_factory=dict)
    requeue: queue.Requeue = field(default_factory=queue.Requeue.never)


@dataclass(frozen=True, slots=True)
class Means:
    """What a plan builds with, beside the facts: the engine, its defaults, and our own image."""

    engine: engines.Engine
    defaults: engines.EngineDefaults
    image: job_pods.JobImage
    resync_s: float


def make_plan(store: api.SessionStore, seen: facts.Observed, means: Means, now: datetime) -> Plan:
    """Decide what to do for one store."""
    missing = _wanted_users(store, means) - seen.credentials.passwords.keys()
    if missing and store.spec.suspend:
        return _observing_only(Plan(requeue=queue.Requeue(means.resync_s)))
    if missing:
        return Plan(users=missing, verdicts=verdicts.first_verdicts(), requeue=queue.Requeue(0.0))
    plan = _plan_with_users(store, seen, means, now)
    return (
        _observing_only(plan, tuple(live for live, _ in _fences(store, seen.gateways))) if store.spec.suspend else plan
    )


def _plan_with_users(store: api.SessionStore, seen: facts.Observed, means: Means, now: datetime) -> Plan:
    """Plan in full, or say what in the spec forbids it."""
    if isinstance(seen.own_password, facts.Refused):
        said = {"CredentialsReady": verdicts.without_password(seen.own_password)}
        return _blocked(store, seen, said, queue.Requeue(min(5.0, means.resync_s)))
    try:
        return _full_plan(store, seen, means, _passwords(seen), now)
    except errors.SpecError as error:
        verdict = conditions.Verdict("False", R(error.reason), str(error))
        return _blocked(store, seen, {"Provisioned": verdict}, queue.Requeue.never())


def _blocked(
    store: api.SessionStore,
    seen: facts.Observed,
    said: Mapping[str, conditions.Verdict],
    requeue: queue.Requeue,
) -> Plan:
    """Change nothing until the spec is mended, but give back what is fenced: nobody knows how long that takes."""
    step = next((steps.LiftFence(live, mark) for live, mark in _fences(store, seen.gateways)), None)
    return Plan(step=step, verdicts=said, requeue=queue.Requeue(SOON_S) if step else requeue)


def _full_plan(
    store: api.SessionStore, seen: facts.Observed, means: Means, passwords: Mapping[str, str], now: datetime
) -> Plan:
    sync = _next_users(store, seen, means, passwords)
    ready = _answers(seen) and sync is None
    looked_at = injecting.look(store, seen, means.engine, ready=ready)
    planned = sources.plan_sources(sources.Surroundings(store, seen, means.image, looked_at, now, ready))
    remembered = sources.remembered(store, seen, planned)
    grow = storage.next_growth(store, seen)
    step = _first_step(sync, grow, _letting_go(store, seen, looked_at, planned), planned)
    said = {
        "Provisioned": verdicts.provisioned(store, seen, grow),
        "CredentialsReady": verdicts.credentials_ready(sync, seen),
        "Migrated": verdicts.migrated(planned),
        **telling.verdicts(store, looked_at, planned, seen),
    }
    objects = (
        *_children(store, seen, means, passwords),
        *binding.make_binding_secrets(store, means.engine, passwords),
        *((records.config_map(store.metadata.name, remembered),) if remembered or seen.records else ()),
    )
    return Plan(
        forget=_forgettable(store, seen, means),
        objects=objects,
        injections=injecting.injections(looked_at, planned, remembered),
        reports=tuple(sources.report_maps(store, seen)),
        step=step,
        verdicts=said,
        sources=planned,
        requeue=queue.Requeue(means.resync_s if step is None and _is_settled(said, planned) else SOON_S),
    )


def _first_step(
    sync: engines.SyncUsers | None,
    grow: steps.GrowClaim | None,
    letting_go: Iterator[steps.Step],
    planned: Mapping[str, migration.SourcePlan],
) -> steps.Step | None:
    """Choose the one step of this pass. Order is meaning.

    What gives a gateway back comes first; then users, before anyone needs them; what the API server may refuse again
    and again, growth and releases, last, so that it keeps nothing else from being done.
    """
    given_back = list(letting_go)
    migrating = [plan.step for plan in planned.values() if plan.step is not None]
    lifts = [step for step in (*given_back, *migrating) if isinstance(step, steps.LiftFence)]
    synced = [steps.SyncUsers(sync)] if sync is not None else []
    grown = [grow] if grow is not None and grow.refusal is None else []
    return next(iter([*lifts, *synced, *migrating, *given_back, *grown]), None)


def _letting_go(
    store: api.SessionStore,
    seen: facts.Observed,
    looked_at: tuple[injecting.Look, ...],
    planned: Mapping[str, migration.SourcePlan],
) -> Iterator[steps.Step]:
    """Find what must be given back: of workloads that are gateways no more, and fences that no source will lift."""
    for workload in seen.released:
        stale = fence.read_fence(workload)
        if stale is not None and stale.store_name == store.metadata.name:
            yield steps.LiftFence(workload, stale)
        elif injection.holds_parts(workload, store.metadata.name):
            yield steps.ReleaseWorkload(workload, store.metadata.name)
    open_ones = {plan.record.claim for plan in planned.values() if plan.record.minds_fence}
    for look in looked_at:
        for live, mark in _fences(store, (look.facts,)):
            # Its source left the spec, or is done; or an earlier store of this name has put it up.
            if mark.store_uid != store.metadata.uid or not look.claims & open_ones:
                yield steps.LiftFence(live, mark)


def _fences(
    store: api.SessionStore, gateways: Iterable[facts.GatewayFacts]
) -> Iterator[tuple[kinds.Manifest, fence.Fence]]:
    """Go through the gateways that a store of this name holds at 0."""
    for gateway in gateways:
        if gateway.live is not None and gateway.fence is not None and gateway.fence.store_name == store.metadata.name:
            yield gateway.live, gateway.fence


def _children(
    store: api.SessionStore, seen: facts.Observed, means: Means, passwords: Mapping[str, str]
) -> tuple[kinds.Manifest, ...]:
    built = means.engine.objects(store, passwords, means.defaults)
    return tuple(
        credentials.with_epoch(manifest, passwords[credentials.EPOCH])
        for manifest in storage.keep_template(built, seen)
    )


def _next_users(
    store: api.SessionStore, seen: facts.Observed, means: Means, passwords: Mapping[str, str]
) -> engines.SyncUsers | None:
    if not isinstance(seen.engine, engines.EngineFacts):
        return None
    step = means.engine.next_step(store, seen.engine, passwords)
    if step is None:
        return None
    # A removed gateway's user stays for as long as its password does, which is until no pod mounts its binding.
    step = replace(step, removed=tuple(name for name in step.removed if name not in passwords))
    return step if step.changed or step.removed else None


def _answers(seen: facts.Observed) -> bool:
    return isinstance(seen.engine, engines.EngineFacts)


def _is_settled(said: Mapping[str, conditions.Verdict], planned: Mapping[str, migration.SourcePlan]) -> bool:
    """Return whether nothing is awaited: no condition keeps the store from being ready, no migration is under way."""
    is_ready = all(said[kind].status != "False" for kind in conditions.FOLDED)
    is_under_way = any(plan.phase in migration.UNDER_WAY for plan in planned.values())
    return is_ready and said["Degraded"].status != "True" and not is_under_way


# -- credentials --------------------------------------------------------------------------------


def _passwords(seen: facts.Observed) -> dict[str, str]:
    """Return user name -> password; the user's own Secret wins for the generic binding."""
    own = {binding.APP_USER: seen.own_password} if isinstance(seen.own_password, str) else {}
    return {**seen.credentials.passwords, **own}


def _wanted_users(store: api.SessionStore, means: Means) -> frozenset[str]:
    return frozenset(means.engine.user_names(store)) | {credentials.EPOCH}


def _forgettable(store: api.SessionStore, seen: facts.Observed, means: Means) -> frozenset[str]:
    """Leave a removed gateway's user alone for as long as a pod still mounts its binding."""
    unwanted = seen.credentials.passwords.keys() - _wanted_users(store, means)
    return frozenset(name for name in unwanted if binding.secret_name(store.metadata.name, name) not in seen.mounted)


def _observing_only(plan: Plan, held: tuple[kinds.Manifest, ...] = ()) -> Plan:
    """`suspend: true`: say everything, do nothing; above all say what is held at 0 for as long as this lasts."""
    said = "spec.suspend is true: observed and reported, nothing is changed"
    if held:
        names = ", ".join(f"{live['kind']} {live['metadata']['name']!r}" for live in held)
        said += f"; {names} stays at 0 replicas, fenced for its migration, until suspend is false"
    note = conditions.Verdict("Unknown", R.SUSPENDED, said)
    return Plan(verdicts={**plan.verdicts, "Ready": note}, sources=plan.sources, requeue=plan.requeue)
