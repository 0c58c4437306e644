"""`sessions.json`: the entries of one agent as the file has them, parsed once for as long as it does not change."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from sessionstore.openclaw import rawjson
from sessionstore.sessions.exceptions import InvalidEntry, Unreadable
from sessionstore.sessions.file.revisions import Item
from sessionstore.sessions.plainfiles import Directory
from sessionstore.sessions.record import Entry

SESSIONS_NAME = "sessions.json"

Mark = tuple[int, int, int, int]


class Index:
    """The entries at one moment. Not changed, but for what it remembers of entries it was asked for."""

    def __init__(
        self, agent: str, path: str, mark: Mark | None = None, entries: Mapping[str, bytes] | None = None
    ) -> None:
        """Take the entries of the file as `mark` tells it; None where there is none."""
        self.mark = mark
        self.entries = entries or {}
        """Session key -> the entry's bytes, as laid out in the file."""
        self._agent, self._path = agent, path
        self._items: dict[str, tuple[bytes, Item]] = {}

    def read(self, directory: Directory) -> Index:
        """Read the file anew. Raises: Unreadable when it is no object, or holds a key twice."""
        with directory.file(SESSIONS_NAME, os.O_RDONLY) as file:
            if file is None:
                return Index(self._agent, self._path)
            # Marked before it is read: what is written meanwhile shows as a change at the next look.
            mark = mark_of(os.fstat(file))
            with os.fdopen(os.dup(file), "rb") as stream:
                data = stream.read()
        return self.followed_by(mark, _entries(data, self._path))

    def followed_by(self, mark: Mark | None, entries: Mapping[str, bytes]) -> Index:
        """Return the index of the file as it is now. What is known of entries that are still the same is kept."""
        found = Index(self._agent, self._path, mark, entries)
        found._items = {key: kept for key, kept in self._items.items() if entries.get(key) == kept[0]}
        return found

    def item(self, key: str) -> Item | None:
        """Return an entry, or None. Raises: Unreadable where it is no JSON object, or names no possible transcript."""
        raw = self.entries.get(key)
        if raw is None:
            return None
        kept = self._items.get(key)
        if kept is None:
            kept = self._items[key] = (raw, self._item(key, raw))
        return kept[1]

    def names(self, transcript_id: str) -> bool:
        """Return whether an entry names the transcript, or might: of a damaged one it cannot be told."""
        for key in [key for key, raw in self.entries.items() if transcript_id.encode() in raw]:
            try:
                item = self.item(key)
            except Unreadable:
                return True
            if item is not None and item.entry.transcript_id == transcript_id:
                return True
        return False

    def _item(self, key: str, raw: bytes) -> Item:
        try:
            entry = Entry(rawjson.compact(raw))
            # Asked for here, so that an entry that names a path as its transcript is unreadable like any other damage.
            _ = entry.transcript_id
        except InvalidEntry as error:
            raise Unreadable(f"session {self._agent}/{key} cannot be read from {self._path}: {error}") from error
        return Item(entry, digest_of(entry.raw))


def mark_of(found: os.stat_result) -> Mark:
    """Return what changes with every change of a file."""
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def digest_of(entry: bytes) -> str:
    """Return what tells one entry, without white space, from another."""
    return hashlib.sha256(entry).hexdigest()


def text_of(entries: Mapping[str, bytes]) -> bytes:
    """Return the file, laid out as OpenClaw's `JSON.stringify(…, null, 2)` lays it out."""
    body = b",\n".join(b"  " + rawjson.dump(key) + b": " + raw for key, raw in entries.items())
    return b"{\n" + body + b"\n}" if body else b"{}"


def _entries(data: bytes, path: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        for key, raw in rawjson.members(data):
            if key in found:
                raise Unreadable(f"{path} holds the key {key!a} twice; keep one of the two and try again")
            found[key] = raw
    except rawjson.RawJSONError as error:
        raise Unreadable(f"{path} cannot be read: {error}; nothing was changed") from error
    return found
