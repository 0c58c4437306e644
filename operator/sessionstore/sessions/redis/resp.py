"""The bytes of RESP2, both ways. Pure.

redis-py's parser reads a stream an element at a time, each through two coroutines: 112 us for a session's record where
this takes 25 us (docs/design/0008-wire.md). A connection that many callers share is as fast as its parser.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Argument = bytes | str | int

MAX_BULK_BYTES = 512 * 1024 * 1024
"""Of one value: what Redis keeps at most, whatever `proto-max-bulk-len` says."""
MAX_LINE_BYTES = 64 * 1024
"""Of a status, an error, a number or a length."""
_DOLLAR, _STAR, _COLON, _PLUS, _MINUS = b"$*:+-"


class Malformed(Exception):
    """What the other side sent is not RESP2."""


class Refusal:
    """An error that the server answered, as a value: in a batch it stands between the answers."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    @property
    def code(self) -> str:
        """The first word, by which servers tell errors apart: `WRONGTYPE`, `MOVED`, `ERR`."""
        return self.text.partition(" ")[0]


def pack(command: Sequence[Argument]) -> bytes:
    """Return the bytes of one command."""
    parts = [b"*%d\r\n" % len(command)]
    for argument in command:
        if isinstance(argument, bytes):
            data = argument
        else:
            data = argument.encode() if isinstance(argument, str) else b"%d" % argument
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def pack_all(commands: Iterable[Sequence[Argument]]) -> bytes:
    """Return the bytes of several commands, one behind the other."""
    return b"".join(map(pack, commands))


class Parser:
    """Turns what arrives, in whatever pieces, into answers.

    Bulk strings are `bytes`, integers `int`, status lines `bytes`, arrays `list`, absent ones `None`, errors `Refusal`.
    """

    __slots__ = ("_held", "_open", "_pieces", "_wanted")

    def __init__(self) -> None:
        self._open: list[tuple[list[Any], int]] = []  # arrays that are not whole yet, the innermost last
        self._pieces: list[bytes] = []  # what arrived of an element that is not whole yet
        self._held = 0  # bytes in `_pieces`
        self._wanted = 0  # no need to look again before so many bytes are there

    @property
    def unfinished_bytes(self) -> int:
        """How many bytes the element that is arriving needs; 0 between two."""
        return self._wanted if self._pieces else 0

    def feed(self, data: bytes) -> list[Any]:
        """Take in `data` and return the answers that are now whole, in their order. Raises: Malformed."""
        if self._pieces:
            self._pieces.append(data)
            self._held += len(data)
            if self._held < self._wanted:
                return []
            data = b"".join(self._pieces)
            self._pieces.clear()
        answers: list[Any] = []
        try:
            rest, self._wanted = self._parse(data, answers)
        except ValueError as error:
            raise Malformed("a length or a number is none") from error
        if rest < len(data):
            self._pieces.append(data[rest:])
            self._held = len(data) - rest
            self._check_unfinished(self._pieces[0])
        return answers

    def _check_unfinished(self, element: bytes) -> None:
        """Raise Malformed where waiting for the rest would fill our memory. What speaks RESP2 is not as long."""
        if self._wanted > MAX_BULK_BYTES + MAX_LINE_BYTES:
            raise Malformed(f"it announces a value of {self._wanted} bytes")
        if self._held > MAX_LINE_BYTES and element.find(b"\r\n", 0, MAX_LINE_BYTES) < 0:
            raise Malformed(f"a line has no end within {MAX_LINE_BYTES} bytes")

    def _parse(self, data: bytes, answers: list[Any]) -> tuple[int, int]:
        """Append whole answers; return where the unfinished element begins, and how many bytes it will have at least.

        Written as one loop over locals, since it runs for each element of each answer.
        """
        position, size, find = 0, len(data), data.find
        unfinished = self._open
        while position < size:
            end = find(b"\r\n", position)
            if end < 0:
                return position, size - position + 1
            kind = data[position]
            value: Any
            if kind == _DOLLAR:
                length = int(data[position + 1 : end])
                begin = end + 2
                if length < 0:
                    value, position = None, begin
                else:
                    stop = begin + length
                    if stop + 2 > size:
                        return position, stop + 2 - position
                    value, position = data[begin:stop], stop + 2
            elif kind == _STAR:
                length = int(data[position + 1 : end])
                position = end + 2
                if length > 0:
                    unfinished.append(([], length))
                    continue
                value = None if length < 0 else []
            else:
                value, position = _line(kind, data[position + 1 : end]), end + 2
            while unfinished:
                array, length = unfinished[-1]
                array.append(value)
                if len(array) < length:
                    break
                unfinished.pop()
                value = array
            else:
                answers.append(value)
        return position, 0


def _line(kind: int, text: bytes) -> Any:
    if kind == _COLON:
        return int(text)
    if kind == _PLUS:
        return text
    if kind == _MINUS:
        return Refusal(text.decode(errors="replace"))
    raise Malformed(f"an answer begins with {bytes((kind,))!r}")
