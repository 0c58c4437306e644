"""What is put in comes out: keys and entries, whatever they hold."""

from __future__ import annotations

import json

import pytest

from sessionstore.sessions import Entry, InvalidEntry, InvalidKey, SessionKey, Status, Store, iterate
from sessionstore.sessions.record import MAX_ENTRY_BYTES, EntryLike
from tests.contract.conftest import Backend

KEYS = [
    pytest.param("agent:main:main", id="OpenClaw's own"),
    pytest.param("agent:main:signal:group:AbC+/dEf==", id="slash, plus, equals"),
    pytest.param("agent:main:matrix:channel:!AbCdEf:Example.org", id="upper case"),
    pytest.param("100%25 @user:host", id="percent and at"),
    pytest.param(".hidden", id="leading dot"),
    pytest.param("../../etc/passwd", id="a path upwards"),
    pytest.param("__proto__", id="a name that JavaScript trips over"),
    pytest.param("agent:main:dashboard:über/ünïcode 空間 🦞", id="not ASCII"),
    pytest.param("{b1}*?[a]\\", id="braces and wildcards"),
    pytest.param("line\nfeed\ttab\x1b\x7f", id="control characters"),
    pytest.param("x", id="one byte"),
    pytest.param("é" * 2048, id="4096 bytes"),
]
ENTRIES = [
    pytest.param(b"{}", id="empty"),
    pytest.param(b'{"unknown":{"deep":[1,{"er":null}]},"sessionId":"s"}', id="unknown fields"),
    pytest.param(b'{"n":9007199254740993,"m":-123456789012345678901234567890}', id="integers over 2^53"),
    pytest.param(b'{"z":1,"a":2,"m":3}', id="key order"),
    pytest.param(b'{"a":1.0,"b":1e2,"c":-0,"d":1E+2,"e":1.50}', id="number forms"),
    pytest.param(b'{"cut":"\\ud83d","other":"\\udc00x"}', id="lone surrogates"),
    pytest.param(b'{"a":"\\u00e9\\/\\u0041"}', id="escapes"),
    pytest.param('{"ключ":"空間 🦞"}'.encode(), id="not ASCII"),
    pytest.param(b'{"nul":"\\u0000"}', id="NUL in a value"),
    pytest.param(b'{"__proto__":{"x":1},"constructor":2}', id="names that JavaScript trips over"),
    pytest.param(b'{"updatedAt":"yesterday","sessionId":7}', id="known fields of a wrong type"),
]
REFUSED_ENTRIES = [
    pytest.param(b"", id="nothing"),
    pytest.param(b"[]", id="an array"),
    pytest.param(b"null", id="null"),
    pytest.param(b'{"a":1', id="torn"),
    pytest.param(b'{"a":1} x', id="more behind it"),
    pytest.param(b'{"a":NaN}', id="NaN"),
    pytest.param(b'{"a":-Infinity}', id="Infinity"),
    pytest.param(b'{"a":1,"b":{"x":1,"\\u0078":2}}', id="a key twice, deep, one escaped"),
    pytest.param(b'{"a":"\xff"}', id="no UTF-8"),
    pytest.param(b'{"a":"\xed\xa0\x80"}', id="a surrogate in UTF-8"),
    pytest.param(b'{"a":' * 5000 + b"1" + b"}" * 5000, id="nested too deep"),
    pytest.param('{"a":"\ud800"}', id="text with a lone surrogate"),
    pytest.param({"a": float("nan")}, id="a mapping with NaN"),
    pytest.param({"a": object()}, id="a mapping that is not JSON"),
    pytest.param(b'{"sessionId":"../up"}', id="a transcript id that is a path"),
]


@pytest.mark.parametrize("key", KEYS)
async def test_a_key_is_opaque(store: Store, key: str) -> None:
    written = await store.set(SessionKey("main", key), {"sessionId": "s", "updatedAt": 5})
    assert await store.get(SessionKey("main", key)) == written
    assert [info.key async for info in iterate(store)] == [SessionKey("main", key)]


async def test_keys_that_differ_by_case_or_by_agent_are_different_sessions(store: Store) -> None:
    names = [
        SessionKey("main", "Room"),
        SessionKey("main", "room"),
        SessionKey("work", "room"),
        SessionKey("Main", "room"),
    ]
    for number, name in enumerate(names):
        await store.set(name, {"number": number})
    assert [(await store.get(name)).entry["number"] for name in names] == [0, 1, 2, 3]


