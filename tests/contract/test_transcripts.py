"""Raw lines: what is appended is read back byte for byte, in order, once."""

from __future__ import annotations

import pytest

from sessionstore.sessions import Conflict, InvalidEntry, NoTranscript, Store, TranscriptHead, iterate_lines

LINES = [b'{"type":"session","id":"s"}', b"not json", b"", "空間 🦞".encode(), b"\xff\x00\r", b'{"a":1.0}  ']


@pytest.fixture
async def talk(store: Store) -> Store:
    await store.set("k", {"sessionId": "s"})
    return store


async def test_lines_keep_their_bytes_and_order(talk: Store) -> None:
    assert await talk.append("k", LINES[:2]) == TranscriptHead("s", 0, 2)
    assert await talk.append("k", LINES[2:]) == TranscriptHead("s", 0, 6)
    found = await talk.read("k")
    assert (found.head, found.start, list(found.lines)) == (TranscriptHead("s", 0, 6), 0, LINES)
    assert (await talk.get("k")).transcript == TranscriptHead("s", 0, 6)


@pytest.mark.parametrize("start", [0, 1, 3, 9, -1, -3, -9])
@pytest.mark.parametrize("stop", [None, 0, 1, 3, 9, -1, -9, 2**70])
async def test_a_slice_is_python_s(talk: Store, start: int, stop: int | None) -> None:
    lines = [b"0", b"1", b"2"]
    await talk.append("k", lines)
    found = await talk.read("k", start, stop)
    assert list(found.lines) == lines[start:stop]
    assert found.start == slice(start, stop).indices(3)[0]


async def test_a_transcript_without_lines_is_empty_and_not_absent(talk: Store) -> None:
    found = await talk.read("k")
    assert (found.head, found.lines) == (TranscriptHead("s", 0, 0), ())


async def test_an_entry_that_names_no_transcript_has_none(store: Store) -> None:
    session = await store.set("k", {"a": 1})
    assert session.transcript is None
    assert await store.read("k") is None
    for call in (store.append, store.rewrite):
        with pytest.raises(NoTranscript, match="sessionId"):
            await call("k", [b"x"])
        with pytest.raises(NoTranscript, match="absent"):
            await call("nobody", [b"x"])


async def test_a_session_file_of_another_machine_names_the_transcript_by_its_base_name(store: Store) -> None:
    entry = {"sessionId": "s", "sessionFile": "C:\\Users\\me\\2026-11-20T10_s.jsonl"}
    assert (await store.set("k", entry)).transcript.id == "2026-11-20T10_s"
    entry["sessionFile"] = "/home/node/.openclaw/agents/main/sessions/s-topic-7.jsonl"
    assert (await store.set("k", entry)).transcript.id == "s-topic-7"


async def test_a_reset_starts_an_empty_transcript_and_the_old_one_comes_back_with_its_id(talk: Store) -> None:
    await talk.append("k", [b"old"])
    assert (await talk.set("k", {"sessionId": "t"})).transcript == TranscriptHead("t", 0, 0)
    await talk.append("k", [b"new"])
    assert (await talk.read("k")).lines == (b"new",)
    assert (await talk.set("k", {"sessionId": "s"})).transcript == TranscriptHead("s", 0, 1)
    assert (await talk.read("k")).lines == (b"old",)


async def test_an_append_at_the_known_end_succeeds(talk: Store) -> None:
    head = await talk.append("k", [b"1"], position=0, generation=0)
    assert await talk.append("k", [b"2"], position=head.lines, generation=head.generation) == TranscriptHead("s", 0, 2)


@pytest.mark.parametrize(
    "where",
    [
        pytest.param({"position": 0}, id="an earlier position"),
        pytest.param({"position": 2}, id="a later position"),
        pytest.param({"generation": 1}, id="another generation"),
        pytest.param({"position": 1, "generation": 1}, id="the right position of another generation"),
    ],
)
async def test_an_append_elsewhere_is_a_conflict_with_the_current_record(talk: Store, where: dict[str, int]) -> None:
    await talk.append("k", [b"1"])
    current = await talk.get("k")
    with pytest.raises(Conflict) as caught:
        await talk.append("k", [b"2"], **where)
    assert caught.value.current == current
    assert (await talk.read("k")).lines == (b"1",)


