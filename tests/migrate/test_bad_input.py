"""What is broken is carried as far as it can be, set aside with its reason and bytes, counted and told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from sessionstore.sessions import SessionKey, Store, iterate
from tests.migrate.conftest import run
from tests.migrate.states import HEADER, TURN, State

GOOD = b'{"sessionId":"g","updatedAt":1}'


@dataclass(frozen=True)
class Bad:
    """A way to break a state directory, and what must come of it.

    Attributes:
        lines: session key -> lines that must be in the store, for every session that must be there.
        kept: bytes that must be in a quarantine document; None where there are none to keep.
    """

    reason: str
    make: Callable[[State], object]
    lines: dict[str, tuple[bytes, ...]]
    kept: bytes | None
    quarantined: int = 0
    archives: tuple[str, ...] = ()


def _index(raw: bytes) -> Callable[[State], object]:
    def make(state: State) -> None:
        state.file("g.jsonl", HEADER + b"\n")
        state.index(raw)

    return make


def _session(**what: object) -> Callable[[State], object]:
    return lambda state: state.session("k", **what)  # type: ignore[arg-type]


def _linked(state: State) -> None:
    (state.root / "elsewhere.txt").write_bytes(HEADER + b"\n")
    state.session("k", lines=None)
    (state.folder / "id-0.jsonl").symlink_to(state.root / "elsewhere.txt")


def _pipe(state: State) -> None:
    state.session("k", lines=None)
    os.mkfifo(state.folder / "id-0.jsonl")


def _linked_index(state: State) -> None:
    (state.root / "elsewhere.json").write_bytes(b'{"k":' + GOOD + b"}")
    state.file("g.jsonl", HEADER + b"\n")
    (state.folder / "sessions.json").symlink_to(state.root / "elsewhere.json")


CASES = [
    pytest.param(
        Bad("InvalidJSON", _index(b"nothing like JSON"), {}, b"nothing like JSON", 1, ("g.jsonl",)),
        id="an index that is not JSON: its transcripts are carried as archives",
    ),
    pytest.param(Bad("InvalidJSON", _index(b""), {}, b"", 1, ("g.jsonl",)), id="an empty index"),
    pytest.param(Bad("NotAnObject", _index(b"[1]"), {}, b"[1]", 1, ("g.jsonl",)), id="an index that is an array"),
    pytest.param(
        Bad("InvalidJSON", _index(b'{"k":' + GOOD + b',"l":{"ses'), {"k": (HEADER,)}, b'{"ses', 1),
        id="an index that is torn: entries before the end are carried",
    ),
    pytest.param(
        Bad("InvalidJSON", _index(b'{"l":{"a":nope},"k":' + GOOD + b"}"), {"k": (HEADER,)}, b'{"a":nope}', 1),
        id="one entry that is not JSON",
    ),
    pytest.param(
        Bad("NotAnObject", _index(b'{"l":[],"k":' + GOOD + b"}"), {"k": (HEADER,)}, b"[]", 1),
        id="one entry that is an array",
    ),
    pytest.param(
        Bad("DuplicateKey", _index(b'{"l":{"a":1,"a":2},"k":' + GOOD + b"}"), {"k": (HEADER,)}, b'{"a":1,"a":2}', 1),
        id="a key twice within an entry",
    ),
    pytest.param(
        Bad("DuplicateKey", _index(b'{"k":{"old":1},"k":' + GOOD + b"}"), {"k": (HEADER,)}, b'{"old":1}', 1),
        id="a session twice: the later counts, as for OpenClaw",
    ),
    pytest.param(
        Bad("InvalidUTF8", _index(b'{"l":{"a":"\xff"},"k":' + GOOD + b"}"), {"k": (HEADER,)}, b'{"a":"\xff"}', 1),
        id="bytes that are not UTF-8 in one entry",
    ),
    pytest.param(
        Bad("NoSessionId", _index(b'{"l":{"updatedAt":1},"k":' + GOOD + b"}"), {"k": (HEADER,)}, b'{"updatedAt":1}', 1),
        id="an entry without sessionId",
    ),
    pytest.param(
        Bad("InvalidKey", _index(b'{"":{"sessionId":"x"},"k":' + GOOD + b"}"), {"k": (HEADER,)}, b'"x"', 1),
        id="an empty session key",
    ),
    pytest.param(
        Bad("InvalidTranscriptName", _index(b'{"l":{"sessionId":"a/b"},"k":' + GOOD + b"}"), {"k": (HEADER,)}, b"/", 1),
        id="a sessionId that is a path",
    ),
    pytest.param(
        Bad("InvalidTranscriptName",
            _index(b'{"l":{"sessionId":"x","sessionFile":"x/.jsonl"},"k":' + GOOD + b"}"), {"k": (HEADER,)}, b"x/", 1),
        id="a sessionFile that is a suffix alone",
    ),
    pytest.param(Bad("MissingTranscript", _session(lines=None), {"k": ()}, None), id="a missing transcript"),
    pytest.param(Bad("Symlink", _linked, {"k": ()}, None), id="a transcript that is a link"),
    pytest.param(Bad("SpecialFile", _pipe, {"k": ()}, None), id="a transcript that is a pipe"),
    pytest.param(Bad("Symlink", _linked_index, {}, None, 1, ("g.jsonl",)), id="an index that is a link"),
    pytest.param(
        Bad("TornLastLine", _session(lines=HEADER + b"\n" + TURN[:9]), {"k": (HEADER,)}, TURN[:9]),
        id="a torn last line",
    ),
    pytest.param(
        Bad("NotJSONLine", _session(lines=HEADER + b"\nnope\n" + TURN + b"\n"), {"k": (HEADER, b"nope", TURN)}, None),
        id="a line that is not JSON is carried as it is",
    ),
    pytest.param(
        Bad("InvalidUTF8", _session(lines=HEADER + b"\n\xff\n"), {"k": (HEADER, b"\xff")}, None),
        id="a line that is not UTF-8 is carried as it is",
    ),
    pytest.param(
        Bad("UnknownFile", lambda state: (state.session("k"), state.file("notes.txt", b"")), {"k": (HEADER,)}, None),
        id="a file that is none of OpenClaw's",
    ),
]  # fmt: skip


@pytest.mark.parametrize("bad", CASES)
async def test_bad_input_is_carried_or_set_aside_and_told(state: State, url: str, store: Store, bad: Bad) -> None:
    bad.make(state)

    answer = run("migrate", state.root, "--to", url)

    assert answer.status == 3, answer.stderr
    document = answer.document
    assert [problem["reason"] for problem in document["problems"]] == [bad.reason]
    assert (document["outcome"], document["quarantined"]) == ("Verified", bad.quarantined)
    for account in document["accounts"].values():
        assert account["found"] == sum(count for name, count in account.items() if name != "found")
    assert {info.key.key: await _lines(store, info.key) async for info in iterate(store)} == bad.lines
    assert tuple([archive.name async for archive in store.list_archives()]) == bad.archives
    if bad.kept is not None:
        assert bad.kept in (await _quarantine(store))[bad.reason]
    assert run("verify", state.root, "--against", url).status == 3


async def test_what_is_quarantined_twice_is_kept_once(state: State, url: str, store: Store) -> None:
    state.session("k", lines=HEADER + b"\n{")

    first = run("migrate", state.root, "--to", url).document
    second = run("migrate", state.root, "--to", url).document

    assert first["kept"] == second["kept"] == [name async for name in store.list_documents("migration/default/quar")]
    assert len(first["kept"]) == 1


async def test_a_last_line_without_line_feed_is_no_torn_one(state: State, url: str, store: Store) -> None:
    state.session("k", lines=HEADER + b"\n" + TURN)

    assert run("migrate", state.root, "--to", url).status == 0
    assert await _lines(store, SessionKey("main", "k")) == (HEADER, TURN)


async def test_an_entry_takes_its_transcript_by_base_name(state: State, url: str, store: Store) -> None:
    state.session("k", sessionId="s", sessionFile="C:\\Users\\me\\.openclaw\\fork_s.jsonl")
    state.file("fork_s.jsonl", HEADER + b"\n" + TURN + b"\n")
    (state.folder / "s.jsonl").unlink()

    assert run("migrate", state.root, "--to", url).status == 0
    assert await _lines(store, SessionKey("main", "k")) == (HEADER, TURN)


async def test_two_sessions_of_one_transcript_have_a_copy_each(state: State, url: str, store: Store) -> None:
    state.session("a", sessionId="s")
    state.session("A", sessionId="s")

    answer = run("migrate", state.root, "--to", url)

    assert (answer.status, answer.document["lines"], answer.document["orphans"]) == (0, 2, 0)
    assert await _lines(store, SessionKey("main", "A")) == await _lines(store, SessionKey("main", "a")) == (HEADER,)


async def test_a_transcript_that_no_entry_names_becomes_an_archive(state: State, url: str, store: Store) -> None:
    state.session("k")
    state.file("lost.jsonl", HEADER + b"\n" + TURN + b"\n")

    answer = run("migrate", state.root, "--to", url)

    assert (answer.status, answer.document["archives"], answer.document["orphans"]) == (0, 1, 1)
    assert await store.read_archive("main", "lost.jsonl") == (HEADER, TURN)


async def test_a_file_above_the_limit_stays_in_the_source_and_is_told(state: State, url: str, store: Store) -> None:
    state.session("k", lines=HEADER + b"\n" + b" " * 1000 + b"\n")

    answer = run("migrate", state.root, "--to", url, "--max-file-bytes", 500)

    assert (answer.status, answer.document["problems"][0]["reason"]) == (3, "TooLarge")
    assert await _lines(store, SessionKey("main", "k")) == ()


def test_many_broken_lines_of_one_file_are_told_in_few_problems(state: State) -> None:
    state.session("k", lines=b"nope\n" * 1000 + b"{")

    problems = run("inspect", state.root).document["problems"]

    assert [problem["reason"] for problem in problems] == ["NotJSONLine"] * 11 + ["TornLastLine"]
    assert problems[10]["detail"] == "990 more lines like this"


@pytest.mark.parametrize("link", ["agents/other", "agents/other/sessions"])
async def test_a_link_that_sessions_lie_behind_is_not_followed_and_not_left_behind(
    state: State, store: Store, url: str, link: str
) -> None:
    """People move a directory to another volume and leave a link: the gateway must not be switched without it."""
    state.session("k")
    (state.root / link).parent.mkdir(exist_ok=True)
    (state.root / link).symlink_to(state.folder)

    looked, answer = run("inspect", state.root), run("migrate", state.root, "--to", url)

    assert (looked.status, looked.document["sessions"]) == (3, 1)
    assert [(p["path"], p["reason"]) for p in looked.document["problems"]] == [(link, "UnsupportedLayout")]
    assert (answer.status, answer.document["reason"]) == (1, "UnsupportedLayout")
    assert "a symbolic link" in answer.document["message"]
    assert await store.count(status=None) == 0


async def _lines(store: Store, key: SessionKey) -> tuple[bytes, ...] | None:
    read = await store.read(key)
    return read.lines if read else None


async def _quarantine(store: Store) -> dict[str, bytes]:
    """Return reason -> the bytes that are kept for it."""
    found = {}
    async for name in store.list_documents("migration/default/quarantine/"):
        header, raw = (await store.get_document(name) or b"").split(b"\n", 1)
        assert json.loads(header)["bytes"] == len(raw)
        found[json.loads(header)["reason"]] = raw
    return found
