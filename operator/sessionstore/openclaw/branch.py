"""Which lines of a transcript are replayed to a model: OpenClaw's tree, walked from its end. Pure.

A transcript is a tree: each line names its parent, and what is replayed is the path from a root to the current leaf.
OpenClaw reads the whole file to find it; `Branch` takes the lines newest first and knows when it has seen enough.
Source: `SessionManager` of OpenClaw 2026.7.1-2 (`buildIndex`, `getBranch`, `buildSessionContext`), against which
docs/design/0010-windows.md records a comparison.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NoReturn

from sessionstore.openclaw import rawjson

_ENTRY_TYPES = frozenset(
    {
        "message",
        "thinking_level_change",
        "model_change",
        "compaction",
        "branch_summary",
        "custom",
        "custom_message",
        "label",
        "session_info",
    }
)


class Kind(Enum):
    """What a line is to the tree."""

    ENTRY = auto()
    """A line of a type that OpenClaw knows. The newest one is the leaf, unless a control says otherwise."""
    LINK = auto()
    """A line of another type with id and parent: passed through on the way to the root, never the leaf."""
    CONTROL = auto()
    """`type:"leaf"`: from here on the leaf is `target`, as after going back to an earlier message."""
    OUTSIDE = auto()
    """JSON, and no part of the tree: the header, for one."""


@dataclass(frozen=True, slots=True)
class Record:
    """One parsed line. `linked` tells a parent of null from a line that names none; `append` is a control's."""

    kind: Kind
    data: Mapping[str, Any]
    id: str | None = None
    parent: str | None = None
    linked: bool = False
    side: bool = False
    target: str | None = None
    append: str | None = None

    @property
    def type(self) -> str:
        return str(self.data.get("type"))


@dataclass(frozen=True, slots=True)
class Entry:
    """A line on the branch, and its index in the transcript."""

    index: int
    raw: bytes
    record: Record


def parse(raw: bytes) -> Record | None:
    """Read a line as OpenClaw does: invalid UTF-8 is replaced, the last of two equal keys counts.

    Returns: None for what is no JSON object.
    """
    text = raw.decode("utf-8", "replace")
    try:
        data = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        data = _leniently(text)
    return _record(data) if isinstance(data, dict) else None


