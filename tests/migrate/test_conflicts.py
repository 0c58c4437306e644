"""Source and store went apart: the policy decides, the side that loses is kept, and nothing is lost by repeating."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from sessionstore.migrate import pipeline
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.plan import Policy
from sessionstore.migrate.report import Report
from sessionstore.sessions import SessionKey, Store, TranscriptHead
from sessionstore.sessions.memory import MemoryStore
from sessionstore.sessions.store import Key
from tests.migrate import conftest
from tests.migrate.states import HEADER, TURN, State

KEY = SessionKey("main", "k")
OLDER, NEWER = 1_600_000_000_000, 1_800_000_000_000
OTHER = b'{"type":"message","id":"other"}'
LATE = b'{"type":"message","id":"late"}'


async def migrate(state: State, store: Store, policy: Policy = Policy.NEWEST) -> Report:
    return await conftest.migrate(state.root, store, pipeline.Options("s", Patience(0), policy))


async def put(store: Store, entry: dict[str, object], lines: Sequence[bytes]) -> None:
    """Leave a session in the store as a gateway would."""
    await store.set(KEY, entry)
    await store.append(KEY, lines)
    await store.set(KEY, entry)


async def kept(store: Store) -> list[tuple[str, bytes, bytes]]:
    """Return (side, entry, lines) of each document that keeps a lost conflict."""
    found = []
    async for name in store.list_documents("migration/s/conflicts/"):
        header, raw = (await store.get_document(name) or b"").split(b"\n", 1)
        told = json.loads(header)
        assert told["bytes"] == len(raw)
        size = told.get("entryBytes", -1)
        found.append((told["side"], raw[: max(size, 0)], raw[size + 1 :]))
    return found


async def lines(store: Store) -> tuple[bytes, ...]:
    read = await store.read(KEY)
    assert read is not None
    return read.lines


@pytest.mark.parametrize(
    ("policy", "there_ms", "winner"),
    [
        pytest.param(Policy.NEWEST, OLDER, "source", id="Newest, ours is newer"),
        pytest.param(Policy.NEWEST, NEWER, "store", id="Newest, the store's is newer"),
        pytest.param(Policy.KEEP_SOURCE, NEWER, "source", id="KeepSource"),
        pytest.param(Policy.KEEP_STORE, OLDER, "store", id="KeepStore"),
    ],
)
@pytest.mark.parametrize("same_transcript", [True, False], ids=["one transcript", "two transcripts"])
async def test_the_policy_decides_and_the_other_side_is_kept(
    state: State, store: Store, policy: Policy, there_ms: int, winner: str, same_transcript: bool
) -> None:
    mine = state.session("k", lines=HEADER + b"\n" + TURN + b"\n")
    theirs = {"sessionId": "id-0" if same_transcript else "id-other", "updatedAt": there_ms}
    await put(store, theirs, [HEADER, OTHER])

    first = await migrate(state, store, policy)
    second = await migrate(state, store, policy)

    assert first.accounts and first.accounts.sessions.conflicts == 1 and first.is_set_aside
    assert not first.mismatches and not second.mismatches
    held = await store.get(KEY)
    assert held is not None
    won, lost = ((mine, TURN), (theirs, OTHER)) if winner == "source" else ((theirs, OTHER), (mine, TURN))
    assert (dict(held.entry), await lines(store)) == (won[0], (HEADER, won[1]))
    [(side, entry, rest)] = await kept(store)
    assert side == ("store" if winner == "source" else "source")
    assert (json.loads(entry), rest) == (lost[0], HEADER + b"\n" + lost[1] + b"\n")


class _Followed(MemoryStore):
    """A store in which a gateway adds a line just before a transcript is replaced for the first time."""

    is_used = False

    async def rewrite(self, key: Key, lines: Sequence[bytes], **options: Any) -> TranscriptHead:
        if not self.is_used:
            self.is_used = True
            await self.append(key, [LATE])
        return await super().rewrite(key, lines, **options)


@pytest.mark.parametrize("policy", [Policy.NEWEST, Policy.KEEP_SOURCE])
async def test_a_line_that_comes_before_the_lines_are_replaced_is_not_lost(state: State, policy: Policy) -> None:
    state.session("k", lines=HEADER + b"\n" + TURN + b"\n")
    store = _Followed()
    await put(store, {"sessionId": "id-0", "updatedAt": OLDER}, [HEADER, OTHER])
    await migrate(state, store, policy)
    assert store.is_used
    assert LATE in await lines(store) or any(LATE in rest for _, _, rest in await kept(store))


async def test_fail_writes_nothing_at_all(state: State, store: Store) -> None:
    state.session("k", lines=HEADER + b"\n" + TURN + b"\n")
    state.session("new")
    await put(store, {"sessionId": "id-0", "updatedAt": NEWER}, [HEADER, OTHER])

    with pytest.raises(MigrationError, match="1 differ in the store, main/k among them") as caught:
        await migrate(state, store, Policy.FAIL)

    assert caught.value.reason == "ConflictsFound"
    assert await lines(store) == (HEADER, OTHER)
    assert not await store.exists(SessionKey("main", "new"))


@pytest.mark.parametrize("policy", list(Policy))
async def test_what_the_gateway_added_to_its_files_follows(state: State, store: Store, policy: Policy) -> None:
    state.session("k")
    await migrate(state, store, policy)
    state.session("k", lines=HEADER + b"\n" + TURN + b"\n", sessionId="id-0", updatedAt=NEWER)

    report = await migrate(state, store, policy)

    held = await store.get(KEY)
    assert held is not None and held.updated_ms == NEWER
    assert await lines(store) == (HEADER, TURN)
    assert report.accounts and report.accounts.sessions.migrated == 1
    assert (report.accounts.lines.migrated, report.accounts.lines.present) == (1, 1)
    assert not report.is_set_aside


@pytest.mark.parametrize("policy", list(Policy))
async def test_what_the_store_has_beyond_the_files_stays(state: State, store: Store, policy: Policy) -> None:
    entry = state.session("k")
    await migrate(state, store, policy)
    await store.append(KEY, [TURN])
    await store.set(KEY, entry | {"updatedAt": NEWER})

    report = await migrate(state, store, policy)

    assert await lines(store) == (HEADER, TURN)
    assert report.accounts and report.accounts.sessions.present == 1
    assert not report.is_set_aside and not report.mismatches


@pytest.mark.parametrize(
    ("there_ms", "loser"), [pytest.param(OLDER, "store", id="ours"), pytest.param(NEWER, "source", id="the store's")]
)
async def test_an_older_entry_that_says_something_else_is_kept(
    state: State, store: Store, there_ms: int, loser: str
) -> None:
    mine: dict[str, object] = state.session("k", model="mine")
    theirs: dict[str, object] = {"sessionId": "id-0", "updatedAt": there_ms, "model": "theirs"}
    await put(store, theirs, [HEADER])

    first = await migrate(state, store)
    await migrate(state, store)

    held = await store.get(KEY)
    won, lost = (mine, theirs) if loser == "store" else (theirs, mine)
    assert held is not None and dict(held.entry) == won
    [(side, entry, rest)] = await kept(store)
    assert (side, json.loads(entry), rest) == (loser, lost, b"")
    assert len(first.kept) == 1 and not first.mismatches
    assert first.accounts and first.accounts.sessions.conflicts == 0


async def test_a_reset_in_the_files_brings_a_new_transcript(state: State, store: Store) -> None:
    state.session("k")
    await migrate(state, store)
    (state.folder / "id-0.jsonl").rename(state.folder / "id-0.jsonl.reset.2026-11-20T10-07-57.629Z")
    state.session("k", lines=HEADER + b"\n" + TURN + b"\n", sessionId="after", updatedAt=NEWER)

    report = await migrate(state, store)

    assert await lines(store) == (HEADER, TURN)
    assert not report.mismatches
    assert await store.read_archive("main", "id-0.jsonl.reset.2026-11-20T10-07-57.629Z") == (HEADER,)


async def test_an_archive_with_other_lines_stays_and_ours_is_kept(state: State, store: Store) -> None:
    name = "x.jsonl.reset.2026-11-20T10-07-57.629Z"
    state.file(name, HEADER + b"\n" + TURN + b"\n")
    await store.put_archive("main", name, [HEADER, OTHER])

    report = await migrate(state, store)

    assert report.accounts and report.accounts.archives.conflicts == 1 and report.is_set_aside
    assert await store.read_archive("main", name) == (HEADER, OTHER)
    assert await kept(store) == [("source", b"", HEADER + b"\n" + TURN + b"\n")]


async def test_an_archive_goes_on_where_it_was_interrupted(state: State, store: Store) -> None:
    name = "x.jsonl.reset.2026-11-20T10-07-57.629Z"
    state.file(name, HEADER + b"\n" + TURN + b"\n")
    await store.put_archive("main", name, [HEADER])

    report = await migrate(state, store)

    assert await store.read_archive("main", name) == (HEADER, TURN)
    assert report.accounts and report.accounts.archives.migrated == 1


async def test_an_archive_without_lines_is_an_archive(state: State, store: Store) -> None:
    state.file("x.jsonl.reset.2026-11-20T10-07-57.629Z", b"")

    await migrate(state, store)

    assert [archive.lines async for archive in store.list_archives()] == [0]
