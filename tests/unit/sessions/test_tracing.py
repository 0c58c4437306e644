"""Spans tell what was done, where, and how it went; never to whom or what."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sessionstore.sessions import Conflict, Query, SessionStorage, Store, layers
from sessionstore.sessions.memory import MemoryStore
from sessionstore.sessions.tracing import TracedStore
from tests.conftest import ROOT

KEY = "agent:main:telegram:direct:SECRET"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    yield exporter
    exporter.shutdown()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider
    provider.shutdown()


@pytest.fixture
async def store(provider: TracerProvider) -> AsyncIterator[Store]:
    store = TracedStore(MemoryStore(), provider, system="memory", namespace="chat")
    yield store
    await store.close()


def told(span: ReadableSpan) -> tuple[str, str | None]:
    return span.name, dict(span.attributes or {}).get("error.type")


async def test_a_call_is_a_span_by_the_conventions(store: Store, exporter: InMemorySpanExporter) -> None:
    await store.set(KEY, {"sessionId": "SECRET"})
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.kind, span.status.status_code) == (
        "set chat",
        trace.SpanKind.CLIENT,
        trace.StatusCode.UNSET,
    )
    assert dict(span.attributes) == {
        "db.system.name": "memory",
        "db.namespace": "chat",
        "db.operation.name": "set",
    }
    assert span.instrumentation_scope.name == "sessionstore.sessions"


async def test_an_error_is_told_by_its_class_alone(store: Store, exporter: InMemorySpanExporter) -> None:
    with pytest.raises(Conflict, match="SECRET"):
        await store.set(KEY, {}, expected=7)
    (span,) = exporter.get_finished_spans()
    assert told(span) == ("set chat", "Conflict")
    assert (span.status.status_code, span.status.description, span.events) == (trace.StatusCode.ERROR, None, ())


async def test_no_span_holds_a_key_or_content(store: Store, exporter: InMemorySpanExporter) -> None:
    await store.set(KEY, {"sessionId": "SECRET", "senderId": "SECRET"})
    await store.append(KEY, [b"SECRET"])
    await store.search(Query(sender="SECRET"))
    async with store.lease(KEY, holder="SECRET"):
        await store.title(KEY, "SECRET")
    await store.put_archive("main", "SECRET", [b"SECRET"])
    await store.put_document("SECRET", b"SECRET")
    assert [item async for item in store.list_archives()]
    assert [item async for item in store.list_documents()] == ["SECRET"]
    await store.invalidate(sender="SECRET")
    spans = exporter.get_finished_spans()
    assert [told(span)[0].removesuffix(" chat") for span in spans] == [
        "set", "append", "search", "acquire_lease", "title", "release_lease", "put_archive", "put_document",
        "list_archives", "list_documents", "invalidate",
    ]  # fmt: skip
    assert [span for span in spans if "SECRET" in span.to_json()] == []


async def test_a_cancelled_call_ends_its_span(store: Store, exporter: InMemorySpanExporter) -> None:
    waiting = asyncio.create_task(store.changes(await store.position(), wait_s=60))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert told(exporter.get_finished_spans()[-1]) == ("changes chat", "CancelledError")


async def test_a_walk_that_is_broken_off_is_no_error(store: Store, exporter: InMemorySpanExporter) -> None:
    for name in ("a", "b"):
        await store.put_document(name, b"")
    walk = store.list_documents()
    assert await anext(walk) == "a"
    await walk.aclose()
    assert told(exporter.get_finished_spans()[-1]) == ("list_documents chat", None)


async def test_what_a_call_does_is_inside_its_span(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    class Driver(MemoryStore):
        async def exists(self, key: object) -> bool:
            with provider.get_tracer("driver").start_as_current_span("GET"):
                return True

    await TracedStore(Driver(), provider, system="memory", namespace="chat").exists("k")
    inside, outside = exporter.get_finished_spans()
    assert (inside.name, inside.parent) == ("GET", outside.context)


async def test_a_program_without_a_tracer_provider_has_no_spans() -> None:
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    assert isinstance(layers.over(MemoryStore(), SessionStorage(backend="memory")), MemoryStore)


@pytest.mark.parametrize(
    ("setup", "expected"),
    [
        pytest.param("", "MemoryStore False", id="OpenTelemetry is not loaded, and stays so"),
        pytest.param("import opentelemetry.trace", "MemoryStore True", id="it is loaded and not set up"),
        pytest.param(
            "from opentelemetry import trace; from opentelemetry.sdk.trace import TracerProvider;"
            "trace.set_tracer_provider(TracerProvider())",
            "TracedStore True",
            id="it is set up",
        ),
    ],
)
def test_open_store_decides_once(setup: str, expected: str) -> None:
    program = f"""
{setup}
import asyncio, sys
from sessionstore.sessions import open_store
async def main():
    async with open_store("memory://") as store:
        await store.set("k", {{}})
        print(type(store).__name__, "opentelemetry" in sys.modules)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == (f"{expected}\n", "")
