"""What the parts of a Redis store are called, and where its files lie in the pod. Pure."""

from __future__ import annotations

from sessionstore.apis.v1alpha1.sessionstore import SessionStore

PORT = 6379

# Not below /etc/redis: Debian's package closes that directory to all but its own user.
CONFIG_DIR = "/etc/sessionstore/config"
USERS_DIR = "/etc/sessionstore/users"
DATA_DIR = "/data"
USERS_FILE = "users.acl"
HEALTH_FILE = "health"


def workload(store: SessionStore) -> str:
    """Name the StatefulSet, the client Service, the ServiceAccount and the PodDisruptionBudget."""
    return f"{store.metadata.name}-redis"


def headless_service(store: SessionStore) -> str:
    """Name the Service that gives each pod an address of its own."""
    return f"{workload(store)}-headless"


def config_map(store: SessionStore) -> str:
    """Name the ConfigMap with redis.conf and the probes' scripts."""
    return f"{workload(store)}-config"


def users_secret(store: SessionStore) -> str:
    """Name the Secret with the ACL file and the health user's password."""
    return f"{workload(store)}-users"


def selector(store: SessionStore) -> dict[str, str]:
    """Return the labels that tell our pods from all others. Immutable in a StatefulSet: never add one."""
    return {
        "app.kubernetes.io/name": "redis",
        "app.kubernetes.io/instance": store.metadata.name,
        "app.kubernetes.io/component": "store",
    }


def labels(store: SessionStore) -> dict[str, str]:
    """Return the labels of every object of a store."""
    return {
        **selector(store),
        "app.kubernetes.io/managed-by": "sessionstore-operator",
        "app.kubernetes.io/part-of": "sessionstore",
        "sessionstore.dev/store": store.metadata.name,
    }
