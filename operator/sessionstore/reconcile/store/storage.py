"""Growth of the data volume, pure. Kubernetes keeps a StatefulSet's claim template immutable, so the
template stays as it was and the claim itself is grown, where its StorageClass allows that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sessionstore.apis import conditions, quantities
from sessionstore.apis.v1alpha1 import reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.kube import kinds
from sessionstore.reconcile.store import facts, steps

R = reasons.Reason


def keep_template(objects: Iterable[kinds.Manifest], seen: facts.Observed) -> tuple[kinds.Manifest, ...]:
    """Give each StatefulSet the claim templates that its live one has."""
    return tuple(_with_live_templates(manifest, seen.children) for manifest in objects)


def _with_live_templates(
    manifest: kinds.Manifest, children: Mapping[tuple[str, str], kinds.Manifest]
) -> kinds.Manifest:
    live = children.get((manifest["kind"], manifest["metadata"]["name"]))
    if manifest["kind"] != kinds.STATEFUL_SET.kind or live is None:
        return manifest
    sizes = {t["metadata"]["name"]: t["spec"] for t in live["spec"].get("volumeClaimTemplates", [])}
    templates = [_keep(t, sizes.get(t["metadata"]["name"])) for t in manifest["spec"]["volumeClaimTemplates"]]
    return {**manifest, "spec": {**manifest["spec"], "volumeClaimTemplates": templates}}


def _keep(template: Mapping[str, Any], live: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if live is None:
        return template
    kept = {name: live[name] for name in ("resources", "storageClassName") if name in live and name in template["spec"]}
    return {**template, "spec": {**template["spec"], **kept}}


def next_growth(store: api.SessionStore, seen: facts.Observed) -> steps.GrowClaim | None:
    """Compare the wanted size with the live claim; None where there is nothing to do or no claim yet.

    Returns: the growth, or one that carries a refusal, since a volume cannot shrink.
    """
    claim = next((child for (kind, _), child in seen.children.items() if kind == kinds.CLAIM.kind), None)
    if claim is None:
        return None
    wanted = store.storage_size
    asked = claim["spec"]["resources"]["requests"]["storage"]
    difference = quantities.parse_quantity_bytes(wanted) - quantities.parse_quantity_bytes(asked)
    if difference == 0:
        return None
    if difference < 0:
        message = (
            f"storage.size {wanted} is below the {asked} of claim {claim['metadata']['name']}; a volume cannot shrink"
        )
        return steps.GrowClaim(claim, wanted, conditions.Verdict("False", R.STORAGE_SHRINK_REFUSED, message))
    return steps.GrowClaim(claim, wanted, None)
