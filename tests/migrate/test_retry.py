"""What was set aside is carried after all, and a side that lost is put back in place; nothing is lost on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sessionstore.migrate import kept, shelves
from sessionstore.migrate.again import Outcome, Retrier, Tried
from sessionstore.migrate.bounded import Room
from sessionstore.migrate.items import SourceArchive, SourceSession
from sessionstore.migrate.keeper import Keeper
from sessionstore.migrate.kept import Shelf
from sessionstore.migrate.kept_items import Wishes
from sessionstore.migrate.plan import Policy
from sessionstore.openclaw.blob import Held
from sessionstore.openclaw.problems import Problem, Reason
from sessionstore.openclaw.transcript import Batch, Line
from sessionstore.sessions import SessionKey, Store, TranscriptHead
from sessionstore.sessions.exceptions import Unavailable
from sessionstore.sessions.memory import MemoryStore
from sessionstore.sessions.record import Entry, Lifetime, Marks, Status
from sessionstore.sessions.store import Key
from tests.migrate.states import HEADER, TURN, State
from tests.migrate.test_quarantine import Program

KEY = SessionKey("main", "k")
PROBLEM = Problem("agents/main/sessions/a.jsonl", Reason.TOO_LARGE, "a line is too long", "main", "k")
OTHER, LATE = b'{"type":"message","id":"other"}', b'{"type":"message","id":"late"}'
OLD, NEW = 1_600_000_000_000, 1_700_000_000_000


def entry(session_id: str = "a", at: int = NEW, **fields: Any) -> Entry:
    return Entry(json.dumps({"sessionId": session_id, "updatedAt": at} | fields, indent=1).encode())


@dataclass(frozen=True)
class Lines:
    lines: Sequence[bytes] = (HEADER, TURN)
    torn: bytes | None = None
    path: str = "a.jsonl"
    stamp: str | None = None

    def few(self) -> None:
        return None

    async def batches(self) -> AsyncIterator[Batch]:
        yield Batch(list(self.lines), 0, Line(self.torn, 99, torn=True) if self.torn else None)


async def retry(store: Store, policy: Policy = Policy.NEWEST, **wishes: Any) -> list[Tried]:
    """Try everything again that is kept of the source s by now."""
    places = [place for shelf in Shelf for place in await shelves.places(store, "s", shelf)]
    retrier = Retrier(store, policy, Room())
    return [await retrier.retry(place, Wishes(**wishes)) for place in places]


async def stored(store: Store, key: SessionKey = KEY) -> tuple[bytes, tuple[bytes, ...]]:
    """Return entry and lines of a session."""
    held, read = await store.get(key), await store.read(key)
    assert held is not None
    return held.entry.raw, read.lines if read else ()


async def names(store: Store) -> list[str]:
    return [name async for name in store.list_documents("migration/")]


async def kept_sides(store: Store) -> list[tuple[str, bytes]]:
    """Return (side, bytes) of what lost a conflict."""
    sides = []
    for place in await shelves.places(store, "s", Shelf.CONFLICTS):
        found = await shelves.look_at(store, place)
        assert found is not None
        sides.append((str(found.header["side"]), b"".join([piece async for piece in shelves.pieces(store, found)])))
    return sides


# -- from quarantine ------------------------------------------------------------------------------


@pytest.mark.parametrize("part_bytes", [7, kept.PART_BYTES], ids=["many parts", "one part"])
@pytest.mark.parametrize("torn", [None, b'{"torn', b'{"complete":1}'], ids=["whole", "torn", "complete"])
async def test_a_session_that_was_refused_is_carried(
    store: Store, monkeypatch: pytest.MonkeyPatch, part_bytes: int, torn: bytes | None
) -> None:
    monkeypatch.setattr(kept, "FIRST_BYTES", min(part_bytes, kept.FIRST_BYTES))
    monkeypatch.setattr(kept, "PART_BYTES", part_bytes)
    lines = (HEADER, b"", TURN * 10, b"\xff")
    marks, lifetime = Marks("t", ("a", "b"), pinned=True, reason="why"), Lifetime(ttl_ms=10**9)
    session = SourceSession(KEY, entry(), Lines(lines, torn), None, Status.ARCHIVED, marks, lifetime)
    await Keeper(store, "s").keep_refused(session, PROBLEM)

    (tried,) = await retry(store)

    assert tried.outcome is Outcome.CARRIED, tried
    complete = (torn,) if torn and torn.endswith(b"}") else ()
    assert await stored(store) == (session.entry.raw, lines + complete)
    held = await store.get(KEY)
    assert held and (held.status, held.marks, held.lifetime) == (Status.ARCHIVED, marks, lifetime)
    left = [name for name in await names(store) if not name.startswith("migration/.")]
    assert len(left) >= 1 if torn and not complete else left == []


async def test_an_archive_that_was_refused_is_carried(store: Store) -> None:
    await Keeper(store, "s").keep_refused(SourceArchive("main", "x.jsonl.reset.1", Lines()), PROBLEM)
    assert [tried.outcome for tried in await retry(store)] == [Outcome.CARRIED]
    assert await store.read_archive("main", "x.jsonl.reset.1") == (HEADER, TURN)
    assert await names(store) == []


async def test_an_entry_that_is_mended_finds_the_transcript_that_it_left_behind(
    state: State, url: str, store: Store, tmp_path: Path
) -> None:
    state.session("k", lines=HEADER + b"\n" + TURN + b"\n")
    state.index(b'{"k": {"sessionId": "id-0", "model": "x", "model": "y"}}')
    program = Program(url)
    assert program("migrate", state.root, "--source-name", "s").returncode == 3
    (id,) = program.ids()

    refused = program("quarantine", "retry", id)
    assert refused.returncode == 1 and b"failed: " in refused.stdout and program.ids() == [id]
    mended = tmp_path / "mended.json"
    mended.write_bytes(b' \n{"sessionId": "id-0",\n "model": "y"}\r\n')
    (done,) = program.json("quarantine", "retry", id[:4], "--from", mended)

    assert (done["id"], done["outcome"]) == (id, "carried")
    assert await stored(store) == (b'{"sessionId": "id-0",\n "model": "y"}', (HEADER, TURN))
    assert program.ids() == []


async def test_a_mended_file_may_bring_its_own_lines_or_leave_those_that_are_kept(tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    for text, lines in (
        (b"", (HEADER, TURN)),
        (b"\n\n", (HEADER, TURN)),
        (b"\n" + OTHER + b"\n" + LATE, (OTHER, LATE)),
    ):
        store = MemoryStore()
        await Keeper(store, "s").keep_refused(SourceSession(KEY, entry(), Lines()), PROBLEM)
        mended.write_bytes(entry("a", at=5, model="ü").raw + text)
        (tried,) = await retry(store, file=mended)
        assert tried.outcome is Outcome.CARRIED, tried
        assert await stored(store) == (entry("a", at=5, model="ü").raw, lines)


async def test_what_could_not_be_called_so_is_carried_under_another_name(url: str, store: Store) -> None:
    problem = Problem("agents/main/sessions/sessions.json", Reason.INVALID_KEY, "too long", "ma/in", "k" * 5000)
    await Keeper(store, "s").keep_problem(problem, Held(entry("a").raw))
    program = Program(url)
    (id,) = program.ids()

    assert "ma/in" in program.json_of(1, "quarantine", "retry", id)["detail"]
    assert program.json_of(0, "quarantine", "retry", id, "--agent", "main", "--key", "k")["outcome"] == "carried"
    assert await stored(store) == (entry("a").raw, ())


@pytest.mark.parametrize(
    ("policy", "outcome", "side"),
    [
        (Policy.NEWEST, Outcome.CARRIED, "store"),
        (Policy.KEEP_STORE, Outcome.CONFLICT, "source"),
        (Policy.FAIL, Outcome.FAILED, None),
    ],
)
async def test_a_conflict_is_settled_by_the_policy(
    store: Store, policy: Policy, outcome: Outcome, side: str | None
) -> None:
    await store.set(KEY, entry("a", OLD))
    await store.append(KEY, [HEADER, OTHER])
    await store.set(KEY, entry("a", OLD))
    session = SourceSession(KEY, entry("a", NEW), Lines())
    name = await Keeper(store, "s").keep_refused(session, PROBLEM)

    (tried,) = await retry(store, policy)

    assert tried.outcome is outcome
    mine, theirs = (session.entry.raw, (HEADER, TURN)), (entry("a", OLD).raw, (HEADER, OTHER))
    assert await stored(store) == (mine if side == "store" else theirs)
    lost = theirs if side == "store" else mine
    assert await kept_sides(store) == ([(side, b"\n".join((lost[0], *lost[1], b"")))] if side else [])
    assert (name in await names(store)) == (outcome is Outcome.FAILED)


@pytest.mark.parametrize(
    ("reason", "is_archive", "detail"),
    [
        (Reason.TORN_LAST_LINE, False, "complete the line"),
        (Reason.INVALID_JSON, False, "no JSON"),
        (Reason.INVALID_KEY, True, "archive name"),
    ],
)
async def test_what_cannot_be_carried_says_why_and_stays(reason: Reason, is_archive: bool, detail: str) -> None:
    store = MemoryStore()
    problem = Problem("agents/main/sessions/" if is_archive else "p", reason, "d", "main", None if is_archive else "k")
    name = await Keeper(store, "s").keep_problem(problem, Held(b'{"'), is_archive=is_archive)
    (tried,) = await retry(store)
    assert tried.outcome is Outcome.FAILED and detail in tried.detail
    assert await names(store) == [name]


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (b"", "no JSON"),
        (b"[1]", "not an array"),
        (b"{}", "no sessionId"),
        (b'{"sessionId":"a"} more', "a line feed is expected"),
        (b'{"sessionId":"a","sessionId":"b"}', "twice"),
        (b"[" * 200_000, "no JSON"),
        (b"\xff", "no JSON"),
        (b'{"sessionId":"a","x":"' + b"x" * (9 << 20) + b'"}', "more than 8388608 bytes"),
    ],
)
async def test_a_file_that_is_no_entry_is_explained(tmp_path: Path, text: bytes, detail: str) -> None:
    store, mended = MemoryStore(), tmp_path / "mended"
    name = await Keeper(store, "s").keep_refused(SourceSession(KEY, entry(), Lines()), PROBLEM)
    mended.write_bytes(text)
    (tried,) = await retry(store, file=mended)
    assert tried.outcome is Outcome.FAILED and detail in tried.detail, tried
    assert await names(store) == [name]
    (tried,) = await retry(store, file=tmp_path / "absent")
    assert tried.outcome is Outcome.FAILED and "No such file" in tried.detail


async def test_what_is_damaged_is_carried_only_from_a_mended_file(store: Store, tmp_path: Path) -> None:
    session = SourceSession(KEY, entry(), Lines([b"x" * 200_000]))
    name = await Keeper(store, "s").keep_refused(session, PROBLEM)
    await store.put_document(f"{name}/1", b"edited")

    (tried,) = await retry(store)
    assert tried.outcome is Outcome.FAILED and "bytes were changed" in tried.detail
    assert await store.get(KEY) is None

    mended = tmp_path / "mended"
    mended.write_bytes(entry().raw + b"\n" + TURN)
    (tried,) = await retry(store, file=mended)
    assert tried.outcome is Outcome.CARRIED
    assert await stored(store) == (entry().raw, (TURN,))
    assert await names(store) == []


async def test_all_are_tried_and_the_status_says_how_it_went(url: str, store: Store) -> None:
    keeper, program = Keeper(store, "s"), Program(url)
    for number in range(30):
        key = SessionKey("main", f"k{number}")
        await keeper.keep_refused(SourceSession(key, entry(f"id-{number}"), Lines()), PROBLEM)
    assert program("quarantine", "retry", "--all", "--reason", "NotThere").returncode == 0
    await keeper.keep_problem(PROBLEM, Held(b"{"))

    done = program("quarantine", "retry", "--all")

    assert done.returncode == 3
    assert done.stdout.count(b" carried\n") == 30 and done.stdout.count(b" failed: ") == 1
    assert await store.count() == 30
    assert len(program.ids()) == 1
    assert program("quarantine", "retry", "--all").returncode == 1
    assert b"are about one thing" in program("quarantine", "retry", "--all", "--key", "k").stderr


async def test_two_at_once_carry_everything_once(url: str, store: Store) -> None:
    keeper, program = Keeper(store, "s"), Program(url)
    for number in range(40):
        key = SessionKey("main", f"k{number}")
        await keeper.keep_refused(SourceSession(key, entry(f"id-{number}"), Lines()), PROBLEM)

    both = await asyncio.gather(*(asyncio.to_thread(program.json, "quarantine", "retry", "--all") for _ in range(2)))

    assert {row["outcome"] for rows in both for row in rows} <= {"carried", "gone"}
    for number in range(40):
        assert await stored(store, SessionKey("main", f"k{number}")) == (entry(f"id-{number}").raw, (HEADER, TURN))
    assert [name for name in await names(store) if not name.startswith("migration/.")] == []


# -- a side that lost -----------------------------------------------------------------------------


@pytest.mark.parametrize("their_id", ["a", "other"], ids=["one transcript", "two transcripts"])
@pytest.mark.parametrize(
    "theirs",
    [(HEADER, OTHER), (HEADER, TURN, OTHER), (HEADER,), ()],
    ids=["went apart", "goes on", "is behind", "has no lines"],
)
async def test_a_side_that_lost_is_put_in_place_and_the_other_is_kept(
    store: Store, their_id: str, theirs: tuple[bytes, ...]
) -> None:
    lost = SourceSession(KEY, entry("a", OLD), Lines())
    await Keeper(store, "s").keep_session(lost)
    await store.set(KEY, entry(their_id, NEW))
    await store.append(KEY, theirs)
    present = await stored(store)

    (tried,) = await retry(store)

    assert tried.outcome is Outcome.CARRIED, tried
    assert await stored(store) == (lost.entry.raw, (HEADER, TURN))
    assert await kept_sides(store) == [("store", b"\n".join((present[0], *present[1], b"")))]

    (tried,) = await retry(store)
    assert await stored(store) == present
    assert await kept_sides(store) == [("store", b"\n".join((lost.entry.raw, HEADER, TURN, b"")))]


async def test_what_is_in_place_already_or_was_deleted_needs_nothing_kept(store: Store) -> None:
    lost = SourceSession(KEY, entry(), Lines())
    for _ in range(2):
        await Keeper(store, "s").keep_session(lost)
        assert [tried.outcome for tried in await retry(store)] == [Outcome.CARRIED]
        assert await stored(store) == (lost.entry.raw, (HEADER, TURN))
        assert await names(store) == []


async def test_an_entry_that_was_superseded_is_put_in_place_and_the_lines_stay(store: Store) -> None:
    await Keeper(store, "s").keep_entry("store", KEY, entry("a", OLD, model="x"))
    assert [tried.detail for tried in await retry(store)] == [
        "the session is gone from the store, and this is only its entry"
    ]
    await store.set(KEY, entry("a", NEW))
    await store.append(KEY, [HEADER])

    assert [tried.outcome for tried in await retry(store)] == [Outcome.CARRIED]

    assert await stored(store) == (entry("a", OLD, model="x").raw, (HEADER,))
    assert await kept_sides(store) == [("store", entry("a", NEW).raw + b"\n")]
    await store.set(KEY, entry("b", NEW))
    assert "another transcript by now" in (await retry(store))[0].detail


async def test_an_archive_that_lost_is_put_in_place(store: Store) -> None:
    await store.put_archive("main", "x.jsonl.reset.1", [HEADER, OTHER, LATE])
    await Keeper(store, "s").keep_archive(SourceArchive("main", "x.jsonl.reset.1", Lines()))

    assert [tried.outcome for tried in await retry(store)] == [Outcome.CARRIED]

    assert await store.read_archive("main", "x.jsonl.reset.1") == (HEADER, TURN)
    assert await kept_sides(store) == [("store", b"\n".join((HEADER, OTHER, LATE, b"")))]


class Used(MemoryStore):
    """A store in which a gateway adds a line just before the first line is replaced."""

    is_used = False

    async def rewrite(self, key: Key, lines: Sequence[bytes], **options: Any) -> TranscriptHead:
        if not self.is_used:
            self.is_used = True
            await self.append(key, [LATE])
        return await super().rewrite(key, lines, **options)


async def test_a_line_that_comes_meanwhile_is_not_lost() -> None:
    store = Used()
    await Keeper(store, "s").keep_session(SourceSession(KEY, entry("a", OLD), Lines()))
    await store.set(KEY, entry("a", NEW))
    await store.append(KEY, [HEADER, OTHER])

    assert [tried.outcome for tried in await retry(store)] == [Outcome.CARRIED]
    assert store.is_used
    assert (await stored(store))[1] == (HEADER, TURN)
    assert any(LATE in raw for _, raw in await kept_sides(store))


class Dying(MemoryStore):
    """A store that is gone after so many writes."""

    left = 10**9

    async def _write(self) -> None:
        if self.left == 0:
            raise Unavailable("gone", "connection")
        self.left -= 1

    async def put_document(self, name: str, body: bytes) -> None:
        await self._write()
        await super().put_document(name, body)

    async def delete_document(self, name: str) -> bool:
        await self._write()
        return await super().delete_document(name)

    async def set(self, *arguments: Any, **options: Any) -> Any:
        await self._write()
        return await super().set(*arguments, **options)

    async def append(self, *arguments: Any, **options: Any) -> Any:
        await self._write()
        return await super().append(*arguments, **options)

    async def rewrite(self, *arguments: Any, **options: Any) -> Any:
        await self._write()
        return await super().rewrite(*arguments, **options)


@pytest.mark.parametrize("their_id", ["a", "other"])
async def test_a_store_that_goes_away_anywhere_loses_neither_side(their_id: str) -> None:
    for left in range(12):
        store = Dying()
        await Keeper(store, "s").keep_session(SourceSession(KEY, entry("a", OLD), Lines()))
        await store.set(KEY, entry(their_id, NEW))
        await store.append(KEY, [HEADER, OTHER])
        theirs = await stored(store)
        store.left = left
        try:
            await retry(store)
        except Unavailable:
            store.left = 10**9
            for tried in await retry(store):
                assert tried.outcome is not Outcome.FAILED
        store.left = 10**9
        everything = [*(raw for _, raw in await kept_sides(store)), b"\n".join((*flat(await stored(store)), b""))]
        assert b"\n".join((entry("a", OLD).raw, HEADER, TURN, b"")) in everything, left
        assert any(OTHER in raw for raw in everything) and any(theirs[0] in raw for raw in everything), left


def flat(side: tuple[bytes, tuple[bytes, ...]]) -> tuple[bytes, ...]:
    return side[0], *side[1]
