"""Which watch events make a store due: what someone wished does, the echo of our own status write does not."""

from __future__ import annotations

from typing import Any

import kopf
import pytest

from sessionstore.handlers import triggers
from sessionstore.reconcile import queue

KEY = queue.ObjectKey("openclaw", "chat")
Event = tuple[str | None, dict[str, Any]]


def _event(
    kind: str | None = "MODIFIED", *, generation: int = 1, uid: str = "u", version: str = "1", **parts: Any
) -> Event:
    """Build an event of one store; each status write moves the resourceVersion and nothing else that is wished."""
    metadata = {"namespace": "openclaw", "name": "chat", "uid": uid, "generation": generation}
    annotations = parts.pop("annotations", {})
    return kind, {"metadata": {**metadata, "resourceVersion": version, "annotations": annotations}, **parts}


def _seen(*events: Event) -> list[queue.ObjectKey]:
    added: list[queue.ObjectKey] = []
    stores = triggers._Stores(added.append)
    for kind, body in events:
        stores.seen(kopf.Body(body), kind)
    return added


LISTED = _event(None)


@pytest.mark.parametrize(
    ("second", "is_due"),
    [
        pytest.param(_event(version="2", status={"observedGeneration": 1}), False, id="the echo of our status write"),
        pytest.param(_event(None), False, id="the same object, listed anew"),
        pytest.param(_event(generation=2), True, id="an edit of the spec"),
        pytest.param(_event(annotations={"sessionstore.dev/retry": "1"}), True, id="an annotation"),
        pytest.param(_event("DELETED"), True, id="its deletion"),
        pytest.param(_event("ADDED", uid="another"), True, id="a new store of its name"),
    ],
)
def test_a_store_is_due_again_when_someone_wished_something(second: Event, is_due: bool) -> None:
    assert _seen(LISTED, second) == [KEY, *([KEY] if is_due else [])]


@pytest.mark.parametrize("kind", [None, "ADDED", "MODIFIED", "DELETED"])
def test_a_store_that_was_never_seen_is_due(kind: str | None) -> None:
    assert _seen(_event(kind)) == [KEY]


def test_an_annotation_that_is_taken_back_is_a_wish_too() -> None:
    marked = _event(annotations={"sessionstore.dev/retry": "1"})

    assert _seen(marked, LISTED) == [KEY, KEY]


def test_a_store_that_comes_back_is_due_though_it_looks_as_before() -> None:
    assert _seen(LISTED, _event("DELETED"), LISTED) == [KEY, KEY, KEY]


def test_two_stores_are_told_apart() -> None:
    kind, body = _event()
    other = (kind, {**body, "metadata": {**body["metadata"], "name": "mail"}})

    assert _seen(LISTED, other, LISTED, other) == [KEY, queue.ObjectKey("openclaw", "mail")]


# -- as kopf calls them -----------------------------------------------------------------------


def _handlers() -> tuple[kopf.OperatorRegistry, list[queue.ObjectKey], list[str]]:
    registry, added, renewed = kopf.OperatorRegistry(), [], []
    triggers.register(registry, added.append, renewed.append)
    return registry, added, renewed


def _called(name: str) -> Any:
    """Return a registered handler's function, and what it adds and sees."""
    registry, added, renewed = _handlers()
    found = {handler.fn.__name__: handler.fn for handler in registry._watching.get_all_handlers()}
    return found[name], added, renewed


@pytest.mark.parametrize(
    ("metadata", "added"),
    [
        pytest.param({"namespace": "openclaw", "labels": {"sessionstore.dev/store": "chat"}}, [KEY], id="of a store"),
        pytest.param({"namespace": "openclaw", "labels": {}}, [], id="of nobody"),
        pytest.param({"labels": {"sessionstore.dev/store": "chat"}}, [], id="without a namespace"),
    ],
)
async def test_what_carries_a_stores_label_makes_the_store_due(
    metadata: dict[str, Any], added: list[queue.ObjectKey]
) -> None:
    handler, found, _ = _called("on_labelled")

    await handler(body=kopf.Body({"metadata": metadata}), type="MODIFIED")

    assert found == added


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        pytest.param(
            {"spec": {"renewTime": "2026-11-21T12:00:00.000000Z"}}, "2026-11-21T12:00:00.000000Z", id="renewed"
        ),
        pytest.param({"spec": {}}, "", id="never renewed"),
    ],
)
async def test_a_lease_that_the_watch_delivers_is_passed_on(body: dict[str, Any], seen: str) -> None:
    handler, _, renewed = _called("on_lease")

    await handler(body=kopf.Body(body), type="MODIFIED")

    assert renewed == [seen]


def test_nothing_is_registered_that_leaves_a_mark_on_an_object() -> None:
    """Finalizers come from timers, daemons and delete handlers; annotations from change handlers."""
    registry, _, _ = _handlers()

    assert registry._changing.get_all_handlers() == []
    assert registry._spawning.get_all_handlers() == []
