"""An index that is one JSON file, session key -> entry: `sessions.json`, by whatever name. A `reader.Index`.

Every entry comes out with the bytes it has in the file. A broken entry costs itself and not its neighbours.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sessionstore.openclaw import files, json_stream, names
from sessionstore.openclaw.blob import Blob, Held
from sessionstore.openclaw.files import FilePart, Region, stamp_of
from sessionstore.openclaw.json_stream import BrokenObject, Member
from sessionstore.openclaw.problems import Problem, Reason, Refused
from sessionstore.openclaw.reader import BadEntry, Part, RawEntry
from sessionstore.openclaw.repeated import Repeated, find_repeated
from sessionstore.openclaw.scratch import Scratch
from sessionstore.openclaw.tree import Kind, Tree, kind_of, misplaced, printable

MAX_ENTRY_BYTES = 12 * 1024 * 1024
"""What is held of one entry. More than a store takes, so that the store's own limit is what a person reads about."""
_JUDGED_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class JSONIndex:
    """One file with entries.

    Attributes:
        file: its path in the tree; where there is none, there are no entries.
        agent: of all entries; None where the key tells (`agent_of`).
        folders: agent -> where its transcripts lie, looked into in this order.
    """

    tree: Tree
    scratch: Scratch
    layout: str
    file: str
    agent: str | None
    folders: Callable[[str], tuple[str, ...]]
    max_file_bytes: int = files.DEFAULT_MAX_FILE_BYTES
    agent_of: Callable[[str], str] = str
    archived: bool = False
    _repeated: tuple[str, Repeated] | None = field(default=None, init=False)

    @property
    def path(self) -> str:
        return printable(self.file)

    def entries(self) -> Iterator[RawEntry | BadEntry]:
        """Go through the entries.

        Of a key that occurs twice the last entry is given, as JavaScript has it; earlier ones are bad. Where the
        text ends too early or makes no sense, the entries before that point are given, and then the file as bad.

        Raises: Refused, SourceError.
        """
        if self.tree.status(self.file) is None:
            return
        with self.tree.opened(self.file, self.max_file_bytes) as (file, status):
            repeated = self._repeated_in(file, status)
            os.lseek(file, 0, os.SEEK_SET)
            left = dict(repeated)
            try:
                for member in json_stream.members(functools.partial(os.read, file)):
                    yield self._entry(file, member, left)
            except BrokenObject as error:
                yield self._broken(file, status.st_size, str(error))

    def transcript(self, entry: RawEntry, transcript_id: str) -> Part | Problem:
        """Look where an entry's transcript is, in one folder after the other."""
        return look_up_in(self.tree, self.folders(entry.agent), entry, transcript_id, self.max_file_bytes)

    def _repeated_in(self, file: int, status: os.stat_result) -> Repeated:
        """Find the keys that occur more than once; remembered while the file stays as it is."""
        stamp = stamp_of(status)
        if self._repeated is None or stamp is None or self._repeated[0] != stamp:
            found = find_repeated(file, self.scratch)
            self._repeated = (stamp or "", found)
        return self._repeated[1]

    def _entry(self, file: int, member: Member, left: dict[str, int]) -> RawEntry | BadEntry:
        try:
            key = json_stream.key_of(member.key)
        except UnicodeDecodeError as error:
            shown = member.key[1:-1].decode("utf-8", "backslashreplace")
            return self._bad(member, shown, Reason.INVALID_UTF8, f"invalid UTF-8 in the key, at byte {error.start}")
        except ValueError as error:
            shown = member.key[1:-1].decode("utf-8")
            return self._bad(member, shown, Reason.INVALID_JSON, f"the key is no JSON text: {error}")
        if key in left:
            left[key] -= 1
            if left[key] > 0:
                return self._bad(member, key, Reason.DUPLICATE_KEY, f"key {key!a} has a later entry, which counts")
        return self._judged(file, member, key)

    def _judged(self, file: int, member: Member, key: str) -> RawEntry | BadEntry:
        size = member.stop - member.start
        if size > MAX_ENTRY_BYTES:
            return self._bad(member, key, Reason.TOO_LARGE, f"the entry has {size} bytes, which no store takes")
        raw = os.pread(file, size, member.start) if member.raw is None else member.raw
        if not raw.isascii():
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError as error:
                where = f"invalid UTF-8, first at byte {member.start + error.start}"
                return self._bad(member, key, Reason.INVALID_UTF8, where)
        return RawEntry(self._agent(key), key, raw, archived=self.archived)

    def _agent(self, key: str) -> str:
        return self.agent_of(key) if self.agent is None else self.agent

    def _bad(self, member: Member, key: str, reason: Reason, detail: str) -> BadEntry:
        return BadEntry(self._agent(key), key, self._blob(member), reason, detail)

    def _blob(self, member: Member) -> Blob:
        if member.raw is None:
            return Region(self.tree, self.file, member.start, member.stop)
        return files.piece(self.tree, self.file, member.start, member.raw)

    def _broken(self, file: int, size: int, detail: str) -> BadEntry:
        blob = Region(self.tree, self.file, 0, size)
        agent = self.agent if self.agent is not None else self.agent_of("")
        small = os.pread(file, size, 0) if size <= _JUDGED_BYTES else b""
        if size == 0:
            return BadEntry(agent, None, Held(b""), Reason.INVALID_JSON, "the file is empty")
        try:
            is_other_value = not isinstance(json.loads(small.decode("utf-8")), dict)
        except UnicodeDecodeError as error:
            return BadEntry(agent, None, blob, Reason.INVALID_UTF8, f"invalid UTF-8, first at byte {error.start}")
        except (ValueError, RecursionError):
            is_other_value = False
        return BadEntry(agent, None, blob, Reason.NOT_AN_OBJECT if is_other_value else Reason.INVALID_JSON, detail)


