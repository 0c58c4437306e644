"""Every kopf setting that we change, with its why."""

from __future__ import annotations

import kopf

from sessionstore.kube import lease, owner


def configure(settings: kopf.OperatorSettings) -> None:
    """Make kopf a source of triggers, and of nothing else."""
    # kopf's own events would tell of its handlers; ours tell of the store.
    settings.posting.enabled = False
    # Kinds are known and their CRD is installed with us; looking for others needs rights we do not want.
    settings.scanning.disabled = True
    # Our Lease around the work queue decides who works; kopf's peering only pauses watches.
    settings.peering.standalone = True
    # Only what carries our label can be a child or an injected gateway: the API server filters.
    for kind in ("deployments.v1.apps", "statefulsets.v1.apps", "jobs.v1.batch"):
        settings.watching.label_selectors[kind] = owner.STORE_LABEL
    settings.watching.field_selectors["leases.v1.coordination.k8s.io"] = f"metadata.name={lease.LEASE_NAME}"
    # A stream behind a load balancer may die without a word; the API server closes ours before that.
    settings.watching.server_timeout = 300
    settings.watching.connect_timeout = 10
