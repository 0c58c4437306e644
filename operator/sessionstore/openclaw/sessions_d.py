"""The layout `sessions.d`: a directory with a file for each entry, as three proposals for OpenClaw write it.

    sessions.d/agent%3Amain%3Amain.json                    the key with % / \\ : escaped
    sessions.d/state.json                                  says that the rest is whole
    sessions.d/entries/session-<key in base64url>.json     {"sessionKey": …, "entry": …}, or the entry alone
    sessions.d/entries/session-hash-<digest>.json          of a long key, which is in the file
    sessions.d/agent--main--main/meta.json                 the key with -- for :, which is not unique

Beside it there may be `sessions.d.bak.<time>` and what a move to it left half done, `sessions.d.migrating`. OpenClaw's
proposed readers pass over names that begin with a dot; here they are entries like others. Sources: pull requests
19528, 39991, 42186 and 51946 of openclaw/openclaw.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sessionstore.openclaw import files, names, rawjson
from sessionstore.openclaw.blob import Blob, Held
from sessionstore.openclaw.files import Region
from sessionstore.openclaw.folder import sorted_names
from sessionstore.openclaw.json_index import MAX_ENTRY_BYTES, look_up_in
from sessionstore.openclaw.names import FileKind
from sessionstore.openclaw.problems import Problem, Reason, Refused
from sessionstore.openclaw.reader import BadEntry, Part, RawEntry
from sessionstore.openclaw.scratch import Scratch
from sessionstore.openclaw.tree import Kind, Tree, printable

LAYOUT = "sessions.d"
STATE_KIND, STATE_VERSION = "openclaw-session-store-directory", 1
INLINE_KEY_BYTES = 120
"""A longer key is not in the file's name."""
_STATE, _ENTRIES, _META, _SUFFIX = "state.json", "entries", "meta.json", ".json"
_STAMPED, _HASHED = "session-", "session-hash-"
_ESCAPE = re.compile("%(25|2F|5C|3A)", re.IGNORECASE)
_MOST_STATE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class _File:
    """A file that should be an entry. `key` is what its name says; None where it says none."""

    name: str
    kind: Kind
    key: str | None
    is_stamped: bool = False
    is_ambiguous: bool = False


