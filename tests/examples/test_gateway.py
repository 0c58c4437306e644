"""The example gateway, over HTTP: on its own files, and on a real Redis that several of them share."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sessionstore.sessions import SessionStorage
from tests import redis_server
from tests.examples import gateways

FIXTURE = Path(__file__).parents[1] / "fixtures" / "openclaw" / "file-2026.7.1-2.tar.gz"
_keyspaces = (f"gateway-{number}" for number in itertools.count(1))
TELEGRAM = "agent:main:telegram:direct:123456789"
FORK = "agent:main:dashboard:3638d33a-029f-4dd7-b1cc-e37645f313c5"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_server.RedisServer]:
    with redis_server.running(tmp_path_factory.mktemp("redis")) as running:
        yield running


@dataclass(frozen=True)
class Place:
    """Where a gateway keeps its sessions, said as the operator or a pod template says it."""

    backend: str
    environ: dict[str, str]

    def gateway(self, name: str = "openclaw-0") -> contextlib.AbstractContextManager[gateways.Gateway]:
        return gateways.running(name, **self.environ)


def on_files(tmp_path: Path) -> Place:
    return Place("file", {"OPENCLAW_STATE_DIR": str(tmp_path / "state")})


def on_redis(server: redis_server.RedisServer, tmp_path: Path, **changed: object) -> Place:
    config = server.add_user(next(_keyspaces))
    values = {name: getattr(config, name) for name in config.__dataclass_fields__}
    path = tmp_path / "session_storage.yaml"
    path.write_text(SessionStorage(**{**values, **changed}).to_yaml())
    # As after an injection: the volume is still mounted, and no longer read.
    return Place("redis", {"SESSION_STORAGE_CONFIG": str(path), **on_files(tmp_path).environ})


@pytest.fixture(params=["file", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "file":
        return on_files(tmp_path)
    return on_redis(request.getfixturevalue("server"), tmp_path)


def test_a_conversation_starts_and_goes_on(place: Place) -> None:
    with place.gateway() as gateway:
        first = gateway.say("agent:main:main", "Hello")
        second = gateway.say("agent:main:main", "Again")

    assert (first.status, first.body["turn"], first.body["added"], first.body["lines"]) == (200, 1, 3, 3)
    assert first.body["reply"] == "turn 1; you said 'Hello'; I remember 0 lines"
    assert second.body["reply"] == "turn 2; you said 'Again'; I remember 3 lines"
    assert (second.body["added"], second.body["lines"]) == (2, 5)
    assert second.body["sessionId"] == first.body["sessionId"]
    assert (second.body["pod"], second.body["backend"]) == ("openclaw-0", place.backend)


def test_a_transcript_is_a_header_and_a_chain_of_messages(place: Place) -> None:
    with place.gateway() as gateway:
        gateway.say("agent:main:main", "Hello")
        gateway.say("agent:main:main", "Again")
        found = gateway.session("agent:main:main").body

    header, *messages = [json.loads(line) for line in found["lines"]]
    assert (header["type"], header["id"]) == ("session", found["entry"]["sessionId"])
    assert [message["message"]["role"] for message in messages] == ["user", "assistant", "user", "assistant"]
    assert [message["parentId"] for message in messages] == [None, *(message["id"] for message in messages[:-1])]


def test_a_conversation_survives_a_restart(place: Place) -> None:
    with place.gateway() as gateway:
        gateway.say("agent:main:main", "Hello")
        assert gateway.stop() == 0

    with place.gateway("openclaw-1") as gateway:
        answer = gateway.say("agent:main:main", "Still there?").body

    assert (answer["turn"], answer["lines"], answer["pod"]) == (2, 5, "openclaw-1")


@pytest.mark.parametrize(
    "key",
    [
        "agent:main:dashboard:über/ünïcode 空間",
        "agent:main:signal:group:AbC+/dEf==",
        "100% %2F %25 %zz",
        "__proto__",
        "..",
    ],
)
def test_any_key_is_a_key(place: Place, key: str) -> None:
    with place.gateway() as gateway:
        said = gateway.say(key, "Hello")
        found = gateway.session(key)

    assert (said.status, found.status, found.body["key"], len(found.body["lines"])) == (200, 200, key, 3)


def test_the_agent_is_what_the_key_says_or_what_the_query_says(place: Place) -> None:
    with place.gateway() as gateway:
        gateway.say("agent:work:main", "Hello")
        gateway.say("plain", "Hello", agent="ops")
        rows = gateway.call("GET", "/v1/sessions").body["sessions"]

        assert {(row["agent"], row["key"]) for row in rows} == {("work", "agent:work:main"), ("ops", "plain")}
        assert gateway.session("plain").status == 404
        assert gateway.session("plain", agent="ops").status == 200


def test_a_list_goes_on_from_its_cursor(place: Place) -> None:
    with place.gateway() as gateway:
        for number in range(3):
            gateway.say(f"k{number}", "Hello")
        first = gateway.call("GET", "/v1/sessions", limit="2").body
        second = gateway.call("GET", "/v1/sessions", limit="2", cursor=first["cursor"]).body

    keys = [row["key"] for row in first["sessions"] + second["sessions"]]
    assert (sorted(keys), len(first["sessions"]), second["cursor"]) == (["k0", "k1", "k2"], 2, None)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        pytest.param(
            "POST", "/v1/sessions/k/turns", b"{", 400, 'send a JSON object with what is said: {"text"', id="no JSON"
        ),
        pytest.param("POST", "/v1/sessions/k/turns", {"words": "x"}, 400, "send a JSON object", id="no text"),
        pytest.param("POST", "/v1/sessions/k/turns", {"text": 3}, 400, "send a JSON object", id="text is no text"),
        pytest.param(
            "POST", "/v1/sessions/k/turns", b'{"text":"\\ud800"}', 400, "send a JSON object", id="lone surrogate"
        ),
        pytest.param("GET", f"/v1/sessions/{'k' * 4097}", None, 400, "1 to 4096 are allowed", id="key too long"),
        pytest.param("GET", "/v1/sessions/never", None, 404, "there is no session main/never", id="absent"),
        pytest.param("GET", "/v1/sessions?limit=many", None, 400, "not a number from 1 to 500", id="no limit"),
        pytest.param("GET", "/v1/nothing", None, 404, "Not Found", id="no such path"),
    ],
)
def test_a_request_that_cannot_be_served_says_why(
    place: Place, method: str, path: str, body: object, status: int, words: str
) -> None:
    with place.gateway() as gateway:
        answer = gateway.call(method, path, body)

    assert (answer.status, answer.body["backend"]) == (status, place.backend)
    assert words in answer.body["error"]


def test_health_and_readiness_are_json(place: Place) -> None:
    with place.gateway() as gateway:
        assert gateway.call("GET", "/healthz").body["ok"] is True
        assert gateway.call("GET", "/readyz").body["ready"] is True


def test_real_openclaw_files_are_continued_where_they_lie(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(state, filter="data")
    sessions = state / "agents" / "main" / "sessions"
    before = {path.name: path.read_bytes() for path in sessions.glob("*.jsonl*")}
    entry = json.loads((sessions / "sessions.json").read_text())[TELEGRAM]

    with on_files(tmp_path).gateway() as gateway:
        telegram, fork = gateway.say(TELEGRAM, "Third turn").body, gateway.say(FORK, "Third turn").body
        rows = gateway.call("GET", "/v1/sessions").body["sessions"]

    assert (telegram["sessionId"], telegram["lines"], fork["lines"]) == (entry["sessionId"], 6, 10)
    assert (len(rows), sum(row["lines"] for row in rows)) == (11, 26 + 4)
    after = {path.name: path.read_bytes() for path in sessions.glob("*.jsonl*")}
    assert after.keys() == before.keys()
    grown = {name for name in before if after[name] != before[name]}
    assert len(grown) == 2
    assert all(after[name].startswith(before[name]) for name in grown)
    now = json.loads((sessions / "sessions.json").read_text())[TELEGRAM]
    assert {**now, "updatedAt": 0} == {**entry, "updatedAt": 0}


def test_two_gateways_on_one_store_answer_from_one_memory(server: redis_server.RedisServer, tmp_path: Path) -> None:
    place = on_redis(server, tmp_path)
    with place.gateway("a") as first, place.gateway("b") as second:
        answers = [gateway.say("agent:main:main", "Hello").body for gateway in (first, second, first)]

    assert [(answer["pod"], answer["turn"], answer["lines"]) for answer in answers] == [
        ("a", 1, 3),
        ("b", 2, 5),
        ("a", 3, 7),
    ]


def test_no_turn_is_lost_when_two_gateways_race(server: redis_server.RedisServer, tmp_path: Path) -> None:
    place = on_redis(server, tmp_path)
    with place.gateway("a") as first, place.gateway("b") as second:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            said = [pool.submit((first, second)[n % 2].say, "agent:main:main", f"text {n}") for n in range(24)]
            answers = [future.result() for future in said]
        lines = first.session("agent:main:main").body["lines"]

    assert {answer.status for answer in answers} == {200}
    assert sorted(answer.body["turn"] for answer in answers) == list(range(1, 25))
    messages = [json.loads(line) for line in lines][1:]
    assert [message["parentId"] for message in messages] == [None, *(message["id"] for message in messages[:-1])]
    assert sum(message["message"]["role"] == "user" for message in messages) == 24


def test_a_store_that_is_away_is_an_outage_and_never_a_new_conversation(
    server: redis_server.RedisServer, tmp_path: Path
) -> None:
    away = on_redis(server, tmp_path, redis_port=1, connect_timeout=0.2, operation_timeout=0.5)
    with away.gateway() as gateway:
        answers = [
            gateway.say("agent:main:main", "Hello"),
            gateway.session("agent:main:main"),
            gateway.call("GET", "/readyz"),
        ]
        alive = gateway.call("GET", "/healthz")

    assert [answer.status for answer in answers] == [503, 503, 503]
    assert alive.status == 200
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, "cannot be read", id="no such file"),
        pytest.param("session_storage: {backend: redis}", "backend redis needs redis_host", id="a part is missing"),
    ],
)
def test_a_configuration_that_cannot_be_used_stops_the_gateway(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "session_storage.yaml"
    if content is not None:
        path.write_text(content)

    process = gateways.start({"SESSION_STORAGE_CONFIG": str(path), **on_files(tmp_path).environ}, port=0)
    _, said = process.communicate(timeout=gateways.UP_S)

    assert process.returncode == 1
    assert words in said.decode()
    assert not (tmp_path / "state").exists()
