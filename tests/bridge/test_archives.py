"""Archives carried both ways: each comes everywhere, and none comes back that OpenClaw removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionstore.bridge.archives import Archives
from sessionstore.bridge.transcripts import Carried
from sessionstore.sessions.memory import MemoryStore
from tests.bridge.killing import Killed, Killer
from tests.bridge.sides import ENTRY, ID, KEY, Side, header, ids, message, talk

RESET, DELETED, BACKUP = (f"{ID}.jsonl.{why}.2026-11-20T10-08-02.716Z" for why in ("reset", "deleted", "bak"))


@pytest.fixture
async def store() -> MemoryStore:
    made = MemoryStore()
    await made.set(KEY, ENTRY)
    return made


@pytest.fixture
def a(tmp_path: Path, store: MemoryStore) -> Iterator[Side]:
    with Side.opened(tmp_path, "a", store) as side:
        yield side


@pytest.fixture
def b(tmp_path: Path, store: MemoryStore) -> Iterator[Side]:
    with Side.opened(tmp_path, "b", store) as side:
        yield side


def archives(side: Side, *, may_rename: bool = True) -> Archives:
    return Archives(side.store, "main", side.directory, side.transcripts.agreements, lambda transcript_id: may_rename)


def names(side: Side) -> set[str]:
    return {name for name in side.directory.names() if not name.startswith(".")}


async def both_have_talked(a: Side, b: Side) -> None:
    a.say(header("/a"), *talk("1", "2"))
    assert await a.push() is Carried.SAME
    assert await b.carry() is Carried.SAME


@pytest.mark.parametrize("name", [RESET, DELETED])
async def test_a_transcript_that_was_put_aside_is_put_aside_everywhere(
    a: Side, b: Side, store: MemoryStore, name: str
) -> None:
    await both_have_talked(a, b)
    inode = b.file.stat().st_ino
    a.file.rename(a.path / name)

    await archives(a).put()
    await archives(b).take()

    assert await store.read_archive("main", name) == (header("/a"), *talk("1", "2"))
    assert names(a) == names(b) == {name}
    assert (b.path / name).stat().st_ino == inode


async def test_a_copy_that_was_put_aside_leaves_the_transcript(a: Side, b: Side) -> None:
    await both_have_talked(a, b)
    (a.path / BACKUP).write_bytes(a.file.read_bytes())

    await archives(a).put()
    await archives(b).take()

    assert names(b) == {b.file.name, BACKUP}
    assert (b.path / BACKUP).read_bytes() == a.file.read_bytes()


async def test_a_transcript_that_is_in_use_stays(a: Side, b: Side) -> None:
    await both_have_talked(a, b)
    a.file.rename(a.path / RESET)

    await archives(a).put()
    await archives(b, may_rename=False).take()

    assert names(b) == {b.file.name, RESET}


async def test_a_transcript_that_says_more_than_its_archive_stays(a: Side, b: Side) -> None:
    await both_have_talked(a, b)
    b.say(message("3", "2"))
    a.file.rename(a.path / RESET)

    await archives(a).put()
    await archives(b).take()

    assert ids(b.lines) == ["1", "2", "3"]
    assert (b.path / RESET).read_bytes() == (a.path / RESET).read_bytes()


async def test_a_transcript_that_says_less_than_its_archive_goes(a: Side, b: Side) -> None:
    await both_have_talked(a, b)
    a.say(message("3", "2"))
    a.file.rename(a.path / RESET)

    await archives(a).put()
    await archives(b).take()

    assert names(b) == {RESET}
    assert (b.path / RESET).read_bytes() == (a.path / RESET).read_bytes()


async def test_an_archive_that_openclaw_removed_stays_away(a: Side, b: Side) -> None:
    a.file.with_name(RESET).write_bytes(b'{"old":1}\n')
    await archives(a).put()
    await archives(b).take()
    for side in (a, b):
        (side.path / RESET).unlink()
        side.restart()
        await archives(side).put()
        await archives(side).take()

    assert names(a) == names(b) == set()


async def test_what_is_stored_already_is_not_stored_again(a: Side, b: Side, store: MemoryStore) -> None:
    for side in (a, b):
        side.file.with_name(RESET).write_bytes(header(f"/{side.name}") + b'\n{"old":1}\n')
        await archives(side).put()
        await archives(side).take()

    assert await store.read_archive("main", RESET) == (header("/a"), b'{"old":1}')
    assert (b.path / RESET).read_bytes() == header("/b") + b'\n{"old":1}\n'


async def test_another_archive_of_the_same_name_stays_on_both_sides(a: Side, b: Side, store: MemoryStore) -> None:
    for side in (a, b):
        side.file.with_name(RESET).write_bytes(f'{{"of":"{side.name}"}}\n'.encode())
        await archives(side).put()
        await archives(side).take()

    assert await store.read_archive("main", RESET) == (b'{"of":"a"}',)
    assert (b.path / RESET).read_bytes() == b'{"of":"b"}\n'


@pytest.mark.parametrize("content", [b"", b"\n", b'{"a":1}\n{"torn'])
async def test_any_content_is_carried(a: Side, b: Side, store: MemoryStore, content: bytes) -> None:
    a.file.with_name(DELETED).write_bytes(content)
    for _ in range(2):
        await archives(a).put()
        await archives(a).take()
        await archives(b).take()
        a.restart()

    assert (a.path / DELETED).read_bytes() == content
    assert (b.path / DELETED).read_bytes().rstrip() == content.rstrip()


@pytest.mark.parametrize(
    "name",
    [
        "a.jsonl.reset.2026-11-20T10-08-02.716Z.zst",
        "a.jsonl.lock",
        "a.trajectory.jsonl.deleted.2026-11-20T10-08-02.716Z",
        "notes.txt",
        "a\udcff.jsonl.reset.2026-11-20T10-08-02.716Z",
    ],
)
async def test_what_is_no_archive_of_lines_stays(a: Side, store: MemoryStore, name: str) -> None:
    (a.path / name).write_bytes(b"{}\n")

    await archives(a).put()

    assert [info async for info in store.list_archives()] == []


async def test_an_archive_that_is_being_stored_is_completed_when_it_is(
    a: Side, b: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessionstore.openclaw.transcript.BATCH_LINES", 2)
    a.file.with_name(RESET).write_bytes(b"".join(line + b"\n" for line in talk(*"123456")))
    killer, puts = Killer(), 0
    with killer.installed("put_archive"):
        while True:
            killer.arm(0 if puts < 3 else 99, "after")
            try:
                await archives(a).put()
            except Killed:
                puts += 1
                a.restart()
            await archives(b).take()
            if killer.disarm():
                break

    assert puts == 3
    assert (b.path / RESET).read_bytes() == (a.path / RESET).read_bytes()
