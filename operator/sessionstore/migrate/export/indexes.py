"""Writes the entries as OpenClaw reads them: an index an agent, one for all of them, or one file an entry.

An index is laid out as OpenClaw 2026.7.1-2 writes it, `JSON.stringify(entries, null, 2)`; the tokens of an entry keep
their bytes. Entries are written as they come: an index may be larger than memory.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sessionstore.migrate.export import placing
from sessionstore.migrate.export.files import Entries
from sessionstore.migrate.export.staging import Staging
from sessionstore.openclaw import names, openclaw_json, rawjson, sessions_d
from sessionstore.openclaw.openclaw_json import TEMPLATE
from sessionstore.sessions.record import SessionKey


@dataclass(frozen=True, slots=True)
class PerAgent:
    """One index an agent; `path` is relative to the state directory."""

    path: str = f"{placing.folder_of(TEMPLATE)}/{names.INDEX}"

    @property
    def is_elsewhere(self) -> bool:
        return self.path != PerAgent().path

    def takes(self, key: SessionKey) -> bool:
        """Tell whether there is a place for this session."""
        return True

    def write(self, staging: Staging, agents: Sequence[str], entries: Entries) -> None:
        """Write an index for each agent."""
        for agent in agents:
            _write_index(staging, self._file(staging, agent), ())
        for agent, found in itertools.groupby(entries, key=lambda entry: entry[0]):
            _write_index(staging, self._file(staging, agent), ((key, raw) for _, key, raw in found))

    def _file(self, staging: Staging, agent: str) -> Path:
        return _made(staging, self.path.replace(TEMPLATE, agent))


@dataclass(frozen=True, slots=True)
class OneFile:
    """One index for all agents, where `session.store` says so; `path` is relative to the state directory."""

    path: str
    default_agent: str
    is_elsewhere = True

    def takes(self, key: SessionKey) -> bool:
        """Tell whether OpenClaw would find this session's agent in its key: nothing else tells it there."""
        return openclaw_json.agent_of(key.key, self.default_agent) == key.agent

    def write(self, staging: Staging, agents: Sequence[str], entries: Entries) -> None:
        """Write the index."""
        _write_index(staging, _made(staging, self.path), ((key, raw) for _, key, raw in entries))


class Directories:
    """`agents/<agent>/sessions/sessions.d/entries/session-….json`, as proposed for OpenClaw; and its stamp."""

    is_elsewhere = False

    def takes(self, key: SessionKey) -> bool:
        """Tell whether there is a place for this session."""
        return True

    def write(self, staging: Staging, agents: Sequence[str], entries: Entries) -> None:
        """Write a file for each entry, and last the stamp that says that they are all there."""
        for agent in agents:
            staging.folder(_directory(agent) + "/entries")
        for agent, key, raw in entries:
            name, content = _entry_file(key, raw)
            with staging.file(staging.folder(_directory(agent) + "/entries") / name) as stream:
                stream.write(content)
        stamp = {"kind": sessions_d.STATE_KIND, "layoutVersion": sessions_d.STATE_VERSION, "version": 1}
        for agent in agents:
            with staging.file(staging.folder(_directory(agent)) / "state.json") as stream:
                stream.write(json.dumps(stamp).encode())


def _directory(agent: str) -> str:
    return f"{placing.folder_of(agent)}/{sessions_d.LAYOUT}"


def _entry_file(key: str, raw: bytes) -> tuple[str, bytes]:
    """Return the name and the content of an entry's file. A long key stands within it."""
    text = key.encode()
    if len(text) <= sessions_d.INLINE_KEY_BYTES:
        name, content = f"session-{_base64(text)}.json", raw
    else:
        name = f"session-hash-{_base64(hashlib.sha256(text).digest())}.json"
        content = b'{"sessionKey":' + rawjson.dump(key) + b',"entry":' + raw + b"}"
    return name, content


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _made(staging: Staging, path: str) -> Path:
    folder, _, name = path.rpartition("/")
    return staging.folder(folder) / name


def _write_index(staging: Staging, path: Path, entries: Iterable[tuple[str, bytes]]) -> None:
    """Write one object, session key -> entry."""
    with staging.file(path) as stream:
        separator = b"{\n  "
        for key, raw in entries:
            stream.write(separator + rawjson.dump(key) + b": " + rawjson.indent(raw, 1))
            separator = b",\n  "
        stream.write(b"{}" if separator.startswith(b"{") else b"\n}")
