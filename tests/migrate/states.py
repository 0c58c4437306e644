"""State directories for tests: the real one, and small ones made to order."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.migrate import sqlite_states

FIXTURE = ROOT / "tests" / "fixtures" / "openclaw" / "file-2026.7.1-2.tar.gz"
"""Written by OpenClaw 2026.7.1-2: 2 agents, 11 sessions, 26 lines, 3 archives."""
CHARTS_FIXTURE = FIXTURE.with_name("charts-2026.5.28.tar.gz")
"""Written by OpenClaw 2026.5.28 with the charts' `session.store`: 2 agents in one index, 16 lines, no archive. Its
transcripts lie below `agents/`, as plain turns have it; paths of the machine were taken out of its trajectories."""
HEADER = b'{"type":"session","version":3}'
TURN = b'{"type":"message","id":"1"}'


def unpack_charts(target: Path) -> Path:
    """Unpack the directory that OpenClaw made as the charts configure it."""
    return unpack(target, CHARTS_FIXTURE)


def unpack(target: Path, fixture: Path = FIXTURE) -> Path:
    """Unpack the real state directory."""
    with tarfile.open(fixture) as archive:
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


def charts(root: Path) -> Path:
    """Make what both popular Helm charts do: an index that is a file named `sessions`, agents mixed, in the root."""
    work = State(root, agent="work")
    work.file("id-work.jsonl", HEADER + b"\n" + TURN + b"\n")
    write(root / "openclaw.json", b"{ // by hand\n session: {store: '/home/node/.openclaw/sessions',},}\n")
    write(root / "sessions", entries({"agent:main:a": "id-a", "agent:work:b": "id-work", "global": "id-g"}))
    write(root / "id-a.jsonl", HEADER + b"\n" + TURN + b"\n")
    write(root / "id-g.jsonl", HEADER + b"\n")
    write(root / "lost.jsonl", HEADER + b"\n")
    write(root / "id-a.jsonl.reset.2026-11-20T10-07-57.629Z", TURN + b"\n")
    return root


def template(root: Path) -> Path:
    """Make an index for each agent, at a path with the agent in it."""
    write(
        root / "openclaw.json",
        b'{"session":{"store":"~/.openclaw/stores/{agentId}.json"},"agents":{"list":[{"id":"Work"}]}}',
    )
    write(root / "stores" / "work.json", entries({"agent:work:a": "id-a"}))
    write(root / "stores" / "other.json", entries({"agent:other:a": "id-b"}))
    write(root / "stores" / "id-a.jsonl", HEADER + b"\n")
    write(root / "agents" / "other" / "sessions" / "id-b.jsonl", HEADER + b"\n" + TURN + b"\n")
    return root


def rotated(root: Path) -> Path:
    """Make indexes of before, with no current one: the newest has a later state of one session."""
    state = State(root)
    state.file("sessions.json.bak.1795169290837", entries({"agent:main:a": "id-a", "agent:main:b": "id-b"}))
    state.file("sessions.json.bak.999169290837", entries({"agent:main:a": "id-old", "agent:main:c": "id-c"}))
    for stem in ("id-a", "id-b", "id-c", "id-old"):
        state.file(f"{stem}.jsonl", HEADER + b"\n" + b'{"of":"%s"}\n' % stem.encode())
    return root


def legacy(root: Path) -> Path:
    """Make the directory of before 2026, which has no agents."""
    write(root / "sessions" / "sessions.json", entries({"main": "id-a", "agent:main:b": "id-b"}))
    for stem in ("id-a", "id-b", "lost"):
        write(root / "sessions" / f"{stem}.jsonl", HEADER + b"\n")
    return root


def escaped(root: Path) -> Path:
    """Make a `sessions.d` with escaped keys, one of which begins with a dot."""
    return _directory(root, {"agent%3Amain%3Aa%2Fb.json": "id-a", "100%25%5c.json": "id-b", ".hidden.json": "id-c"})


def stamped(root: Path) -> Path:
    """Make a `sessions.d` with keys in base64url, one long, and the stamp that says that it is whole."""
    long = b"agent:main:" + b"x" * 200
    name = base64.urlsafe_b64encode(b"agent:main:\xc3\xa4?>").decode().rstrip("=")
    hashed = base64.urlsafe_b64encode(hashlib.sha256(long).digest()).decode().rstrip("=")
    folder = root / "agents" / "main" / "sessions" / "sessions.d"
    write(
        folder / "state.json",
        b'{"kind":"openclaw-session-store-directory","layoutVersion":1,"version":3,"updatedAt":1}',
    )
    write(folder / "entries" / f"session-{name}.json", entry("id-a"))
    write(folder / "entries" / f"session-hash-{hashed}.json", b'{"sessionKey":"%s","entry":%s}' % (long, entry("id-b")))
    write(folder.parent / "id-a.jsonl", HEADER + b"\n")
    write(folder.parent / "id-b.jsonl", HEADER + b"\n" + TURN + b"\n")
    return root


def dashed(root: Path) -> Path:
    """Make a `sessions.d` with a directory for each key, its colons written as dashes; one entry knows better."""
    inside = b'{"sessionId":"id-b","updatedAt":1,"sessionKey":"agent:main:b--b"}'
    _directory(root, {"agent--main--a/meta.json": "id-a"})
    write(root / "agents" / "main" / "sessions" / "sessions.d" / "agent--main--b--b" / "meta.json", inside)
    write(root / "agents" / "main" / "sessions" / "id-b.jsonl", HEADER + b"\n")
    return root


def archived(root: Path) -> Path:
    """Make sessions that were archived, beside one that was not."""
    state = State(root)
    state.session("agent:main:here")
    gone = b'{"sessionId":"id-x","updatedAt":5,"archivedReason":"done with it","sessionFile":"sessions/id-x.jsonl"}'
    write(root / "archived" / "archived-store.json", b'{"agent:main:gone":' + gone + b"}")
    write(root / "archived" / "sessions" / "id-x.jsonl", HEADER + b"\n" + TURN + b"\n")
    write(root / "archived" / "sessions" / "lost.jsonl", HEADER + b"\n")
    return root


def _directory(root: Path, files: Mapping[str, str]) -> Path:
    folder = root / "agents" / "main" / "sessions"
    for name, stem in files.items():
        write(folder / "sessions.d" / name, entry(stem))
        write(folder / f"{stem}.jsonl", HEADER + b"\n")
    return root


def entries(stems: Mapping[str, str]) -> bytes:
    """Return an index: session key -> the id of its transcript."""
    pairs = (b"%s: %s" % (json.dumps(key).encode(), entry(stem)) for key, stem in stems.items())
    return b"{\n  " + b",\n  ".join(pairs) + b"\n}"


def entry(stem: str) -> bytes:
    """Return an entry that names a transcript."""
    return b'{"sessionId": "%s", "updatedAt": 1700000000000}' % stem.encode()


def write(path: Path, raw: bytes) -> None:
    """Write a file, and the directories that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)


FILE_LAYOUTS: Mapping[str, Callable[[Path], Path]] = {
    "real files": unpack,
    "sessions.json": small,
    "session.store of charts": charts,
    "real files of charts": unpack_charts,
    "session.store with a template": template,
    "rotated": rotated,
    "legacy root": legacy,
    "sessions.d, escaped": escaped,
    "sessions.d, stamped": stamped,
    "sessions.d, dashed": dashed,
    "archived": archived,
}
"""Layout -> what makes a valid directory of it, which is not there yet."""

LAYOUTS: Mapping[str, Callable[[Path], Path]] = {
    **FILE_LAYOUTS,
    "database": sqlite_states.small,
    "database, updated": functools.partial(sqlite_states.unpack, sqlite_states.UPDATED),
    "database, cold": functools.partial(sqlite_states.unpack, sqlite_states.COLD),
}
"""Those, and those of databases. Tests of all layouts go through these."""


def fingerprint(root: Path) -> Mapping[str, tuple[str, int, int]]:
    """Return path -> (digest of the bytes, mode, mtime) of `root` and everything below it."""
    found = {}
    for path in [root, *sorted(root.rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(root))] = hashlib.sha256(content).hexdigest(), status.st_mode, status.st_mtime_ns
    return found
