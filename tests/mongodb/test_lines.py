"""Transcripts of every size: where their lines lie is never seen, and nothing is left behind that nobody reads."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from sessionstore.sessions import SessionKey, SessionStorage, Store, iterate_lines, open_store
from sessionstore.sessions.mongodb import documents, strand
from tests.conftest import ROOT
from tests.mongo_server import MongoServer

MIB = 1024 * 1024


@pytest.fixture
async def store(config: SessionStorage) -> AsyncIterator[Store]:
    async with open_store(config) as opened:
        await opened.set("k", {"sessionId": "s"})
        yield opened


def chunks(server: MongoServer, config: SessionStorage, key: str = "k") -> int:
    """Count the documents that hold lines of a session beside its own."""
    owner = strand.owner_of(documents.document_id(config.keyspace, SessionKey("main", key)))
    with server.admin() as admin:
        return admin[config.mongodb_database].lines.count_documents({"_id": {"$gte": owner, "$lt": owner + "g"}})


def session_document(server: MongoServer, config: SessionStorage, key: str = "k") -> dict[str, Any]:
    with server.admin() as admin:
        found = admin[config.mongodb_database].sessions.find_one({"_id": f"{config.keyspace}/main:{key}"})
        assert found is not None
        return found


async def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def test_a_transcript_of_20_mib_in_one_call(store: Store) -> None:
    lines = [b"%d:" % number + os.urandom(1000).replace(b"\n", b" ") for number in range(21_000)]
    assert sum(map(len, lines)) > 20 * MIB
    head = await store.append("k", lines)
    assert head.lines == len(lines)
    found = await store.read("k")
    assert found.lines == tuple(lines)
    for start, stop in ((0, 1), (511, 513), (10_000, 10_600), (-3, None), (20_999, None), (7, 7)):
        assert (await store.read("k", start, stop)).lines == tuple(lines[start:stop])


async def test_a_long_transcript_line_by_line_keeps_its_document_small(
    store: Store, shared_server: MongoServer, config: SessionStorage
) -> None:
    lines = [b"%d:" % number + b"x" * 20_000 for number in range(300)]
    for number, line in enumerate(lines):
        await store.append("k", [line], position=number)
    assert [line async for line in iterate_lines(store, "k", page=100)] == lines
    current = session_document(shared_server, config)["cur"]
    assert sum(map(len, current["l"])) <= strand.LOOSE_BYTES
    assert len(current["q"]) == 1


@pytest.mark.parametrize("size", [strand.LOOSE_BYTES - strand.LINE_COST, strand.PART_BYTES, 5 * MIB, 20 * MIB])
async def test_a_line_of_any_size(store: Store, size: int) -> None:
    line = b"y" * size
    await store.append("k", [b"before"])
    await store.append("k", [line, b""])
    await store.append("k", [b"behind"])
    assert (await store.read("k")).lines == (b"before", line, b"", b"behind")
    assert (await store.read("k", 1, 2)).lines == (line,)


async def test_empty_lines_do_not_pile_up(store: Store, shared_server: MongoServer, config: SessionStorage) -> None:
    for _ in range(6):
        await store.append("k", [b""] * 200)
    assert (await store.read("k")).lines == (b"",) * 1200
    assert len(session_document(shared_server, config)["cur"]["l"]) <= strand.CHUNK_LINES


async def test_a_transcript_that_is_put_aside_and_taken_up_again_goes_on(store: Store) -> None:
    await store.append("k", [b"1"])
    await store.append("k", [b"x" * 100_000])
    await store.set("k", {"sessionId": "t"})
    await store.append("k", [b"other"])
    await store.set("k", {"sessionId": "s"})
    await store.append("k", [b"3"])
    assert (await store.read("k")).lines == (b"1", b"x" * 100_000, b"3")


@pytest.mark.parametrize("size", [1, 100_000])
async def test_what_a_rewrite_or_a_delete_replaces_is_forgotten(
    store: Store, shared_server: MongoServer, config: SessionStorage, size: int
) -> None:
    await store.append("k", [b"x" * 200_000] * 5)
    await store.rewrite("k", [b"y" * size])
    assert (await store.read("k")).lines == (b"y" * size,)
    await until(lambda: chunks(shared_server, config) == (size > strand.LOOSE_BYTES))
    await store.set("k", {"sessionId": "t"})
    await store.delete("k")
    await until(lambda: chunks(shared_server, config) == 0)
    await until(lambda: not {"pend", "gc", "z"} & session_document(shared_server, config).keys())


async def test_a_delete_takes_along_what_a_crash_left_and_nothing_of_the_next_session(
    store: Store, shared_server: MongoServer, config: SessionStorage
) -> None:
    owner = strand.owner_of(f"{config.keyspace}/main:k")
    abandoned = strand.grown(strand.Strand(), (b"z" * 100_000,), owner, 1).chunks
    with shared_server.admin() as admin:
        admin[config.mongodb_database].lines.insert_many(abandoned)
    await store.delete("k")
    await store.set("k", {"sessionId": "s"})
    await store.append("k", [b"new" * 50_000])
    await until(lambda: chunks(shared_server, config) == 1)
    assert (await store.read("k")).lines == (b"new" * 50_000,)


async def test_reading_while_it_is_rewritten_gives_one_whole_transcript(store: Store) -> None:
    async def rewrite() -> None:
        for number in range(15):
            await store.rewrite("k", [b"%d " % number + b"x" * 50_000] * 3)

    await store.append("k", [b"a " + b"x" * 50_000] * 3)
    writing = asyncio.create_task(rewrite())
    while not writing.done():
        found = await store.read("k")
        assert len({line.split()[0] for line in found.lines}) == 1
        assert len(found.lines) == 3
    await writing


async def test_eight_processes_append_across_many_chunks(
    store: Store, shared_server: MongoServer, config: SessionStorage
) -> None:
    count = 40
    program = (
        "import asyncio, sys\n"
        "from sessionstore.sessions import open_store\n"
        "async def main(url, name, count):\n"
        "    async with open_store(url) as store:\n"
        "        for number in range(count):\n"
        "            await store.append('k', [f'{name}:{number}:'.encode() + b'x' * 2000])\n"
        "asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))\n"
    )
    url = shared_server.url(config)
    writers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, url, f"p{number}", str(count), cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        for number in range(8)
    ]
    for writer in writers:
        _, errors = await writer.communicate()
        assert writer.returncode == 0, errors.decode()
    lines = (await store.read("k")).lines
    assert len(lines) == 8 * count
    for number in range(8):
        own = [line.split(b":")[1] for line in lines if line.startswith(b"p%d:" % number)]
        assert own == [b"%d" % index for index in range(count)]


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.2])
async def test_an_append_that_is_cancelled_is_there_whole_or_not_at_all(store: Store, seconds: float) -> None:
    lines = [b"%d" % number + b"x" * 3_000 for number in range(300)]
    task = asyncio.create_task(store.append("k", lines))
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await store.read("k")).lines in ((), tuple(lines))
    at = (await store.get("k")).transcript.lines
    assert (await store.append("k", [b"next"])).lines == at + 1


async def test_what_a_session_notes_is_struck_out_while_it_is_written_all_the_time(
    store: Store, shared_server: MongoServer, config: SessionStorage
) -> None:
    count = 400
    for _ in range(count):
        await store.append("k", [b"x"])
    assert len(session_document(shared_server, config).get("pend", ())) < count // 2
    await until(lambda: not {"pend", "z"} & session_document(shared_server, config).keys())
