"""Gateways' state directories on this machine, each with a bridge process beside it, over one store."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sessionstore.sessions import SessionKey, iterate, open_store

AGENT = "main"
MARKER = "agent:main:cron:sessionstore-bridge:run:marker"
DEADLINE_S = 120.0
Entries = dict[str, dict[str, Any]]


@dataclass
class Pod:
    """One gateway's state directory, and the bridge beside it."""

    name: str
    state: Path
    url: str
    bridge: subprocess.Popen[bytes] | None = None
    kills: int = field(default=0)
    agent: str = AGENT

    @property
    def sessions(self) -> Path:
        return self.state / "agents" / self.agent / "sessions"

    @property
    def sheet(self) -> Path:
        return self.sessions / "sessions.json"

    @property
    def log(self) -> Path:
        return self.state / "bridge.log"

    def start(self) -> None:
        """Start the bridge."""
        assert self.bridge is None
        command = [sys.executable, "-m", "sessionstore", "--store", self.url, "bridge", str(self.state)]
        with self.log.open("ab") as log:
            self.bridge = subprocess.Popen([*command, "--name", self.name], stdout=log, stderr=log)

    def kill(self) -> None:
        """End the bridge as a node that fails does."""
        bridge = self._running()
        bridge.kill()
        bridge.wait()
        self.bridge, self.kills = None, self.kills + 1

    def stop(self) -> None:
        """End the bridge as a pod that is deleted does."""
        bridge = self._running()
        bridge.terminate()
        assert bridge.wait(DEADLINE_S) == 0, self.told()
        self.bridge = None

    def entries(self) -> Entries:
        """Return what the gateway sees, without the marker."""
        entries: Entries = json.loads(self.sheet.read_bytes())
        entries.pop(MARKER, None)
        return entries

    def is_ready(self) -> bool:
        """Tell whether a bridge has said so: a gateway begins then, and not when there is a sheet already."""
        return "ready" in self.told().splitlines()

    def told(self) -> str:
        return self.log.read_text(errors="replace")

    def _running(self) -> subprocess.Popen[bytes]:
        assert self.bridge is not None
        assert self.bridge.poll() is None, self.told()
        return self.bridge


@contextmanager
def running(root: Path, names: str, url: str) -> Iterator[list[Pod]]:
    """Run a pod for each letter, with a bridge that is ready, until the end of the block."""
    pods = [Pod(name, root / name, url) for name in names]
    try:
        for pod in pods:
            pod.sessions.mkdir(parents=True)
            pod.start()
        for pod in pods:
            wait_until(pod.is_ready, pod)
        yield pods
    finally:
        for pod in pods:
            if pod.bridge is not None:
                pod.bridge.kill()
                pod.bridge.wait()


def wait_until(holds: Callable[[], bool], *pods: Pod) -> None:
    """Wait until something holds; say what the bridges told where it never does."""
    end = time.monotonic() + DEADLINE_S
    while not holds():
        for pod in pods:
            assert pod.bridge is None or pod.bridge.poll() is None, pod.told()
        assert time.monotonic() < end, "\n".join(f"--- {pod.name}\n{pod.told()[-4000:]}" for pod in pods)
        time.sleep(0.05)


def stored(url: str, agent: str = AGENT) -> Entries:
    """Return what the store has of an agent."""

    async def read() -> Entries:
        async with open_store(url) as store:
            keys = [info.key async for info in iterate(store, agent=agent)]
            return {one.key.key: json.loads(one.entry.raw) for one in await store.get_many(keys) if one is not None}

    return asyncio.run(read())


def stored_texts(url: str, key: SessionKey) -> list[str]:
    """Return what was said in a session, as the store has it."""

    async def read() -> list[str]:
        async with open_store(url) as store:
            transcript = await store.read(key)
            lines = map(json.loads, transcript.lines if transcript else ())
            return [line["text"] for line in lines if line["type"] == "message"]

    return asyncio.run(read())


def settle(pods: Sequence[Pod]) -> Entries:
    """Wait until all sheets and the store are the same, and stay so; return that."""

    def same() -> bool:
        first = pods[0].entries()
        return all(pod.entries() == first for pod in pods[1:]) and stored(pods[0].url) == first

    def stays() -> bool:
        return same() and not time.sleep(0.5) and same()

    wait_until(stays, *pods)
    return pods[0].entries()
