"""One bridge's side of transcripts, for tests: a directory, what stands for its doors, and a gateway that writes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sessionstore.bridge.transcripts import Carried, Transcripts
from sessionstore.sessions.plainfiles import Directory
from sessionstore.sessions.record import Lease, SessionKey
from sessionstore.sessions.store import Store

KEY = SessionKey("main", "agent:main:telegram:direct:1")
ID = "6732d08c-b7c4-4713-8441-d87e624024a9"
ENTRY = json.dumps({"sessionId": ID, "updatedAt": 1}).encode()


def header(cwd: str) -> bytes:
    return json.dumps({"type": "session", "version": 3, "id": ID, "cwd": cwd}, separators=(",", ":")).encode()


def message(name: str, parent: str | None = None, text: str = "") -> bytes:
    said = {"type": "message", "id": name, "parentId": parent, "text": text or f"says {name}"}
    return json.dumps(said, separators=(",", ":")).encode()


def talk(*names: str, after: str | None = None) -> list[bytes]:
    """Make a row of messages, each hung on the one before."""
    return [message(name, parent) for name, parent in zip(names, (after, *names), strict=False)]


def ids(rows: Sequence[bytes]) -> list[str]:
    return [json.loads(row)["id"] for row in rows if json.loads(row)["type"] == "message"]


def is_linear(rows: Sequence[bytes]) -> bool:
    said: list[dict[str, Any]] = [json.loads(row) for row in rows if json.loads(row)["type"] == "message"]
    return all(later["parentId"] == earlier["id"] for earlier, later in itertools.pairwise(said))


class Side:
    """A directory with one gateway and one bridge. Doors are planted for good, but for what `running` holds."""

    def __init__(self, path: Path, name: str, store: Store, boot: str = "boot") -> None:
        self.path, self.name, self.store, self.boot = path / name, name, store, boot
        self.running: set[str] = set()
        self.transcripts: Transcripts

    @classmethod
    @contextmanager
    def opened(cls, path: Path, name: str, store: Store, boot: str = "boot") -> Iterator[Side]:
        side = cls(path, name, store, boot)
        with Directory.opened(side.path, create=True) as directory:
            assert directory is not None
            side.directory = directory
            side.restart()
            yield side

    directory: Directory

    def restart(self, boot: str | None = None) -> None:
        """Begin anew with what is on the disk."""
        self.boot = boot or self.boot
        self.transcripts = Transcripts.begun(self.store, self.directory, self.may_touch, self.boot)

    def may_touch(self, transcript_id: str) -> bool:
        return transcript_id not in self.running

    async def carry(self, lease: Lease | None = None, key: SessionKey = KEY) -> Carried:
        return await self.transcripts.carry(key, ID, fence=lease.token if lease else None)

    async def push(self) -> Carried:
        """Carry with a lease that is taken for it."""
        lease = await self.store.acquire_lease(KEY, self.name, 60)
        try:
            return await self.carry(lease)
        finally:
            await self.store.release_lease(lease)

    # -- the gateway ----------------------------------------------------------------------------

    @property
    def file(self) -> Path:
        return self.path / f"{ID}.jsonl"

    def say(self, *lines: bytes) -> None:
        """Append as OpenClaw does."""
        with self.file.open("ab") as file:
            for line in lines:
                file.write(line + b"\n")

    def write(self, *lines: bytes) -> None:
        """Write the whole file anew, as OpenClaw does: in place."""
        with self.file.open("wb") as file:
            file.write(b"".join(line + b"\n" for line in lines))

    @property
    def lines(self) -> list[bytes]:
        return self.file.read_bytes().split(b"\n")[:-1] if self.file.exists() else []


async def stored(store: Store) -> list[bytes]:
    found = await store.read(KEY)
    return list(found.lines) if found else []
