"""Many callers on few connections: what each gets is its own, however many there are and whoever gives up."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import hashlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessionstore.sessions import SessionStorage, Store, Unavailable, Unreadable, open_store
from sessionstore.sessions.redis import node
from sessionstore.sessions.redis.client import Client
from sessionstore.sessions.redis.script import Script
from tests import redis_server
from tests.redis import cutting

_keyspaces = (f"sharing-{number}" for number in itertools.count(1))


def script_of(text: str) -> Script:
    return Script(text, hashlib.sha1(text.encode()).hexdigest())


# Answers with what it was asked, after it wrote that down.
ECHO = script_of("redis.call('RPUSH', KEYS[1], ARGV[1]) return {ARGV[1]}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_server.RedisServer]:
    with redis_server.running(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def config(server: redis_server.RedisServer) -> SessionStorage:
    return server.add_user(next(_keyspaces))


@pytest.fixture
async def client(config: SessionStorage) -> AsyncIterator[Client]:
    made = Client(config)
    yield made
    await made.close()


def key(config: SessionStorage, name: object) -> str:
    return f"sst:{config.keyspace}:{name}"


def facts(server: redis_server.RedisServer, section: str) -> dict[str, Any]:
    with server.admin() as admin:
        return dict(admin.info(section))


def connections(server: redis_server.RedisServer, config: SessionStorage) -> int:
    with server.admin() as admin:
        return sum(one["user"] == config.redis_username for one in admin.client_list())


async def test_callers_of_one_turn_share_reads_and_writes(
    server: redis_server.RedisServer, config: SessionStorage, client: Client
) -> None:
    await client.write("SET", key(config, "k"), "v")
    before = facts(server, "stats")
    found = await asyncio.gather(*(client.read("GET", key(config, "k")) for _ in range(50)))
    after = facts(server, "stats")
    assert found == [b"v"] * 50
    assert connections(server, config) == 1
    # The first one goes at once, the others together; INFO and its login take a few of their own.
    assert after["total_reads_processed"] - before["total_reads_processed"] < 12
    assert after["total_writes_processed"] - before["total_writes_processed"] < 12


async def test_a_thousand_callers_are_all_served_on_four_connections(
    server: redis_server.RedisServer, config: SessionStorage, client: Client
) -> None:
    async def one(number: int) -> bool:
        name = key(config, number)
        await client.write("SET", name, number)
        return bool(await client.read("GET", name) == b"%d" % number)

    assert all(await asyncio.gather(*(one(number) for number in range(1000))))
    assert connections(server, config) <= node.SHARED_WIRES


async def test_a_large_command_has_a_connection_apart(
    server: redis_server.RedisServer, config: SessionStorage, client: Client
) -> None:
    large = b"x" * (node.LARGE_BYTES + 1)
    await client.read("GET", key(config, "k"))
    await asyncio.gather(*(client.write("SET", key(config, number), large) for number in range(8)))
    assert connections(server, config) <= 1 + node.LARGE_WIRES
    assert await client.read("GET", key(config, 7)) == large


async def test_a_batch_is_answered_in_its_order_with_errors_in_their_place(
    config: SessionStorage, client: Client
) -> None:
    await client.write("SET", key(config, "text"), "t")
    await client.write("HSET", key(config, "hash"), "f", "v")
    answers = await client.read_many(
        [("GET", key(config, "text")), ("GET", key(config, "hash")), ("HGETALL", key(config, "hash"))]
    )
    assert (answers[0], answers[2]) == (b"t", {b"f": b"v"})
    assert isinstance(answers[1], Unreadable)
    assert await client.read_many([]) == []


async def test_callers_that_wait_together_teach_a_script_each_for_itself(
    server: redis_server.RedisServer, config: SessionStorage, client: Client
) -> None:
    with server.admin() as admin:
        admin.script_flush()
    calls = [
        client.run(script_of("return {ARGV[1]}"), [key(config, "k")], [number], writes=False) for number in range(40)
    ]
    assert await asyncio.gather(*calls) == [[b"%d" % number] for number in range(40)]


async def test_a_password_that_changes_under_load_is_read_again(
    server: redis_server.RedisServer, config: SessionStorage, client: Client
) -> None:
    done = asyncio.Event()

    async def work(name: str) -> int:
        count = 0
        while not done.is_set():
            await client.write("SET", key(config, name), count, again=True)
            assert await client.read("GET", key(config, name)) == b"%d" % count
            count += 1
        return count

    def rotate(password: str) -> None:
        server.add_user(config.keyspace, password)
        with server.admin() as admin:
            admin.client_kill_filter(_type="normal", skipme=True)

    workers = [asyncio.create_task(work(f"w{number}")) for number in range(20)]
    for password in ("second", "third", "fourth"):
        await asyncio.to_thread(rotate, password)
        await asyncio.sleep(0.05)
    done.set()
    assert min(await asyncio.gather(*workers)) > 0


async def test_an_epoch_ends_with_the_connections_of_a_server(
    server: redis_server.RedisServer, config: SessionStorage, client: Client
) -> None:
    await asyncio.gather(*(client.read("GET", key(config, "k")) for _ in range(200)))
    first = client.epoch
    with server.admin() as admin:
        admin.client_kill_filter(_type="normal", skipme=True)
    await client.read("GET", key(config, "k"))
    assert first == 1
    assert client.epoch == 2


async def test_the_clock_is_the_server_s(
    server: redis_server.RedisServer, config: SessionStorage, client: Client
) -> None:
    await client.read("GET", key(config, "k"))
    with server.admin() as admin:
        seconds, microseconds = admin.time()
    assert abs(client.now_ms() - (seconds * 1000 + microseconds // 1000)) < 60_000
    before = facts(server, "commandstats")["cmdstat_time"]["calls"]
    for _ in range(100):
        client.now_ms()
        await client.read("GET", key(config, "k"))
    assert facts(server, "commandstats")["cmdstat_time"]["calls"] == before


async def test_a_long_wait_holds_nobody_up(
    server: redis_server.RedisServer, config: SessionStorage, client: Client
) -> None:
    streams = {key(config, f"s{number}"): "0" for number in range(64)}
    waiting = asyncio.create_task(client.wait_for_any(streams, 60))
    while not facts(server, "clients")["blocked_clients"]:
        await asyncio.sleep(0.01)
    assert await client.read("GET", key(config, "k")) is None
    await client.write("XADD", key(config, "s7"), "1-1", "f", "v")
    assert await waiting == [(key(config, "s7"), [[b"1-1", [b"f", b"v"]]])]
    assert await client.wait_for_any({key(config, "s8"): "0"}, 0.05) == []


async def test_a_wait_that_is_cancelled_leaves_no_answer_to_the_next(config: SessionStorage, client: Client) -> None:
    for number in range(5):
        waiting = asyncio.create_task(client.wait_for_any({key(config, "old"): "0"}, 60))
        await asyncio.sleep(0.02)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        await client.write("XADD", key(config, "old"), "*", "n", number)
        await client.write("XADD", key(config, "new"), f"{number + 1}-1", "n", number)
        ((name, entries),) = await client.wait_for_any({key(config, "new"): f"{number}-1"}, 60)
        assert (name, entries) == (key(config, "new"), [[b"%d-1" % (number + 1), [b"n", b"%d" % number]]])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_client_goes_along_to_the_next_loop_and_is_closed_in_another(config: SessionStorage) -> None:
    client = Client(config)
    asyncio.run(client.write("SET", key(config, "k"), "v"))
    assert asyncio.run(client.read("GET", key(config, "k"))) == b"v"
    asyncio.run(client.close())
    # A transport of a loop that is closed cannot be closed any more: Python does, and warns, when it collects it.
    del client
    gc.collect()


async def test_a_client_that_is_in_use_elsewhere_says_so(config: SessionStorage, client: Client) -> None:
    await client.read("GET", key(config, "k"))
    with pytest.raises(RuntimeError, match="one event loop"):
        await asyncio.to_thread(asyncio.run, client.read("GET", key(config, "k")))


def test_a_store_goes_along_to_the_next_loop_though_calls_waited_for_each_other(config: SessionStorage) -> None:
    async def opened() -> Store:
        return await open_store(config)

    async def used(store: Store) -> None:
        await asyncio.gather(*(store.set(str(number), {}) for number in range(5)))

    with asyncio.Runner() as first, asyncio.Runner() as second:
        store = first.run(opened())
        first.run(used(store))
        for _ in range(2):
            second.run(used(store))
        second.run(store.close())
        # What belongs to a loop ends in it.
        first.run(asyncio.sleep(0))


CALLS = [
    pytest.param(lambda client, name: client.wait_for_any({name: "0"}, 3600), id="a wait"),
    pytest.param(lambda client, name: client.read("GET", name), id="a read"),
    pytest.param(lambda client, name: client.write("RPUSH", name, "x"), id="a write"),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("connected", [True, False], ids=["connected", "connecting"])
async def test_closing_ends_what_is_under_way(
    server: redis_server.RedisServer, config: SessionStorage, call, connected: bool
) -> None:
    async with cutting.way_to(server.port) as way:
        client = Client(dataclasses.replace(config, redis_port=way.port))
        if connected:
            await client.read("GET", key(config, "k"))
            way.hold()
        else:
            way.pause_s = 3600
        under_way = asyncio.create_task(call(client, key(config, "k")))
        await asyncio.sleep(0.1)
        await client.close()
        with pytest.raises(Unavailable, match="closed"):
            await asyncio.wait_for(under_way, 60)
        while connections(server, config):
            await asyncio.sleep(0.01)


async def test_who_closed_a_client_is_told_and_makes_no_connection(
    server: redis_server.RedisServer, config: SessionStorage
) -> None:
    client = Client(config)
    await client.read("GET", key(config, "k"))
    await client.close()
    for call in (client.read("GET", key(config, "k")), client.wait_for_any({key(config, "s"): "0"}, 60)):
        with pytest.raises(Unavailable, match="closed"):
            await call
    while connections(server, config):
        await asyncio.sleep(0.01)


async def test_a_doubt_stays_whatever_the_next_attempt_meets(
    server: redis_server.RedisServer, config: SessionStorage
) -> None:
    async with cutting.way_to(server.port) as way:
        client = Client(dataclasses.replace(config, redis_port=way.port))
        await client.read("GET", key(config, "text"))
        way.hold()
        again = asyncio.create_task(client.write("SET", key(config, "text"), "again", again=True))
        while not way.held:
            await asyncio.sleep(0.001)
        with server.admin() as admin:
            admin.execute_command("ACL", "SETUSER", config.redis_username, "-set")
        way.cut()
        with pytest.raises(Unavailable, match="whether the write happened is not known") as caught:
            await again
        assert caught.value.reason == "permission"
        assert await client.read("GET", key(config, "text")) == b"again"
        await client.close()


async def test_a_write_whose_answer_is_lost_is_not_repeated_unless_that_does_no_harm(
    server: redis_server.RedisServer, config: SessionStorage
) -> None:
    async with cutting.way_to(server.port) as way:
        client = Client(dataclasses.replace(config, redis_port=way.port))
        await client.write("RPUSH", key(config, "list"), "first")
        way.hold()
        once = asyncio.create_task(client.write("RPUSH", key(config, "list"), "once"))
        again = asyncio.create_task(client.write("SET", key(config, "text"), "again", again=True))
        reading = asyncio.create_task(client.read("GET", key(config, "text")))
        while not way.held:
            await asyncio.sleep(0.001)
        way.cut()
        with pytest.raises(Unavailable, match="whether the write happened is not known"):
            await once
        assert (await again, await reading) == (b"OK", b"again")
        assert await client.read("LRANGE", key(config, "list"), 0, -1) == [b"first", b"once"]
        await client.close()


async def test_what_was_not_sent_goes_again_with_the_next_connection(
    server: redis_server.RedisServer, config: SessionStorage
) -> None:
    async with cutting.way_to(server.port) as way:
        client = Client(dataclasses.replace(config, redis_port=way.port))
        await client.read("GET", key(config, "list"))
        way.cut()
        await asyncio.sleep(0.01)
        numbers = [client.write("RPUSH", key(config, "list"), number) for number in range(20)]
        await asyncio.gather(*numbers)
        assert len(await client.read("LRANGE", key(config, "list"), 0, -1)) == 20
        await client.close()


async def test_a_connection_on_which_something_comes_is_kept_when_a_deadline_passes(
    server: redis_server.RedisServer, config: SessionStorage
) -> None:
    async with cutting.way_to(server.port) as way:
        client = Client(dataclasses.replace(config, redis_port=way.port, operation_timeout=0.3, connect_timeout=20))
        await asyncio.gather(
            client.write("SET", key(config, "long"), b"x" * 60_000, again=True),
            client.write("SET", key(config, "short"), "s", again=True),
        )
        way.pause_s = 0.05
        with pytest.raises(Unavailable, match="no answer within") as caught:
            await client.read("GET", key(config, "long"))
        way.pause_s = 0
        assert caught.value.reason == "timeout"
        async with asyncio.timeout(60):
            while client.epoch == 1:
                with contextlib.suppress(Unavailable):
                    assert await client.read("GET", key(config, "short")) == b"s"
                    break
        assert client.epoch == 1
        await client.close()


async def test_a_connection_on_which_nothing_comes_is_left_when_a_deadline_passes(
    server: redis_server.RedisServer, config: SessionStorage
) -> None:
    async with cutting.way_to(server.port) as way:
        client = Client(dataclasses.replace(config, redis_port=way.port, operation_timeout=0.3, connect_timeout=20))
        await client.write("SET", key(config, "k"), "v", again=True)
        way.hold()
        with pytest.raises(Unavailable, match="no answer within"):
            await client.read("GET", key(config, "k"))
        # Only connections of before are silent; a client that stayed on one would never hear anything again.
        async with asyncio.timeout(60):
            while client.epoch == 1:
                with contextlib.suppress(Unavailable):
                    assert await client.read("GET", key(config, "k")) == b"v"
        await client.close()


# -- every answer belongs to its question ---------------------------------------------------------

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["get", "batch", "script", "script", "large", "end connections", "hold", "cut"]),
        st.integers(0, 6),  # turns of the loop before it begins
        st.none() | st.integers(0, 8),  # turns after which its caller is cancelled
    ),
    min_size=1,
    max_size=60,
)
VALUES = 40
LARGE = b"l" * (node.LARGE_BYTES + 1)


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class _Callers:
    """Asks questions whose answers say which question they belong to, and remembers what was acknowledged."""

    def __init__(
        self, server: redis_server.RedisServer, way: cutting.Way, config: SessionStorage, client: Client
    ) -> None:
        self.server = server
        self.way = way
        self.config = config
        self.client = client
        self.acknowledged: list[bytes] = []
        self.asked: list[bytes] = []

    async def get(self, number: int) -> None:
        assert await self.client.read("GET", self._key(number)) == b"%d" % (number % VALUES)

    async def batch(self, number: int) -> None:
        wanted = [(number + step) % VALUES for step in range(5)]
        found = await self.client.read_many([("GET", self._key(one)) for one in wanted])
        assert found == [b"%d" % one for one in wanted]

    async def script(self, number: int) -> None:
        said = b"said-%d" % number
        self.asked.append(said)
        with contextlib.suppress(Unavailable):
            assert await self.client.run(ECHO, [key(self.config, "said")], [said], writes=True) == [said]
            self.acknowledged.append(said)

    async def large(self, number: int) -> None:
        await self.client.write("SET", key(self.config, "large"), LARGE, again=True)

    async def end_connections(self, number: int) -> None:
        with self.server.admin() as admin:
            admin.client_kill_filter(_type="normal", skipme=True)

    async def hold(self, number: int) -> None:
        self.way.hold()

    async def cut(self, number: int) -> None:
        # Not while some that came before are on their way to the server: what it did with them is the question.
        await asyncio.sleep(0.005)
        self.way.cut()

    def _key(self, number: int) -> str:
        return key(self.config, f"v{number % VALUES}")


async def _live_through(
    server: redis_server.RedisServer, config: SessionStorage, actions: list[tuple[str, int, int | None]]
) -> None:
    async with cutting.way_to(server.port) as way:
        client = Client(dataclasses.replace(config, redis_port=way.port))
        callers = _Callers(server, way, config, client)
        await asyncio.gather(*(client.write("SET", key(config, f"v{n}"), n) for n in range(VALUES)))
        acting = asyncio.gather(*(_act(callers, number, *action) for number, action in enumerate(actions)))
        while not acting.done():
            await asyncio.wait([acting], timeout=0.03)
            # Whatever is still kept back comes to an end, so that nobody waits for a deadline.
            way.cut()
        await acting
        await asyncio.gather(*(callers.get(number) for number in range(VALUES)))
        said = await client.read("LRANGE", key(config, "said"), 0, -1)
        await client.close()
    # What was acknowledged is there; what was asked once is there once at most, whatever became of its connection.
    assert set(callers.acknowledged) <= set(said) <= set(callers.asked)
    assert len(said) == len(set(said))


async def _act(callers: _Callers, number: int, what: str, before: int, cancelled_after: int | None) -> None:
    await _turns(before)
    method: Callable[[int], Awaitable[None]] = getattr(callers, what.replace(" ", "_"))
    task = asyncio.ensure_future(method(number))
    if cancelled_after is not None:
        await _turns(cancelled_after)
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
def test_every_answer_belongs_to_its_question_whoever_gives_up_and_whatever_breaks(
    server: redis_server.RedisServer, actions: list[tuple[str, int, int | None]]
) -> None:
    asyncio.run(_live_through(server, server.add_user(next(_keyspaces)), actions))
