"""What a gateway needs to reach its store: Secrets in servicebinding.io form, and the rendered configuration. Pure.

The plan applies the Secrets, injection.py mounts them. Three kinds: the generic one, which
`status.binding` names, one for each gateway with a user of its own, and one for migration Jobs.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from typing import Any, Protocol

from sessionstore import errors
from sessionstore.apis import quantities
from sessionstore.apis.v1alpha1 import operation, reasons
from sessionstore.apis.v1alpha1 import sessionstore as api
from sessionstore.sessions import config, record

MOUNT_PATH = "/etc/session-storage"
"""Where a binding lies in a gateway's container, and in a migration Job's."""

CONFIG_FILE = "session_storage.yaml"
KEYS = ("type", "provider", "host", "port", "username", "password", "uri", "database", "keyspace")
"""What every binding Secret holds. An item that is not in its Secret keeps a pod from starting, so all always are."""

APP_USER = "app"
MIGRATION_USER = "_migration"
_GATEWAY_USER_PREFIX = "gateway-"

Manifest = dict[str, Any]


class Bindable(Protocol):
    """What is asked of an engine; see engines/engine.py."""

    def binding(self, store: api.SessionStore, user: str, keyspace: str) -> dict[str, str]:
        """Return the keys of a servicebinding.io Secret for `user`, all but the password."""


def gateway_user(gateway_name: str) -> str:
    """Return the name of a gateway's user in the store."""
    return f"{_GATEWAY_USER_PREFIX}{gateway_name}"


def secret_name(store_name: str, user: str) -> str:
    """Return the Secret that holds a user's binding.

    A user without one gets a name with a dot: no gateway's Secret can have it, so whoever deletes
    the Secret of a forgotten user can never hit another's.
    """
    if user.startswith(_GATEWAY_USER_PREFIX):
        return f"{store_name}-{user.removeprefix(_GATEWAY_USER_PREFIX)}-binding"
    known = {APP_USER: f"{store_name}-binding", MIGRATION_USER: f"{store_name}-migration-binding"}
    return known.get(user, f"{store_name}.{user.strip('_')}")


def bindings_path(store_name: str) -> str:
    """Return the directory, in a gateway's container, with one file for each of `KEYS`."""
    return f"{MOUNT_PATH}/bindings/{store_name}"


def migration_config(keyspace: str) -> str:
    """Name the file in the Jobs' binding that configures one keyspace; a store's gateways may see several."""
    return f"session_storage.{keyspace}.yaml"


def config_hash(store: api.SessionStore, gateway: api.Gateway, engine: Bindable) -> str:
    """Return a digest of what the gateway reads once, at its start.

    The password is left out: it is read again for every connection, so a rotation restarts nothing.
    """
    return hashlib.sha256(_gateway_config(store, gateway, engine).encode()).hexdigest()[:16]


def make_binding_secrets(
    store: api.SessionStore, engine: Bindable, passwords: Mapping[str, str]
) -> tuple[Manifest, ...]:
    """Build every binding Secret of a store; the same bytes for the same arguments.

    Namespace and owner reference are the caller's to add.

    Args:
        passwords: user name -> password.
    Raises: SpecError for a gateway whose Secret would be another's; KeyError for a user without a password.
    """
    _check_names(store)
    own = store.metadata.name
    generic = _secret(store, APP_USER, _content(store, engine, APP_USER, own, passwords))
    gateways = (_gateway_secret(store, gateway, engine, passwords) for gateway in store.spec.gateways)
    return (generic, *gateways, _migration_secret(store, engine, passwords))


def _check_names(store: api.SessionStore) -> None:
    taken = secret_name(store.metadata.name, MIGRATION_USER)
    for gateway in store.spec.gateways:
        if secret_name(store.metadata.name, gateway_user(gateway.name)) == taken:
            message = f"gateways[].name {gateway.name!r} is kept for the Secret of migrations; choose another name"
            raise errors.SpecError(reasons.Reason.CONFIG_REFUSED, message)


def _gateway_secret(
    store: api.SessionStore, gateway: api.Gateway, engine: Bindable, passwords: Mapping[str, str]
) -> Manifest:
    user, keyspace = gateway_user(gateway.name), gateway.keyspace_or(store.metadata.name)
    content = _content(store, engine, user, keyspace, passwords)
    return _secret(store, user, {**content, CONFIG_FILE: _gateway_config(store, gateway, engine)})


def _migration_secret(store: api.SessionStore, engine: Bindable, passwords: Mapping[str, str]) -> Manifest:
    """One Secret for all Jobs: a configuration for each keyspace that a source may have to go to."""
    own = store.metadata.name
    content = _content(store, engine, MIGRATION_USER, own, passwords)
    seen = {own, *(gateway.keyspace_or(own) for gateway in store.spec.gateways)}
    files = {
        migration_config(keyspace): _render(store, engine.binding(store, MIGRATION_USER, keyspace), MOUNT_PATH)
        for keyspace in sorted(seen)
    }
    return _secret(store, MIGRATION_USER, {**content, CONFIG_FILE: files[migration_config(own)], **files})


def _content(
    store: api.SessionStore, engine: Bindable, user: str, keyspace: str, passwords: Mapping[str, str]
) -> dict[str, str]:
    values = {**engine.binding(store, user, keyspace), "password": passwords[user]}
    return {key: values[key] for key in KEYS}


def _gateway_config(store: api.SessionStore, gateway: api.Gateway, engine: Bindable) -> str:
    own = store.metadata.name
    values = engine.binding(store, gateway_user(gateway.name), gateway.keyspace_or(own))
    return _render(store, values, bindings_path(own))


def _render(store: api.SessionStore, values: Mapping[str, str], directory: str) -> str:
    """Write the `session_storage` section, by the library that will read it."""
    lives = store.spec.sessions or operation.Sessions()
    section = config.SessionStorage(
        backend=values["type"],
        keyspace=values["keyspace"],
        redis_host=values["host"],
        redis_port=int(values["port"]),
        redis_username_file=f"{directory}/username",
        redis_password_file=f"{directory}/password",
        default_ttl=_whole_seconds(lives.default_ttl),
        idle_ttl=_whole_seconds(lives.idle_ttl),
    )
    return section.to_yaml()


def _whole_seconds(duration: str | None) -> int:
    """Rounded up: what was asked to be forgotten after half a second is not asked to be kept for ever, which 0 is.

    At most the hundred years that the library takes: the schema's pattern allows more.
    """
    longest = record.MAX_LIFETIME_MS // 1000
    return min(math.ceil(quantities.parse_duration_s(duration)), longest) if duration else 0


def _secret(store: api.SessionStore, user: str, content: Mapping[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret_name(store.metadata.name, user),
            "labels": {
                "app.kubernetes.io/managed-by": "sessionstore-operator",
                "sessionstore.dev/store": store.metadata.name,
            },
        },
        "type": f"servicebinding.io/{content['type']}",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in sorted(content.items())},
    }
