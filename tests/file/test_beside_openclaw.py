"""What this library keeps beside OpenClaw's files survives OpenClaw, and is believed only where it fits."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from pathlib import Path

import pytest

from sessionstore.sessions import (
    Change,
    Conflict,
    FeedLost,
    InvalidKey,
    Lifetime,
    Operation,
    SessionKey,
    Status,
    Store,
    Unreadable,
    feed,
    iterate,
    layout,
    plainfiles,
)
from sessionstore.sessions.file import agent, log
from sessionstore.sessions.file.store import FileStore
from tests.file import openclaw

WORK = "agent:work:main"
WORK_ID = "5b5e1979-61f4-46b6-88a5-97938d77d5ae"
MINUTES = 60_000


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_900_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def told(store: Store, cursor: str) -> list[Change]:
    found: list[Change] = []
    while items := (part := await store.changes(cursor)).items:
        found += items
        cursor = part.cursor
    return found


async def operations(store: Store, cursor: str) -> list[tuple[str, Operation, int]]:
    return [(change.key.key, change.operation, change.revision) for change in await told(store, cursor)]


# -- marks and lifetimes --------------------------------------------------------------------------


async def test_marks_survive_openclaw_s_writes(store: Store, sessions: Path) -> None:
    await store.title(WORK, "mine")
    await store.tag(WORK, add=["a"])
    before = await store.archive(WORK, reason="old")
    with openclaw.changing(sessions) as entries:
        entries[WORK]["updatedAt"] += 1
    after = await store.get(WORK)
    assert (after.marks, after.status, after.revision) == (before.marks, Status.ARCHIVED, before.revision + 1)


async def test_marks_do_not_touch_openclaw_s_file(store: Store, sessions: Path) -> None:
    before = (sessions / "sessions.json").stat()
    for change in (store.title(WORK, "t"), store.pin(WORK), store.tag(WORK, add=["a"]), store.archive(WORK)):
        await change
    await store.append(WORK, [b"a line"])
    await store.set(WORK, (await store.get(WORK)).entry)
    after = (sessions / "sessions.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_an_archived_session_stays_in_openclaw_s_file_and_an_expired_one_leaves_it(
    state: Path, sessions: Path, clock: Clock
) -> None:
    store = FileStore(state, clock)
    await store.set("agent:work:brief", {"sessionId": "brief"}, lifetime=Lifetime(ttl_ms=MINUTES))
    await store.append("agent:work:brief", [b"1"])
    await store.archive(WORK)
    clock.now_ms += MINUTES
    assert await store.sweep() == 1
    with openclaw.changing(sessions) as entries:
        assert list(entries) == [WORK]
    assert [name.name for name in sessions.glob("brief.jsonl*")] == ["brief.jsonl.deleted.2030-03-17T17-47-40.000Z"]


async def test_a_session_that_openclaw_uses_does_not_expire(state: Path, sessions: Path, clock: Clock) -> None:
    store = FileStore(state, clock, Lifetime(ttl_ms=10 * MINUTES))
    assert await store.count() == 11
    first = await store.get(WORK)
    assert first.expires_ms == clock.now_ms + 10 * MINUTES
    clock.now_ms += 8 * MINUTES
    openclaw.say(sessions, WORK_ID, "theirs")
    clock.now_ms += 8 * MINUTES
    assert await store.sweep() == 10  # all of the other agent
    assert (await store.get(WORK)).transcript.lines == 2


async def test_what_openclaw_made_long_ago_lives_from_when_it_was_found(state: Path, clock: Clock) -> None:
    store = FileStore(state, clock, Lifetime(ttl_ms=MINUTES))
    assert len([info async for info in iterate(store)]) == 11
    clock.now_ms += MINUTES
    assert [info async for info in iterate(store)] == []


# -- the feed -------------------------------------------------------------------------------------


async def test_the_feed_tells_what_openclaw_did(store: Store, sessions: Path) -> None:
    assert len([info async for info in iterate(store)]) == 11
    cursor = await store.position()
    openclaw.say(sessions, WORK_ID, "theirs")
    with openclaw.changing(sessions) as entries:
        entries["agent:work:new"] = {"sessionId": "new", "updatedAt": 1}
    assert await operations(store, cursor) == [
        (WORK, Operation.APPEND, 2),
        ("agent:work:new", Operation.SET, 1),
    ]
    cursor = await store.position()
    with openclaw.changing(sessions) as entries:
        openclaw.delete(sessions, entries, WORK)
        entries["agent:work:new"]["updatedAt"] = 2
    assert await operations(store, cursor) == [
        ("agent:work:new", Operation.SET, 2),
        (WORK, Operation.DELETE, 3),
    ]


async def test_who_waits_is_told_of_a_line_that_openclaw_adds(store: Store, sessions: Path) -> None:
    await store.list()
    cursor = await store.position()
    assert (await store.changes(cursor)).items == ()
    openclaw.say(sessions, WORK_ID, "theirs")
    found = await store.changes(cursor, wait_s=30)
    assert [(change.key.key, change.operation) for change in found.items][-1] == (WORK, Operation.APPEND)


async def test_another_store_tells_the_same(store: Store, state: Path) -> None:
    cursor = await store.position()
    await store.set(WORK, {"n": 1})
    assert await told(FileStore(state), cursor) == await told(store, cursor)


async def test_a_position_that_is_taken_while_a_change_is_under_way_does_not_pass_it(
    store: Store, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, taken = FileStore(state), []
    await other.list()
    real = plainfiles.Prepared.publish

    def publish(prepared: plainfiles.Prepared) -> None:
        taken.append(asyncio.run(other.position()))
        real(prepared)

    monkeypatch.setattr(plainfiles.Prepared, "publish", publish)
    await store.set(WORK, {"n": 1})
    assert [await operations(one, taken[0]) for one in (other, store)] == [[(WORK, Operation.SET, 2)]] * 2


async def test_a_log_that_is_written_anew_loses_no_event_and_no_row(
    store: Store, state: Path, sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = FileStore(state)
    await other.list()
    monkeypatch.setattr(log, "SLACK", 50 - layout.FEED_LENGTH)
    cursor = await store.position()
    lease = await store.acquire_lease(WORK, "me", 600)
    await store.title(WORK, "t")
    for number in range(60):
        await store.set(WORK, {"sessionId": WORK_ID, "n": number}, fence=lease.token)
    assert len((sessions / log.FILE_NAME).read_bytes().splitlines()) < 120
    for one in (store, other, FileStore(state)):
        assert [revision for _, _, revision in await operations(one, cursor)] == list(range(2, 63))
        session = await one.get(WORK)
        assert (session.revision, session.marks.title, session.entry["n"]) == (62, "t", 59)
    again = await FileStore(state).set(WORK, session.entry, fence=lease.token, expected=62)
    assert await operations(other, cursor) == [*await operations(store, cursor)]
    assert again.revision == 63


async def test_a_cursor_from_before_what_is_kept_is_lost(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "FEED_LENGTH", 5)
    shutil.rmtree(state / "agents" / "main")
    store = FileStore(state)
    await store.get(WORK)
    cursor = await store.position()
    for number in range(5):
        await store.set(WORK, {"n": number})
    assert len(await told(store, cursor)) == 5
    await store.set(WORK, {"n": 6})
    with pytest.raises(FeedLost, match="1 changes behind"):
        await store.changes(cursor)


async def test_an_agent_that_is_gone_or_made_anew_is_not_silence(store: Store, sessions: Path, state: Path) -> None:
    await store.get(WORK)
    cursor = await store.position()
    (sessions / log.FILE_NAME).unlink()
    with pytest.raises(FeedLost, match="work"):
        await store.changes(cursor)
    await store.get(WORK)
    with pytest.raises(FeedLost, match="work"):
        await store.changes(cursor)


@pytest.mark.parametrize("place", [0, "", "[]", '{"a":1}', '{"a":["x",-1]}', '{"../x":["x",1]}', '{"a":[1,1]}'])
async def test_a_cursor_with_another_inside_is_refused(store: Store, place: object) -> None:
    with pytest.raises(InvalidKey):
        await store.changes(feed.encode("file", [place]))


# -- what is told from what -------------------------------------------------------------------------


@pytest.mark.parametrize("by_rename", [False, True], ids=["in place", "by rename"])
async def test_a_larger_file_in_place_of_a_transcript_is_another_generation(
    store: Store, sessions: Path, by_rename: bool
) -> None:
    head = await store.append(WORK, [b"1", b"2"])
    file = sessions / f"{WORK_ID}.jsonl"
    content = b'{"type":"session"}\n' * 500
    if by_rename:
        (sessions / "x.tmp").write_bytes(content)
        (sessions / "x.tmp").rename(file)
    else:
        file.write_bytes(content)
    now = (await store.get(WORK)).transcript
    assert (now.generation, now.lines) == (head.generation + 1, 500)
    with pytest.raises(Conflict, match="generation 1"):
        await store.append(WORK, [b"ours"], generation=head.generation)


async def test_a_line_that_openclaw_ends_later_is_one_line(store: Store, sessions: Path) -> None:
    with (sessions / f"{WORK_ID}.jsonl").open("ab") as file:
        file.write(b'{"half')
    assert (await store.get(WORK)).transcript.lines == 2
    with (sessions / f"{WORK_ID}.jsonl").open("ab") as file:
        file.write(b' a line"}\nand another\n')
    transcript = await store.read(WORK)
    assert (transcript.head.lines, transcript.head.generation) == (3, 0)
    assert transcript.lines[1:] == (b'{"half a line"}', b"and another")


async def test_a_stale_copy_that_openclaw_writes_back_is_a_change_and_no_step_back(
    store: Store, sessions: Path
) -> None:
    before = (sessions / "sessions.json").read_bytes()
    made = await store.set(WORK, {"sessionId": WORK_ID, "n": 1})
    (sessions / "sessions.json").write_bytes(before)
    now = await store.get(WORK)
    assert (now.revision, "n" in now.entry) == (made.revision + 1, False)


async def test_resets_leave_nothing_behind_in_the_log(store: Store, sessions: Path) -> None:
    for number in range(20):
        with openclaw.changing(sessions) as entries:
            old, entries[WORK]["sessionId"] = entries[WORK]["sessionId"], f"id-{number}"
            entries[WORK].pop("sessionFile", None)
            (sessions / f"{old}.jsonl").rename(sessions / f"{old}.jsonl.reset.2026-01-01T00-00-{number:02}.000Z")
        openclaw.say(sessions, f"id-{number}", "a line")
        assert (await store.get(WORK)).transcript.lines == 1
    last = (sessions / log.FILE_NAME).read_text().splitlines()[-1]
    assert [f'"id-{number}"' in last for number in range(20)] == [False] * 19 + [True]


async def test_a_new_session_finds_the_lines_of_the_file_that_it_names(store: Store, sessions: Path) -> None:
    openclaw.say(sessions, "orphan", "a line")
    made = await store.set("agent:work:adopting", {"sessionId": "orphan"}, expected=0)
    assert made.transcript.lines == 1
    assert await store.get("agent:work:adopting") == made
    assert (await store.append("agent:work:adopting", [b"x"], position=1)).lines == 2


async def test_two_deletes_within_a_millisecond_keep_both_transcripts(
    state: Path, sessions: Path, clock: Clock
) -> None:
    store = FileStore(state, clock)
    for number in range(3):
        await store.set("agent:work:k", {"sessionId": "s"})
        await store.append("agent:work:k", [b"%d" % number])
        await store.delete("agent:work:k")
    assert sorted(file.read_bytes() for file in sessions.glob("s.jsonl.deleted.*")) == [b"0\n", b"1\n", b"2\n"]


async def test_nothing_is_made_for_what_is_not_there(store: Store, state: Path) -> None:
    before = sorted(state.rglob("*"))
    assert await store.delete("agent:nobody:k") is False
    assert await store.touch("agent:nobody:k") is False
    assert await store.pin("agent:nobody:k") is None
    with pytest.raises(Conflict):
        await store.set("agent:nobody:k", {}, expected=3)
    assert sorted(state.rglob("*")) == before
    assert (await store.acquire_lease("agent:nobody:k", "me", 60)).token == 1


# -- damage -----------------------------------------------------------------------------------------


async def test_a_damaged_entry_is_left_out_of_lists_named_by_health_and_told_once(
    store: FileStore, sessions: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = sessions / "sessions.json"
    file.write_bytes(file.read_bytes()[:-2] + b',\n  "agent:work:bad": {"a":1,"a":2}, "": {}\n}')
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert [row.key.key for row in (await store.list(agent="work")).items] == [WORK]
    assert len(caplog.messages) == 1
    assert "agent:work:bad" not in caplog.text
    assert await store.count() == 11
    health = await store.health()
    assert (health.ok, "work/agent:work:bad" in health.message) == (True, True)
    with pytest.raises(Unreadable, match="agent:work:bad"):
        await store.get("agent:work:bad")


async def test_what_only_looks_like_an_agent_is_left_out_and_told(
    store: FileStore, state: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (state / "agents" / "linked").mkdir()
    (state / "agents" / "linked" / "sessions").symlink_to(tmp_path / "elsewhere")
    (state / "agents" / "no agent").mkdir()
    (state / "agents" / "link").symlink_to(state / "agents" / "work")
    (state / "agents" / "piped").mkdir()
    os.mkfifo(state / "agents" / "piped" / "sessions")
    assert await store.count() == 11
    assert [info async for info in store.list_archives()]
    assert (await store.changes(await store.position())).items == ()
    health = await store.health()
    assert health.ok
    assert all(name in health.message for name in ("linked", "no agent", "piped"))
    assert len(caplog.messages) == 1
    with pytest.raises(Unreadable, match="link"):
        await store.list(agent="linked")


async def test_health_tells_of_an_index_that_cannot_be_read(store: FileStore, sessions: Path) -> None:
    assert (await store.health()).ok
    (sessions / "sessions.json").write_text("[")
    health = await store.health()
    assert (health.ok, "cannot be read" in health.message) == (False, True)


@pytest.mark.parametrize("content", [b"", b"{}\n", b"no log\n", b'{"version":7,"id":"x","number":0}\n[1]\n'])
async def test_a_log_that_is_not_ours_is_an_error_that_says_what_to_do(
    store: Store, sessions: Path, content: bytes
) -> None:
    (sessions / log.FILE_NAME).write_bytes(content)
    for call in (store.get(WORK), store.set(WORK, {}), store.list(), store.position()):
        with pytest.raises(Unreadable, match="move it away"):
            await call
    assert (sessions / log.FILE_NAME).read_bytes() == content


async def test_what_a_killed_writer_left_of_a_line_is_cut_off(store: Store, state: Path, sessions: Path) -> None:
    await store.title(WORK, "t")
    with (sessions / log.FILE_NAME).open("ab") as file:
        file.write(b'[99,"set","agent:work:ma')
    assert (await store.get(WORK)).marks.title == "t"
    await store.title(WORK, "u")
    assert (await FileStore(state).get(WORK)).marks.title == "u"


async def test_temporary_files_of_killed_writers_go_with_the_next_write(state: Path, sessions: Path) -> None:
    (sessions / ".sessionstore-1-0123456789abcdef.tmp").write_text("left")
    (sessions / "sessions.json.1.tmp").write_text("OpenClaw's own")
    await FileStore(state).title(WORK, "t")
    assert [path.name for path in sessions.glob("*.tmp")] + [path.name for path in sessions.glob(".*.tmp")] == [
        "sessions.json.1.tmp"
    ]


def test_the_names_of_our_files_are_none_of_openclaw_s() -> None:
    assert not any(name.endswith((".jsonl", ".json")) for name in (log.FILE_NAME, agent.TEMPORARY_SUFFIX))
    assert SessionKey.of(WORK).agent == "work"