async def test_a_rewrite_replaces_all_lines_in_a_new_generation(talk: Store) -> None:
    await talk.append("k", [b"1", b"2", b"3"])
    assert await talk.rewrite("k", [b"sum"], generation=0) == TranscriptHead("s", 1, 1)
    assert (await talk.read("k")).lines == (b"sum",)
    with pytest.raises(Conflict):
        await talk.rewrite("k", [b"late"], generation=0)
    assert await talk.rewrite("k", []) == TranscriptHead("s", 2, 0)
    assert (await talk.read("k")).lines == ()


async def test_a_rewrite_of_what_was_read_loses_nothing_that_came_meanwhile(talk: Store) -> None:
    await talk.append("k", [b"1", b"2"])
    read = await talk.get("k")
    await talk.append("k", [b"3"])
    current = await talk.get("k")
    with pytest.raises(Conflict) as caught:
        await talk.rewrite("k", [b"sum"], expected=read.revision)
    assert caught.value.current == current
    with pytest.raises(Conflict):
        await talk.rewrite("nobody", [b"sum"], expected=1)
    assert await talk.rewrite("k", [b"sum"], expected=current.revision) == TranscriptHead("s", 1, 1)


@pytest.mark.parametrize("method", ["append", "rewrite"])
async def test_a_line_feed_inside_a_line_is_refused_and_nothing_is_written(talk: Store, method: str) -> None:
    await talk.append("k", [b"0"])
    with pytest.raises(InvalidEntry, match="line 1 holds a line feed at byte 2"):
        await getattr(talk, method)("k", [b"fine", b"ab\ncd"])
    assert (await talk.read("k")).lines == (b"0",)


@pytest.mark.parametrize("count", [1, 3999, 4000, 4001, 8001, 20_000])
async def test_many_lines_in_one_call_are_one_change(talk: Store, count: int) -> None:
    lines = [b"%d" % number for number in range(count)]
    assert (await talk.append("k", lines)).lines == count
    assert (await talk.get("k")).revision == 2
    assert list((await talk.read("k")).lines) == lines


async def test_two_sessions_of_one_agent_each_know_their_own_length(store: Store) -> None:
    for key in ("one", "two"):
        await store.set(key, {"sessionId": key})
        await store.append(key, [key.encode()])
    assert [(await store.read(key)).lines for key in ("one", "two")] == [(b"one",), (b"two",)]


async def test_lines_come_backwards_when_asked(talk: Store) -> None:
    await talk.append("k", LINES)
    forwards = await talk.read("k", 1)
    assert forwards.lines == tuple(LINES[1:])
    backwards = await talk.read("k", 1, reverse=True)
    assert backwards.lines == forwards.lines[::-1]
    assert (backwards.start, backwards.head) == (forwards.start, forwards.head)


async def test_lines_that_are_sent_twice_are_stored_once(talk: Store) -> None:
    start = (await talk.append("k", LINES)).lines
    head = await talk.append("k", [b"x", b"y"], position=start)
    before = await talk.get("k")
    assert await talk.append("k", [b"x", b"y"], position=start) == head
    assert await talk.append("k", [b"x", b"y"], position=start, generation=head.generation) == head
    assert await talk.append("k", [b"x"], position=start) == head
    assert await talk.get("k") == before
    assert (await talk.read("k", start)).lines == (b"x", b"y")


async def test_other_lines_at_a_place_that_is_taken_are_a_conflict(talk: Store) -> None:
    start = (await talk.append("k", LINES)).lines
    head = await talk.append("k", [b"x", b"y"], position=start)
    for lines, generation in (([b"z"], None), ([b"x", b"z"], None), ([b"x", b"y", b"z"], None), ([b"x"], 7)):
        with pytest.raises(Conflict):
            await talk.append("k", lines, position=start, generation=generation)
    assert (await talk.get("k")).transcript == head


async def test_a_long_transcript_is_walked_in_parts(store: Store) -> None:
    await store.set("k", {"sessionId": "s"})
    lines = [b"%d" % number for number in range(25)]
    await store.append("k", lines)
    assert [line async for line in iterate_lines(store, "k", page=10)] == lines
    assert [line async for line in iterate_lines(store, "absent")] == []


async def test_a_walk_through_what_is_rewritten_meanwhile_is_a_conflict(store: Store) -> None:
    await store.set("k", {"sessionId": "s"})
    await store.append("k", [b"1", b"2", b"3"])
    walk = iterate_lines(store, "k", page=1)
    assert await anext(walk) == b"1"
    await store.rewrite("k", [b"4", b"5"])
    with pytest.raises(Conflict):
        await anext(walk)
