"""The server is killed, restarted, away, or refuses us: what was acknowledged is there, once, and the rest is said."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from sessionstore.sessions import (
    Change,
    ConfigurationError,
    SessionStorage,
    Store,
    Unavailable,
    iterate,
    open_store,
)
from tests.mongo_server import MongoServer
from tests.redis_server import free_port

WRITERS = 8
RESTARTS = 4


@pytest.fixture(autouse=True)
def _forgotten_sockets() -> Iterator[None]:
    """Collect the sockets that pymongo 4.20 does not close when it is stopped in the middle of connecting."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
async def served(own_server: MongoServer) -> AsyncIterator[Store]:
    async with open_store(own_server.add_user("faults")) as opened:
        yield opened


@dataclasses.dataclass
class Load:
    """Writers that go on until they are told to stop, and what was acknowledged to them."""

    store: Store
    stop: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    appended: list[bytes] = dataclasses.field(default_factory=list)
    revisions: dict[str, int] = dataclasses.field(default_factory=dict)
    unsure: list[str] = dataclasses.field(default_factory=list)

    async def append(self, name: str) -> None:
        """Add numbered lines to one transcript, which all writers share."""
        number = 0
        while not self.stop.is_set():
            line = f"{name}:{number}".encode()
            try:
                await self.store.append("shared", [line])
                self.appended.append(line)
            except Unavailable:
                self.unsure.append(line.decode())
            number += 1

    async def update(self, name: str) -> None:
        """Raise a number of its own, by compare-and-set."""
        revision = 0
        while not self.stop.is_set():
            made = await self.store.set(name, {"n": revision + 1}, expected=revision)
            revision = self.revisions[name] = made.revision

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.store.set("shared", {"sessionId": "s"})
        writers = [asyncio.create_task(self.append(f"a{number}")) for number in range(WRITERS // 2)]
        writers += [asyncio.create_task(self.update(f"u{number}")) for number in range(WRITERS // 2)]
        try:
            yield
        finally:
            self.stop.set()
            await asyncio.gather(*writers)

    async def some(self) -> None:
        """Wait until more was acknowledged."""
        appended, updated = len(self.appended), sum(self.revisions.values())
        async with asyncio.timeout(60):
            while len(self.appended) < appended + 20 or sum(self.revisions.values()) < updated + 20:
                await asyncio.sleep(0.01)

    async def check(self) -> None:
        """Hold what is there against what was acknowledged."""
        found = await self.store.read("shared")
        assert found is not None
        lines = list(found.lines)
        assert len(lines) == len(set(lines)), "a line was stored twice"
        assert set(self.appended) <= set(lines)
        assert {line.decode() for line in set(lines) - set(self.appended)} <= set(self.unsure)
        for number in range(WRITERS // 2):
            own = [line for line in lines if line.startswith(f"a{number}:".encode())]
            assert own == sorted(own, key=lambda line: int(line.split(b":")[1]))
        for name, revision in self.revisions.items():
            session = await self.store.get(name)
            assert session is not None
            assert (session.revision, session.entry["n"]) == (revision, revision)


async def restart_ferretdb(server: MongoServer) -> None:
    server.ferretdb.kill()
    await asyncio.sleep(0.1)
    server.ferretdb.start()


async def restart_postgres(server: MongoServer) -> None:
    server.postgres.kill()
    await asyncio.sleep(0.1)
    server.postgres.start()


@pytest.mark.parametrize("restart", [restart_ferretdb, restart_postgres])
async def test_what_was_acknowledged_under_load_is_there_once(
    own_server: MongoServer, served: Store, restart: Callable[[MongoServer], Awaitable[None]]
) -> None:
    load = Load(served)
    start = await served.position()
    async with load.running():
        for _ in range(RESTARTS):
            await load.some()
            await restart(own_server)
        await load.some()
    await load.check()
    assert await told(served, start) == {
        str(row.key.key): list(range(1, row.revision + 1)) async for row in iterate(served)
    }


async def told(store: Store, cursor: str) -> dict[str, list[int]]:
    """Return the revisions that the feed tells of each session, in its order; what writers left is told first."""
    await store.close()
    seen: dict[str, list[int]] = {}
    items: tuple[Change, ...] = ()
    while items := (part := await store.changes(cursor)).items:
        for change in items:
            seen.setdefault(change.key.key, []).append(change.revision)
        cursor = part.cursor
    return seen


async def test_one_who_waits_for_a_restart_notices_nothing(own_server: MongoServer, served: Store) -> None:
    await served.set("k", {"sessionId": "s"})
    for restart in (restart_ferretdb, restart_postgres):
        begun = asyncio.create_task(restart(own_server))
        await asyncio.sleep(0.05)
        before = await served.get("k")
        assert before is not None
        assert (await served.set("k", {"sessionId": "s"}, expected=before.revision)).revision == before.revision + 1
        assert (await served.append("k", [b"x"])).lines == before.transcript.lines + 1
        await begun


@pytest.mark.parametrize("away", ["ferretdb", "postgres"])
async def test_a_server_that_stays_away_is_said_in_time(own_server: MongoServer, away: str) -> None:
    config = dataclasses.replace(own_server.add_user("away"), connect_timeout=0.5, operation_timeout=1.0)
    async with open_store(config) as store:
        await store.set("k", {"sessionId": "s"})
        getattr(own_server, away).kill()
        calls = [store.get("k"), store.set("k", {}), store.append("k", [b"x"]), store.list(), store.position()]
        async with asyncio.timeout(60):
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(outcome, Unavailable)
                assert outcome.reason in ("connection", "timeout")
        health = await store.health()
        assert not health.ok
        assert str(own_server.port) in health.message


async def test_a_server_that_was_never_there_is_said_and_not_hung_on(tmp_path: Path) -> None:
    config = SessionStorage(backend="mongodb", mongodb_host=f"127.0.0.1:{free_port()}", operation_timeout=0.5)
    async with open_store(config) as store:
        with pytest.raises(Unavailable, match="no server answered"):
            await store.get("k")


async def test_health_names_the_server(own_server: MongoServer, served: Store) -> None:
    health = await served.health()
    assert health.ok
    assert dict(health.facts) == {"server": "FerretDB v2.7.0", "role": "single server"}


async def test_a_rotated_password_needs_no_restart(own_server: MongoServer) -> None:
    config = own_server.add_user("rotated", "first")
    async with open_store(config) as store:
        await store.set("k", {"n": 1})
        own_server.add_user("rotated", "second")
        await restart_ferretdb(own_server)
        assert (await store.get("k")).entry["n"] == 1
        results = await asyncio.gather(*(store.get("k") for _ in range(100)))
        assert {session.revision for session in results} == {1}


async def test_a_wrong_password_is_said_without_it(own_server: MongoServer) -> None:
    config = own_server.add_user("wrong", "geheim")
    Path(config.mongodb_password_file).write_text("falsch\n")
    async with open_store(config) as store:
        with pytest.raises(Unavailable) as caught:
            await store.get("k")
        assert caught.value.reason == "auth"
        assert not {"geheim", "falsch"} & set(str(caught.value).split())
        assert (await store.health()).reason == "auth"
        Path(config.mongodb_password_file).write_text("geheim\n")
        assert await store.get("k") is None


async def test_a_password_file_that_is_not_there_is_named(own_server: MongoServer, tmp_path: Path) -> None:
    config = dataclasses.replace(own_server.add_user("none"), mongodb_password_file=str(tmp_path / "absent"))
    async with open_store(config) as store:
        with pytest.raises(Unavailable, match="absent") as caught:
            await store.get("k")
        assert caught.value.reason == "auth"


def test_a_certificate_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    ca_file = str(tmp_path / "ca.pem")
    config = SessionStorage(backend="mongodb", mongodb_host="h", mongodb_tls=True, mongodb_ca_file=ca_file)
    with pytest.raises(ConfigurationError, match=r"ca\.pem"):
        asyncio.run(_opened(config))


async def _opened(config: SessionStorage) -> Store:
    return await open_store(config)
