"""From the configuration to a Topology, and to the words that name its servers."""

from __future__ import annotations

from sessionstore.sessions.config import SessionStorage
from sessionstore.sessions.redis.connecting import Address, Dialer
from sessionstore.sessions.redis.topology import Single, Topology, named


def make(config: SessionStorage, dialer: Dialer) -> Topology:
    """Return the topology of `config`; nothing is connected yet. Raises: ConfigurationError."""
    assert config.redis_host is not None
    return Single(named(Address(config.redis_host, config.redis_port)), dialer, fails_over=False)


def spelled(config: SessionStorage) -> str:
    """Return how errors name the servers."""
    return f"redis at {config.redis_host}:{config.redis_port}"
