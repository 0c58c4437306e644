"""What lies beneath an encrypted store tells nothing, and nothing of it can be changed, moved or left out unnoticed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionstore.openclaw import rawjson
from sessionstore.sessions import (
    Conflict,
    Entry,
    InvalidEntry,
    Query,
    SessionKey,
    Store,
    TranscriptHead,
    Unreadable,
    iterate,
)
from sessionstore.sessions.encryption import EncryptedStore, Keyring
from sessionstore.sessions.encryption.sealing import Sealing, archive, place_of
from sessionstore.sessions.memory import MemoryStore
from sessionstore.sessions.record import MAX_ENTRY_BYTES, MAX_TEXT_BYTES

OLD, NEW = b"\1" * 32, b"\2" * 32
OLD_ID, NEW_ID = Keyring([OLD]).last, Keyring([NEW]).last
NAME = SessionKey("main", "agent:main:telegram:direct:alice")
ENTRY = (
    b'{ "sessionId":"s", "updatedAt":1000, "label":"SECRET-1", "senderId":"SECRET-2", "channel":"SECRET-3", "n":1e2 }'
)
SEALING = Sealing(Keyring([OLD, NEW]))

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = (
    st.sampled_from(["label", "senderId", "channel", "sessionId", "updatedAt", "sessionFile", "a", "ü"]) | st.text()
)
ENTRIES = st.dictionaries(MEMBERS, JSON, max_size=6)
KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)
LINES = st.binary(max_size=200).filter(lambda line: b"\n" not in line)


def encrypted(inner: Store, *keys: bytes, **options: Any) -> EncryptedStore:
    return EncryptedStore(inner, Keyring(keys or (NEW,)), **options)


@pytest.fixture
def inner() -> MemoryStore:
    return MemoryStore()


# -- nothing is told ----------------------------------------------------------------------------


async def test_the_store_beneath_sees_nothing_but_what_it_needs(inner: MemoryStore) -> None:
    store = encrypted(inner)
    await store.set(NAME, ENTRY)
    await store.append(NAME, [b"SECRET-4"])
    await store.title(NAME, "SECRET-5")
    await store.put_archive("main", "x", [b"SECRET-6"])
    await store.put_document("d", b"SECRET-7")
    kept = await inner.get(NAME)
    assert {name: kept.entry[name] for name in kept.entry if name != "$encrypted"} == {
        "sessionId": "s", "updatedAt": 1000, "$end": "encrypted",
    }  # fmt: skip
    beneath = [
        kept.entry.raw, *(await inner.read(NAME)).lines, repr(kept.marks).encode(), repr(await inner.list()).encode(),
        *(await inner.read_archive("main", "x")), await inner.get_document("d"),
    ]  # fmt: skip
    assert [found for found in beneath if b"SECRET" in found] == []
    assert (await store.get(NAME)).entry.raw == ENTRY


async def test_equal_things_are_not_equal_beneath(inner: MemoryStore) -> None:
    store = encrypted(inner)
    for key in ("a", "b"):
        await store.set(key, ENTRY)
        await store.append(key, [b"x", b"x"])
    lines = [line for key in ("a", "b") for line in (await inner.read(key)).lines]
    assert len(set(lines)) == 4
    told = (await inner.list()).items
    assert len({row.sender for row in told}) == len({row.channel for row in told}) == 2


async def test_a_transcript_is_found_by_the_file_that_the_entry_names(inner: MemoryStore) -> None:
    store = encrypted(inner)
    await store.set("k", {"sessionId": "s", "sessionFile": "C:\\Users\\me\\other.jsonl"})
    assert (await inner.get("k")).entry["sessionFile"] == "other.jsonl"
    assert await store.append("k", [b"x"]) == TranscriptHead("other", 0, 1)


async def test_a_very_long_session_id_is_not_told(inner: MemoryStore) -> None:
    store = encrypted(inner)
    entry = {"sessionId": "x" * 4_000_000, "sessionFile": "s.jsonl"}
    await store.set("k", entry)
    assert "sessionId" not in (await inner.get("k")).entry
    assert dict((await store.get("k")).entry) == entry


# -- all comes back -----------------------------------------------------------------------------


@given(key=KEYS, entry=ENTRIES, indent=st.sampled_from([None, 1]))
def test_any_entry_comes_back_byte_for_byte(key: str, entry: dict[str, Any], indent: int | None) -> None:
    name, raw = SessionKey("main", key), json.dumps(entry, indent=indent).encode()
    given_entry = Entry(raw)
    try:
        told = given_entry.transcript_id
    except InvalidEntry:
        with pytest.raises(InvalidEntry):
            SEALING.seal_entry(name, given_entry)
        return
    sealed = SEALING.seal_entry(name, given_entry)
    assert dict(Entry(sealed.raw)) == dict(sealed)
    assert Entry(sealed.raw).transcript_id == told
    assert sealed.updated_ms == given_entry.updated_ms
    assert SEALING.open_entry(name, sealed).raw == raw


@given(
    key=KEYS, entry=ENTRIES, fields=st.sets(st.sampled_from(["label", "senderId", "a", "ü", "transcript"]), min_size=1)
)
def test_any_entry_comes_back_by_fields(key: str, entry: dict[str, Any], fields: set[str]) -> None:
    name, raw = SessionKey("main", key), rawjson.dump(entry)
    sealing = Sealing(Keyring([NEW]), fields)
    sealed = sealing.seal_entry(name, Entry(raw))
    assert sealing.open_entry(name, sealed).raw == raw
    beneath = dict(sealed)
    assert beneath.pop("$encrypted")["fields"] == [field for field in entry if field in fields]
    assert {field: value for field, value in beneath.items() if field not in fields} == {
        field: value for field, value in json.loads(raw).items() if field not in fields
    }


@given(key=KEYS, line=LINES)
def test_any_line_comes_back_and_stays_one_line(key: str, line: bytes) -> None:
    place = place_of(SessionKey("main", key))
    sealed = SEALING.seal_line(place, line)
    assert b"\n" not in sealed
    assert json.loads(sealed)["type"] == "encrypted"
    assert SEALING.open_line(place, sealed) == line


async def test_the_largest_entry_by_a_field_and_the_longest_title_are_kept(inner: MemoryStore) -> None:
    frame = b'{"sessionId":"s","label":"%s"}'
    largest = frame % (b"y" * (MAX_ENTRY_BYTES - len(frame) + 2))
    for store in (encrypted(inner), encrypted(inner, fields=["label", "title"])):
        await store.set("k", largest)
        assert (await store.get("k")).entry.raw == largest
        with pytest.raises(InvalidEntry, match=f"{MAX_ENTRY_BYTES + 1} bytes"):
            await store.set("k", largest + b" ")
        await store.title("k", "x" * MAX_TEXT_BYTES)
        assert (await store.list()).items[0].title == "x" * MAX_TEXT_BYTES


async def test_an_entry_that_looks_encrypted_is_an_entry_like_any_other(inner: MemoryStore) -> None:
    look_alike = SEALING.seal_entry(NAME, Entry(b"{}")).raw
    store = encrypted(inner)
    await store.set("k", look_alike)
    assert (await store.get("k")).entry.raw == look_alike
    with pytest.raises(InvalidEntry, match="encrypted"):
        await encrypted(inner, fields=["a"]).set("k", look_alike)


# -- nothing is changed unnoticed ---------------------------------------------------------------


@given(entry=ENTRIES, at=st.integers(0), bit=st.integers(0, 7))
def test_any_flipped_bit_of_an_entry_is_unreadable(entry: dict[str, Any], at: int, bit: int) -> None:
    entry.pop("sessionFile", None)
    entry |= {"sessionId": "s", "senderId": "me"}
    sealed = SEALING.seal_entry(NAME, Entry(rawjson.dump(entry))).raw
    damaged = flipped(sealed, at, bit)
    try:
        stored = Entry(damaged)
    except InvalidEntry:
        return  # No backend hands that out.
    with pytest.raises(Unreadable, match="session main/agent:main:telegram:direct:alice cannot be read"):
        SEALING.open_entry(NAME, stored)


@given(line=LINES, at=st.integers(0), bit=st.integers(0, 7))
def test_any_flipped_bit_of_a_line_is_unreadable(line: bytes, at: int, bit: int) -> None:
    place = place_of(NAME)
    with pytest.raises(Unreadable, match="session main/"):
        SEALING.open_line(place, flipped(SEALING.seal_line(place, line), at, bit))


@given(body=st.binary(max_size=100), at=st.integers(0), bit=st.integers(0, 7))
def test_any_flipped_bit_of_a_document_is_unreadable(body: bytes, at: int, bit: int) -> None:
    with pytest.raises(Unreadable, match="document d"):
        SEALING.open_document("d", flipped(SEALING.seal_document("d", body), at, bit))


@given(at=st.integers(0), bit=st.integers(0, 6))
def test_any_flipped_bit_of_a_title_is_unreadable(at: int, bit: int) -> None:
    sealed = SEALING.seal_text(place_of(NAME), "title", "x")
    with pytest.raises(Unreadable, match="title"):
        SEALING.open_title(NAME, flipped(sealed.encode(), at, bit).decode())


@given(at=st.integers(0), bit=st.integers(0, 7))
def test_any_flipped_bit_of_a_field_is_unreadable(at: int, bit: int) -> None:
    sealing = Sealing(Keyring([NEW]), ["label"])
    sealed = sealing.seal_entry(NAME, Entry(b'{"label":"x","n":1}')).raw
    value = dict(rawjson.members(sealed))["label"]
    try:
        stored = Entry(sealed.replace(value, flipped(value, at, bit)))
    except InvalidEntry:
        return
    with pytest.raises(Unreadable, match="session main/"):
        sealing.open_entry(NAME, stored)


def flipped(raw: bytes, at: int, bit: int) -> bytes:
    """Return `raw` with one bit turned, at any place: numbers beyond its end begin anew."""
    at %= len(raw)
    return raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :]


@given(one=KEYS, other=KEYS, line=LINES)
def test_what_is_moved_to_another_session_is_unreadable(one: str, other: str, line: bytes) -> None:
    first, second = SessionKey("main", one), SessionKey("main" if one != other else "work", other)
    sealed = SEALING.seal_entry(first, Entry(b'{"label":"x"}'))
    with pytest.raises(Unreadable):
        SEALING.open_entry(second, sealed)
    with pytest.raises(Unreadable):
        SEALING.open_line(place_of(second), SEALING.seal_line(place_of(first), line))
    with pytest.raises(Unreadable):
        SEALING.open_title(second, SEALING.seal_text(place_of(first), "title", "x"))
    with pytest.raises(Unreadable):
        SEALING.open_line(archive(first.agent, first.key[:50]), SEALING.seal_line(place_of(first), line))


def test_what_is_moved_within_a_session_is_unreadable() -> None:
    place, by_fields = place_of(NAME), Sealing(Keyring([NEW]), ["a", "b"])
    with pytest.raises(Unreadable, match="title"):
        SEALING.open_title(NAME, SEALING.seal_text(place, "sender", "x"))
    sealed = by_fields.seal_entry(NAME, Entry(b'{"a":1,"b":2}')).raw
    values = dict(rawjson.members(sealed))
    swapped = rawjson.replace_values(sealed, {"a": values["b"], "b": values["a"]})
    with pytest.raises(Unreadable, match="field"):
        by_fields.open_entry(NAME, Entry(swapped))


async def test_a_damaged_line_costs_the_reads_that_have_it(inner: MemoryStore) -> None:
    store = encrypted(inner)
    await store.set("k", ENTRY)
    await store.append("k", [b"0", b"1"])
    lines = (await inner.read("k")).lines
    await inner.rewrite("k", [lines[0], lines[1].replace(b'"v":1', b'"v":2')])
    assert (await store.read("k", 0, 1)).lines == (b"0",)
    with pytest.raises(Unreadable, match="line was encrypted, and is damaged"):
        await store.read("k")


# -- keys change --------------------------------------------------------------------------------

READS: list[Callable[[Store], Awaitable[object]]] = [
    lambda store: store.get("k"),
    lambda store: store.get_many(["k"]),
    lambda store: store.read("k"),
    lambda store: store.read_many(["k"]),
    lambda store: store.list(),
    lambda store: store.search(Query(sender="me")),
    lambda store: store.invalidate(sender="me"),
    lambda store: store.pin("k"),
    lambda store: store.append("k", [b"x"], position=0),
    lambda store: store.read_archive("main", "x"),
    lambda store: store.get_document("d"),
]


async def filled(store: Store) -> None:
    await store.set("k", {"sessionId": "s", "senderId": "me"})
    await store.append("k", [b"0"])
    await store.title("k", "t")
    await store.put_archive("main", "x", [b"1"])
    await store.put_document("d", b"2")


@pytest.mark.parametrize("number", range(len(READS)))
async def test_a_missing_key_is_unreadable_and_never_empty(inner: MemoryStore, number: int) -> None:
    await filled(encrypted(inner, OLD))
    with pytest.raises(Unreadable, match=OLD_ID) as caught:
        await READS[number](encrypted(inner, NEW))
    assert any(name in str(caught.value) for name in ("session main/k", "archive main/x", "document d"))


async def test_a_missing_key_keeps_nobody_from_deleting(inner: MemoryStore) -> None:
    await filled(encrypted(inner, OLD))
    store = encrypted(inner, NEW)
    assert [await store.exists("k"), await store.count(), await store.delete("k")] == [True, 1, True]


async def test_keys_go_from_old_to_new_with_each_write(inner: MemoryStore) -> None:
    await filled(encrypted(inner, OLD))
    both = encrypted(inner, OLD, NEW)
    assert (await both.read("k")).lines == (b"0",)
    before = await both.get("k")
    assert before.marks.title == "t"
    await both.set("k", before.entry, expected=before.revision)
    await both.append("k", [b"1"], position=1)
    assert [OLD_ID.encode() in line for line in (await inner.read("k")).lines] == [True, False]
    await both.rewrite("k", (await both.read("k")).lines)
    await both.title("k", None)
    await both.title("k", "t")
    await both.put_document("d", await both.get_document("d"))
    new = encrypted(inner, NEW)
    assert (await new.get("k")).entry == before.entry
    assert (await new.read("k")).lines == (b"0", b"1")
    assert ((await new.list()).items[0].title, await new.get_document("d")) == ("t", b"2")
    assert OLD_ID not in repr((await inner.get("k"), (await inner.get("k")).entry.raw, await inner.read("k")))


# -- from plain, and back to it -----------------------------------------------------------------


async def test_what_is_in_plain_is_read_and_encrypted_by_its_next_write(inner: MemoryStore) -> None:
    await filled(inner)
    store = encrypted(inner)
    found = await store.get("k")
    assert (found.marks.title, found.entry["senderId"], (await store.read("k")).lines) == ("t", "me", (b"0",))
    assert await store.append("k", [b"0"], position=0) == TranscriptHead("s", 0, 1)
    assert await store.read_archive("main", "x") == (b"1",)
    assert await store.get_document("d") == b"2"
    assert (await store.search(Query(sender="me"))).items[0].key.key == "k"
    await store.set("k", found.entry)
    assert b"senderId" not in (await inner.get("k")).entry.raw


@pytest.mark.parametrize("number", range(len(READS)))
async def test_what_is_in_plain_is_refused_on_request(inner: MemoryStore, number: int) -> None:
    await filled(inner)
    with pytest.raises(Unreadable, match="is not encrypted and encryption_require is set"):
        await READS[number](encrypted(inner, require=True))


async def test_what_the_key_tells_is_no_plain_text(inner: MemoryStore) -> None:
    store = encrypted(inner, require=True)
    await store.set(NAME, {"sessionId": "s"})
    (row,) = (await store.list()).items
    assert (row.channel, row.sender) == ("telegram", "alice")


# -- fields -------------------------------------------------------------------------------------


async def test_fields_alone_are_encrypted(inner: MemoryStore) -> None:
    store = encrypted(inner, fields=["label", "senderId"])
    raw = b'{"label":{"deep":[1e2]},"senderId":"me","n":1E+2 , "updatedAt":7}'
    await store.set("k", raw)
    await store.set("k", (await store.get("k")).entry.with_fields({"sessionId": "s"}))
    await store.append("k", [b"line"])
    await store.title("k", "t")
    beneath = await inner.get("k")
    assert b"deep" not in beneath.entry.raw
    assert b'"n":1E+2 , "updatedAt":7' in beneath.entry.raw
    assert ((await inner.read("k")).lines, beneath.marks.title) == ((b"line",), "t")
    assert (await store.get("k")).entry.raw == raw[:-1] + b',"sessionId":"s"}'
    assert (await inner.search(Query(sender="me"))).items == ()
    assert await store.invalidate(sender="me") == 1


async def test_words_among_the_fields_are_transcripts_and_titles(inner: MemoryStore) -> None:
    store = encrypted(inner, fields=["transcript", "title"])
    await filled(store)
    assert dict((await inner.get("k")).entry)["senderId"] == "me"
    beneath = [*(await inner.read("k")).lines, *(await inner.read_archive("main", "x"))]
    assert all(line.startswith(b'{"type":"encrypted"') for line in beneath)
    assert (await inner.get("k")).marks.title.startswith("$encrypted:1:")
    assert [(await store.read("k")).lines, (await store.get("k")).marks.title] == [(b"0",), "t"]


async def test_what_people_choose_may_look_encrypted_where_it_stays_in_clear(inner: MemoryStore) -> None:
    store, line = encrypted(inner, fields=["other"]), b'{"type":"encrypted","v":1,"key":"'
    await store.set("k", {"sessionId": "s", "subject": "$encrypted:1:mine", "senderId": "ann:end$"})
    await store.append("k", [line, b"plain"])
    (row,) = (await store.list()).items
    assert (row.title, row.sender) == ("$encrypted:1:mine", "ann:end$")
    await store.title("k", "$encrypted:1:yours")
    assert (await store.get("k")).marks.title == (await store.list()).items[0].title == "$encrypted:1:yours"
    assert ((await store.read("k")).lines, (await inner.read("k")).lines[1]) == ((line, b"plain"), b"plain")


async def test_a_key_that_ends_like_what_is_encrypted_breaks_no_list(inner: MemoryStore) -> None:
    store = encrypted(inner, require=True)
    await store.set("agent:main:irc:direct:ann:end$", {"sessionId": "s"})
    assert [row.sender for row in (await store.list()).items] == ["ann:end$"]
    assert await store.invalidate(sender="ann:end$") == 1


async def test_whole_and_by_fields_read_one_another(inner: MemoryStore) -> None:
    whole, by_fields = encrypted(inner), encrypted(inner, fields=["senderId"])
    await whole.set("a", ENTRY)
    await by_fields.set("b", ENTRY)
    assert [(await store.get(key)).entry.raw.strip() for store, key in ((whole, "b"), (by_fields, "a"))] == [ENTRY] * 2


# -- what needs the content ---------------------------------------------------------------------


async def test_a_conflict_tells_the_record_as_it_is(inner: MemoryStore) -> None:
    store = encrypted(inner)
    current = await store.set("k", {"sessionId": "s", "n": 1})
    for change in (
        store.set("k", {}, expected=7),
        store.delete("k", expected=7),
        store.title("k", "t", expected=7),
        store.archive("k", expected=7),
        store.append("k", [b"x"], position=9),
        store.rewrite("k", [], expected=7),
    ):
        with pytest.raises(Conflict) as caught:
            await change
        assert caught.value.current == current


async def test_a_repeated_append_is_told_from_another_one(inner: MemoryStore) -> None:
    store = encrypted(inner, OLD)
    await store.set("k", {"sessionId": "s"})
    head = await store.append("k", [b"0", b"1"], position=0)
    later = encrypted(inner, OLD, NEW)
    assert await later.append("k", [b"0", b"1"], position=0) == head
    assert await later.append("k", [b"1"], position=1, generation=0) == head
    with pytest.raises(Conflict):
        await later.append("k", [b"0", b"2"], position=0)
    assert (await inner.get("k")).revision == 2


async def test_an_append_whose_transcript_is_rewritten_meanwhile_looks_again(inner: MemoryStore) -> None:
    class Hasty(MemoryStore):
        """Lets somebody else rewrite between the conflict and the look at the lines."""

        hurry = True

        async def read(self, *arguments: Any, **options: Any) -> Any:
            if self.hurry:
                self.hurry = False
                await self.rewrite("k", [])
            return await super().read(*arguments, **options)

    beneath = Hasty()
    store = encrypted(beneath)
    await store.set("k", {"sessionId": "s"})
    await store.append("k", [b"0"], position=0)
    assert await store.append("k", [b"0"], position=0) == TranscriptHead("s", 1, 1)


async def test_a_search_goes_over_many_pages_and_is_bounded(inner: MemoryStore) -> None:
    store = encrypted(inner)
    for number in range(1203):
        await store.set(f"k{number}", {"senderId": "me" if number % 400 == 0 else "you", "updatedAt": number})
    found = [info.key.key for info in (await store.search(Query(sender="me"))).items]
    assert found == ["k1200", "k800", "k400", "k0"]
    page = await store.search(Query(sender="me"), limit=3)
    assert [info.key.key for info in page.items] == found[:3]
    rest = await store.search(Query(sender="me"), limit=3, cursor=page.cursor)
    assert ([info.key.key for info in rest.items], rest.cursor) == (found[3:], None)
    assert await store.invalidate(sender="me") == 4
    assert await store.count() == 1199


async def test_health_says_which_key_encrypts(inner: MemoryStore) -> None:
    assert dict((await encrypted(inner, OLD, NEW).health()).facts)["encryption"] == f"AES-256-GCM, whole, key {NEW_ID}"
    assert "by fields" in dict((await encrypted(inner, fields=["a"]).health()).facts)["encryption"]


async def test_rows_and_walks_are_those_of_a_plain_store(inner: MemoryStore) -> None:
    plain, store = MemoryStore(), encrypted(inner)
    for kept in (plain, store):
        await kept.set(NAME, ENTRY)
        await kept.set("k", {"displayName": "x", "updatedAt": 5})
        await kept.append(NAME, [b"1"])
        await kept.tag("k", add=["a"])
        await kept.set(NAME, ENTRY)
    rows = [[dataclasses.replace(row) async for row in iterate(kept)] for kept in (plain, store)]
    assert rows[0] == rows[1]
