"""Mutations of what a file holds. Each takes its bytes and gives others; none knows what they mean."""

from __future__ import annotations

import random
from collections.abc import Callable

Content = Callable[[bytes, random.Random], bytes]

_ODD = (
    b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\ud800", b"\r", b"\n", b'"', b"\\", b"{", b"}", b"[", b"]",
    b",", b":", b"NaN", b"Infinity", b"-", b"1e999", b"9" * 5000, b"/*", b"//", b'"__proto__":{},',
    "\u2028".encode(), b"\xf4\x8f\xbc\x80", b"\\u0000", b" ", b"\xc3", b"null",
)  # fmt: skip


def flip(raw: bytes, chance: random.Random) -> bytes:
    changed = bytearray(raw)
    for _ in range(chance.choice((1, 1, 1, 2, 8, 64)) if raw else 0):
        changed[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def overwrite(raw: bytes, chance: random.Random) -> bytes:
    at, size = _place(raw, chance), chance.choice((1, 4, 100, 4096))
    return raw[:at] + chance.randbytes(min(size, len(raw) - at)) + raw[at + size :]


def zero(raw: bytes, chance: random.Random) -> bytes:
    at, size = _place(raw, chance), chance.choice((1, 16, 512, 4096))
    return raw[:at] + bytes(min(size, len(raw) - at)) + raw[at + size :]


def truncate(raw: bytes, chance: random.Random) -> bytes:
    return raw[: _place(raw, chance)]


def empty(raw: bytes, chance: random.Random) -> bytes:
    return b""


def cut_out(raw: bytes, chance: random.Random) -> bytes:
    at = _place(raw, chance)
    return raw[:at] + raw[at + chance.choice((1, 1, 7, 100)) :]


def repeat(raw: bytes, chance: random.Random) -> bytes:
    start, stop = sorted((_place(raw, chance), _place(raw, chance)))
    return raw[:stop] + raw[start:stop] * chance.choice((1, 2, 20)) + raw[stop:]


def insert(raw: bytes, chance: random.Random) -> bytes:
    at = _place(raw, chance)
    return raw[:at] + chance.choice(_ODD) + raw[at:]


def grow(raw: bytes, chance: random.Random) -> bytes:
    return raw + chance.choice(
        (chance.randbytes(3000), b"\n" * 500, bytes(5000), b" " * 100_000, b"}", b"{}", b"\n\n{")
    )


def prefix(raw: bytes, chance: random.Random) -> bytes:
    return chance.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\n\n", b"\0", b")]}',\n", b"PK\x03\x04", b"\x1f\x8b")) + raw


def crlf(raw: bytes, chance: random.Random) -> bytes:
    return raw.replace(b"\n", chance.choice((b"\r\n", b"\r", b"\n\n", "\u2028".encode())))


def utf16(raw: bytes, chance: random.Random) -> bytes:
    return raw.decode("utf-8", "replace").encode(chance.choice(("utf-16", "utf-16-be", "utf-32")))


def deep(raw: bytes, chance: random.Random) -> bytes:
    bracket = chance.choice((b"[", b'{"a":', b'[{"a":'))
    at = raw.find(b"{") + 1
    return raw[:at] + chance.choice((b"", b'"deep":')) + bracket * 100_000 + raw[at:]


def scalar(raw: bytes, chance: random.Random) -> bytes:
    return chance.choice(
        (b"[]", b"{}", b"null", b"1", b'"text"', b"nope", b"true", b"{", b'{"a"', b"{}{}", b"[" * 100_000)
    )


def shuffle(raw: bytes, chance: random.Random) -> bytes:
    lines = raw.split(b"\n")
    chance.shuffle(lines)
    return b"\n".join(lines)


def long_line(raw: bytes, chance: random.Random) -> bytes:
    return raw + b'{"type":"message","text":"' + b"x" * chance.choice((70_000, 300_000)) + b'"}\n'


CONTENT: tuple[Content, ...] = (
    flip, flip, flip, overwrite, zero, truncate, truncate, empty, cut_out, repeat, insert, insert, insert, grow,
    prefix, crlf, utf16, deep, scalar, shuffle, long_line,
)  # fmt: skip


def _place(raw: bytes, chance: random.Random) -> int:
    return chance.randrange(len(raw) + 1)
