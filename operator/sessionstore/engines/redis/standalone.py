"""The Redis engine as the reconcile knows it: one server on one volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sessionstore.apis.v1alpha1.sessionstore import SessionStore
from sessionstore.engines.engine import (
    Endpoint,
    EngineDefaults,
    EngineFacts,
    Manifest,
    Passwords,
    SyncUsers,
    Unreachable,
)
from sessionstore.engines.redis import admin, names, objects, probe, users


class RedisEngine:
    """`engine.Engine` for Redis and Valkey, topology `standalone`."""

    def user_names(self, store: SessionStore) -> tuple[str, ...]:
        return users.user_names(store)

    def objects(self, store: SessionStore, passwords: Passwords, defaults: EngineDefaults) -> tuple[Manifest, ...]:
        return objects.build_objects(store, passwords, defaults)

    def endpoint(self, store: SessionStore) -> Endpoint:
        # Without the cluster's domain, which the operator cannot know; the resolver's search list adds it.
        return Endpoint(f"{names.workload(store)}.{store.metadata.namespace}.svc", names.PORT)

    async def probe(
        self, store: SessionStore, passwords: Passwords, endpoint: Endpoint | None = None
    ) -> EngineFacts | Unreachable:
        password = users.newest_password(passwords, users.OPERATOR)
        return await probe.probe(endpoint or self.endpoint(store), password, users.keyspaces(store))

    async def documents(
        self,
        store: SessionStore,
        passwords: Passwords,
        keyspace: str,
        names: Sequence[str],
        endpoint: Endpoint | None = None,
    ) -> Mapping[str, str] | Unreachable:
        password = users.newest_password(passwords, users.OPERATOR)
        return await probe.read_documents(endpoint or self.endpoint(store), password, keyspace, names)

    def next_step(self, store: SessionStore, facts: EngineFacts, passwords: Passwords) -> SyncUsers | None:
        return users.make_sync(users.make_users(store, passwords), facts.users)

    async def perform(
        self, step: SyncUsers, store: SessionStore, passwords: Passwords, endpoint: Endpoint | None = None
    ) -> Unreachable | None:
        password = users.newest_password(passwords, users.OPERATOR)
        return await admin.sync_users(endpoint or self.endpoint(store), password, step)

    def binding(self, store: SessionStore, user: str, keyspace: str) -> dict[str, str]:
        endpoint = self.endpoint(store)
        return {
            "type": "redis",
            "provider": "sessionstore.dev",
            "host": endpoint.host,
            "port": str(endpoint.port),
            "username": user,
            "database": "0",
            "keyspace": keyspace,
            # As `sessionstore --store` takes it. A password in a URL ends in logs, so this has none.
            "uri": f"redis://{user}@{endpoint}/0?keyspace={keyspace}",
        }
