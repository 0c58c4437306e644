"""What a migration tells people: the verdicts on one source, in words. Pure.

migration.py decides; here is only how it is said, so that one change has one wording wherever it is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sessionstore.apis import conditions
from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.reconcile.store import facts, records

R = reasons.Reason


def refused(reason: R, message: str) -> conditions.Verdict:
    """Say what keeps a source from being migrated."""
    return conditions.Verdict("False", reason, message)


def names(pods: tuple[Any, ...]) -> str:
    """Name up to three pods."""
    named = [f"pod {pod['metadata']['name']}" for pod in pods]
    return ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")


def progress(source: facts.SourceFacts, reason: R, text: str) -> conditions.Verdict:
    """Say how far a source is."""
    return refused(reason, f"source {source.source.name!r}: {text}")


def waiting(source: facts.SourceFacts, job: facts.JobFacts, reason: R, text: str) -> conditions.Verdict:
    """While a Job runs: what it is doing, or why its pod does not start."""
    if job.trouble is None or job.outcome is not None:
        # Its container has ended and left its words; Kubernetes judges the Job in a moment.
        return progress(source, reason, text)
    return refused(job.trouble.reason, f"source {source.source.name!r}: {job.trouble.message}")


_REASONS = {"PathNotFound": R.PATH_NOT_FOUND, "NothingFound": R.PATH_NOT_FOUND, "Mismatch": R.VERIFICATION_FAILED}
"""What a Job may leave as its reason, and we have a word for; the rest is JobFailed, with the Job's own words."""


def job_ended(source: facts.SourceFacts, job: facts.JobFacts) -> conditions.Verdict:
    """Pass on what a Job that ended left as its last words."""
    outcome = job.outcome or {}
    reason = _REASONS.get(str(outcome.get("reason")), R.JOB_FAILED)
    message = outcome.get("message") or (
        job.trouble.message if job.trouble else "it left no message; see its pod's log"
    )
    return refused(reason, f"source {source.source.name!r}: Job {job.name}: {message}")


def planned(source: facts.SourceFacts, store: api.SessionStore, record: records.Record) -> conditions.Verdict:
    """Say what the plan Job found, and what to do next where that is the user's to decide."""
    mode = store.spec.migration.mode if store.spec.migration is not None else api.MigrationMode.PLAN
    found = _counts(record.planned) if record.planned else "not inspected yet"
    return progress(source, R.PLANNED, f"found {found}{_NEXT.get(mode, '')}")


_NEXT = {
    api.MigrationMode.PLAN: "; set migration.mode to Run to migrate",
    api.MigrationMode.FINALIZE: "; it was not migrated, so there is nothing to finalize: set migration.mode to Run",
}


def _counts(summary: Mapping[str, Any]) -> str:
    """Say what a Job found: sessions, lines, archives, and what had to be set aside."""
    names = ["sessions", "lines", "archives", *(name for name in ("quarantined", "conflicts") if summary.get(name))]
    return ", ".join(f"{summary[name]} {name}" for name in names if name in summary)


def migrated(record: records.Record) -> conditions.Verdict:
    """Say what is in the store now, and what it cost."""
    found = _counts(record.copied or {}) or "all"
    if record.finalized_at is not None:
        return conditions.Verdict("True", R.FINALIZED, f"{found} migrated; what was kept for a way back is dropped")
    return conditions.Verdict("True", R.MIGRATED, f"{found} migrated and verified{_pause(record)}")


def _pause(record: records.Record) -> str:
    if record.pause_s is None:
        return ""
    seconds = (record.copied or {}).get("seconds")
    copied = f", of which the copy took {seconds} s" if seconds is not None else ""
    return f"; the gateway paused for {record.pause_s} s{copied}"


def rolled_back(source: facts.SourceFacts, record: records.Record) -> conditions.Verdict:
    """Say that a gateway is on its files, with what the store had."""
    pause = f"; it paused for {record.pause_s} s" if record.pause_s is not None else ""
    found = f": {_counts(record.exported)} written as files and proven" if record.exported else ""
    left = (record.exported or {}).get("leftOut")
    kept = f"; {left} sessions that files have no place for stay in the store" if left else ""
    message = f"the gateway is on its files{found}{kept}{pause}; set migration.mode to Run to migrate anew"
    return progress(source, R.ROLLED_BACK, message)
