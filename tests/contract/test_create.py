"""A session made with the first lines of its transcript: all of it or nothing, once."""

from __future__ import annotations

import asyncio

import pytest

from sessionstore.sessions import (
    Conflict,
    InvalidEntry,
    Lifetime,
    NoTranscript,
    Operation,
    Status,
    Store,
    TranscriptHead,
)
from sessionstore.sessions.record import INHERITED, NO_MARKS

ENTRY = {"sessionId": "s", "updatedAt": 1_700_000_000_000}
LINES = [b'{"type":"session"}', b"", b"not json \xff\r"]


@pytest.mark.parametrize("lines", [[], LINES[:1], LINES], ids=["no line", "one", "several"])
async def test_a_session_is_made_with_its_lines_in_one_change(store: Store, lines: list[bytes]) -> None:
    cursor = await store.position()
    made = await store.create("k", ENTRY, lines)
    assert (made.revision, made.status, made.transcript) == (1, Status.ACTIVE, TranscriptHead("s", 0, len(lines)))
    assert (made.updated_ms, made.marks, made.lifetime) == (ENTRY["updatedAt"], NO_MARKS, INHERITED)
    assert await store.get("k") == made
    assert list((await store.read("k")).lines) == lines
    assert [row.key.key for row in (await store.list()).items] == ["k"]
    events = [(change.key.key, change.revision, change.operation) for change in (await store.changes(cursor)).items]
    assert events == [("k", 1, Operation.SET)]


async def test_it_goes_on_with_an_append_at_its_end(store: Store) -> None:
    made = await store.create("k", ENTRY, LINES)
    head = await store.append("k", [b"on"], position=made.transcript.lines, generation=made.transcript.generation)
    assert head == TranscriptHead("s", 0, len(LINES) + 1)
    assert list((await store.read("k")).lines) == [*LINES, b"on"]


async def test_done_twice_the_second_is_told_what_the_first_one_made(store: Store) -> None:
    made = await store.create("k", ENTRY, LINES)
    cursor = await store.position()
    for lines in (LINES, [b"other"], []):
        with pytest.raises(Conflict) as caught:
            await store.create("k", ENTRY, lines)
        assert caught.value.current == made
    assert list((await store.read("k")).lines) == LINES
    assert (await store.changes(cursor)).items == ()


async def test_of_many_at_once_one_makes_it_and_the_others_are_told(store: Store) -> None:
    async def make(number: int) -> object:
        try:
            return await store.create("k", ENTRY | {"n": number}, [b"%d" % number] * 3)
        except Conflict as lost:
            return lost

    outcomes = await asyncio.gather(*map(make, range(8)))
    [winner] = [one for one in outcomes if not isinstance(one, Conflict)]
    assert all(lost.current == winner for lost in outcomes if isinstance(lost, Conflict))
    assert (await store.read("k")).lines == (b"%d" % winner.entry["n"],) * 3


@pytest.mark.parametrize("named", ["s", "t"], ids=["the same transcript", "another"])
async def test_over_a_tombstone_it_counts_on_and_nothing_of_before_comes_back(store: Store, named: str) -> None:
    await store.create("k", ENTRY, LINES, lifetime=Lifetime(ttl_ms=600_000))
    await store.tag("k", add=["t"])
    await store.delete("k")
    assert await store.tombstone("k") == 3
    made = await store.create("k", {"sessionId": named}, [b"new"])
    assert (made.revision, made.marks, made.lifetime) == (4, NO_MARKS, INHERITED)
    assert made.transcript == TranscriptHead(named, 1 if named == "s" else 0, 1)
    assert await store.get("k") == made
    assert (await store.read("k")).lines == (b"new",)
    with pytest.raises(Conflict):
        await store.append("k", [b"late"], position=3, generation=0)


async def test_over_what_has_expired_it_counts_on(store: Store) -> None:
    await store.create("k", ENTRY, LINES, lifetime=Lifetime(ttl_ms=1))
    while await store.exists("k"):
        await asyncio.sleep(0.01)
    # Enough of them that no backend keeps them where it keeps the record.
    many = [b"x" * 100] * 2000
    made = await store.create("k", ENTRY, many)
    assert (made.revision, made.transcript) == (3, TranscriptHead("s", 1, len(many)))
    assert list((await store.read("k")).lines) == many
    assert await store.get("k") == made


async def test_its_lifetime_is_its_own(store: Store) -> None:
    made = await store.create("k", ENTRY, LINES, lifetime=Lifetime(ttl_ms=600_000))
    assert made.expires_ms == made.written_ms + 600_000
    assert await store.get("k") == made


async def test_an_entry_without_a_time_moved_when_it_was_made(store: Store) -> None:
    made = await store.create("k", {"sessionId": "s"}, LINES)
    assert made.updated_ms == made.written_ms


async def test_lines_of_an_entry_that_names_no_transcript_are_refused(store: Store) -> None:
    with pytest.raises(NoTranscript, match="sessionId"):
        await store.create("k", {"a": 1}, LINES)
    assert await store.get("k") is None
    assert (await store.create("k", {"a": 1})).transcript is None


async def test_a_line_feed_inside_a_line_is_refused_and_nothing_is_made(store: Store) -> None:
    with pytest.raises(InvalidEntry, match="line 1 holds a line feed at byte 2"):
        await store.create("k", ENTRY, [b"fine", b"ab\ncd"])
    assert await store.get("k") is None


@pytest.mark.parametrize("count", [3999, 4000, 4001, 20_000])
async def test_many_lines_are_one_change(store: Store, count: int) -> None:
    lines = [b"%d" % number for number in range(count)]
    assert (await store.create("k", ENTRY, lines)).transcript.lines == count
    assert (await store.get("k")).revision == 1
    assert list((await store.read("k")).lines) == lines


@pytest.mark.parametrize("line", [0, 1, 32_767, 32_768, 65_536, 65_537])
async def test_lines_of_any_size_come_back_as_they_were(store: Store, line: int) -> None:
    lines = [b"", b"x" * line, b"", b"y" * line, b""]
    await store.create("k", ENTRY, lines)
    assert list((await store.read("k")).lines) == lines
    assert list((await store.read("k", reverse=True)).lines) == lines[::-1]
    assert [list((await store.read("k", at, at + 1)).lines) for at in range(6)] == [[one] for one in lines] + [[]]
