"""All sources of a store, planned together: what each has to know of its gateways, and of its peers. Pure.

Where several sources lie under one gateway one fence serves all, so each waits until all can go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.gateways import fence, injection
from sessionstore.kube import kinds
from sessionstore.reconcile.store import facts, injecting, job_pods, migration, records, report_map


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the sources of one store have in common.

    Attributes:
        looked_at: its gateways, judged.
        ready: whether the store answers, and has its users.
    """

    store: api.SessionStore
    seen: facts.Observed
    image: job_pods.JobImage
    looked_at: tuple[injecting.Look, ...]
    now: datetime
    ready: bool

    def mounting(self, source: facts.SourceFacts) -> list[injecting.Look]:
        """Return the gateways whose pods mount a source's claim."""
        return [look for look in self.looked_at if source.source.persistent_volume_claim in look.claims]


def plan_sources(around: Surroundings) -> dict[str, migration.SourcePlan]:
    """Plan each source: source name -> its migration."""
    contexts = {source.source.name: _context(source, around) for source in around.seen.sources}
    known = {source.source.name: _known(source, around) for source in around.seen.sources}
    first = {name: migration.plan_source(known[name], ctx) for name, ctx in contexts.items()}
    return {
        name: migration.plan_source(known[name], replace(ctx, waits_for=_stuck_peer(name, contexts, first)))
        for name, ctx in contexts.items()
    }


def _context(source: facts.SourceFacts, around: Surroundings) -> migration.Context:
    mounting = around.mounting(source)
    # A gateway that is not there may be one that mounts this claim: nothing is copied behind its back.
    judged = (*mounting, *(look for look in around.looked_at if look.facts.live is None))
    return migration.Context(
        store=around.store,
        image=around.image,
        now=around.now,
        workloads=tuple(look.facts for look in mounting),
        obstacle=next((look.obstacle for look in judged if look.obstacle), None),
        injected=all(look.is_injected for look in mounting),
        store_ready=around.ready,
        shared=_shared(mounting, around),
    )


def _shared(mounting: Sequence[injecting.Look], around: Surroundings) -> str | None:
    """Say why what a gateway wrote to the store cannot be told from what others did."""
    if len(mounting) > 1:
        return f"gateways {_quoted(look.facts.gateway.name for look in mounting)} mount one claim"
    for look in mounting:
        name = look.facts.gateway.name
        under = [s.source.name for s in around.seen.sources if s.source.persistent_volume_claim in look.claims]
        if len(under) > 1:
            return f"sources {_quoted(under)} went into one keyspace, that of gateway {name!r}"
        own = around.store.metadata.name
        keyspace = look.facts.gateway.keyspace_or(own)
        others = [g.name for g in around.store.spec.gateways if g.keyspace_or(own) == keyspace]
        if len(others) > 1:
            return f"gateways {_quoted(others)} share keyspace {keyspace!r}"
    return None


def _quoted(names: Iterable[str]) -> str:
    return " and ".join(repr(name) for name in names)


def _known(source: facts.SourceFacts, around: Surroundings) -> facts.SourceFacts:
    """Return a source with what is remembered of it, and what has become of it since."""
    if source.source.persistent_volume_claim in let_go(around.store, around.seen):
        return replace(source, record=None)
    return injecting.with_delta(source, around.mounting(source))


def _stuck_peer(
    name: str, contexts: Mapping[str, migration.Context], plans: Mapping[str, migration.SourcePlan]
) -> str | None:
    """Name a source under one of the same gateways that cannot be fenced for now."""
    mine = {gateway.gateway.name for gateway in contexts[name].workloads}
    for other, ctx in contexts.items():
        shares = other != name and mine & {gateway.gateway.name for gateway in ctx.workloads}
        if shares and plans[other].phase in migration.NOT_READY and not plans[other].record.is_cut_over:
            return other
    return None


def let_go(store: api.SessionStore, seen: facts.Observed) -> frozenset[str]:
    """Return the claims of gateways that are being released: their pods write to files again."""
    released = (w for w in seen.released if injection.holds_parts(w, store.metadata.name))
    return frozenset(claim for workload in released for claim in fence.claims_of(workload))


def remembered(
    store: api.SessionStore, seen: facts.Observed, sources: Mapping[str, migration.SourcePlan]
) -> dict[str, records.Record]:
    """Return what to remember: of each source, and of those that left the spec."""
    kept = {name: record for name, record in seen.records.items() if record.claim not in let_go(store, seen)}
    return {**kept, **{name: plan.record for name, plan in sources.items()}}


def report_maps(store: api.SessionStore, seen: facts.Observed) -> Iterator[kinds.Manifest]:
    """Build the ConfigMaps of the reports that were read in this pass."""
    for source in seen.sources:
        if source.report is not None:
            name = source.source.name
            yield report_map.config_map(store.metadata.name, name, source.report.job, source.report.text)
