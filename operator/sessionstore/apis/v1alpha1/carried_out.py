"""What a spec asks for and this version does not do, where going on without it does no harm.

What would do harm, such as TLS that is not there, is refused by the CRD's rules instead. Only what the
user wrote is spoken of: these blocks have no default in the schema, so what is set was written.
"""

from __future__ import annotations

from collections.abc import Iterator

from sessionstore.apis.v1alpha1.engines import RedisTopology
from sessionstore.apis.v1alpha1.gateways import StickinessAction
from sessionstore.apis.v1alpha1.sessionstore import SessionStore, Spec


def not_carried_out(store: SessionStore) -> tuple[str, ...]:
    """Return one sentence for each wish that is not carried out, in the order of the spec."""
    spec = store.spec
    return (*_redis(spec), *_auth(spec), *_gateways(spec), *_surroundings(spec))


def _redis(spec: Spec) -> Iterator[str]:
    redis = spec.redis
    if redis and redis.topology == RedisTopology.STANDALONE and redis.replicas not in (None, 1):
        yield f"redis.replicas is {redis.replicas}, and topology standalone has one server"


def _auth(spec: Spec) -> Iterator[str]:
    if spec.auth and spec.auth.rotation and spec.auth.rotation.every:
        yield "auth.rotation is not carried out by this version: passwords stay as they are"


def _gateways(spec: Spec) -> Iterator[str]:
    for gateway in spec.gateways:
        where = f"gateways[{gateway.name}]"
        if gateway.scaling:
            yield f"{where}.scaling is not carried out by this version: scale the workload yourself"
        if gateway.stickiness == StickinessAction.REMOVE:
            yield f"{where}.stickiness Remove is not carried out by this version: nothing is looked for or removed"


def _surroundings(spec: Spec) -> Iterator[str]:
    if spec.network_policy and spec.network_policy.enabled:
        yield "networkPolicy is not carried out by this version: write your own for the store's pods"
    monitoring = spec.monitoring
    if monitoring and (monitoring.exporter or monitoring.service_monitor or monitoring.prometheus_rule):
        yield "monitoring is not carried out by this version: nothing exports the store's metrics"
    if spec.backup and spec.backup.schedule:
        yield "backup is not carried out by this version: take snapshots of the volume yourself"
