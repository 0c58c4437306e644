"""Mutations of one entry of an index, all others left as they are: what a plugin or a person may have written."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from tests.fuzz.site import Known, Site, Touch, touched

Entry = Callable[[bytes, Site, random.Random], bytes]

_NUMBERS = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0", b"0.1e-400", b"9007199254740993", b"1" * 400, b"1" * 5000,
    b"-1", b"01", b"1.", b"0x10", b"null", b"true", b'"1"', b"[]", b"1700000000000.5", b"1e400",
)  # fmt: skip
_KEYS = (
    b'""', b'"' + b"k" * 4096 + b'"', b'"' + b"k" * 4097 + b'"', b'"\\u0000"', b'"a\\u0000b"', b'"\\ud800"',
    b'"__proto__"', b'"constructor"', b'"agent:other:x"', b'"AGENT:MAIN:CHAT:0"', b'"a\\nb"', b'"\\u00e9"',
    b'"e\\u0301"', b'"\xff"', b'"/"', b'"../../x"', b'"\\ud83d\\ude00"', b'"\xf4\x8f\xbc\x80"', b'"global"',
    b'"agent:../x:y"', b'"agent::"', b"k", b"'k'", b"1",
)  # fmt: skip
_IDS = (
    "", ".", "..", "/etc/passwd", "../../../../outside/canary", "a/b", "a\\b", "a:b", "x" * 255, "x" * 256, "a\0b",
    "\ud800", "sessions.json", "canary", ".jsonl", "__proto__", " ", "id-0.jsonl", "%2e%2e", "é",
)  # fmt: skip
_VALUES = (
    b"[]", b'"text"', b"null", b"1", b"true", b"", b"{", b"}", b"[[[[", b"{}", b"{]}", b"undefined", b"{'a':1}",
    b'{"a":1,}', b"{/* */}", b'{"a" 1}', b'{"sessionId":"x","sessionId":"y"}', b"[" * 100_000, b'"\xff"',
    b'{"sessionId":"\xff"}',
)  # fmt: skip


def field(raw: bytes, site: Site, chance: random.Random) -> bytes:
    """Add a field at the front, or give one a second time."""
    name = chance.choice((b'"updatedAt"', b'"sessionId"', b'"__proto__"', b'"x"', b'"sessionFile"', b'"status"'))
    return _put(raw, name + b":" + chance.choice(_NUMBERS))


def deep_field(raw: bytes, site: Site, chance: random.Random) -> bytes:
    depth = chance.choice((200, 255, 256, 257, 1000, 100_000))
    return _put(raw, b'"deep":' + b"[" * depth + b"]" * depth)


def large_field(raw: bytes, site: Site, chance: random.Random) -> bytes:
    return _put(raw, b'"large":"' + b"x" * chance.choice((100_000, 1_100_000)) + b'"')


def text_field(raw: bytes, site: Site, chance: random.Random) -> bytes:
    text = chance.choice(
        (b"\\ud800", b"\xff", b"\xed\xa0\x80", b"\0", b"\\u0000", b"\n", b"\\x", b"\xef\xbb\xbf", b'"')
    )
    return _put(raw, b'"note":"' + text + b'"')


def session_id(raw: bytes, site: Site, chance: random.Random) -> bytes:
    """Name another transcript, as a path that leads out, or not at all."""
    entry = json.loads(raw)
    entry.pop("sessionFile", None)
    entry["sessionId"] = chance.choice((*_IDS, None, 1, [], {}, True))
    if chance.random() < 0.2:
        del entry["sessionId"]
    return json.dumps(entry).encode()


def session_file(raw: bytes, site: Site, chance: random.Random) -> bytes:
    paths = [
        *_IDS,
        *(f"{name}.jsonl" for name in _IDS),
        str(site.outside / "canary.jsonl"),
        "C:\\x\\y.jsonl",
        None,
        1,
        {},
    ]
    return json.dumps(json.loads(raw) | {"sessionFile": chance.choice(paths)}).encode()


def value(raw: bytes, site: Site, chance: random.Random) -> bytes:
    return chance.choice(_VALUES)


def twice(raw: bytes, site: Site, chance: random.Random) -> bytes:
    """Behind the entry, another one of some key, good or bad."""
    other = chance.choice((b'{"sessionId":"other","updatedAt":1}', raw, chance.choice(_VALUES)))
    return raw + b"," + chance.choice(_KEYS) + b":" + other


def comment(raw: bytes, site: Site, chance: random.Random) -> bytes:
    return raw + chance.choice((b"// c\n", b"/* c */", b",", b" \t\r\n", b"\0", b";", b"\xa0"))


ENTRIES: tuple[Entry, ...] = (
    field, field, deep_field, large_field, text_field, text_field, session_id, session_file, value, value, twice,
    twice, comment,
)  # fmt: skip


def change(site: Site, chance: random.Random, entry: Entry) -> Touch:
    """Change one entry where it stands; where an index has it more than once, the first time."""
    holding = [known for known in site.sessions if known.indexes and known.raw in _read(site, known)]
    if not holding:
        return Touch()
    known = chance.choice(holding)
    path = site.root / known.indexes[0]
    whole = path.read_bytes()
    path.write_bytes(whole.replace(known.raw, entry(known.raw, site, chance), 1))
    keeps_neighbours = entry not in (value, twice, comment, text_field, deep_field) and whole.strip() != known.raw
    return Touch(entries=frozenset({(known.indexes[0], known.raw)})) if keeps_neighbours else touched(known.indexes[0])


def _read(site: Site, known: Known) -> bytes:
    path = site.root / known.indexes[0]
    return path.read_bytes() if ".sqlite" not in path.name and path.is_file() and not path.is_symlink() else b""


def _put(raw: bytes, member: bytes) -> bytes:
    at = raw.index(b"{") + 1
    return raw[:at] + member + (b"," if raw[at:].strip() != b"}" else b"") + raw[at:]
