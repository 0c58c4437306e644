"""From the configuration to a Topology, and to the words that name its servers."""

from __future__ import annotations

from sessionstore.sessions.config import SessionStorage
from sessionstore.sessions.redis.connecting import Address, Dialer, address_of, sentinel_login
from sessionstore.sessions.redis.topology import Named, Single, Topology

SENTINEL_PORT = 26379


def make(config: SessionStorage, dialer: Dialer) -> Topology:
    """Return the topology of `config`; nothing is connected yet. Raises: ConfigurationError.

    Args:
        dialer: logs in to the servers with the data.
    """
    # What one server does not need is not imported for it.
    if config.redis_sentinels:
        from sessionstore.sessions.redis.sentinel import Sentinels  # noqa: PLC0415

        addresses = [address_of(text, SENTINEL_PORT) for text in config.redis_sentinels]
        to_sentinels = Dialer(config, sentinel_login(config), None)
        service = config.redis_sentinel_service or ""
        sentinels = Sentinels(addresses, service, to_sentinels, config.connect_timeout)
        return Single(sentinels, dialer)
    if config.redis_cluster:
        from sessionstore.sessions.redis.cluster import Cluster  # noqa: PLC0415

        seeds = [address_of(text, config.redis_port) for text in config.redis_cluster_nodes]
        return Cluster(seeds or [_host(config)], dialer, config.connect_timeout)
    return Single(Named(_host(config)), dialer)


def spelled(config: SessionStorage) -> str:
    """Return how errors name the servers."""
    if config.redis_sentinels:
        return f"redis {config.redis_sentinel_service} by sentinels {', '.join(config.redis_sentinels)}"
    if config.redis_cluster:
        return f"redis cluster at {', '.join(config.redis_cluster_nodes) or _host(config)}"
    return f"redis at {_host(config)}"


def _host(config: SessionStorage) -> Address:
    return Address(config.redis_host or "", config.redis_port)
