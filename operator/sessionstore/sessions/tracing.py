"""OpenTelemetry spans around a store's operations, by the semantic conventions for database clients.

`open_store` puts this over a store where the program has set up a tracer provider. Spans tell which operation, on which
kind of store, in which keyspace, and the class of an error; no key, no content, no message.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider

import sessionstore
from sessionstore.sessions.store import Store
from sessionstore.sessions.wrapped import WrappedStore

T = TypeVar("T")


class TracedStore(WrappedStore):
    """A span for each call. One around `lease` would be as long as its block: what it does inside has its own."""

    def __init__(self, inner: Store, provider: TracerProvider, *, system: str, namespace: str) -> None:
        """Trace calls of `inner`.

        Args:
            system: the backend, as `db.system.name`.
            namespace: the keyspace, as `db.namespace`.
        """
        super().__init__(inner)
        self._tracer = provider.get_tracer("sessionstore.sessions", sessionstore.__version__)
        self._namespace = namespace
        self._attributes = {"db.system.name": system, "db.namespace": namespace}

    async def _around(self, operation: str, call: Awaitable[T]) -> T:
        with self._tracer.start_as_current_span(
            f"{operation} {self._namespace}",
            kind=SpanKind.CLIENT,
            attributes=self._attributes | {"db.operation.name": operation},
            # Ours are below: a recorded exception would carry its message, and that names the session.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                return await call
            except BaseException as error:
                _tell(span, error)
                raise

    async def _through(self, operation: str, items: AsyncIterator[T]) -> AsyncIterator[T]:
        # Not the current span: what the caller does between two items is no part of it.
        span = self._tracer.start_span(
            f"{operation} {self._namespace}",
            kind=SpanKind.CLIENT,
            attributes=self._attributes | {"db.operation.name": operation},
        )
        try:
            async for item in items:
                yield item
        except GeneratorExit:
            raise  # The caller has seen enough.
        except BaseException as error:
            _tell(span, error)
            raise
        finally:
            span.end()


def _tell(span: Span, error: BaseException) -> None:
    span.set_attribute("error.type", type(error).__qualname__)
    span.set_status(StatusCode.ERROR)
