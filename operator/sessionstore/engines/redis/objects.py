"""The Kubernetes objects of a Redis store, in the order to apply them. Pure, and the same bytes every time.

What a running server takes up by itself (its users: users.py) never rolls a pod; what it does not (redis.conf) does,
by a hash in the pod's annotations.
"""

from __future__ import annotations

import base64
import functools
import hashlib

import jinja2

from sessionstore.apis.v1alpha1.sessionstore import SessionStore
from sessionstore.engines.engine import EngineDefaults, Manifest, Passwords
from sessionstore.engines.redis import config, memory, names, scripts, users, workload


def build_objects(store: SessionStore, passwords: Passwords, defaults: EngineDefaults) -> tuple[Manifest, ...]:
    """Build all children of a standalone store.

    Raises: SpecError for what the manifest must not ask; KeyError for a user without a password.
    """
    redis_conf = render_config(store)
    config_hash = hashlib.sha256(redis_conf.encode()).hexdigest()[:16]
    image = store.spec.redis_or_default.image or defaults.redis_image
    return (
        _service_account(store),
        _config_map(store, redis_conf),
        _users_secret(store, passwords),
        _headless_service(store),
        _client_service(store),
        workload.build_stateful_set(store, image, config_hash),
        _disruption_budget(store),
    )


def render_config(store: SessionStore) -> str:
    """Write redis.conf. Raises: SpecError."""
    redis = store.spec.redis_or_default
    return (
        _templates()
        .get_template("redis.conf.j2")
        .render(
            port=names.PORT,
            users_file=f"{names.USERS_DIR}/{names.USERS_FILE}",
            data_dir=names.DATA_DIR,
            maxmemory=memory.maxmemory_for(memory.limit_bytes(store.spec.resources), redis.max_memory_percent),
            eviction_policy=redis.eviction_policy.value,
            extra=config.extra_lines(redis.config),
        )
    )


@functools.cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("sessionstore.engines.redis"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  redis.conf is no HTML; config.py checks what a manifest may put into it
    )


def _service_account(store: SessionStore) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": names.workload(store), "labels": names.labels(store)},
        "automountServiceAccountToken": False,
    }


def _config_map(store: SessionStore, redis_conf: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": names.config_map(store), "labels": names.labels(store)},
        "data": {
            "redis.conf": redis_conf,
            scripts.ALIVE: scripts.alive_script(names.PORT),
            scripts.READY: scripts.ready_script(names.PORT, users.HEALTH, f"{names.USERS_DIR}/{names.HEALTH_FILE}"),
        },
    }


def _users_secret(store: SessionStore, passwords: Passwords) -> Manifest:
    """Build the Secret: digests for the server, one plain password for the probe that logs in."""
    texts = {
        names.USERS_FILE: users.acl_file(users.make_users(store, passwords)),
        names.HEALTH_FILE: users.newest_password(passwords, users.HEALTH),
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": names.users_secret(store), "labels": names.labels(store)},
        "type": "Opaque",
        # `data`, not `stringData`: server-side apply compares what it stores, and it never stores the latter.
        "data": {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()},
    }


def _headless_service(store: SessionStore) -> Manifest:
    # A pod must find itself and its peers by name before it is ready, or it never becomes so.
    return _service(store, names.headless_service(store), {"clusterIP": "None", "publishNotReadyAddresses": True})


def _client_service(store: SessionStore) -> Manifest:
    return _service(store, names.workload(store), {"type": "ClusterIP"})


def _service(store: SessionStore, name: str, spec: Manifest) -> Manifest:
    port = {"name": "redis", "port": names.PORT, "protocol": "TCP", "targetPort": "redis"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": names.labels(store)},
        "spec": {**spec, "selector": names.selector(store), "ports": [port]},
    }


def _disruption_budget(store: SessionStore) -> Manifest:
    """Build the budget. `maxUnavailable`, since `minAvailable: 1` of one replica would hang every drain."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": names.workload(store), "labels": names.labels(store)},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": names.selector(store)}},
    }
