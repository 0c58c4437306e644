"""The disruptive steps, as values: at most one in a plan. perform.py carries them out."""

from __future__ import annotations

from dataclasses import dataclass

from sessionstore.apis import conditions
from sessionstore.engines import engine
from sessionstore.gateways import fence
from sessionstore.kube import kinds


@dataclass(frozen=True, slots=True)
class SyncUsers:
    """Make the store's own users what the spec wants."""

    change: engine.SyncUsers


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Start a migration Job."""

    manifest: kinds.Manifest


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Remove a migration Job, and its pod, so that it can be made again."""

    manifest: kinds.Manifest


@dataclass(frozen=True, slots=True)
class FenceWorkload:
    """Mark a workload with what it was, then scale it to 0."""

    workload: kinds.Manifest
    fence: fence.Fence


@dataclass(frozen=True, slots=True)
class LiftFence:
    """Scale a workload back to what its mark says, then take the mark away."""

    workload: kinds.Manifest
    fence: fence.Fence


@dataclass(frozen=True, slots=True)
class ReleaseWorkload:
    """Take exactly our parts out of a workload that is no longer bound."""

    workload: kinds.Manifest
    store_name: str


@dataclass(frozen=True, slots=True)
class GrowClaim:
    """Ask for a larger volume. `refusal` says why it cannot be asked for; then nothing is done."""

    claim: kinds.Manifest
    size: str
    refusal: conditions.Verdict | None


Step = SyncUsers | CreateJob | DeleteJob | FenceWorkload | LiftFence | ReleaseWorkload | GrowClaim
