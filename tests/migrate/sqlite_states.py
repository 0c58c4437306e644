"""State directories of OpenClaw 2026.8 and later: the real ones, and databases made to order with the real schema."""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import sqlite3
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

UPDATED = ROOT / "tests" / "fixtures" / "openclaw" / "sqlite-2026.9.6.tar.gz"
"""That of states.FIXTURE after its update to OpenClaw 2026.9.6, and one more turn. No log."""
COLD = ROOT / "tests" / "fixtures" / "openclaw" / "sqlite-2026.9.6-cold.tar.gz"
"""Begun with OpenClaw 2026.9.6 and copied while it ran: a log, 2 cold transcripts, a reset, a deleted session."""
EMPTY_AGENT = "agents/work/agent/openclaw-agent.sqlite"
zstd = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def unpack(fixture: Path, target: Path) -> Path:
    """Unpack a real state directory."""
    with tarfile.open(fixture) as archive:
        archive.extractall(target, filter="data")
    return target


def connect(file: Path) -> sqlite3.Connection:
    """Open a database with what the schema's checks and triggers need."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.create_function("octet_length", 1, _octet_length, deterministic=True)
    return connection


def _octet_length(value: str | bytes | None) -> int | None:
    return value if value is None else len(value.encode() if isinstance(value, str) else value)


def small(root: Path) -> Path:
    """Make a small database: lines and cold transcripts of both forms, an archive, a session without lines."""
    made = Database(root)
    header, turn = b'{"type":"session","version":3}', b'{"type":"message","id":"%d"}'
    long = b'{"type":"message","text":"' + b"long " * 400 + b'%d"}'
    for number in range(3):
        made.session(f"agent:main:chat:{number}", [header, turn % number, long % number])
    made.session("agent:main:bare")
    made.session("agent:main:gone", archived_at=1)
    for number, storage in enumerate(("file", "sqlite")):
        made.cold(made.session(f"agent:main:cold:{number}"), [header, b'{"cold":%d}' % number], storage)
    made.archive("gone.jsonl.deleted.2026-11-20T10-08-02.716Z.1.zst", zstd.compress(header + b'\n{"gone":1}\n'))
    return made.close()


class Database:
    """A database with OpenClaw 2026.9.6's schema that grows by one call after another."""

    def __init__(self, root: Path, agent: str = "main", path: str | None = None) -> None:
        self.root, self.agent = root, agent
        self.file = root / (path or f"agents/{agent}/agent/openclaw-agent.sqlite")
        self.sessions = root / "agents" / agent / "sessions"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.sessions.mkdir(parents=True, exist_ok=True)
        self.file.write_bytes(_empty())
        self.connection = connect(self.file)
        self.connection.execute("UPDATE schema_meta SET agent_id = ?", (agent,))
        self.count = 0

    def session(self, key: str, lines: Iterable[bytes] = (), entry: str | None = None, **columns: Any) -> str:
        """Add a session with its transcript; return the transcript's id."""
        id = columns.pop("id", f"id-{self.count}")
        self.count += 1
        updated = columns.setdefault("updated_at", 1_700_000_000_000 + self.count)
        text = json.dumps({"sessionId": id, "updatedAt": updated}) if entry is None else entry
        self.insert("session_nodes", session_key=key, current_session_id=id, entry_json=text, **columns)
        self.window(id, key, lines)
        return id

    def window(self, id: str, key: str, lines: Iterable[bytes] = ()) -> None:
        """Add a transcript of a session."""
        self.insert("session_windows", session_id=id, session_key=key, created_at=1, updated_at=1)
        for seq, line in enumerate(lines):
            self.event(id, seq, line)

    def event(self, id: str, seq: int, line: bytes) -> None:
        """Add a line, compressed where OpenClaw would."""
        row: dict[str, Any] = {"session_id": id, "seq": seq, "created_at": 1, "event_utf8_bytes": len(line)}
        if len(line) < 1024:
            self.insert("transcript_events", event_json=line.decode(), **row)
        else:
            self.insert("transcript_events", event_zstd=zstd.compress(line), navigation_json=_NAVIGATION, **row)

    def archive(self, name: str, raw: bytes, encoding: str = "zstd", sha256: str | None = None) -> None:
        """Add an archive of a deleted session; `raw` as it is kept."""
        self.connection.execute(_ARCHIVES)
        id = name.partition(".jsonl")[0]
        self.insert(
            "session_transcript_archives",
            session_id=id,
            generation="0" * 32,
            session_key=f"agent:{self.agent}:{id}",
            reason="deleted",
            encoding=encoding,
            archive_blob=raw,
            archive_sha256=sha256 or hashlib.sha256(raw).hexdigest(),
            archive_name=name,
            created_at=1,
        )

    def cold(self, id: str, lines: list[bytes], storage: str = "file", **columns: Any) -> Path:
        """Move a transcript out; return where its file is, or would be."""
        raw = envelope(id, lines)
        sha256 = hashlib.sha256(raw).hexdigest()
        file = self.sessions / "cold" / f"{sha256}.jsonl.zst"
        row = {
            "session_id": id,
            "generation": "g",
            "archive_name": file.name,
            "archive_sha256": sha256,
            "event_count": len(lines),
            "raw_bytes": 1,
            "archive_bytes": len(raw),
            "last_seq": len(lines) - 1,
            "archived_at": 1,
            "storage": storage,
            "archive_blob": raw if storage == "sqlite" else None,
        }
        self.insert("session_transcript_cold_archives", **(row | columns))
        return self.cold_file(id, lines) if storage == "file" else file

    def cold_file(self, id: str, lines: list[bytes]) -> Path:
        """Write a cold archive that no row knows."""
        raw = envelope(id, lines)
        file = self.sessions / "cold" / f"{hashlib.sha256(raw).hexdigest()}.jsonl.zst"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(raw)
        return file

    def insert(self, table: str, **columns: Any) -> None:
        """Add a row as it is."""
        marks = ", ".join("?" * len(columns))
        self.connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", [*columns.values()])

    def unchecked(self, sql: str, *values: Any) -> None:
        """Change something that the schema does not allow."""
        self.connection.execute("PRAGMA ignore_check_constraints = ON")
        self.connection.execute(sql, values)

    def close(self) -> Path:
        """Write all of it into the file; return the state directory."""
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.connection.close()
        for suffix in ("-wal", "-shm"):
            Path(f"{self.file}{suffix}").unlink(missing_ok=True)
        return self.root


