"""The portable dump: JSON, one object a line. Pure; `export/jsonl.py` writes them and `dump.py` reads them.

```
{"type":"dump","format":"sessionstore-dump","version":1}
{"type":"session","agent":…,"key":…,"entry":"<its bytes as text>","status":"active","title":…,"tags":[…], …}
{"type":"lines","lines":["<a line as text>",{"base64":"<a line that is not UTF-8>"}, …]}     lines of what came last
{"type":"archive","agent":…,"name":"<file name>"}
{"type":"deleted","agent":…,"key":…}                    it changed while the dump was written: what came before is void
{"type":"end","sessions":…,"lines":…,"archives":…,"archiveLines":…,"digest":"…","sha256":"<of all bytes before>"}
```

A session or archive that comes twice counts as it comes last. Text keeps every byte: what is not UTF-8 is base64.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sessionstore.sessions.record import Entry, Lifetime, Marks, Session, SessionKey, Status

FORMAT, VERSION = "sessionstore-dump", 1
_LINES = b'{"type":"lines"'
HEADER_BYTES = 4096
"""The first line is shorter than this, whatever a later version adds: it tells a dump from any other file."""


class BadRecord(ValueError):
    """A line that is no record of a dump; the message says why."""


def header() -> bytes:
    """Write the first line."""
    return _line({"type": "dump", "format": FORMAT, "version": VERSION})


def session(found: Session) -> bytes:
    """Write what a session is; its lines follow."""
    marks, lifetime = found.marks, found.lifetime
    values = {
        "type": "session",
        "agent": found.key.agent,
        "key": found.key.key,
        "entry": found.entry.raw.decode("utf-8"),
        "status": found.status.value,
        "title": marks.title,
        "tags": list(marks.tags) or None,
        "pinned": marks.pinned or None,
        "reason": marks.reason,
        "ttlMs": lifetime.ttl_ms,
        "idleMs": lifetime.idle_ms,
    }
    return _line({name: value for name, value in values.items() if value is not None})


def archive(agent: str, name: str) -> bytes:
    """Write what an archive is called; its lines follow."""
    return _line({"type": "archive", "agent": agent, "name": name})


def lines(batch: Sequence[bytes]) -> bytes:
    """Write lines of the session or archive that came last."""
    return _line({"type": "lines", "lines": [_of_bytes(line) for line in batch]})


def deleted(key: SessionKey) -> bytes:
    """Write that a session is none any more."""
    return _line({"type": "deleted", "agent": key.agent, "key": key.key})


def end(counts: Mapping[str, int], digest: str, sha256: str) -> bytes:
    """Write the last line."""
    return _line({"type": "end", **counts, "digest": digest, "sha256": sha256})


def read(raw: bytes) -> dict[str, Any]:
    """Read a line. Raises: BadRecord."""
    try:
        found = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"not JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise BadRecord('an object with a "type" is needed')
    return found


def is_lines(raw: bytes) -> bool:
    """Tell whether a record holds lines of what came before it, also where it is damaged."""
    try:
        return raw.startswith(_LINES) or bool(read(raw)["type"] == "lines")
    except BadRecord:
        return False


def check_header(raw: bytes) -> None:
    """Tell whether this line begins a dump that can be read. Raises: BadRecord."""
    found = read(raw)
    if found.get("format") != FORMAT:
        raise BadRecord(f'its first line does not say "format": "{FORMAT}"')
    if found.get("version") != VERSION:
        raise BadRecord(f"it is of version {found.get('version')!r}; this program reads version {VERSION}")


def text_of(record: Mapping[str, Any], name: str) -> str:
    """Return a text. Raises: BadRecord where it is absent."""
    value = record.get(name)
    if not isinstance(value, str):
        raise BadRecord(f'"{name}" must be text')
    return value


def lines_of(record: Mapping[str, Any]) -> list[bytes]:
    """Return the lines of a `lines` record. Raises: BadRecord."""
    found = record.get("lines")
    if not isinstance(found, list):
        raise BadRecord('"lines" must be an array')
    return [_to_bytes(line) for line in found]


def entry_of(record: Mapping[str, Any]) -> Entry:
    """Return a session's entry. Raises: BadRecord, InvalidEntry."""
    return Entry.of(text_of(record, "entry"))


def marks_of(record: Mapping[str, Any]) -> Marks:
    """Return what people set on a session. Raises: BadRecord."""
    tags = record.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise BadRecord('"tags" must be texts')
    title, reason = _optional(record, "title"), _optional(record, "reason")
    return Marks(title, tuple(sorted(set(tags))), record.get("pinned") is True, reason)


def lifetime_of(record: Mapping[str, Any]) -> Lifetime:
    """Return how long a session lives. Raises: BadRecord, InvalidEntry."""
    for name in ("ttlMs", "idleMs"):
        if type(record.get(name)) not in (int, type(None)):
            raise BadRecord(f'"{name}" must be a whole number')
    return Lifetime(record.get("ttlMs"), record.get("idleMs"))


def status_of(record: Mapping[str, Any]) -> Status:
    """Return where a session stands. Raises: BadRecord."""
    try:
        found = Status(record.get("status", Status.ACTIVE))
    except ValueError as error:
        raise BadRecord(f'"status" must be active or archived: {error}') from error
    if found is Status.DELETED:
        raise BadRecord('"status" must be active or archived')
    return found


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"


def _of_bytes(line: bytes) -> str | dict[str, str]:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(line).decode("ascii")}


def _to_bytes(value: object) -> bytes:
    if isinstance(value, dict) and isinstance(value.get("base64"), str):
        try:
            return base64.b64decode(value["base64"], validate=True)
        except binascii.Error as error:
            raise BadRecord(f"a line is not base64: {error}") from error
    if not isinstance(value, str):
        raise BadRecord('a line must be text, or {"base64": …}')
    try:
        line = value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRecord("a line holds a lone surrogate") from error
    if b"\n" in line:
        raise BadRecord("a line holds a line feed")
    return line


def _optional(record: Mapping[str, Any], name: str) -> str | None:
    return None if record.get(name) is None else text_of(record, name)
