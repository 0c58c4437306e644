"""A window is the newest part of what is replayed: as much as fits, and no tool call without its results."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from sessionstore.openclaw import branch, messages
from sessionstore.sessions import Conflict, InvalidEntry, NoTranscript
from sessionstore.sessions.memory import MemoryStore
from sessionstore.sessions.record import Transcript
from sessionstore.sessions.store import Key
from sessionstore.sessions.window import Window, compact, estimate_tokens, window
from tests.unit.sessions import trees

ALL = 10**9


def line(id: str, role: str = "user", *, parent: str | None = None, size: int = 10, **message: Any) -> bytes:
    """Return a message's line that `weight` says weighs `size`."""
    body = {"role": role, "content": [{"type": "text", "text": "x"}], **message}
    document = {
        "type": "message",
        "id": id,
        "parentId": parent,
        "timestamp": "2026-11-20T10:00:00.000Z",
        "message": body,
    }
    return json.dumps({**document, "size": size}).encode()


def call(id: str, *calls: str, parent: str | None = None, size: int = 10) -> bytes:
    blocks = [{"type": "toolCall", "id": name, "name": "read", "arguments": {}} for name in calls]
    return line(id, "assistant", parent=parent, size=size, content=blocks)


def result(id: str, answers: str, parent: str | None = None, size: int = 10) -> bytes:
    return line(id, "toolResult", parent=parent, size=size, toolCallId=answers)


def compaction(id: str, kept: str | None, parent: str | None, size: int = 10) -> bytes:
    document = {"type": "compaction", "id": id, "parentId": parent, "timestamp": "2026-11-20T10:00:00.000Z"}
    return json.dumps(
        {**document, "summary": "so far", "firstKeptEntryId": kept, "tokensBefore": 9, "size": size}
    ).encode()


