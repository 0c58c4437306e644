"""How things are called and what the files hold: injective names, bytes as they were, nobody else's business."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from sessionstore.sessions import Entry, Lifetime, Marks, SessionKey, Status
from sessionstore.sessions.directory import DirectoryStore, codec, names
from sessionstore.sessions.directory.codec import Damaged, Kept
from sessionstore.sessions.leases import LeaseState
from sessionstore.sessions.transitions import Record, Span

KEYS = some.text(some.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)
K = SessionKey("main", "k")
RECORD = Record(3, Status.ACTIVE, Entry(b'{"a":1}'), 1, 2, 3, transcripts={"t": Span(1, 2)})


@pytest.mark.parametrize("key", ["k", "../../etc/passwd", ".hidden", "a\nb", "x" * 108, "x" * 109, "\u00fc" * 2048])
def test_a_name_is_plain_whatever_the_key(key: str) -> None:
    stem = names.stem_of(key)
    assert names.is_stem(stem)
    assert set(stem) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    assert not stem.startswith(".")
    assert stem.startswith("h-") == (len(key.encode()) > names.MAX_PLAIN_BYTES)


@given(KEYS, KEYS)
def test_two_keys_never_have_one_name_even_where_case_is_not_told_apart(one: str, other: str) -> None:
    assert (names.stem_of(one).lower() == names.stem_of(other).lower()) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"), [("a", "A"), ("agent:main:K", "agent:main:k"), ("\u00e9", "e\u0301"), ("k ", "k"), ("aaa", "aaA")]
)
def test_neighbours_have_names_of_their_own(one: str, other: str) -> None:
    assert names.stem_of(one).lower() != names.stem_of(other).lower()


@given(KEYS)
def test_a_short_key_can_be_read_off_its_name(key: str) -> None:
    expected = key if len(key.encode()) <= names.MAX_PLAIN_BYTES else None
    assert names.text_of(names.stem_of(key)) == expected


@pytest.mark.parametrize("size", [1, 107, 108, 109, 4096])
def test_no_name_is_longer_than_file_systems_allow(size: int) -> None:
    place = names.place_of(SessionKey("A" * 64, "x" * size))
    longest = place.lines("\u00fc" * 127, 2**63)
    assert len(longest) <= 255
    assert names.stem_of_lines(longest) == place.stem
    assert names.is_ours(longest) and names.is_ours(place.record) and names.is_ours(place.lease)


@pytest.mark.parametrize("agent", ["main", "Main", "MAIN", "a.b-c_d", "...", ".x"])
def test_an_agent_can_be_read_off_its_directory(agent: str) -> None:
    assert names.agent_of(names.agent_directory(agent)) == agent


def test_agents_that_differ_by_case_have_directories_that_do_not() -> None:
    directories = {names.agent_directory(agent).lower() for agent in ("main", "Main", "MAIN", "maiN")}
    assert len(directories) == 4


@pytest.mark.parametrize("name", ["", "x", "s-aw.json", "s-aw.0.json", "S-AW.8254c329a92850f6.json", "h-12.json"])
def test_a_file_that_is_not_ours_is_told(name: str) -> None:
    assert not names.is_ours(name)


@pytest.mark.parametrize("name", ["", "~", "Main", "a b", "x~0123456789abcdef", "Main~0123456789abcdef", "x" * 65])
def test_a_directory_that_is_no_agent_s_is_told(name: str) -> None:
    assert names.agent_of(name) is None


@pytest.mark.parametrize(
    "entry", [b"{}", b' {"a" : 1.0 }\n', b'{"n":\n\n1e2,"entry":null}', '{"\u00fc":"\\ud800"}'.encode(), b"{\r\n}\t"]
)
@pytest.mark.parametrize(
    "key", ["k", '"', "\\", "line\nfeed", "\u2028", "\u00fc" * 2048, "__proto__", "entry", '",\n"entry":{}']
)
def test_a_record_comes_back_with_its_entry_s_very_bytes(entry: bytes, key: str) -> None:
    record = Record(
        5, Status.ARCHIVED, Entry(entry), 1, 2, 3, 4, 5, Marks("t\u00fc", ("a", "b"), True, "why"), Lifetime(7, 0),
        {"t": Span(2, 3), "u\u00fc": Span()},
    )  # fmt: skip
    name, kept = SessionKey("main", key), Kept(record, {"t": 99})
    data = codec.dump_record(name, kept)
    assert codec.parse_record(data) == (name, kept)
    assert json.loads(data)["entry"] == json.loads(entry)


def test_a_tombstone_comes_back() -> None:
    tomb = Kept(Record(4, Status.DELETED, None, 1, 2, 3, transcripts={"t": Span(2)}))
    assert codec.parse_record(codec.dump_record(K, tomb)) == (K, tomb)


GOOD = codec.dump_record(K, Kept(RECORD, {"t": 9}))


@pytest.mark.parametrize("size", range(len(GOOD)))
def test_no_part_of_a_record_passes_for_one(size: int) -> None:
    with pytest.raises(Damaged):
        codec.parse_record(GOOD[:size])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"layout":1', b'"layout":2'),
        (b'"revision":3', b'"revision":"3"'),
        (b'"revision":3', b'"revision":-3'),
        (b'"revision":3', b'"revision":true'),
        (b'"status":"active"', b'"status":"deleted"'),
        (b'"status":"active"', b'"status":"other"'),
        (b'"agent":"main"', b'"agent":".."'),
        (b'"key":"k"', b'"key":7'),
        (b'"marks":[', b'"marks":[1,'),
        (b'"t":[1,2,9]', b'"t":[1,2]'),
        (b'"lifetime":[null,null]', b'"lifetime":[-1,null]'),
        (b'{"a":1}', b'{"a":1,"a":2}'),
        (b'{"a":1}', b'{"sessionId":"../x"}'),
        (b'{"a":1}', b"null"),
        (b'{"a":1}', b"[]"),
        (b"main", b"ma\xffn"),
    ],
)
def test_a_record_that_was_changed_by_hand_is_damaged_rather_than_another(old: bytes, new: bytes) -> None:
    assert old in GOOD
    with pytest.raises(Damaged):
        codec.parse_record(GOOD.replace(old, new, 1))


def test_leases_documents_and_archives_come_back() -> None:
    lease = LeaseState("host/1", 7, 99)
    assert codec.parse_lease(codec.dump_lease(K, lease)) == (K, lease)
    assert codec.parse_document(codec.dump_document("a/\u00fc\n", b"\0\n\xff")) == ("a/\u00fc\n", b"\0\n\xff")
    head = codec.ArchiveHead("main", "x.jsonl.reset.1", 2, 3, 40)
    assert codec.parse_archive(codec.dump_archive(head)) == head
    with pytest.raises(Damaged):
        codec.parse_document(codec.dump_document("a", b"body")[:-1])


async def test_files_and_directories_are_the_owner_s_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = DirectoryStore(tmp_path / "new" / "store")
        await store.set("k", {"sessionId": "s"})
        await store.append("k", [b"1"])
        await store.put_archive("main", "x.jsonl.reset.1", [b"1"])
        await store.put_document("d", b"1")
        await store.acquire_lease("k", "me", 10)
    finally:
        os.umask(old)
    root = tmp_path / "new" / "store"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


async def test_the_layout_is_the_one_that_is_written_down(tmp_path: Path) -> None:
    """docs/design/0011-directory.md."""
    store = DirectoryStore(tmp_path)
    await store.set(SessionKey("Work", "k"), {"sessionId": "s"})
    await store.append(SessionKey("Work", "k"), [b"1"])
    await store.put_archive("main", "x.jsonl.reset.1", [b"1"])
    await store.put_document("d", b"1")
    stem, agent = names.stem_of("k"), names.agent_directory("Work")
    archive = names.stem_of("x.jsonl.reset.1")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(
        [
            "store.json",
            "locks",
            f"journal/{0:020d}.log",
            f"agents/{agent}/82/{stem}.json",
            "agents/" + "/".join([agent, "82", names.place_of(SessionKey("Work", "k")).lines("s", 0)]),
            f"archives/main/{archive}.json",
            "archives/main/" + names.lines_file(archive, "x.jsonl.reset.1", 0),
            f"documents/{names.stem_of('d')}.document",
        ]
    )
