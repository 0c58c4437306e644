"""Events: one object for what happens again and again, and no error where nobody would miss one."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest

from sessionstore import errors
from sessionstore.kube import events, kinds
from tests import builders

STORE = builders.live_store(builders.a_store())
NEWS = events.Event("Provisioned", "7.4.0 answers")


class Kube:
    """What `client.Kube` does for Events: kept by name; a name that is taken is a conflict."""

    def __init__(self, refusal: errors.KubeError | None = None) -> None:
        self.refusal = refusal
        self.stored: dict[str, dict[str, Any]] = {}

    async def create(self, body: dict[str, Any], *, manager: str) -> None:
        assert manager == "sessionstore-operator"
        if self.refusal is not None:
            raise self.refusal
        if body["metadata"]["name"] in self.stored:
            raise errors.Conflicted("already exists")
        self.stored[body["metadata"]["name"]] = copy.deepcopy(body)

    async def get(self, kind: kinds.Kind, namespace: str, name: str) -> dict[str, Any] | None:
        assert (kind, namespace) == (kinds.EVENT, "openclaw")
        return copy.deepcopy(self.stored.get(name))

    async def patch(self, target: dict[str, Any], patch: dict[str, Any], *, manager: str) -> None:
        self.stored[target["metadata"]["name"]] |= patch


async def _post(kube: Any, *told: events.Event, about: dict[str, Any] = STORE) -> list[dict[str, Any]]:
    for hour, event in enumerate(told):
        await events.post(kube, about, event, builders.NOW + timedelta(hours=hour))
    return list(kube.stored.values())


async def test_an_event_is_about_the_store_and_says_who_tells_it() -> None:
    (event,) = await _post(Kube(), NEWS)

    assert event["involvedObject"] == {
        "apiVersion": "sessionstore.dev/v1alpha1",
        "kind": "SessionStore",
        "namespace": "openclaw",
        "name": "chat",
        "uid": "uid-of-chat",
    }
    assert event["metadata"]["namespace"] == "openclaw"
    assert event["source"] == {"component": "sessionstore-operator"}
    assert (event["reason"], event["message"], event["type"]) == ("Provisioned", "7.4.0 answers", "Normal")


@pytest.mark.parametrize(("warning", "kind"), [(False, "Normal"), (True, "Warning")])
async def test_bad_news_is_a_warning(warning: bool, kind: str) -> None:
    (event,) = await _post(Kube(), events.Event("R", "m", warning=warning))

    assert event["type"] == kind


async def test_what_happens_again_is_counted_up() -> None:
    (event,) = await _post(Kube(), NEWS, NEWS, NEWS)

    assert event["count"] == 3
    assert event["firstTimestamp"] == "2026-11-21T12:00:00Z"
    assert event["lastTimestamp"] == "2026-11-21T14:00:00Z"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(events.Event("Provisioned", "8.0.0 answers"), id="another message"),
        pytest.param(events.Event("Ready", "7.4.0 answers"), id="another reason"),
    ],
)
async def test_what_differs_is_an_event_of_its_own(other: events.Event) -> None:
    told = await _post(Kube(), NEWS, other)

    assert [event["count"] for event in told] == [1, 1]


async def test_a_store_made_anew_does_not_count_up_the_events_of_the_earlier_one() -> None:
    kube = Kube()
    anew = {**STORE, "metadata": {**STORE["metadata"], "uid": "another"}}

    await _post(kube, NEWS)
    await _post(kube, NEWS, about=anew)

    assert [event["count"] for event in kube.stored.values()] == [1, 1]


async def test_an_event_that_was_collected_meanwhile_is_no_error() -> None:
    assert await _post(Kube(errors.Conflicted("already exists")), NEWS) == []


@pytest.mark.parametrize(
    "refusal",
    [errors.Forbidden("the namespace is being terminated"), errors.NotFound("no such namespace")],
    ids=["terminating", "gone"],
)
async def test_in_a_namespace_that_goes_nothing_is_told(refusal: errors.KubeError) -> None:
    assert await _post(Kube(refusal), NEWS) == []


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        pytest.param("m" * 1000, "m" * 1000, id="just short enough"),
        pytest.param("m" * 2000, "m" * 1000, id="too long"),
        pytest.param("m" * 999 + "é", "m" * 999, id="a letter of two bytes at the edge"),
    ],
)
async def test_a_long_message_is_cut_to_what_the_api_server_takes(message: str, kept: str) -> None:
    (event,) = await _post(Kube(), events.Event("R", message))

    assert event["message"] == kept
