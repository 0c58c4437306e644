"""Writes the entries as an index of OpenClaw: one `sessions.json` an agent, or one file for all of them.

Laid out as OpenClaw 2026.7.1-2 writes it, `JSON.stringify(entries, null, 2)`; the tokens of an entry keep their bytes.
Entries are written as they come: an index may be larger than memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sessionstore.migrate.export import placing
from sessionstore.migrate.export.files import Entries
from sessionstore.migrate.export.staging import Staging
from sessionstore.openclaw import names, rawjson


class PerAgent:
    """`agents/<agent>/sessions/sessions.json`."""

    def write(self, staging: Staging, agents: Sequence[str], entries: Entries) -> None:
        """Write an index for each agent."""
        for agent in agents:
            write_index(staging, staging.folder(placing.folder_of(agent)) / names.INDEX, ())
        for agent, found in itertools.groupby(entries, key=lambda entry: entry[0]):
            path = staging.folder(placing.folder_of(agent)) / names.INDEX
            write_index(staging, path, ((key, raw) for _, key, raw in found))


@dataclass(frozen=True, slots=True)
class OneFile:
    """One index for all agents, where `session.store` says so; `path` is relative to the state directory."""

    path: str

    def write(self, staging: Staging, agents: Sequence[str], entries: Entries) -> None:
        """Write the index."""
        folder, _, name = self.path.rpartition("/")
        write_index(staging, staging.folder(folder) / name, ((key, raw) for _, key, raw in entries))


def write_index(staging: Staging, path: Path, entries: Iterable[tuple[str, bytes]]) -> None:
    """Write one object, session key -> entry."""
    with staging.file(path) as stream:
        separator = b"{\n  "
        for key, raw in entries:
            stream.write(separator + rawjson.dump(key) + b": " + rawjson.indent(raw, 1))
            separator = b",\n  "
        stream.write(b"{}" if separator.startswith(b"{") else b"\n}")