def weight(raw: bytes) -> int:
    return int(json.loads(raw).get("size", len(raw) // 50))


async def store_of(lines: Sequence[bytes], store: MemoryStore | None = None) -> MemoryStore:
    store = store or MemoryStore()
    await store.set("k", {"sessionId": "s"})
    await store.append("k", lines)
    return store


async def window_of(lines: Sequence[bytes], max_tokens: int) -> Window:
    found = await window(await store_of(lines), "k", max_tokens=max_tokens, counter=weight)
    assert found is not None
    return found


def ids(found: Window) -> list[str]:
    return [json.loads(raw)["id"] for raw in found.lines]


CHAT = [line("a"), line("b", "assistant", parent="a"), line("c", parent="b")]
TOOLS = [
    line("a"),
    call("b", "1", "2", parent="a"),
    result("c", "1", "b"),
    result("d", "2", "c"),
    line("e", "assistant", parent="d"),
]
COMPACTED = [
    line("a"),
    line("b", parent="a"),
    line("c", parent="b"),
    compaction("x", "b", "c"),
    line("d", parent="x"),
]


FORGOTTEN = [line("a"), line("b", parent="a"), compaction("x", "gone", "b"), line("c", parent="x")]


@pytest.mark.parametrize(
    ("lines", "max_tokens", "expected", "complete", "over_budget"),
    [
        pytest.param(CHAT, 30, ["a", "b", "c"], True, False, id="all of it fits"),
        pytest.param(CHAT, 29, ["b", "c"], False, False, id="one token too few"),
        pytest.param(CHAT, 10, ["c"], False, False, id="the newest alone"),
        pytest.param(CHAT, 9, ["c"], False, True, id="the newest is too large, and given all the same"),
        pytest.param(CHAT[:1], 9, ["a"], True, True, id="too large, and all there is"),
        pytest.param([], 1, [], True, False, id="no lines"),
        pytest.param(TOOLS, 49, ["b", "c", "d", "e"], False, False, id="calls with all their results"),
        pytest.param(TOOLS, 39, ["e"], False, False, id="no result without its call"),
        pytest.param(TOOLS[:4], 39, ["b", "c", "d"], False, False, id="ends with results"),
        pytest.param(TOOLS[:4], 29, ["b", "c", "d"], False, True, id="calls and results that are too large together"),
        pytest.param(TOOLS[:2], 10, ["b"], False, False, id="a call that is not answered yet"),
        pytest.param([line("a"), result("b", "9", "a")], 10, ["b"], False, False, id="a result of nobody's call"),
        pytest.param(COMPACTED, 40, ["b", "c", "d"], True, False, id="a summary in the place of what it replaced"),
        pytest.param(COMPACTED, 39, ["c", "d"], False, False, id="the summary before older messages"),
        pytest.param(COMPACTED, 19, ["d"], False, False, id="no room for the summary"),
    ],
)
async def test_a_window_is_the_newest_that_fits(
    lines: list[bytes], max_tokens: int, expected: list[str], complete: bool, over_budget: bool
) -> None:
    found = await window_of(lines, max_tokens)
    assert (ids(found), found.complete, found.over_budget) == (expected, complete, over_budget)


@pytest.mark.parametrize(
    ("max_tokens", "summary", "tokens"),
    [(40, "so far", 40), (20, "so far", 20), (19, None, 10), (9, None, 10)],
)
async def test_a_summary_is_counted_where_it_is_used(max_tokens: int, summary: str | None, tokens: int) -> None:
    found = await window_of(COMPACTED, max_tokens)
    assert (found.summary, found.tokens) == (summary, tokens)


async def test_a_summary_larger_than_the_budget_leaves_room_for_messages_of_before() -> None:
    lines = [line("a"), line("b", parent="a"), compaction("x", "a", "b", size=1000), line("c", parent="x")]
    found = await window_of(lines, 20)
    assert (ids(found), found.summary, found.complete) == (["b", "c"], None, False)


async def test_a_summary_may_be_all_there_is() -> None:
    lines = [line("a"), compaction("x", "x", "a")]
    found = await window_of(lines, 10)
    assert (found.lines, found.summary, found.complete, found.over_budget) == ((), "so far", True, False)
    assert (await window_of(lines, 9)).over_budget


@pytest.mark.parametrize("kept", ["gone", "", None])
async def test_nothing_before_a_compaction_is_kept_where_its_first_kept_entry_is_not_there(kept: str | None) -> None:
    lines = [line("a"), line("b", parent="a"), compaction("x", kept, "b"), line("c", parent="x")]
    found = await window_of(lines, ALL)
    assert (ids(found), found.summary, found.complete) == (["c"], "so far", True)


async def test_a_unit_longer_than_the_budget_is_whole() -> None:
    between = [line(f"m{n}", parent=f"m{n - 1}" if n else "b") for n in range(50)]
    found = await window_of([line("a"), call("b", "1", parent="a"), *between, result("z", "1", "m49")], 25)
    assert ids(found)[0] == "b"
    assert len(found.lines) == 52
    assert found.over_budget
    assert not found.complete


async def test_the_branch_that_is_left_is_not_replayed() -> None:
    control = {"type": "leaf", "id": "l", "parentId": "c", "targetId": "a"}
    lines = [*CHAT, json.dumps(control).encode(), line("d", parent="a")]
    assert ids(await window_of(lines, ALL)) == ["a", "d"]


async def test_lines_that_name_no_parent_and_no_id_go_on_from_the_one_before() -> None:
    plain = [json.dumps({"type": "message", "message": {"role": "user", "content": str(n)}}).encode() for n in range(5)]
    found = await window_of(plain, ALL)
    assert found.lines == tuple(plain)
    assert found.first_id is None


async def test_what_is_no_message_is_passed_over_and_what_is_no_json_is_counted() -> None:
    lines = [b"", b"{torn", line("a"), b"42", line("b", "", parent="a"), b'{"type":"label","id":"l","parentId":"b"}']
    found = await window_of(lines, ALL)
    assert (ids(found), found.skipped, found.complete) == (["a"], 3, True)


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    ("odd", "shown"),
    [
        (
            b'{"type":"message","id":"b","parentId":"a","message":{"role":"user","content":"x","n":'
            + b"9" * 5000
            + b"}}",
            3,
        ),
        (b'{"type":"message","id":"b","parentId":"a","message":{"role":"user","content":' + DEEP + b"}}", 2),
        (b'{"type":["message"],"id":"b","parentId":"a","message":{"role":"user","content":"x"}}', 2),
        (b'{"type":{"a":1},"id":"b","parentId":"a"}', 2),
        (b'{"type":"message","id":"b","parentId":"a","message":{"role":"assistant","content":[{"type":["x"]}]}}', 3),
    ],
)
async def test_a_line_that_is_hard_to_read_does_not_hide_those_before_it(odd: bytes, shown: int) -> None:
    found = await window(await store_of([line("a"), odd, line("c", parent="b")]), "k", max_tokens=10_000)
    assert found is not None
    assert (found.first_id, len(found.lines)) == ("a", shown)


async def test_absent_is_none() -> None:
    store = MemoryStore()
    assert await window(store, "k", max_tokens=1) is None
    await store.set("k", {})
    assert await window(store, "k", max_tokens=1) is None


async def test_a_budget_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="max_tokens is 0"):
        await window(MemoryStore(), "k", max_tokens=0)


