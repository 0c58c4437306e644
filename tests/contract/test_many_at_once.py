"""Many sessions in one call: each as if it were alone, and what is wrong with one concerns no other."""

from __future__ import annotations

import asyncio

import pytest

from sessionstore.sessions import (
    Conflict,
    Entry,
    InvalidEntry,
    Lifetime,
    NewSession,
    NoTranscript,
    Session,
    SessionKey,
    Store,
)

LINES = [b'{"type":"session"}', b"", b"not json \xff\r"]


def _new(name: str, lines: list[bytes] = LINES, **fields: object) -> NewSession:
    return NewSession(SessionKey("main", name), Entry.of({"sessionId": f"id-{name}", "updatedAt": 7} | fields), lines)


@pytest.mark.parametrize("count", [0, 1, 2, 200])
async def test_each_is_made_as_create_makes_it(store: Store, count: int) -> None:
    news = [_new(f"k{number}", LINES[: number % 4], n=number) for number in range(count)]
    made = await store.create_many(news)
    assert [one.key for one in made] == [new.key for new in news]
    assert all(
        (one.revision, one.updated_ms, one.transcript.lines) == (1, 7, len(new.lines))
        for one, new in zip(made, news, strict=True)
    )
    assert await store.get_many([new.key for new in news]) == made
    found = await store.read_many([new.key for new in news])
    assert [list(transcript.lines) for transcript in found] == [new.lines for new in news]


async def test_what_is_wrong_with_one_stands_in_its_place(store: Store) -> None:
    before = await store.create("there", {"sessionId": "there"}, [b"1"])
    answers = await store.create_many([
        _new("first"),
        NewSession(SessionKey("main", "there"), Entry.of({"sessionId": "there"}), [b"2"]),
        _new("split", [b"fine", b"ab\ncd"]),
        NewSession(SessionKey("main", "untold"), Entry.of({"a": 1}), [b"1"]),
        _new("last", lines=[]),
    ])  # fmt: skip
    assert [type(answer) for answer in answers] == [Session, Conflict, InvalidEntry, NoTranscript, Session]
    assert answers[1].current == before
    assert "line 1 holds a line feed at byte 2" in str(answers[2])
    assert [await store.exists(name) for name in ("first", "split", "untold", "last")] == [True, False, False, True]
    assert (await store.read("there")).lines == (b"1",)


async def test_of_two_that_make_the_same_each_is_made_once(store: Store) -> None:
    news = [_new(f"k{number}") for number in range(20)]
    one, other = await asyncio.gather(store.create_many(news), store.create_many(news))
    for mine, its in zip(one, other, strict=True):
        [made], [lost] = _split(mine, its)
        assert lost.current == made


def _split(*answers: object) -> tuple[list[Session], list[Conflict]]:
    return [one for one in answers if isinstance(one, Session)], [one for one in answers if isinstance(one, Conflict)]


async def test_each_has_its_own_lifetime(store: Store) -> None:
    news = [_new("brief"), _new("usual")]
    brief = NewSession(news[0].key, news[0].entry, LINES, Lifetime(ttl_ms=600_000))
    made, usual = await store.create_many([brief, news[1]])
    assert (made.expires_ms, usual.expires_ms) == (made.written_ms + 600_000, None)


async def test_read_many_keeps_the_order_and_the_gaps(store: Store) -> None:
    await store.create_many([_new("a", [b"a%d" % number for number in range(10)]), _new("b", [b"b"])])
    await store.set("untold", {"x": 1})
    found = await store.read_many(["b", "absent", "a", "untold", "b"], 0, 3)
    assert [transcript and transcript.lines for transcript in found] == [
        (b"b",), None, (b"a0", b"a1", b"a2"), None, (b"b",),
    ]  # fmt: skip
    assert found[2] == await store.read("a", 0, 3)
    assert await store.read_many([]) == []
    assert [part.lines for part in await store.read_many(["a", "b"], -1)] == [(b"a9",), (b"b",)]