def envelope(id: str, lines: list[bytes], generation: str = "g") -> bytes:
    """Return a cold archive as OpenClaw writes it."""
    records: list[dict[str, Any]] = [{"kind": "header", "version": 1, "sessionId": id, "generation": generation}]
    for seq, line in enumerate(lines):
        records.append({"kind": "event", "row": {"seq": seq, "event_json": line.decode(), "created_at": 1}})
    records.append({"kind": "index", "row": {"indexed_seq": len(lines) - 1}})
    text = "".join(json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n" for record in records)
    packed: bytes = zstd.compress(text.encode())
    return packed


@functools.cache
def _empty() -> bytes:
    """Return a database with the real schema and nothing in it."""
    with tempfile.TemporaryDirectory() as folder:
        file = unpack(UPDATED, Path(folder)) / EMPTY_AGENT
        connection = connect(file)
        for table in ("session_nodes", "session_windows", "transcript_events"):
            connection.execute(f"DELETE FROM {table}")
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("VACUUM")
        connection.close()
        return file.read_bytes()


_NAVIGATION = json.dumps(
    {
        "version": 1,
        "report": {"kind": "ignored"},
        "navigation": {},
        "reset": {},
        "model": {},
        "modelBytes": 1,
        "modelWithoutCheckpointBytes": 1,
        "withoutCustomDataBytes": 1,
    }
)
_ARCHIVES = """
CREATE TABLE IF NOT EXISTS session_transcript_archives (
  session_id TEXT NOT NULL, generation TEXT NOT NULL, session_key TEXT NOT NULL, reason TEXT NOT NULL,
  encoding TEXT NOT NULL, archive_blob BLOB NOT NULL, archive_sha256 TEXT NOT NULL,
  archive_name TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL, published_at INTEGER,
  PRIMARY KEY (session_id, generation)
) STRICT"""