class _Counting(MemoryStore):
    """Counts the lines that were read, and lets a test interfere before a read."""

    def __init__(self, *interferences: Any) -> None:
        super().__init__()
        self.lines_read = 0
        self._interferences = list(interferences)

    async def read(
        self, key: Key, start: int = 0, stop: int | None = None, *, reverse: bool = False
    ) -> Transcript | None:
        if self._interferences and (interfere := self._interferences.pop(0)):
            await interfere(self)
        found = await super().read(key, start, stop, reverse=reverse)
        self.lines_read += len(found.lines) if found else 0
        return found


async def test_a_long_transcript_is_not_read_whole() -> None:
    lines = [line(str(n), parent=str(n - 1) if n else None) for n in range(1_000_000)]
    store = await store_of(lines, _Counting())
    found = await window(store, "k", max_tokens=8000, counter=weight)
    assert found is not None
    assert found.lines == tuple(lines[-800:])
    assert (found.head.lines, found.complete) == (1_000_000, False)
    assert store.lines_read <= 1600


LONG = [line(str(n), parent=str(n - 1) if n else None) for n in range(500)]


async def test_controls_that_name_nothing_cost_one_walk_more_and_not_one_each() -> None:
    voids = [{"type": "leaf", "id": f"v{n}", "parentId": "a", "targetId": f"gone{n}"} for n in range(300)]
    store = _Counting()
    await store_of([line("a"), *(json.dumps(void).encode() for void in voids)], store)
    found = await window(store, "k", max_tokens=1000)
    assert (found and ids(found), store.lines_read) == (["a"], 200 + 2 * 101)


async def test_what_was_compacted_away_is_not_read() -> None:
    store = await store_of([*LONG, compaction("x", "x", "499"), line("new", parent="x")], _Counting())
    found = await window(store, "k", max_tokens=ALL, counter=weight)
    assert found is not None
    assert (ids(found), found.complete, store.lines_read) == (["new"], True, 200)


async def test_lines_that_are_appended_meanwhile_do_not_disturb() -> None:
    async def append(store: MemoryStore) -> None:
        await store.append("k", [line("new", parent="499")])

    store = await store_of(LONG, _Counting(None, append))
    found = await window(store, "k", max_tokens=ALL, counter=weight)
    assert found is not None
    assert found.lines == tuple(LONG)
    assert found.head.lines == 500


async def test_a_transcript_that_is_replaced_meanwhile_is_read_anew() -> None:
    async def replace(store: MemoryStore) -> None:
        await store.rewrite("k", LONG[:300])

    store = await store_of(LONG, _Counting(None, replace))
    found = await window(store, "k", max_tokens=ALL, counter=weight)
    assert found is not None
    assert found.lines == tuple(LONG[:300])


async def test_a_transcript_that_is_replaced_again_and_again_is_a_conflict() -> None:
    async def replace(store: MemoryStore) -> None:
        await store.rewrite("k", LONG)

    with pytest.raises(Conflict, match="replaced"):
        await window(await store_of(LONG, _Counting(*[replace] * 100)), "k", max_tokens=ALL)


# -- any transcript, any budget -------------------------------------------------------------------


@hypothesis.given(st.randoms(use_true_random=False), st.integers(0, 40), st.booleans(), st.integers(1, 60))
async def test_a_window_is_the_longest_suffix_that_fits_and_parts_nothing(
    choose: random.Random, size: int, damaged: bool, max_tokens: int
) -> None:
    lines = trees.transcript(choose, size, damaged=damaged)
    whole, found = await window_of(lines, ALL), await window_of(lines, max_tokens)
    count, summary = len(found.lines), found.summary_line
    assert found.lines == whole.lines[len(whole.lines) - count :]
    assert not parted(whole.lines, count)
    assert found.tokens == sum(map(weight, found.lines)) + (weight(summary) if summary else 0)
    assert (found.tokens > max_tokens) == found.over_budget
    assert found.complete == (found.lines == whole.lines and summary == whole.summary_line)
    assert (count, summary) == best(lines, whole, max_tokens)


def parted(replayed: Sequence[bytes], count: int) -> bool:
    """Tell whether one of the newest `count` answers a call that is replayed, but not among them."""
    parsed = [record for record in map(branch.parse, replayed) if record]
    said = [message for message in map(messages.message_of, parsed) if message]
    for index in range(len(said) - count, len(said)):
        answers = messages.tool_result(said[index])
        calls = [at for at in range(index) if answers in messages.tool_calls(said[at])]
        if answers and calls and calls[-1] < len(said) - count:
            return True
    return False


