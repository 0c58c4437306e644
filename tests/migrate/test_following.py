"""Store to store while the source is written to: after the writers are stopped both hold the same, and nothing more."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sessionstore.migrate import following
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.follower import Follower
from sessionstore.migrate.following import Both, Terms
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.pipeline import Options
from sessionstore.migrate.plan import Policy
from sessionstore.migrate.report import Report
from sessionstore.migrate.stores import StoreSource
from sessionstore.openclaw.problems import SourceError
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions import (
    Conflict,
    Lifetime,
    NoTranscript,
    Session,
    SessionStorage,
    Store,
    iterate,
    layout,
    open_store,
)
from sessionstore.sessions.wrapped import WrappedStore
from tests import mongo_server, redis_server
from tests.migrate.conftest import command, run

KEYS = 24
MORE = Lifetime(ttl_ms=10**9, idle_ms=0)
Around = Callable[[Store], Store]


@pytest.fixture(scope="module")
def other_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_server.RedisServer]:
    with redis_server.running(tmp_path_factory.mktemp("other")) as running:
        yield running


@pytest.fixture(scope="module")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mongo_server.MongoServer]:
    with mongo_server.running(tmp_path_factory.mktemp("mongodb")) as running:
        yield running


@pytest.fixture
def source_url(url: str) -> str:
    return url


@pytest.fixture
def target_url(other_server: redis_server.RedisServer, url: str) -> str:
    return other_server.url(other_server.add_user(SessionStorage.from_url(url).keyspace))


@pytest.fixture(params=["redis to redis", "redis to mongodb", "directory to redis", "encrypted to plain"])
def pair(request: pytest.FixtureRequest, source_url: str, tmp_path: Path) -> tuple[str, str]:
    if request.param == "redis to mongodb":
        mongodb = request.getfixturevalue("mongodb")
        return source_url, mongodb.url(mongodb.add_user(SessionStorage.from_url(source_url).keyspace))
    target_url = request.getfixturevalue("target_url")
    if request.param == "directory to redis":
        return f"directory://{tmp_path / 'sessions'}", target_url
    if request.param == "encrypted to plain":
        key = tmp_path / "key"
        key.write_bytes(bytes(32))
        key.chmod(0o600)
        return f"{source_url}&encryption_key_files={key}", target_url
    return source_url, target_url


async def state(url: str) -> dict[str, object]:
    """Return all that a store holds of sessions and archives."""
    async with open_store(url) as store:
        found: dict[str, object] = {}
        async for row in iterate(store, status=None):
            session, transcript = await store.get(row.key), await store.read(row.key)
            found[str(row.key)] = (
                session.entry.raw, session.status, session.marks, session.lifetime,
                transcript and (transcript.head.id, transcript.lines),
            )  # fmt: skip
        async for info in store.list_archives():
            found[f"archive {info}"] = await store.read_archive(info.agent, info.name)
        return found


class Writer:
    """Does to a store all that can be done to it, at random."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._number = 0
        self.done: set[str] = set()

    async def write(self, store: Store, count: int, *, pause_s: float = 0.0) -> None:
        acts = [
            self._set, self._reset, self._append, self._append, self._append, self._rewrite, self._delete,
            self._create, self._create, self._mark, self._archive, self._live,
        ]  # fmt: skip
        for _ in range(count):
            act = self._random.choice(acts)
            try:
                await act(store, f"k{self._random.randrange(KEYS)}")
                self.done.add(act.__name__)
            except (NoTranscript, Conflict):
                pass
            await asyncio.sleep(pause_s)

    def _line(self) -> bytes:
        self._number += 1
        return json.dumps({"n": self._number}).encode()

    def _entry(self, key: str) -> dict[str, Any]:
        self._number += 1
        return {
            "sessionId": f"id-{key}",
            "updatedAt": 1_700_000_000_000 + self._random.randrange(10_000),
            "n": self._number,
        }

    async def _set(self, store: Store, key: str) -> None:
        await store.set(key, self._entry(key))

    async def _reset(self, store: Store, key: str) -> None:
        await store.set(key, self._entry(key) | {"sessionId": f"id-{key}-{self._random.randrange(3)}"})

    async def _append(self, store: Store, key: str) -> None:
        await store.append(key, [self._line() for _ in range(self._random.randrange(4))])

    async def _rewrite(self, store: Store, key: str) -> None:
        await store.rewrite(key, [self._line()])

    async def _delete(self, store: Store, key: str) -> None:
        await store.delete(key)

    async def _create(self, store: Store, key: str) -> None:
        await store.create(key, self._entry(key), [self._line()])

    async def _mark(self, store: Store, key: str) -> None:
        await store.title(key, self._random.choice([None, "Title", "ü"]))
        await store.tag(key, add=[self._random.choice("ab")], remove=[self._random.choice("ab")])
        await store.pin(key, self._random.random() < 0.5)

    async def _archive(self, store: Store, key: str) -> None:
        if self._random.random() < 0.5:
            await store.archive(key, reason=self._random.choice(["old", "done"]))
        else:
            await store.restore(key)

    async def _live(self, store: Store, key: str) -> None:
        await store.touch(key, lifetime=self._random.choice([MORE, Lifetime()]))