@dataclass(frozen=True, slots=True)
class DirectoryIndex:
    """One `sessions.d`; a `reader.Index` for its entries, and a `reader.Folder` for what else lies there.

    Attributes:
        is_whole: whether its name says that it is in use, and not a move that was left half done.
    """

    tree: Tree
    scratch: Scratch
    folder: str
    agent: str | None
    folders: Callable[[str], tuple[str, ...]]
    agent_of: Callable[[str], str]
    max_file_bytes: int
    is_whole: bool = True

    @property
    def layout(self) -> str:
        return LAYOUT

    @property
    def path(self) -> str:
        return printable(self.folder)

    def entries(self) -> Iterator[RawEntry | BadEntry]:
        """Go through the entries, sorted by file name. Raises: Refused, SourceError."""
        is_stamped = self._has_stamp()
        seen = self.scratch.names()
        try:
            for file in self._files():
                found = self._read(file)
                if not self.is_whole or (file.is_stamped and not is_stamped):
                    yield self._incomplete(file, found)
                elif isinstance(found, RawEntry) and not seen.add(found.key.encode("utf-8", "surrogatepass")):
                    detail = f"{printable(file.name)}: key {found.key!a} is in an earlier file, too"
                    yield self._bad(found.key, Held(found.raw), Reason.DUPLICATE_KEY, detail)
                else:
                    yield found
        finally:
            seen.close()

    def transcript(self, entry: RawEntry, transcript_id: str) -> Part | Problem:
        """Look where an entry's transcript is, in one folder after the other."""
        return look_up_in(self.tree, self.folders(entry.agent), entry, transcript_id, self.max_file_bytes)

    def parts(self) -> Iterator[Part | Problem]:
        """Go through the files that are no entries."""
        for name, kind in sorted_names(self.tree, self.folder, self.scratch):
            if names.kind_of(name) is FileKind.BESIDE or (name, kind) in ((_STATE, Kind.FILE), (_ENTRIES, Kind.FOLDER)):
                continue
            if self._file(name, kind) is None:
                yield self._unknown(name)
            elif kind is Kind.FOLDER:
                yield from self._strays(name)

    def beside(self) -> int:
        """Count the files of writes that died."""
        return sum(names.kind_of(name) is FileKind.BESIDE for name, _ in self.tree.names(self.folder))

    def _strays(self, folder: str) -> Iterator[Problem]:
        for child in self.tree.children(f"{self.folder}/{folder}"):
            if child.name != _META and names.kind_of(child.name) is not FileKind.BESIDE:
                yield self._unknown(f"{folder}/{child.name}")

    def _files(self) -> Iterator[_File]:
        for name, kind in sorted_names(self.tree, self.folder, self.scratch):
            if name == _ENTRIES and kind is Kind.FOLDER:
                yield from self._stamped_files()
            elif file := self._file(name, kind):
                yield file

    def _stamped_files(self) -> Iterator[_File]:
        for name, kind in sorted_names(self.tree, f"{self.folder}/{_ENTRIES}", self.scratch):
            if names.kind_of(name) is not FileKind.BESIDE:
                key = _stamped_key(name) if name.startswith(_STAMPED) else _escaped_key(name)
                yield _File(f"{_ENTRIES}/{name}", kind, key, is_stamped=True)

    def _file(self, name: str, kind: Kind) -> _File | None:
        if name == _STATE or names.kind_of(name) is FileKind.BESIDE:
            return None
        if kind is Kind.FOLDER:
            found = self.tree.status(f"{self.folder}/{name}/{_META}")
            key = name.replace("--", ":")
            return None if found is None else _File(f"{name}/{_META}", Kind.FILE, key, is_ambiguous=True)
        if not name.endswith(_SUFFIX):
            return None
        if name.startswith(_STAMPED):
            return _File(name, kind, _stamped_key(name), is_stamped=True)
        key = _escaped_key(name)
        is_ambiguous = key.startswith("agent--")
        return _File(name, kind, key.replace("--", ":") if is_ambiguous else key, is_ambiguous=is_ambiguous)

    def _read(self, file: _File) -> RawEntry | BadEntry:
        path = f"{self.folder}/{file.name}"
        shown = printable(file.name)
        try:
            with self.tree.opened(path, self.max_file_bytes) as (descriptor, status):
                size = status.st_size
                raw = os.read(descriptor, size + 1) if size <= MAX_ENTRY_BYTES else b""
        except Refused as error:
            return self._bad(file.key, Held(b""), error.reason, f"{shown}: {error}")
        if size > MAX_ENTRY_BYTES:
            detail = f"{shown} has {size} bytes, which no store takes"
            return self._bad(file.key, Region(self.tree, path, 0, size), Reason.TOO_LARGE, detail)
        try:
            key, entry = _taken_apart(raw, file)
        except rawjson.RawJSONError as error:
            return self._bad(file.key, files.piece(self.tree, path, 0, raw), Reason.INVALID_JSON, f"{shown}: {error}")
        if key is None:
            detail = f"{shown}: neither the name nor the content tells the session's key"
            return self._bad(None, files.piece(self.tree, path, 0, raw), Reason.INVALID_KEY, detail)
        return RawEntry(self._agent(key), key, entry)

    def _incomplete(self, file: _File, found: RawEntry | BadEntry) -> BadEntry:
        why = f"there is no valid {_STATE}" if self.is_whole else "a move to it was never finished"
        detail = f"{printable(file.name)}: {self.path} is not whole, {why}"
        blob = Held(found.raw) if isinstance(found, RawEntry) else found.blob
        return self._bad(found.key, blob, Reason.INCOMPLETE, detail)

    def _bad(self, key: str | None, blob: Blob, reason: Reason, detail: str) -> BadEntry:
        return BadEntry(self._agent(key or ""), key, blob, reason, detail)

    def _agent(self, key: str) -> str:
        return self.agent_of(key) if self.agent is None else self.agent

    def _has_stamp(self) -> bool:
        try:
            with self.tree.opened(f"{self.folder}/{_STATE}", _MOST_STATE_BYTES) as (file, status):
                state = json.loads(os.read(file, status.st_size).decode("utf-8"))
        except (Refused, ValueError, RecursionError):
            return False
        known = isinstance(state, dict) and (state.get("kind"), state.get("layoutVersion")) == (
            STATE_KIND,
            STATE_VERSION,
        )
        return known and isinstance(state.get("version"), int) and state["version"] >= 1

    def _unknown(self, name: str) -> Problem:
        path, shown = printable(f"{self.folder}/{name}"), self.agent and printable(self.agent)
        return Problem(path, Reason.UNKNOWN_FILE, "not a file that OpenClaw keeps sessions in", shown)


def _taken_apart(raw: bytes, file: _File) -> tuple[str | None, bytes]:
    """Return a file's key and entry. Raises: RawJSONError."""
    raw = raw.removeprefix(codecs.BOM_UTF8)
    found = dict(rawjson.members(raw))
    inner = _text(found.get("sessionKey"))
    if "entry" in found and inner is not None:
        return inner, found["entry"]
    if file.is_ambiguous:
        return inner or _text(found.get("key")) or file.key, raw
    return file.key if file.key is not None else inner, raw


def _text(raw: bytes | None) -> str | None:
    try:
        value = None if raw is None else json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, str) and value else None


def _stamped_key(name: str) -> str | None:
    if name.startswith(_HASHED):
        return None
    encoded = name.removeprefix(_STAMPED).removesuffix(_SUFFIX)
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), b"-_", validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None


def _escaped_key(name: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), name.removesuffix(_SUFFIX))
