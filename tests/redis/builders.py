"""Stores for tests of the engine: valid by default, one keyword per deviation."""

from __future__ import annotations

from typing import Any

from sessionstore.apis.v1alpha1.sessionstore import SessionStore
from sessionstore.engines.engine import EngineDefaults

DEFAULTS = EngineDefaults(redis_image="docker.io/library/redis:8.2")


def a_store(gateways: dict[str, str | None] | None = None, **spec: Any) -> SessionStore:
    """Build `openclaw/chat`. `gateways`: name -> keyspace, None for the store's own."""
    listed = [
        {"name": name, "workloadRef": {"kind": "Deployment", "name": name}, **({"keyspace": seen} if seen else {})}
        for name, seen in (gateways or {}).items()
    ]
    return SessionStore.model_validate(
        {
            "metadata": {"name": "chat", "namespace": "openclaw", "uid": "0c9e", "generation": 1},
            "spec": {"engine": "redis", "gateways": listed, **spec},
        }
    )


def passwords_for(*users: str) -> dict[str, str | tuple[str, ...]]:
    """Give each user a password that no other has and that is found by a search."""
    return {user: f"pw-of-{user.strip('_')}" for user in ("_operator", "_migration", "_health", "app", *users)}
