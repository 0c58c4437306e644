"""What one look at the world gives: frozen values, made by observe.py, read by every later stage.

Absence and refusal are values here. Nothing in this file decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.engines import engine
from sessionstore.gateways import fence
from sessionstore.kube import explain, kinds
from sessionstore.reconcile.store import records


@dataclass(frozen=True, slots=True)
class Credentials:
    """The one Secret that is not derived from anything: who may log in, with what.

    Attributes:
        passwords: user name -> password.
        version: resourceVersion of the Secret, None where there is none yet.
    """

    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The API server would not take, or give, something; `managers` where fields have other owners."""

    message: str
    managers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    forbidden: bool = False


@dataclass(frozen=True, slots=True)
class GatewayFacts:
    """One entry of `spec.gateways` and the workload it names.

    Attributes:
        workload: None where there is none, Refused where we may not read it.
        pods: those the workload's selector matches, in any phase.
        rehearsal: what the API server said to a dry run of the injection; None where it agreed, or
            where nothing had to be asked.
        trouble: why its pods do not come up, where they do not.
    """

    gateway: api.Gateway
    workload: kinds.Manifest | Refused | None
    pods: tuple[kinds.Manifest, ...] = ()
    rehearsal: Refused | None = None
    trouble: explain.Explanation | None = None

    @property
    def live(self) -> Mapping[str, Any] | None:
        """The workload, where there is one and we may read it."""
        return self.workload if isinstance(self.workload, Mapping) else None

    @property
    def fence(self) -> fence.Fence | None:
        """Our mark on a workload that is scaled to 0 for a migration."""
        return fence.read_fence(self.live) if self.live else None


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A migration Job: `outcome` is what its container left as termination message."""

    manifest: kinds.Manifest
    outcome: Mapping[str, Any] | None
    trouble: explain.Explanation | None

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    def _condition(self, kind: str) -> Mapping[str, Any] | None:
        conditions = self.manifest.get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind and c["status"] == "True"), None)

    @property
    def succeeded(self) -> bool:
        return self._condition("Complete") is not None

    @property
    def has_ended(self) -> bool:
        """Whether Kubernetes has judged it, for good or bad."""
        return self.succeeded or self.failed_at is not None

    @property
    def completed_at(self) -> str | None:
        """When it succeeded, RFC 3339; None where it did not."""
        found = self.manifest.get("status", {}).get("completionTime")
        return str(found) if found else None

    @property
    def failed_at(self) -> str | None:
        """When it failed, RFC 3339; None where it did not."""
        condition = self._condition("Failed")
        return str(condition["lastTransitionTime"]) if condition else None


@dataclass(frozen=True, slots=True)
class Report:
    """What a Job that ended left in the store, and was not handed on yet: the JSON that `migrate --json` prints."""

    job: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """One entry of `spec.migration.sources`.

    Attributes:
        users: pods that mount the claim and have not ended, our own Jobs left out.
        jobs: name -> the Jobs of this source.
        progress: what the Job that runs told last; None where none runs, or nothing could be read.
    """

    source: api.MigrationSource
    claim: kinds.Manifest | None
    users: tuple[kinds.Manifest, ...] = ()
    jobs: Mapping[str, JobFacts] = field(default_factory=dict)
    record: records.Record | None = None
    progress: Mapping[str, Any] | None = None
    report: Report | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything a plan is made from.

    Attributes:
        live: the SessionStore as the API server has it; owner of all children.
        credentials: passwords by user name; empty before the first pass.
        own_password: `auth.existingSecret` as found; None where none is named.
        children: (kind, name) -> the live objects that the engine runs.
        engine: what the store itself answers; None where it was not asked.
        trouble: why the engine's pods do not come up, where they do not.
        released: workloads that carry our label, and are not among the gateways any more.
        mounted: names of the Secrets that pods of this namespace mount, ended ones left out.
    """

    live: kinds.Manifest
    credentials: Credentials
    own_password: str | Refused | None
    children: Mapping[tuple[str, str], kinds.Manifest]
    engine: engine.EngineFacts | engine.Unreachable | None
    trouble: explain.Explanation | None
    gateways: tuple[GatewayFacts, ...] = ()
    sources: tuple[SourceFacts, ...] = ()
    records: Mapping[str, records.Record] = field(default_factory=dict)
    released: tuple[kinds.Manifest, ...] = ()
    mounted: frozenset[str] = frozenset()
