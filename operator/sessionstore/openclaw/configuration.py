"""Looks into `openclaw.json` for one thing: whether the sessions are kept elsewhere. JSON5 as tokens, and no more.

`session.store` moves OpenClaw's index to any path, so that `agents/*/sessions` holds nothing or an old copy. A
parser for JSON5 would be one more dependency for one key: the tokens tell as much, and doubt is reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sessionstore.openclaw import rawjson
from sessionstore.openclaw.problems import Problem, Reason, Refused
from sessionstore.openclaw.tree import Tree

FILE = "openclaw.json"
MAX_BYTES = 8 * 1024**2

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*|/\*.*?\*/|\ufeff)
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<mark>[{}\[\]:,])
    | (?P<word>[^\s{}\[\]:,"'/]+)
    """,
    re.DOTALL | re.VERBOSE,
)


class _Unclear(Exception):
    """The text cannot be taken apart, or is not all there is."""


def problem_of(tree: Tree) -> Problem | None:
    """Tell what keeps us from trusting that the sessions are under `agents/`. Raises: SourceError."""
    try:
        with tree.reading(FILE, MAX_BYTES) as stream:
            is_elsewhere = has_store(stream.read().decode("utf-8"))
    except Refused as error:
        return error.problem(FILE)
    except (UnicodeDecodeError, _Unclear) as error:
        detail = f"cannot be understood ({error}); make sure that it does not set session.store"
        return Problem(FILE, Reason.INVALID_JSON, detail)
    if is_elsewhere:
        detail = "session.store is set: the sessions may be kept in files of other names, which are not read yet"
        return Problem(FILE, Reason.UNSUPPORTED_LAYOUT, detail)
    return None


def has_store(text: str) -> bool:
    """Tell whether the object has `session.store`, whatever its value.

    Raises: an error when the text is no object, does not end, or includes other files.
    """
    members = list(_members(text))
    if any(path[-1] == "$include" and path[:-1] in ((), ("session",)) for path in members):
        raise _Unclear("it includes other files, which are not read")
    return ("session", "store") in members


def _members(text: str) -> Iterator[tuple[str, ...]]:
    """Go through the paths of all members; an array adds nothing to a path of an object within it but "[]"."""
    open_marks: list[str] = []
    path: list[str] = []
    last = ""
    is_whole = False
    for kind, part in _tokens(text):
        if not open_marks and (is_whole or part != "{"):
            raise _Unclear("it is not one object")
        if kind != "mark":
            last = _unquoted(part) if kind == "text" else part
        elif part == ":":
            path[-1:] = [last]
            yield tuple(path)
        elif part in "{[":
            if len(path) == rawjson.MAX_DEPTH:
                raise _Unclear(f"it is nested deeper than {rawjson.MAX_DEPTH}")
            open_marks.append(part)
            path.append("[]")
        elif part in "}]":
            if {"{": "}", "[": "]"}[open_marks.pop()] != part:
                raise _Unclear("its brackets do not match")
            path.pop()
            is_whole = not open_marks
    if not is_whole:
        raise _Unclear("it ends too early")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _Unclear(f"at character {position}")
        position = match.end()
        kind = match.lastgroup or ""
        if kind != "space":
            yield kind, match.group()


def _unquoted(text: str) -> str:
    # An escaped letter in this key is nothing that a person or OpenClaw writes, but it is legal.
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match.group(1), 16)), text[1:-1])