def best(lines: list[bytes], whole: Window, max_tokens: int) -> tuple[int, bytes | None]:
    """Say by trying all what a window should hold: how many lines, and which summary."""
    replayed, summary = whole.lines, whole.summary_line
    possible = [count for count in range(len(replayed) + 1) if not parted(replayed, count)]
    weights = {count: sum(map(weight, replayed[len(replayed) - count :])) for count in possible}
    if summary:
        newer = sum(lines.index(raw) > lines.index(summary) for raw in replayed)
        enough = [n for n in possible if n >= newer and weights[n] + weight(summary) <= max_tokens]
        if enough or not replayed:
            return max(enough, default=0), summary
    fitting = [n for n in possible if n > 0 and weights[n] <= max_tokens]
    return max(fitting) if fitting else min((n for n in possible if n > 0), default=0), None


# -- compaction -----------------------------------------------------------------------------------


async def test_a_compaction_replaces_what_came_before() -> None:
    store = await store_of(CHAT)
    head = await compact(store, "k", "they greeted each other", "c")
    found = await window(store, "k", max_tokens=ALL)
    assert found is not None
    assert head == found.head
    assert (ids(found), found.summary, found.complete) == (["c"], "they greeted each other", True)
    assert json.loads(found.summary_line or b"")["tokensBefore"] == sum(map(estimate_tokens, CHAT))


async def test_a_compaction_of_a_compacted_transcript_counts_what_was_replayed() -> None:
    store = await store_of(COMPACTED)
    await compact(store, "k", "all of it", None)
    found = await window(store, "k", max_tokens=ALL)
    assert found is not None
    assert (found.lines, found.summary) == ((), "all of it")
    assert json.loads(found.summary_line or b"")["tokensBefore"] == sum(map(estimate_tokens, COMPACTED[1:]))


async def test_a_window_s_first_line_is_what_a_compaction_keeps_from() -> None:
    store = await store_of(TOOLS)
    before = await window(store, "k", max_tokens=49, counter=weight)
    assert before is not None
    await compact(store, "k", "a question", before.first_id)
    after = await window(store, "k", max_tokens=ALL, counter=weight)
    assert after is not None
    assert after.lines == before.lines


async def test_lines_without_ids_can_be_compacted_as_a_whole() -> None:
    plain = [json.dumps({"type": "message", "message": {"role": "user", "content": str(n)}}).encode() for n in range(5)]
    store = await store_of(plain)
    await compact(store, "k", "five numbers", None)
    await store.append("k", plain[:1])
    found = await window(store, "k", max_tokens=ALL)
    assert found is not None
    assert (found.lines, found.summary) == (tuple(plain[:1]), "five numbers")


@pytest.mark.parametrize(
    ("lines", "summary", "upto", "why"),
    [
        pytest.param(CHAT, " ", "c", "needs a summary", id="no summary"),
        pytest.param(CHAT, "s", "z", "no line with id 'z' is replayed", id="not there"),
        pytest.param(COMPACTED, "s", "a", "no line with id 'a' is replayed", id="compacted before"),
        pytest.param(FORGOTTEN, "s", "b", "no line with id 'b' is replayed", id="not kept by a compaction of nothing"),
        pytest.param(TOOLS, "s", "c", "answers a tool call", id="between a call and its result"),
        pytest.param(TOOLS, "s", "d", "answers a tool call", id="between two results of one call"),
        pytest.param([], "s", None, "nothing to compact", id="no lines"),
    ],
)
async def test_a_compaction_that_makes_no_sense_is_refused(
    lines: list[bytes], summary: str, upto: str | None, why: str
) -> None:
    store = await store_of(lines)
    with pytest.raises(InvalidEntry, match=why):
        await compact(store, "k", summary, upto)
    found = await store.read("k")
    assert found is not None
    assert list(found.lines) == lines


async def test_a_compaction_of_what_is_absent_is_refused() -> None:
    with pytest.raises(NoTranscript):
        await compact(MemoryStore(), "k", "s", None)


async def test_a_compaction_goes_behind_what_others_appended_meanwhile() -> None:
    class Racing(MemoryStore):
        raced = False

        async def append(self, key: Key, lines: Sequence[bytes], **options: Any) -> Any:
            if b"compaction" in lines[0] and not self.raced:
                self.raced = True
                await super().append(key, [line("new", parent="c")])
            return await super().append(key, lines, **options)

    store = await store_of(CHAT, Racing())
    await compact(store, "k", "so far", "c")
    found = await window(store, "k", max_tokens=ALL)
    assert found is not None
    assert ids(found) == ["c", "new"]
    assert json.loads(found.summary_line or b"")["parentId"] == "new"


async def test_others_who_are_faster_each_time_make_a_conflict() -> None:
    class Losing(MemoryStore):
        async def append(self, key: Key, lines: Sequence[bytes], **options: Any) -> Any:
            await super().append(key, [line("new", parent="c")])
            return await super().append(key, lines, **options)

    with pytest.raises(Conflict):
        await compact(await store_of(CHAT, Losing()), "k", "so far", None)