def look_up_in(
    tree: Tree, folders: tuple[str, ...], entry: RawEntry, transcript_id: str, max_bytes: int
) -> FilePart | Problem:
    """Look where an entry's transcript is, in one folder after the other. Raises: SourceError."""
    name = names.file_of(transcript_id)
    found: list[FilePart] = []
    refused: Problem | None = None
    for folder in folders:
        looked = _look_up(tree, folder, name, entry, transcript_id, max_bytes)
        if isinstance(looked, FilePart):
            found.append(looked)
        else:
            refused = refused or looked
    if found:
        return found[0] if len(found) == 1 else _named_by(entry, found)
    if refused:
        return refused
    path, detail = printable(files.joined(folders[0], name)), "the entry names a file that is not there"
    return Problem(path, Reason.MISSING_TRANSCRIPT, detail, printable(entry.agent), _shown(entry.key))


def _look_up(
    tree: Tree, folder: str, name: str, entry: RawEntry, transcript_id: str, max_bytes: int
) -> FilePart | Problem | None:
    path = files.joined(folder, name)
    try:
        status = tree.status(path)
        if status is None:
            return None
        refuse(status, max_bytes)
    except Refused as error:
        return error.problem(printable(path), printable(entry.agent), _shown(entry.key))
    return FilePart(tree, folder, name, entry.agent, transcript_id, max_bytes, status)


def refuse(status: os.stat_result, max_bytes: int) -> None:
    """Raise Refused for what is no regular file of at most `max_bytes`."""
    kind = kind_of(status.st_mode)
    if kind is not Kind.FILE:
        raise misplaced(kind)
    if status.st_size > max_bytes:
        raise Refused(Reason.TOO_LARGE, f"{status.st_size} bytes; the limit is {max_bytes} (--max-file-bytes)")


def _named_by(entry: RawEntry, found: list[FilePart]) -> FilePart:
    """Choose between files of one name: the folder that `sessionFile` ends in, else the first."""
    try:
        named = json.loads(entry.raw).get("sessionFile")
    except (ValueError, RecursionError, AttributeError):
        named = None
    if isinstance(named, str):
        path = named.replace("\\", "/")
        fitting = [part for part in found if part.folder and path.endswith(f"/{part.folder}/{part.name}")]
        return (fitting or found)[0]
    return found[0]


def _shown(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