def _leniently(text: str) -> Any:
    """Read what JavaScript reads and Python does not: numbers of thousands of digits, and values nested too deeply.

    A member that is nested too deeply is left out: the line keeps its place in the tree, and those before it theirs.
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_int=float)
    except ValueError:
        return None
    except RecursionError:
        return _shallow(text)


def _shallow(text: str) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    try:
        for name, value in rawjson.members(text.encode("utf-8", "surrogatepass")):
            with contextlib.suppress(RecursionError):
                found[name] = json.loads(value, parse_constant=_refuse)
    except ValueError:
        return None
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _record(data: dict[str, Any]) -> Record:
    id, parent = _text(data.get("id")), _text(data.get("parentId"))
    side = data.get("appendMode") == "side"
    if _text(data.get("type")) in _ENTRY_TYPES:
        return Record(Kind.ENTRY, data, id, parent, "parentId" in data, side)
    whole = id is not None and (parent is not None or ("parentId" in data and data["parentId"] is None))
    if not whole or data.get("type") == "session":
        return Record(Kind.OUTSIDE, data)
    if data.get("type") != "leaf":
        return Record(Kind.LINK, data, id, parent, linked=True)
    return _control(data, id, parent)


def _control(data: dict[str, Any], id: str | None, parent: str | None) -> Record:
    names = [data.get("targetId", 0), data.get("appendParentId")]
    if any(not isinstance(name, str | None) for name in names) or data.get("appendMode", "side") != "side":
        return Record(Kind.OUTSIDE, data)
    return Record(
        Kind.CONTROL, data, id, parent, "appendParentId" in data, target=_text(names[0]), append=_text(names[1])
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


class _Seek(Enum):
    """What the walk looks for, where that is no id."""

    LEAF = auto()
    """The leaf as of this line."""
    PARENT = auto()
    """The parent of the entry found last. Its `parentId` says it, unless it was appended behind a side line."""
    NOTHING = auto()
    """The branch has ended."""


class Branch:
    """Follows the branch while lines are fed to it, newest first.

    A compaction ends it early: what lies before its first kept entry is replaced by the summary. Entries older than
    the compaction count only once that first kept entry turned up (`keeps`); OpenClaw replays none of them otherwise.

    A control that names what no older line defines is void. That shows only at the transcript's beginning: where
    `void` is not empty then, walk again with these in `voided`.
    """

    def __init__(self, voided: frozenset[int] = frozenset()) -> None:
        """Start at the end. `voided`: indexes of controls that do not count."""
        self.compaction: Entry | None = None
        self.keeps = False
        self._first_kept: str | None = None
        self._seek: _Seek | str = _Seek.LEAF
        self._parent: str | None = None
        self._voided = voided
        self._owed: dict[str, set[int]] = {}
        self._named: dict[str, set[int]] = {}
        """As `_owed`, of the controls that decided nothing as well."""

    @property
    def ended(self) -> bool:
        """Whether no older line can matter."""
        return self._seek is _Seek.NOTHING and not self._owed

    @property
    def void(self) -> frozenset[int]:
        """Where one that matters names what has not been seen, all that do: those found one by one take a walk each."""
        return frozenset().union(*self._named.values()) if self._owed else frozenset()

    @property
    def certain(self) -> bool:
        """Whether what was found so far holds, whatever older lines say."""
        return not self._owed and (self.compaction is None or self.keeps or self._seek is _Seek.NOTHING)

    def feed(self, index: int, raw: bytes, record: Record) -> Entry | None:
        """Take the next older line; return it if it is on the branch."""
        if record.kind is Kind.CONTROL:
            self._meet_control(index, record)
            return None
        if record.id is None:
            return self._found(Entry(index, raw, record)) if self._is_leaf(record) else None
        self._owed.pop(record.id, None)
        self._named.pop(record.id, None)
        self._settle(record)
        if record.kind is Kind.LINK:
            self._pass_through(record.id, record.parent)
            return None
        return self._found(Entry(index, raw, record)) if self._is_leaf(record) or self._seek == record.id else None

    def _is_leaf(self, record: Record) -> bool:
        return self._seek is _Seek.LEAF and record.kind is Kind.ENTRY and not record.side

    def _settle(self, record: Record) -> None:
        """Decide where the entry found last hangs, now that the line before it is known."""
        if self._seek is _Seek.PARENT:
            behind_side = record.id == self._parent and (record.side or record.kind is Kind.LINK)
            self._look_for(_Seek.LEAF if behind_side else self._parent)

    def _meet_control(self, index: int, record: Record) -> None:
        if index in self._voided:
            self._pass_through(record.id, record.parent)
            return
        # It must hold when it decides where the branch goes, or when another control hangs on it.
        matters = self._owed.pop(record.id or "", None) is not None or self._seek is _Seek.PARENT
        if self._seek is _Seek.PARENT:
            behind = record.linked and record.append == self._parent
            self._look_for(_Seek.LEAF if behind else self._parent)
        if self._seek is _Seek.LEAF or self._seek == record.id:
            self._look_for(record.target)
            matters = True
        self._named.pop(record.id or "", None)
        _owe(self._named, index, record)
        if matters:
            _owe(self._owed, index, record)
        self._alias(record.id, record.target)

    def _pass_through(self, id: str | None, parent: str | None) -> None:
        if self._seek is _Seek.PARENT and self._parent == id:
            self._parent = parent
        elif self._seek == id:
            self._look_for(parent)
        self._alias(id, parent)

    def _alias(self, id: str | None, parent: str | None) -> None:
        """Move the first kept entry to the parent of a line that is no entry."""
        if id is not None and id == self._first_kept:
            self._first_kept = parent
            if parent is None:
                self._end_kept()

    def _look_for(self, id: _Seek | str | None) -> None:
        self._seek = _Seek.NOTHING if id is None else id

    def _found(self, entry: Entry) -> Entry:
        record = entry.record
        self._parent = record.parent
        self._seek = _Seek.PARENT
        if record.id is None or not record.linked:
            self._seek = _Seek.LEAF
        elif record.side:
            self._look_for(record.parent)
        if record.type == "compaction" and self.compaction is None:
            self._compacted(entry)
        elif record.id is not None and record.id == self._first_kept:
            self._end_kept()
        return entry

    def _compacted(self, entry: Entry) -> None:
        self.compaction = entry
        self._first_kept = _text(entry.record.data.get("firstKeptEntryId"))
        if self._first_kept in (None, entry.record.id):
            self._seek = _Seek.NOTHING

    def _end_kept(self) -> None:
        self.keeps = True
        self._seek = _Seek.NOTHING


def _owe(names: dict[str, set[int]], index: int, control: Record) -> None:
    """Note what a control names, which older lines have to define."""
    for name in (control.target, control.append):
        if name is not None:
            names.setdefault(name, set()).add(index)
