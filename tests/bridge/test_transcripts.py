"""Lines carried both ways between files and a store: what each case does to either side."""

from __future__ import annotations

import copy
import dataclasses
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sessionstore.bridge import transcripts
from sessionstore.bridge.transcripts import Carried
from sessionstore.sessions import open_store
from sessionstore.sessions.exceptions import LeaseLost, Unavailable, Unreadable
from sessionstore.sessions.memory import MemoryStore
from sessionstore.sessions.store import Store
from tests import redis_server
from tests.bridge.sides import ENTRY, ID, KEY, Side, header, ids, is_linear, message, stored, talk


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_server.RedisServer]:
    with redis_server.running(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """A store that has the session, and no lines of it."""
    if request.param == "memory":
        made: Store = MemoryStore()
        await made.set(KEY, ENTRY)
        yield made
        return
    server: redis_server.RedisServer = request.getfixturevalue("server")
    async with open_store(server.add_user(f"transcripts-{secrets.token_hex(4)}")) as opened:
        await opened.set(KEY, ENTRY)
        yield opened


@pytest.fixture
def a(tmp_path: Path, store: Store) -> Iterator[Side]:
    with Side.opened(tmp_path, "a", store) as side:
        yield side


@pytest.fixture
def b(tmp_path: Path, store: Store) -> Iterator[Side]:
    with Side.opened(tmp_path, "b", store) as side:
        yield side


async def both_have(a: Side, b: Side, *names: str) -> list[bytes]:
    """Let both sides and the store have a talk, each with a header of its own."""
    said = talk(*names)
    a.write(header("/a"), *said)
    assert await a.push() is Carried.SAME
    assert await b.carry() is Carried.SAME
    b.write(header("/b"), *said)
    assert await b.carry() is Carried.SAME
    return said


async def test_nothing_is_done_where_both_sides_are_the_same(a: Side, b: Side, store: Store) -> None:
    await both_have(a, b, "1", "2")
    before = (await store.get(KEY), a.file.stat(), b.file.stat())

    assert [await a.push(), await b.carry(), await a.carry()] == [Carried.SAME] * 3

    after = (await store.get(KEY), a.file.stat(), b.file.stat())
    assert before[0] is not None
    assert after[0] is not None
    assert after[0].revision == before[0].revision
    assert [(found.st_ino, found.st_mtime_ns) for found in after[1:]] == [
        (found.st_ino, found.st_mtime_ns) for found in before[1:]
    ]


async def test_what_a_turn_adds_is_stored_while_it_runs(a: Side, store: Store) -> None:
    a.running.add(ID)
    a.say(header("/a"), *talk("1", "2"))
    assert await a.push() is Carried.SAME
    a.say(*talk("3", after="2"))
    assert await a.push() is Carried.SAME

    assert await stored(store) == a.lines
    assert ids(a.lines) == ["1", "2", "3"]


async def test_without_a_lease_nothing_is_stored(a: Side, store: Store) -> None:
    a.say(header("/a"), *talk("1"))

    assert await a.carry() is Carried.OWED
    assert await stored(store) == []


async def test_a_line_is_stored_when_it_is_complete(a: Side, store: Store) -> None:
    a.running.add(ID)
    a.say(header("/a"))
    with a.file.open("ab") as file:
        file.write(message("1")[:10])
    assert await a.push() is Carried.SAME
    assert await stored(store) == [header("/a")]

    with a.file.open("ab") as file:
        file.write(message("1")[10:] + b"\n")
    assert await a.push() is Carried.SAME
    assert await stored(store) == [header("/a"), message("1")]


async def test_a_first_copy_is_the_store_s_and_for_the_owner_alone(a: Side, b: Side) -> None:
    a.say(header("/a"), *talk("1", "2"))
    await a.push()

    assert await b.carry() is Carried.SAME
    assert b.lines == a.lines
    assert b.file.stat().st_mode & 0o777 == 0o600


async def test_what_came_elsewhere_is_added_to_the_same_file(a: Side, b: Side) -> None:
    await both_have(a, b, "1", "2")
    inode = b.file.stat().st_ino
    a.say(*talk("3", "4", after="2"))
    await a.push()

    assert await b.carry() is Carried.SAME
    assert b.lines == [header("/b"), *a.lines[1:]]
    assert b.file.stat().st_ino == inode


@pytest.mark.parametrize("case", ["behind", "first copy", "compacted there", "compacted here"])
async def test_no_file_is_touched_while_a_turn_runs(a: Side, b: Side, store: Store, case: str) -> None:
    await both_have(a, b, "1", "2", "3")
    a.write(header("/a"), *talk("summary", "3")) if case == "compacted there" else a.say(*talk("4", after="3"))
    await a.push()
    if case == "first copy":
        b.file.unlink()
    if case == "compacted here":
        b.write(header("/b"), *talk("summary", "3"))
    before, there = b.lines, await stored(store)
    b.running.add(ID)

    assert await b.push() is Carried.LATER
    assert b.lines == before
    assert await stored(store) == there

    b.running.clear()
    assert await b.push() is Carried.SAME
    assert b.lines[1:] == (await stored(store))[1:]


async def test_a_compaction_replaces_the_store_s_lines_and_then_every_file(a: Side, b: Side, store: Store) -> None:
    await both_have(a, b, "1", "2", "3", "4")
    a.write(header("/a"), *talk("summary", "4"))

    assert await a.push() is Carried.SAME
    assert await b.carry() is Carried.SAME
    assert ids(await stored(store)) == ids(b.lines) == ["summary", "4"]
    assert b.lines[0] == header("/b")


async def test_a_tail_that_openclaw_took_away_goes_everywhere(a: Side, b: Side, store: Store) -> None:
    await both_have(a, b, "1", "2", "3")
    a.write(header("/a"), *talk("1", "2"))

    assert await a.push() is Carried.SAME
    assert await b.carry() is Carried.SAME
    assert ids(await stored(store)) == ids(b.lines) == ["1", "2"]


async def test_a_header_that_was_rewritten_changes_nothing(a: Side, b: Side, store: Store) -> None:
    await both_have(a, b, "1", "2")
    head = (await store.read(KEY, 0, 0),)
    b.write(header("/somewhere/else"), *b.lines[1:])

    assert await b.push() is Carried.SAME
    assert (await store.read(KEY, 0, 0),) == head
    assert b.lines[0] == header("/somewhere/else")


@pytest.mark.parametrize("common", [("1", "2"), ()])
async def test_where_both_went_on_the_store_s_lines_come_first(
    a: Side, b: Side, store: Store, common: tuple[str, ...]
) -> None:
    await both_have(a, b, *common)
    last = common[-1] if common else None
    a.say(*talk("a1", "a2", after=last))
    b.say(*talk("b1", "b2", after=last))
    await a.push()

    assert await b.push() is Carried.SAME
    assert await a.carry() is Carried.SAME
    assert ids(b.lines) == [*common, "a1", "a2", "b1", "b2"]
    assert is_linear(b.lines)
    assert a.lines[1:] == b.lines[1:] == (await stored(store))[1:]


async def test_lines_that_are_there_already_are_not_put_behind(a: Side, b: Side) -> None:
    await both_have(a, b, "1")
    a.say(*talk("a1", "x", "a2", after="1"))
    # The same line hung elsewhere, as a bridge leaves it that was killed when it had put its lines behind others.
    b.say(*talk("b1", "x", "b2", after="1"))
    await a.push()

    assert await b.push() is Carried.SAME
    assert ids(b.lines) == ["1", "a1", "x", "a2", "b1", "b2"]


async def test_went_on_here_and_compacted_there(a: Side, b: Side, store: Store) -> None:
    await both_have(a, b, "1", "2", "3")
    a.write(header("/a"), *talk("summary", "3"))
    b.say(*talk("b1", "b2", after="3"))
    await a.push()

    assert await b.push() is Carried.SAME
    assert await a.carry() is Carried.SAME
    assert ids(b.lines) == ids(a.lines) == ids(await stored(store)) == ["summary", "3", "b1", "b2"]
    assert is_linear(b.lines)
    assert b.lines[0] == header("/b")


async def test_compacted_here_and_went_on_there(a: Side, b: Side, store: Store) -> None:
    await both_have(a, b, "1", "2", "3")
    a.say(*talk("a1", "a2", after="3"))
    await a.push()
    b.write(header("/b"), *talk("summary", "3"))

    assert await b.push() is Carried.SAME
    assert await a.carry() is Carried.SAME
    assert ids(b.lines) == ids(a.lines) == ids(await stored(store)) == ["summary", "3", "a1", "a2"]
    assert is_linear(b.lines)


async def test_what_was_compacted_elsewhere_meanwhile_does_not_come_back(a: Side, b: Side) -> None:
    await both_have(a, b, "1", "2", "3")
    a.write(header("/a"), *talk("summary", "3"))
    await a.push()
    b.restart()

    assert await b.carry() is Carried.SAME
    assert ids(b.lines) == ["summary", "3"]


async def test_who_lost_the_lease_stores_nothing_and_later_puts_its_lines_behind(
    a: Side, b: Side, store: Store
) -> None:
    await both_have(a, b, "1")
    old = await store.acquire_lease(KEY, "a", 60)
    a.say(*talk("a1", after="1"))
    await store.release_lease(old)
    b.say(*talk("b1", after="1"))
    await b.push()

    with pytest.raises(LeaseLost):
        await a.carry(old)
    assert ids(await stored(store)) == ["1", "b1"]

    assert await a.push() is Carried.SAME
    assert ids(await stored(store)) == ids(a.lines) == ["1", "b1", "a1"]


@pytest.mark.parametrize("left", [b"", header("/b") + b"\n", header("/b")[:20]])
async def test_a_file_of_which_nothing_is_left_gets_the_store_s_lines(
    a: Side, b: Side, store: Store, left: bytes
) -> None:
    await both_have(a, b, "1", "2")
    there = await stored(store)
    b.file.write_bytes(left)

    assert await b.push() is Carried.SAME
    assert await stored(store) == there
    assert ids(b.lines) == ["1", "2"]


async def test_half_a_line_that_we_had_written_is_completed(a: Side, b: Side, store: Store) -> None:
    await both_have(a, b, "1")
    a.say(*talk("2", "3", after="1"))
    await a.push()
    with b.file.open("ab") as file:
        file.write(message("2", "1")[:12])

    assert await b.carry() is Carried.SAME
    assert b.lines[1:] == (await stored(store))[1:]


async def test_half_a_line_of_a_gateway_that_died_is_ended_and_kept(a: Side, b: Side, store: Store) -> None:
    await both_have(a, b, "1")
    a.say(*talk("2", after="1"))
    await a.push()
    half = message("never", "1")[:40]
    with b.file.open("ab") as file:
        file.write(half)

    assert await b.push() is Carried.SAME
    assert b.lines[1:] == (await stored(store))[1:] == [message("1"), message("2", "1"), half]


async def test_a_file_that_is_gone_comes_back_unless_it_became_an_archive(a: Side, b: Side) -> None:
    await both_have(a, b, "1")
    b.file.unlink()
    assert await b.carry() is Carried.SAME
    assert ids(b.lines) == ["1"]

    b.file.rename(f"{b.file}.deleted.2026-11-20T10-08-02.716Z")
    assert await b.carry() is Carried.ARCHIVED
    assert not b.file.exists()


async def test_a_transcript_that_the_store_does_not_know_is_left_alone(a: Side, store: Store) -> None:
    a.say(header("/a"), *talk("1"))
    before = a.lines
    await store.set(KEY, b'{"sessionId":"another"}')
    assert await a.push() is Carried.ABSENT
    await store.delete(KEY)
    assert await a.push() is Carried.ABSENT

    assert a.lines == before


async def test_two_sessions_that_name_one_transcript_share_its_file(a: Side, b: Side, store: Store) -> None:
    other = type(KEY)("main", "agent:main:cron:job:run:1")
    await store.set(other, ENTRY)
    await both_have(a, b, "1")

    lease = await store.acquire_lease(other, "a", 60)
    assert await a.carry(lease, other) is Carried.SAME
    a.say(*talk("2", after="1"))
    assert await a.carry(lease, other) is Carried.SAME
    assert await a.push() is Carried.SAME

    found = await store.read(other)
    assert found is not None
    assert list(found.lines) == await stored(store) == a.lines


async def test_a_link_in_place_of_a_transcript_is_not_followed(a: Side, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"secret\n")
    a.file.symlink_to(tmp_path / "outside")

    with pytest.raises(Unreadable):
        await a.push()


async def test_a_line_beyond_all_measure_is_told(a: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessionstore.openclaw.transcript.MAX_LINE_BYTES", 1024 * 1024)
    a.say(header("/a"), message("1", None, "x" * 4 * 1024 * 1024))

    with pytest.raises(Unreadable, match=r"longer than 1048576 bytes.*put the file aside"):
        await a.push()


async def test_a_store_that_is_away_is_told_and_costs_nothing(tmp_path: Path) -> None:
    with redis_server.running(tmp_path / "redis") as server:
        config = dataclasses.replace(server.add_user("away"), connect_timeout=1, operation_timeout=1)
        async with open_store(config) as opened:
            await opened.set(KEY, ENTRY)
            with Side.opened(tmp_path, "a", opened) as side:
                side.say(header("/a"), *talk("1"))
                lease = await opened.acquire_lease(KEY, "a", 60)
                server.process.kill()
                server.process.wait()

                with pytest.raises(Unavailable):
                    await side.carry(lease)
                assert ids(side.lines) == ["1"]


async def test_many_pieces_are_one_transcript(a: Side, b: Side, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcripts, "REWRITE_BYTES", 1000)
    said = talk(*(f"{number}" for number in range(3000)))
    await both_have(a, b, *(f"{number}" for number in range(3000)))
    assert b.lines[1:] == said == (await stored(store))[1:]

    a.write(header("/a"), message("summary"), *said[1:])
    assert await a.push() is Carried.SAME
    assert await b.carry() is Carried.SAME
    assert a.lines[1:] == b.lines[1:] == (await stored(store))[1:]


async def test_as_many_other_lines_in_a_store_that_went_back_are_not_the_same(tmp_path: Path) -> None:
    store = MemoryStore()
    await store.set(KEY, ENTRY)
    before = copy.deepcopy((store._kept.records, store._kept.lines))
    with Side.opened(tmp_path, "a", store) as a, Side.opened(tmp_path, "b", store) as b:
        a.say(header("/a"), message("1"))
        assert await a.push() is Carried.SAME
        store._kept.records, store._kept.lines = before
        b.say(header("/b"), message("2"))
        assert await b.push() is Carried.SAME

        assert await a.push() is Carried.SAME

        assert ids(await stored(store)) == ids(a.lines) == ["2", "1"]
        assert await b.carry() is Carried.SAME
        assert ids(b.lines) == ["2", "1"]
