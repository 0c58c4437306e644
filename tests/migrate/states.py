"""State directories for tests: the real one, and small ones made to order."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

FIXTURE = ROOT / "tests" / "fixtures" / "openclaw" / "file-2026.7.1-2.tar.gz"
"""Written by OpenClaw 2026.7.1-2: 2 agents, 11 sessions, 26 lines, 3 archives."""
HEADER = b'{"type":"session","version":3}'
TURN = b'{"type":"message","id":"1"}'


def unpack(target: Path) -> Path:
    """Unpack the real state directory."""
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(target, filter="data")
    return target


def unpack_often(target: Path, copies: int) -> Path:
    """Unpack the real state directory, its agents `copies` times under names of their own."""
    for number in range(copies):
        unpack(target / "copy")
        for agent in sorted((target / "copy" / "agents").iterdir()):
            os.renames(agent, target / "agents" / f"{agent.name}-{number:02}")
    return target


class State:
    """A state directory that grows by one call after another; valid unless told otherwise."""

    def __init__(self, root: Path, agent: str = "main") -> None:
        self.root = root
        self.folder = root / "agents" / agent / "sessions"
        self.folder.mkdir(parents=True)
        self.entries: dict[str, dict[str, Any]] = {}

    def session(self, key: str, lines: bytes | None = HEADER + b"\n", **fields: Any) -> dict[str, Any]:
        """Add a session; `lines` are the transcript file's bytes, None for no file."""
        number = len(self.entries)
        entry = {"sessionId": f"id-{number}", "updatedAt": 1_700_000_000_000 + number} | fields
        self.entries[key] = {name: value for name, value in entry.items() if value is not None}
        if lines is not None:
            self.file(f"{entry['sessionId']}.jsonl", lines)
        self.index(json.dumps(self.entries, ensure_ascii=False, indent=2).encode())
        return self.entries[key]

    def index(self, raw: bytes) -> None:
        """Write `sessions.json`, whatever it should hold."""
        self.file("sessions.json", raw)

    def file(self, name: str, raw: bytes) -> None:
        """Write a file among the sessions."""
        (self.folder / name).write_bytes(raw)


def small(root: Path) -> Path:
    """Make a small directory of the layout `sessions.json`: two agents, an archive, an orphan, and what lies beside."""
    main, work = State(root), State(root, agent="work")
    for number in range(4):
        main.session(f"agent:main:chat:{number}", HEADER + b"\n" + b'{"n":%d}\n' % number * number)
    main.session("Straße/%2F", HEADER + b"\n" + '{"type":"message","text":"grüß dich"}'.encode())
    main.file("id-9.jsonl.reset.2026-11-20T10-07-57.629Z", HEADER + b"\n" + TURN + b"\n")
    main.file("orphan.jsonl", HEADER + b"\n")
    main.file("id-0.trajectory.jsonl", b"{}\n")
    work.session("agent:work:main", HEADER + b"\n" + TURN + b"\n", sessionFile="/home/node/work.jsonl")
    work.file("work.jsonl", HEADER + b"\n" + TURN + b"\n" + TURN + b"\n")
    (root / "openclaw.json").write_bytes(b'{"agents":{"list":[{"id":"main","default":true},{"id":"work"}]}}')
    return root


LAYOUTS: Mapping[str, Callable[[Path], Path]] = {
    "real files": unpack,
    "sessions.json": small,
}
"""Layout -> what makes a valid directory of it, which is not there yet. Tests of all layouts go through these."""


def fingerprint(root: Path) -> Mapping[str, tuple[str, int, int]]:
    """Return path -> (digest of the bytes, mode, mtime) of `root` and everything below it."""
    found = {}
    for path in [root, *sorted(root.rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(root))] = hashlib.sha256(content).hexdigest(), status.st_mode, status.st_mtime_ns
    return found
