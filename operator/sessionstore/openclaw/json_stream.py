"""Goes through the top level of a JSON object of any size: each value is delimited, and not judged. No I/O of its own.

A `sessions.json` of 400 MB exists, and so does one with a single broken entry, which must not cost its neighbours.
A regular expression takes a whole member at a time, within a window that slides over the file; what it does not
match (a value that is nested too deeply, or too large for the window) is gone through bracket by bracket.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

CHUNK = 1024 * 1024
WINDOW = 16 * CHUNK
"""A member that is larger is delimited and not held."""
_REGULAR_DEPTH = 24
"""OpenClaw's entries stay below 20."""
_BOM = b"\xef\xbb\xbf"

_SPACE = rb"[ \t\n\r]*+"
# Looking for the next quote alone is several times as fast as looking at each byte, and right where no backslash
# stands before it; otherwise the text is gone through escape by escape.
_STRING = rb'"(?:[^"]*+(?<!\\)"|[^"\\]*+(?:\\.[^"\\]*+)*+")'
_SCALAR = rb'[^ \t\n\r,:"\[\]{}]++'
_BETWEEN = rb'[^"{}\[\]]*+'
_FLAT = rb"%b(?:%b%b)*+" % (_BETWEEN, _STRING, _BETWEEN)
"""What holds no bracket but in texts."""


def _block(depth: int) -> bytes:
    """Return a pattern for an object or array. Brackets need not match in kind: that is for who judges the value."""
    block = rb"[{\[]%b[}\]]" % _FLAT
    for _ in range(depth):
        block = rb"[{\[]%b(?:%b%b)*+[}\]]" % (_FLAT, block, _FLAT)
    return block


_BLOCK = _block(_REGULAR_DEPTH)
_MEMBER = re.compile(
    rb"%b(%b)%b:%b(%b|%b|%b)%b([,}])" % (_SPACE, _STRING, _SPACE, _SPACE, _BLOCK, _STRING, _SCALAR, _SPACE), re.DOTALL
)
_BALANCED = re.compile(rb"%b(?:%b%b)*+" % (_FLAT, _BLOCK, _FLAT), re.DOTALL)
_OPENING, _CLOSING = re.compile(rb"[{\[]++"), re.compile(rb"[}\]]++")
_SPACES, _SCALARS = re.compile(_SPACE), re.compile(_SCALAR)
_TEXT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


class BrokenObject(Exception):
    """The text is no object, ends within one, or makes no sense from here on."""


class Member(NamedTuple):
    """A member of the object: its key as it is written, with quotes, and where in the file its value lies.

    `raw` is None for a value that is not held: it is there from `start` to `stop`.
    """

    key: bytes
    start: int
    stop: int
    raw: bytes | None


def members(read: Callable[[int], bytes]) -> Iterator[Member]:
    """Go through an object. A byte order mark before it is skipped.

    Args:
        read: gives the next bytes, at most as many as asked for; none at the end.

    Raises: BrokenObject, after the members before the place.
    """
    window = _Window(read)
    window.skip_mark()
    window.expect(b"{")
    if window.peek() == b"}":
        window.at += 1
    else:
        yield from _members(window)
    if window.peek():
        raise BrokenObject(f"invalid JSON: more text after the object, at byte {window.offset}")


def key_of(raw: bytes) -> str:
    """Read a key as it is written, with its quotes. Raises: ValueError."""
    if b"\\" not in raw:
        text = raw.decode("utf-8")
        if text.isprintable():
            return text[1:-1]
    return str(json.loads(raw.decode("utf-8")))


def _members(window: _Window) -> Iterator[Member]:
    end = b","
    while end == b",":
        match = _MEMBER.match(window.data, window.at)
        if match:
            start, stop = match.span(2)
            yield Member(match[1], window.base + start, window.base + stop, match[2])
            window.at = match.end()
            end = match[3]
        elif not window.grow():
            yield window.member()
            end = window.expect(b",}")