async def test_plain_text_names_its_agent(store: Store) -> None:
    await store.set("agent:work:main", {"a": 1})
    assert await store.exists(SessionKey("work", "agent:work:main"))
    await store.set("anything else", {"a": 2})
    assert await store.exists(SessionKey("main", "anything else"))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        pytest.param("", "0 bytes", id="empty"),
        pytest.param("é" * 2048 + "x", "4097 bytes", id="4097 bytes"),
        pytest.param("a\0b", "NUL at position 1", id="NUL"),
        pytest.param("ab\ud800", "surrogate at position 2", id="lone surrogate"),
    ],
)
async def test_an_impossible_key_is_refused_with_the_place(store: Store, key: str, message: str) -> None:
    with pytest.raises(InvalidKey, match=message):
        await store.get(key)


@pytest.mark.parametrize("agent", ["", "..", "a/b", "a:b", "x" * 65])
async def test_an_impossible_agent_is_refused(store: Store, agent: str) -> None:
    with pytest.raises(InvalidKey, match="agent"):
        await store.set(SessionKey(agent, "k"), {})


@pytest.mark.parametrize("entry", ENTRIES)
async def test_an_entry_keeps_its_bytes(store: Store, entry: bytes) -> None:
    written = await store.set("k", entry)
    found = await store.get("k")
    assert found == written
    assert found.entry.raw == entry


async def test_white_space_in_an_entry_is_kept_as_declared(store: Store, backend: Backend) -> None:
    given = b'{ "a" : [ 1 , "x y" ],\n "b":{} }'
    await store.set("k", given)
    found = (await store.get("k")).entry.raw
    assert found == (given if backend.declared["entry_white_space"] == "kept" else b'{"a":[1,"x y"],"b":{}}')


@pytest.mark.parametrize("entry", REFUSED_ENTRIES)
async def test_what_is_no_entry_is_refused_and_changes_nothing(store: Store, entry: EntryLike) -> None:
    before = await store.set("k", {"sessionId": "s"})
    with pytest.raises(InvalidEntry):
        await store.set("k", entry)
    assert await store.get("k") == before


async def test_an_entry_of_8_mib_is_kept_and_one_byte_more_is_refused(store: Store) -> None:
    frame = b'{"sessionId":"s","x":"%s"}'
    room = MAX_ENTRY_BYTES - len(frame) + 2
    largest = frame % (b"y" * room)
    await store.set("k", largest)
    assert (await store.get("k")).entry.raw == largest
    with pytest.raises(InvalidEntry, match=f"{MAX_ENTRY_BYTES + 1} bytes"):
        await store.set("k", frame % (b"y" * (room + 1)))


async def test_a_mapping_is_written_as_json(store: Store) -> None:
    await store.set("k", {"text": "ü\ud800", "number": 2**60})
    raw = (await store.get("k")).entry.raw
    assert raw == '{"text":"ü\\ud800","number":1152921504606846976}'.encode()
    assert json.loads(raw)["number"] == 2**60


async def test_fields_are_set_and_the_others_keep_their_bytes(store: Store) -> None:
    await store.set("k", b'{"n":1e2,"status":"old","z":-0}')
    found = await store.get("k")
    await store.set("k", found.entry.with_fields({"status": "new", "added": [1]}), expected=found.revision)
    assert (await store.get("k")).entry == Entry(b'{"n":1e2,"status":"new","z":-0,"added":[1]}')


async def test_an_absent_session_is_none_and_not_empty(store: Store) -> None:
    assert await store.get("nobody") is None
    assert await store.exists("nobody") is False
    assert await store.read("nobody") is None
    assert await store.delete("nobody") is False


async def test_times_tell_when_the_conversation_moved_and_when_it_was_written(store: Store) -> None:
    session = await store.set("k", {"sessionId": "s", "updatedAt": 1_700_000_000_000})
    assert session.status is Status.ACTIVE
    assert session.updated_ms == 1_700_000_000_000
    assert session.created_ms == session.written_ms > session.updated_ms
    await store.append("k", [b"{}"])
    moved = await store.get("k")
    assert moved.updated_ms == moved.written_ms >= session.written_ms
    assert moved.created_ms == session.created_ms
