"""A gateway's turn, as OpenClaw takes it: its lock, its transcript, its sheet. No model is asked.

What it saw when its turn began is returned, so that a test can tell whether anything was missing.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

from tests.bridge.pods import DEADLINE_S, Pod
from tests.bridge.writer import Entries, update

POLL_S = 0.05


class Gateway:
    """The gateway of one pod."""

    def __init__(self, pod: Pod) -> None:
        self.pod = pod

    def say(self, key: str, text: str, *, takes_s: float = 0.0) -> list[str]:
        """Have a turn with an agent; return what had been said when it began, first to last."""
        session_id = self._session_id(key)
        lock = self.pod.sessions / f"{session_id}.jsonl.lock"
        _take(lock)
        try:
            self._set(key, status="running", startedAt=_now_ms())
            before = self.lines(session_id)
            time.sleep(takes_s)
            assert self.lines(session_id) == before, "the transcript was touched during the turn"
            self._append(session_id, before, text)
        finally:
            lock.unlink()
        self._set(key, status="done", endedAt=_now_ms())
        return [line["text"] for line in before if line["type"] == "message"]

    def break_off(self, key: str, text: str) -> None:
        """Say something in a turn that never ends: its lock stays, and its entry is running."""
        session_id = self._session_id(key)
        _take(self.pod.sessions / f"{session_id}.jsonl.lock")
        self._set(key, status="running", startedAt=_now_ms())
        self._append(session_id, self.lines(session_id), text)

    def forget(self, key: str) -> None:
        """Delete a session: its entry goes, its transcript becomes an archive."""
        session_id = self.session_id(key)
        update(self.pod.sheet, lambda entries: entries.pop(key, None))
        if session_id is not None:
            transcript = self._transcript(session_id)
            transcript.rename(f"{transcript}.deleted.2026-11-21T10-00-00.000Z")

    def lines(self, session_id: str) -> list[dict[str, Any]]:
        """Return a transcript's lines."""
        try:
            return [json.loads(line) for line in self._transcript(session_id).read_bytes().splitlines()]
        except FileNotFoundError:
            return []

    def session_id(self, key: str) -> str | None:
        """Return the session id that the gateway sees; None where it knows no such session."""
        entry = self.pod.entries().get(key)
        return entry and str(entry["sessionId"])

    def _session_id(self, key: str) -> str:
        known = self.session_id(key)
        if known is None:
            known = str(uuid.uuid4())
            self._set(key, sessionId=known, sessionStartedAt=_now_ms())
        return known

    def _append(self, session_id: str, before: list[dict[str, Any]], text: str) -> None:
        last = before[-1]["id"] if before else None
        header = [] if before else [{"type": "session", "id": session_id, "cwd": str(self.pod.state)}]
        user, assistant = uuid.uuid4().hex[:8], uuid.uuid4().hex[:8]
        said = [
            {"type": "message", "id": user, "parentId": None if not before else last, "text": text},
            {"type": "message", "id": assistant, "parentId": user, "text": f"answer to {text}"},
        ]
        with self._transcript(session_id).open("ab") as file:
            for line in [*header, *said]:
                file.write(json.dumps(line).encode() + b"\n")

    def _set(self, key: str, **fields: Any) -> None:
        def change(entries: Entries) -> None:
            entries[key] = entries.get(key, {}) | fields | {"updatedAt": _now_ms()}

        update(self.pod.sheet, change)

    def _transcript(self, session_id: str) -> Path:
        return self.pod.sessions / f"{session_id}.jsonl"


def _take(lock: Path) -> None:
    """Take a lock as OpenClaw does: who finds one reads it, and looks again a little later."""
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            assert time.monotonic() < end, "the door was never opened"
            try:
                lock.read_bytes()
            except FileNotFoundError:
                continue
            time.sleep(POLL_S)
            continue
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps({"pid": os.getpid(), "createdAt": _now_ms()}).encode())
        return


def _now_ms() -> int:
    return int(time.time() * 1000)
