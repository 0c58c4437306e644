"""What `open_store` puts over a backend: encryption where keys are configured, spans where a program traces itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from sessionstore.sessions import extras
from sessionstore.sessions.store import Store

if TYPE_CHECKING:
    from sessionstore.sessions.config import SessionStorage


def over(store: Store, config: SessionStorage) -> Store:
    """Return `store` as the configuration and the program want it. Raises: ConfigurationError."""
    encrypted = _encrypted(store, config) if config.encryption_key_files else store
    provider = _tracer_provider()
    if provider is None:
        return encrypted
    from sessionstore.sessions.tracing import TracedStore  # noqa: PLC0415

    return TracedStore(encrypted, provider, system=config.backend, namespace=config.keyspace)


def _encrypted(store: Store, config: SessionStorage) -> Store:
    with extras.needed("encryption", "cryptography", "encryption"):
        from sessionstore.sessions.encryption import EncryptedStore, Keyring  # noqa: PLC0415

    keyring = Keyring.from_files(config.encryption_key_files)
    return EncryptedStore(store, keyring, fields=config.encryption_fields, require=config.encryption_require)


def _tracer_provider() -> Any:
    """Return the program's tracer provider; None where it has none.

    A program that has set one up has loaded OpenTelemetry: where it is not loaded there is nothing to look for.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    provider = trace.get_tracer_provider()
    return None if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider) else provider
