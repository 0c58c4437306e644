"""A store that is away, or lost what it had: nothing is lost here, and no turn runs that nobody fences."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import redis_server
from tests.bridge import pods
from tests.bridge.gateway import Gateway
from tests.bridge.pods import Pod
from tests.redis_server import RedisServer

KEY, NEW = "agent:main:telegram:direct:1", "agent:main:telegram:direct:2"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, which it may stop."""
    with redis_server.running(tmp_path / "redis") as server:
        yield server


@contextmanager
def stopped(server: RedisServer) -> Iterator[None]:
    """Let the server answer nobody."""
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


def short_url(server: RedisServer, keyspace: str) -> str:
    """Return a URL with time limits that let a bridge notice within a second."""
    url = server.url(server.add_user(keyspace))
    return url.replace("connect_timeout=20", "connect_timeout=1").replace("operation_timeout=40", "operation_timeout=1")


def door_of(pod: Pod, session_id: str) -> Path:
    return pod.sessions / f"{session_id}.jsonl.lock"


def test_existing_sessions_stay_shut_and_new_ones_are_merged_when_it_is_back(
    own_server: RedisServer, tmp_path: Path
) -> None:
    with pods.running(tmp_path, "XY", short_url(own_server, "away")) as running:
        first, second = map(Gateway, running)
        first.say(KEY, "one")
        pods.wait_until(lambda: second.session_id(KEY) is not None, *running)
        session_id = second.session_id(KEY)
        assert session_id is not None
        pods.wait_until(lambda: door_of(running[1], session_id).exists(), *running)
        with stopped(own_server):
            # A session that nobody else knows begins all the same.
            assert second.say(NEW, "new") == []
            pods.wait_until(lambda: "trying again" in running[1].told(), *running)
            for _ in range(20):
                door_of(running[1], session_id).read_bytes()
        assert second.say(KEY, "two") == ["one", "answer to one"]
        pods.wait_until(lambda: first.session_id(NEW) == second.session_id(NEW), *running)
        new_id = second.session_id(NEW)
        assert new_id is not None
        pods.wait_until(lambda: len(first.lines(new_id)) == 3, *running)


def test_a_store_that_is_away_at_the_start_is_waited_for(own_server: RedisServer, tmp_path: Path) -> None:
    url = short_url(own_server, "start")
    with pods.running(tmp_path, "X", url) as running:
        Gateway(running[0]).say(KEY, "one")
        pods.wait_until(lambda: KEY in pods.stored(url), *running)
        running[0].stop()
        session_id = running[0].entries()[KEY]["sessionId"]
        with stopped(own_server):
            running[0].start()
            pods.wait_until(lambda: "trying again" in running[0].told(), *running)
            assert running[0].told().count("ready") == 1
            assert door_of(running[0], session_id).exists()
        pods.wait_until(lambda: running[0].told().count("ready") == 2, *running)


def test_a_store_that_lost_everything_is_given_it_again(own_server: RedisServer, tmp_path: Path) -> None:
    url = short_url(own_server, "lost")
    with pods.running(tmp_path, "XY", url) as running:
        first, second = map(Gateway, running)
        first.say(KEY, "one")
        second.say(NEW, "other")
        before = pods.settle(running)
        session_id = str(before[KEY]["sessionId"])
        pods.wait_until(lambda: len(second.lines(session_id)) == 3, *running)
        with own_server.admin() as admin:
            admin.flushdb()
        pods.wait_until(lambda: set(pods.stored(url)) == set(before), *running)
        assert pods.settle(running).keys() == before.keys() == {KEY, NEW}
        assert second.say(KEY, "two") == ["one", "answer to one"]


def test_a_session_that_is_deleted_at_one_gateway_is_gone_at_the_other(url: str, tmp_path: Path) -> None:
    with pods.running(tmp_path, "XY", url) as running:
        first, second = map(Gateway, running)
        first.say(KEY, "one")
        pods.wait_until(lambda: second.session_id(KEY) is not None, *running)
        session_id = first.session_id(KEY)
        assert session_id is not None
        pods.wait_until(lambda: len(second.lines(session_id)) == 3, *running)
        second.forget(KEY)
        pods.wait_until(lambda: first.session_id(KEY) is None, *running)
        assert pods.settle(running) == {}
        assert pods.stored(url) == {}
        # The lines are put aside there, too, as the gateway that deleted it has done.
        pods.wait_until(lambda: not first.lines(session_id), *running)
        assert [path.name for path in running[0].sessions.glob(f"{session_id}*.deleted.*")] != []