class _Window:
    """A part of the file: `data`, which begins at byte `base`; what lies before `at` is done with."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.data = read(CHUNK)
        self.base = self.at = 0
        self._ended = not self.data

    @property
    def offset(self) -> int:
        return self.base + self.at

    def grow(self) -> bool:
        """Add what comes next, as much again as is there; False where there is no more, or no more room."""
        rest = len(self.data) - self.at
        if self._ended or rest >= WINDOW:
            return False
        # Doubling, so that a large member is not gone through once a chunk.
        more = self._read(max(CHUNK, rest))
        self._ended = not more
        self.base += self.at
        self.data, self.at = self.data[self.at :] + more, 0
        return not self._ended

    def _advance(self) -> bool:
        """Let go of what is there and take what comes next; False at the end."""
        self.base += len(self.data)
        self.data, self.at = self._read(CHUNK), 0
        self._ended = not self.data
        return not self._ended

    def skip_mark(self) -> None:
        if self.data.startswith(_BOM):
            self.at = len(_BOM)

    def peek(self) -> bytes:
        """Return the next byte that is no white space, without taking it; nothing at the end."""
        while True:
            match = _SPACES.match(self.data, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self.data) or not self._advance():
                return self.data[self.at : self.at + 1]

    def expect(self, chars: bytes) -> bytes:
        """Take one of `chars`. Raises: BrokenObject."""
        char = self.peek()
        if not char or char not in chars:
            found = repr(char)[1:] if char else "the end"
            wanted = " or ".join(chars.decode())
            raise BrokenObject(f"invalid JSON: {wanted} expected at byte {self.offset}, not {found}")
        self.at += 1
        return char

    def member(self) -> Member:
        """Take a member that the pattern does not match. Raises: BrokenObject."""
        self.expect(b'"')
        self.at -= 1
        key = self._key()
        self.expect(b":")
        char = self.peek()
        start = self.offset
        if char and char in b"{[":
            self._skip_block(start)
        elif char == b'"':
            self.at += 1
            self._skip_text(start)
        else:
            self._skip_scalar(start)
        return Member(key, start, self.offset, None)

    def _key(self) -> bytes:
        start = self.offset
        while True:
            match = _TEXT.match(self.data, self.at + 1)
            stop = match.end() if match else self.at + 1
            if self.data[stop : stop + 1] == b'"':
                key, self.at = self.data[self.at : stop + 1], stop + 1
                return key
            if not self.grow():
                raise BrokenObject(f"invalid JSON: the key at byte {start} does not end")

    def _skip_text(self, start: int) -> None:
        """Go to the end of a text whose quote has been taken."""
        while True:
            match = _TEXT.match(self.data, self.at)
            self.at = match.end() if match else self.at
            if self.data[self.at : self.at + 1] == b'"':
                self.at += 1
                return
            # What is left is nothing, or a backslash whose other half is yet to come.
            if not self.grow():
                raise BrokenObject(f"invalid JSON: the text in what begins at byte {start} does not end")

    def _skip_scalar(self, start: int) -> None:
        while match := _SCALARS.match(self.data, self.at):
            self.at = match.end()
            if self.at < len(self.data) or not self._advance():
                break
        if self.offset == start:
            raise BrokenObject(f"invalid JSON: a value expected at byte {start}")

    def _skip_block(self, start: int) -> None:
        """Go to the end of an object or array, counting brackets."""
        depth = 0
        while True:
            match = _BALANCED.match(self.data, self.at) if depth else None
            self.at = match.end() if match else self.at
            if run := _CLOSING.match(self.data, self.at):
                taken = min(depth, run.end() - self.at)
                depth -= taken
                self.at += taken
                if depth == 0:
                    return
            elif run := _OPENING.match(self.data, self.at):
                depth += run.end() - self.at
                self.at = run.end()
            elif self.data[self.at : self.at + 1] == b'"':
                self.at += 1
                self._skip_text(start)
            elif not self._advance():
                raise BrokenObject(f"invalid JSON: what opens at byte {start} is never closed")
