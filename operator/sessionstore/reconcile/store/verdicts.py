"""What one pass says of the store itself, its credentials and its migrations, in words. Pure.

Called by plan.py; what is said of the gateways is injecting.py's.
"""

from __future__ import annotations

from collections.abc import Mapping

from sessionstore.apis import conditions
from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.engines import engine as engines
from sessionstore.reconcile.store import facts, migration, steps

R = reasons.Reason


def first_verdicts() -> dict[str, conditions.Verdict]:
    creating = conditions.Verdict("False", R.CREATING, "passwords are being generated")
    return {"CredentialsReady": creating, "Provisioned": creating}


def without_password(refused: facts.Refused) -> conditions.Verdict:
    reason = R.SECRET_INVALID if refused.forbidden else R.SECRET_NOT_FOUND
    return conditions.Verdict("False", reason, f"auth.existingSecret: {refused.message}")


def credentials_ready(sync: engines.SyncUsers | None, seen: facts.Observed) -> conditions.Verdict:
    if isinstance(seen.engine, engines.Unreachable) and seen.engine.reason == "auth":
        return conditions.Verdict("False", R.USERS_OUT_OF_SYNC, seen.engine.message)
    if sync is not None:
        return conditions.Verdict("False", R.USERS_OUT_OF_SYNC, "the store's users are being brought in line")
    if seen.engine is None:
        return conditions.Verdict("Unknown", R.DEPENDENCY_NOT_READY, "the store is not up yet")
    return conditions.Verdict("True", R.CREDENTIALS_READY, "every user can log in")


def provisioned(store: api.SessionStore, seen: facts.Observed, grow: steps.GrowClaim | None) -> conditions.Verdict:
    if grow is not None and grow.refusal is not None:
        return grow.refusal
    if isinstance(seen.engine, engines.Unreachable):
        return _unreachable(store, seen.engine)
    if seen.engine is not None:
        fault = seen.engine.persistence_fault
        return conditions.Verdict(
            "True", R.PROVISIONED, f"{seen.engine.version} answers" + (f"; {fault}" if fault else "")
        )
    if seen.trouble is not None:
        return conditions.Verdict("False", seen.trouble.reason, seen.trouble.message)
    return conditions.Verdict("False", R.CREATING, "the store's pod is coming up")


def _unreachable(store: api.SessionStore, found: engines.Unreachable) -> conditions.Verdict:
    """A store that has never answered is on its way: its Service takes a moment to lead to a pod that is ready."""
    known = conditions.find(store.status.conditions, "Provisioned")
    is_new = known is None or known.reason == R.CREATING
    reason = R.CREATING if is_new and found.reason in ("connection", "loading") else R.ENGINE_UNREACHABLE
    return conditions.Verdict("False", reason, found.message)


def migrated(sources: Mapping[str, migration.SourcePlan]) -> conditions.Verdict:
    """Fold the sources: the first that is not done speaks for all."""
    if not sources:
        return conditions.Verdict("True", R.NO_MIGRATION, "no migration.sources are named")
    open_ones = [plan.verdict for plan in sources.values() if plan.verdict.status != "True"]
    if open_ones:
        return open_ones[0]
    is_finalized = all(plan.verdict.reason == R.FINALIZED for plan in sources.values())
    reason = R.FINALIZED if is_finalized else R.MIGRATED
    return conditions.Verdict("True", reason, "; ".join(plan.verdict.message for plan in sources.values()))