async def fill(url: str, count: int = KEYS + 10) -> None:
    async with open_store(url) as store:
        for number in range(count):
            entry = {"sessionId": f"id-k{number}", "updatedAt": 1_700_000_000_000 + number}
            await store.create(f"k{number}", entry, [b'{"n":%d}' % line for line in range(number)])
        await store.put_archive("main", "s.jsonl.reset.1", [b"{}", b"{}"])


async def follow(
    pair: tuple[str, str], tmp_path: Path, terms: Terms, around: Around = WrappedStore, **changes: Any
) -> Report:
    """Follow in this process; `around` is put around the source."""
    looking = dataclasses.replace(SessionStorage.from_url(pair[0]), count_uses=False)
    options = dataclasses.replace(Options("default", Patience(60), origin=pair[0]), **changes)
    with Scratch(tmp_path) as scratch:
        async with open_store(looking) as source, open_store(pair[1]) as target:
            found = StoreSource(around(source), scratch, Patience(60), where=pair[0])
            return await following.migrate(Both(found, target, scratch, lambda seen: None), options, terms)


async def test_what_is_written_during_the_copy_and_after_it_is_there_in_the_end(
    pair: tuple[str, str], tmp_path: Path, count: Callable[[int, int], int]
) -> None:
    await fill(pair[0])
    terms, writer = Terms(stays=True), Writer(1)
    following_ = asyncio.create_task(follow(pair, tmp_path, terms))
    async with open_store(pair[0]) as source:
        await writer.write(source, count(250, 6000), pause_s=0.005)
    terms.stop.set()
    report = await following_
    assert len(writer.done) == 9
    assert (report.outcome, report.mismatches) == ("Verified", ())
    assert report.accounts.sessions.conflicts == 0
    assert report.proof.source_digest == report.proof.store_digest
    assert report.following["changes"] > 0
    assert await state(pair[1]) == await state(pair[0])
    async with open_store(pair[1]) as target:
        assert [name async for name in target.list_documents("migration/default/following/")] == []


