"""How `list` goes on where it stopped. Pure; every backend pages by it.

Sessions are ordered newest first, equal times by the bytes of `<agent>:<key>`, backwards: the order of Redis'
ZREVRANGE. A cursor names the last row that was given, so rows that change meanwhile neither stop nor repeat a page.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass

from sessionstore.sessions import layout
from sessionstore.sessions.exceptions import InvalidKey
from sessionstore.sessions.record import Page, SessionInfo

MAX_LIMIT = 10_000
SCAN_LIMIT = 10_000
"""Rows that one `search` looks at before it returns what it has."""


@dataclass(frozen=True, slots=True)
class Position:
    """A row's place in the order."""

    updated_ms: int
    member: str
    """`<agent>:<key>`."""

    @property
    def rank(self) -> tuple[int, bytes]:
        """What the order compares; a later row has a smaller one."""
        return self.updated_ms, self.member.encode()

    def encode(self) -> str:
        """Return the cursor that goes on behind this row."""
        text = json.dumps([self.updated_ms, self.member], ensure_ascii=False)
        return base64.urlsafe_b64encode(text.encode()).decode()

    @classmethod
    def decode(cls, cursor: str) -> Position:
        """Read a cursor. Raises: InvalidKey for one that `list` did not give out."""
        try:
            updated_ms, member = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        except (ValueError, TypeError, binascii.Error, RecursionError) as error:
            raise InvalidKey("the cursor is not one that list gave out") from error
        if type(updated_ms) is not int or not isinstance(member, str):
            raise InvalidKey("the cursor is not one that list gave out")
        return cls(updated_ms, member)


def check_limit(limit: int) -> int:
    """Return `limit`, or raise InvalidKey."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidKey(f"limit {limit} is not 1-{MAX_LIMIT}")
    return limit


def position_of(info: SessionInfo) -> Position:
    """Return a row's place."""
    return Position(info.updated_ms, layout.member(info.key.agent, info.key.key))


def page(rows: Iterable[SessionInfo], limit: int, cursor: str | None) -> Page:
    """Cut a page out of all rows, which come in any order."""
    check_limit(limit)
    ordered = sorted(rows, key=lambda info: position_of(info).rank, reverse=True)
    if cursor is not None:
        last = Position.decode(cursor).rank
        ordered = [info for info in ordered if position_of(info).rank < last]
    items = tuple(ordered[:limit])
    return Page(items, position_of(items[-1]).encode() if len(ordered) > limit else None)