async def test_a_follower_that_is_killed_anywhere_goes_on(
    source_url: str, target_url: str, count: Callable[[int, int], int]
) -> None:
    await fill(source_url, 250)  # so that some kills fall into the copy
    writer, chance = Writer(2), random.Random(3)
    async with open_store(source_url) as source:
        for _ in range(count(4, 30)):
            process = await asyncio.create_subprocess_exec(
                *command("migrate", source_url, "--to", target_url, "--follow"),
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            end = asyncio.get_running_loop().time() + 1.0 + 3 * chance.random()
            while asyncio.get_running_loop().time() < end:
                await writer.write(source, 5, pause_s=0.003)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            await writer.write(source, 5)
    answer = await asyncio.to_thread(run, "migrate", source_url, "--to", target_url, "--fence", "true")
    assert (answer.status, answer.document.get("outcome")) == (0, "Verified"), answer
    assert await state(target_url) == await state(source_url)


async def test_the_fence_is_run_once_the_two_are_level(source_url: str, target_url: str, tmp_path: Path) -> None:
    await fill(source_url)
    fenced = tmp_path / "fenced"
    process = await asyncio.create_subprocess_exec(
        *command("migrate", source_url, "--to", target_url, "--fence", f"touch {fenced}; echo stopped", "--json"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    writer = Writer(4)
    async with open_store(source_url) as source:
        while not fenced.exists() and process.returncode is None:
            await writer.write(source, 1, pause_s=0.002)
    stdout, stderr = await process.communicate()
    report = json.loads(stdout)
    assert (process.returncode, report["outcome"]) == (0, "Verified"), stderr
    assert b"stopped" in stderr
    assert b"s behind" in stderr
    assert report["following"]["pauseSeconds"] > 0
    assert await state(target_url) == await state(source_url)


async def test_who_follows_leaves_in_the_target_how_it_stands(
    source_url: str, target_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(source_url)
    monkeypatch.setattr(following, "TELL_S", 0.1)
    said: list[str] = []
    terms = Terms(stays=True, tell=said.append)
    task = asyncio.create_task(follow((source_url, target_url), tmp_path, terms))
    async with open_store(target_url) as target:
        seen: set[int] = set()
        while len(seen) < 2:
            found = json.loads(await target.get_document("migration/default/progress") or b"{}")
            seen |= {found["at"]} if found.get("phase") == "Follow" else set()
            await asyncio.sleep(0.05)
        terms.stop.set()
        assert (await task).outcome == "Verified"
        assert json.loads(await target.get_document("migration/default/progress"))["phase"] == "Done"
    assert any("s behind" in text for text in said)
    assert f"Copy: {KEYS + 10} of {KEYS + 10} sessions were brought in; following the source now" in said


async def test_who_waits_for_the_word_is_not_told_at_every_look(
    source_url: str, target_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(source_url)
    monkeypatch.setattr(following, "WAIT_S", 0.01)
    monkeypatch.setattr(following, "TELL_S", 3600.0)
    looks, said = 0, []
    terms = Terms(stays=True, tell=said.append)

    async def step(follower: Follower, wait_s: float) -> float | None:
        nonlocal looks
        looks += 1
        if looks == 5:
            terms.stop.set()
        return await read(follower, wait_s)

    read = Follower.step
    monkeypatch.setattr(Follower, "step", step)
    assert (await follow((source_url, target_url), tmp_path, terms)).outcome == "Verified"
    assert sum("behind" in text for text in said) == 1


async def test_a_fence_that_fails_ends_it_and_a_further_run_goes_on(
    source_url: str, target_url: str, tmp_path: Path
) -> None:
    await fill(source_url)
    with pytest.raises(MigrationError, match="ended with 3") as caught:
        await follow((source_url, target_url), tmp_path, Terms(fence="exit 3"))
    assert caught.value.reason == "FenceFailed"
    assert (await follow((source_url, target_url), tmp_path, Terms(fence="true"))).outcome == "Verified"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_says_that_the_writers_are_stopped(
    source_url: str, target_url: str, number: signal.Signals
) -> None:
    await fill(source_url)
    process = await asyncio.create_subprocess_exec(
        *command("migrate", source_url, "--to", target_url, "--follow", "--json"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    while b"Follow:" not in await process.stderr.readline():
        pass
    async with open_store(source_url) as source:
        await source.append("k1", [b'{"last":true}'])
    process.send_signal(number)
    stdout, _ = await process.communicate()
    assert (process.returncode, json.loads(stdout)["outcome"]) == (0, "Verified")
    assert await state(target_url) == await state(source_url)


async def test_a_quiet_source_is_proven_without_a_word_about_its_writers(
    source_url: str, target_url: str, tmp_path: Path
) -> None:
    await fill(source_url)
    report = await follow((source_url, target_url), tmp_path, Terms())
    assert (report.outcome, report.moving) == ("Verified", None)
    assert await state(target_url) == await state(source_url)


async def test_a_source_that_is_in_use_is_copied_and_a_later_run_finishes(
    source_url: str, target_url: str, tmp_path: Path
) -> None:
    await fill(source_url)
    said: list[str] = []

    def tell(text: str) -> None:
        said.append(text)

    async with open_store(source_url) as source:
        busy = asyncio.create_task(Writer(5).write(source, 10**6, pause_s=0.002))
        report = await follow((source_url, target_url), tmp_path, Terms(tell=tell))
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
    assert report.outcome == "PreCopied"
    assert "stop what writes to the source and run this again" in said[-1]
    assert (await follow((source_url, target_url), tmp_path, Terms(fence="true"))).outcome == "Verified"
    assert await state(target_url) == await state(source_url)


@pytest.mark.parametrize("policy", [Policy.NEWEST, Policy.KEEP_STORE, Policy.KEEP_SOURCE])
async def test_what_somebody_else_changed_in_the_target_is_a_conflict_and_both_sides_are_kept(
    source_url: str, target_url: str, tmp_path: Path, policy: Policy
) -> None:
    pair = (source_url, target_url)
    await fill(source_url)
    with pytest.raises(MigrationError):
        await follow(pair, tmp_path, Terms(fence="false"))
    async with open_store(target_url) as target, open_store(source_url) as source:
        for key in ("k3", "k4"):
            await target.append(key, [b'{"somebody":"else"}'])
        await target.delete("k5")
        await source.append("k3", [b'{"of":"the source"}'])
        await source.set("k3", {"sessionId": "id-k3", "updatedAt": 2_000_000_000_000})
        await source.delete("k4")
        await source.append("k5", [b'{"of":"the source"}'])
        report = await follow(pair, tmp_path, Terms(fence="true"), policy=policy)
        assert report.outcome == "Verified"
        assert report.following["conflicts"] == 2
        kept = [await target.get_document(name) async for name in target.list_documents("migration/default/conflicts/")]
        lines = (await target.read("k3")).lines
        if policy is Policy.KEEP_STORE:
            assert lines[-1] == b'{"somebody":"else"}'
            assert any(b'{"of":"the source"}' in document for document in kept)
        else:
            assert lines[-1] == b'{"of":"the source"}'
            assert any(b'{"somebody":"else"}' in document for document in kept)
        assert (await target.get("k4") is None) == (policy is Policy.KEEP_SOURCE)
        assert len(kept) == 2
        assert (await target.read("k5")).lines[-1] == b'{"of":"the source"}'


async def test_a_policy_of_fail_ends_with_the_first_conflict(source_url: str, target_url: str, tmp_path: Path) -> None:
    pair = (source_url, target_url)
    await fill(source_url)
    with pytest.raises(MigrationError):
        await follow(pair, tmp_path, Terms(fence="false"))
    async with open_store(target_url) as target, open_store(source_url) as source:
        await target.append("k4", [b"{}"])
        await source.delete("k4")
        with pytest.raises(MigrationError, match="k4") as caught:
            await follow(pair, tmp_path, Terms(fence="true"), policy=Policy.FAIL)
        assert caught.value.reason == "ConflictsFound"
        assert (await target.read("k4")).lines[-1] == b"{}"


async def test_a_feed_that_is_lost_costs_another_copy_and_no_deletion_comes_back(
    source_url: str, target_url: str, tmp_path: Path, server: redis_server.RedisServer
) -> None:
    pair = (source_url, target_url)
    await fill(source_url)
    with pytest.raises(MigrationError):
        await follow(pair, tmp_path, Terms(fence="false"))
    async with open_store(source_url) as source:
        await source.delete("k3")
        await source.append("k4", [b"{}"])
        await source.rewrite("k5", [b"{}"])
        await source.create("new", {"sessionId": "new"}, [b"{}"])
    await lose_feed(source_url, server)
    said: list[str] = []
    report = await follow(pair, tmp_path, Terms(fence="true", tell=said.append))
    assert any("copying again" in text for text in said)
    assert (report.outcome, report.following["deleted"]) == ("Verified", 1)
    assert await state(target_url) == await state(source_url)


async def lose_feed(url: str, server: redis_server.RedisServer) -> None:
    """Let a store look like one that came back from a backup."""
    with server.admin() as admin:
        admin.hset(layout.KeyNames(SessionStorage.from_url(url).keyspace).meta, "id", "another")


async def test_what_the_follower_itself_left_is_no_conflict_after_the_feed_is_lost(
    source_url: str, target_url: str, tmp_path: Path, server: redis_server.RedisServer
) -> None:
    pair = (source_url, target_url)
    await fill(source_url)
    async with open_store(source_url) as source, open_store(target_url) as target:
        await target.create("of somebody", {"sessionId": "x", "updatedAt": 1})
        with pytest.raises(MigrationError):
            await follow(pair, tmp_path, Terms(fence="false"), policy=Policy.KEEP_STORE)
        await source.rewrite("k5", [b'{"short":1}'])
        with pytest.raises(MigrationError):
            await follow(pair, tmp_path, Terms(fence="false"), policy=Policy.KEEP_STORE)
        assert (await target.read("k5")).lines == (b'{"short":1}',)
        await source.rewrite("k5", [b'{"shorter":1}'])
        await lose_feed(source_url, server)
        report = await follow(pair, tmp_path, Terms(fence="true"), policy=Policy.KEEP_STORE)
        assert (report.outcome, report.following["conflicts"]) == ("Verified", 0)
        assert report.accounts.sessions.conflicts == 0
        assert (await target.read("k5")).lines == (b'{"shorter":1}',)


async def test_a_source_that_lost_everything_takes_nothing_from_the_target(
    source_url: str, target_url: str, tmp_path: Path, server: redis_server.RedisServer
) -> None:
    pair = (source_url, target_url)
    await fill(source_url)
    with pytest.raises(MigrationError):
        await follow(pair, tmp_path, Terms(fence="false"))
    before = await state(target_url)
    with server.admin() as admin:
        admin.delete(*admin.scan_iter(f"sst:{SessionStorage.from_url(source_url).keyspace}:*", count=1000))
    with pytest.raises(SourceError, match="holds no session") as caught:
        await follow(pair, tmp_path, Terms(fence="true"))
    assert caught.value.reason == "NothingFound"
    assert await state(target_url) == before


async def test_what_the_source_lost_without_a_tombstone_stays_in_the_target(
    source_url: str, target_url: str, tmp_path: Path, server: redis_server.RedisServer
) -> None:
    pair = (source_url, target_url)
    await fill(source_url)
    with pytest.raises(MigrationError):
        await follow(pair, tmp_path, Terms(fence="false"))
    async with open_store(source_url) as source:
        await source.delete("k3")
    with server.admin() as admin:
        names = layout.KeyNames(SessionStorage.from_url(source_url).keyspace)
        admin.delete(names.entry("main", "k7"), names.transcript("main", "k7", "id-k7"))
    report = await follow(pair, tmp_path, Terms(fence="true"))
    assert (report.following["deleted"], report.following["conflicts"]) == (1, 1)
    async with open_store(target_url) as target:
        assert len((await target.read("k7")).lines) == 7
        kept = [await target.get_document(name) async for name in target.list_documents("migration/default/conflicts/")]
        assert len(kept) == 1 and b'"key": "k7"' in kept[0]


class MadeAgain(WrappedStore):
    """So many times: makes `k3` again before its tombstone is asked for, and deletes it before the next look."""

    def __init__(self, inner: Store, times: int) -> None:
        super().__init__(inner)
        self._times = times

    async def get_many(self, keys: Sequence[Any]) -> list[Session | None]:
        if self._times and list(map(str, keys)) == ["main/k3"]:
            await self.inner.delete("k3")
        return await self.inner.get_many(keys)

    async def tombstone(self, key: Any) -> int | None:
        if self._times:
            self._times -= 1
            await self.inner.create("k3", {"sessionId": "again", "updatedAt": 1}, [b"{}"])
        return await self.inner.tombstone(key)


@pytest.mark.parametrize("times", [1, 3])
async def test_what_is_deleted_and_made_again_while_it_is_looked_at_is_not_taken_for_lost(
    source_url: str, target_url: str, tmp_path: Path, times: int
) -> None:
    pair = (source_url, target_url)
    await fill(source_url)
    with pytest.raises(MigrationError):
        await follow(pair, tmp_path, Terms(fence="false"))
    async with open_store(source_url) as source:
        await source.delete("k3")
    report = await follow(pair, tmp_path, Terms(fence="true"), lambda source: MadeAgain(source, times))
    assert (report.outcome, report.following["conflicts"]) == ("Verified", 0)
    assert (report.accounts.sessions.conflicts, report.kept) == (0, ())
    async with open_store(target_url) as target:
        assert (await target.get("k3")).entry.transcript_id == "again"
    assert await state(target_url) == await state(source_url)


async def test_what_expires_in_the_source_without_a_word_is_gone_from_the_target(
    source_url: str, target_url: str, tmp_path: Path, server: redis_server.RedisServer
) -> None:
    pair = (source_url, target_url)
    await fill(source_url)
    async with open_store(source_url) as source, open_store(target_url) as target:
        for key in ("brief", "of somebody"):
            await source.create(key, {"sessionId": "s"}, [b"{}"], lifetime=Lifetime(ttl_ms=10**8, idle_ms=0))
        with pytest.raises(MigrationError):
            await follow(pair, tmp_path, Terms(fence="false"))
        await target.touch("of somebody", lifetime=MORE)
        for key in ("brief", "of somebody"):
            await expire(source_url, key, server)
            assert not await source.exists(key)
        report = await follow(pair, tmp_path, Terms(fence="true"))
        assert (report.outcome, report.following["changes"]) == ("Verified", 0)
        assert (report.following["deleted"], await target.exists("brief")) == (1, False)
        # Somebody changed it there, so it stays, and that is told.
        assert (report.following["conflicts"], await target.exists("of somebody")) == (1, True)


async def expire(url: str, key: str, server: redis_server.RedisServer) -> None:
    """Let a session's time be over, as where it ended and nobody has written since."""
    async with open_store(url) as store:
        ends = str((await store.get(key)).expires_ms).encode()
    with server.admin() as admin:
        name = layout.KeyNames(SessionStorage.from_url(url).keyspace).entry("main", key)
        admin.hset(name, "h", admin.hget(name, "h").replace(ends, b"1"))


class Noting(WrappedStore):
    """Notes from where on lines are read."""

    def __init__(self, inner: Store, starts: list[int]) -> None:
        super().__init__(inner)
        self._starts = starts

    async def read(self, key: Any, start: int = 0, stop: int | None = None, *, reverse: bool = False) -> Any:
        self._starts.append(start)
        return await self.inner.read(key, start, stop, reverse=reverse)


async def test_a_long_transcript_that_grows_is_not_read_again_from_its_beginning(
    source_url: str, target_url: str, tmp_path: Path
) -> None:
    starts: list[int] = []
    copied = asyncio.Event()
    terms = Terms(stays=True, tell=lambda text: copied.set())
    async with open_store(source_url) as source, open_store(target_url) as target:
        await source.create("k", {"sessionId": "s"}, [b'{"n":%d}' % number for number in range(5000)])
        task = asyncio.create_task(
            follow((source_url, target_url), tmp_path, terms, lambda source: Noting(source, starts))
        )
        await copied.wait()
        assert 0 in starts
        starts.clear()
        for number in range(3):
            await source.append("k", [b'{"more":%d}' % number])
            while (await target.get("k")).transcript.lines < 5001 + number:
                await asyncio.sleep(0.02)
        assert starts == [5000, 5001, 5002]
        terms.stop.set()
        assert (await task).outcome == "Verified"
    assert await state(target_url) == await state(source_url)


def test_what_cannot_be_followed_is_refused(target_url: str, real: Path, url: str) -> None:
    for arguments in ([real, "--follow"], [url, target_url, "--fence", "true"]):
        answer = run("migrate", *arguments, "--to", target_url)
        assert (answer.status, "one store can be followed" in answer.stderr) == (2, True), answer
