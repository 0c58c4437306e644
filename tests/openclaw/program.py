"""Starts a real OpenClaw on a state directory, with a model of ours and no way out of this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CACHE = Path(os.environ.get("SESSIONSTORE_CACHE", "~/.cache/sessionstore")).expanduser() / "openclaw"
FILES, DATABASE = "2026.7.1-2", "2026.9.6"
"""The last version that keeps its sessions in files, and one that keeps them in a database."""
TIMEOUT_S = 180.0


def is_installed() -> bool:
    """Tell whether `make openclaw` has been run."""
    return all((CACHE / version / "complete").exists() for version in (FILES, DATABASE))


@dataclass(frozen=True)
class OpenClaw:
    """One version of it, on one state directory."""

    version: str
    state: Path

    def configure(self, model_url: str) -> None:
        """Write `openclaw.json`: two agents, the model at this URL, no session that ends by its age."""
        model = {"id": "mock-1", "name": "Mock", "input": ["text"], "contextWindow": 128000, "maxTokens": 4096}
        provider = {"baseUrl": model_url, "apiKey": "none", "api": "openai-completions", "models": [model]}
        configuration = {
            "gateway": {"mode": "local", "bind": "loopback", "auth": {"mode": "token", "token": "only-here"}},
            "agents": {
                "defaults": {
                    "workspace": str(self.state / "workspace"),
                    "model": {"primary": "mock/mock-1"},
                    "skipBootstrap": True,
                },
                "list": [{"id": "main", "default": True}, {"id": "work"}],
            },
            "models": {"mode": "replace", "providers": {"mock": provider}},
            "session": {"dmScope": "per-channel-peer", "reset": {"mode": "idle", "idleMinutes": 100_000_000}},
            "plugins": {"enabled": False},
            "discovery": {"mdns": {"mode": "off"}},
        }
        (self.state / "openclaw.json").write_text(json.dumps(configuration))

    def sessions(self) -> dict[str, dict[str, Any]]:
        """Return what `openclaw sessions` lists, by key."""
        found = json.loads(self._run("sessions", "--json", "--all-agents", "--limit", "all"))
        return {session["key"]: session for session in found["sessions"]}

    def say(self, key: str, text: str) -> dict[str, Any]:
        """Have one turn with an agent; return what the program says of it."""
        answer = self._run("agent", "--local", "--session-key", key, "--message", text, "--json")
        return json.loads(answer[answer.index("{\n") :])  # type: ignore[no-any-return]

    def take_in(self) -> None:
        """Start a gateway, wait until it serves, and stop it."""
        port = _free_port()
        log = self.state / "gateway.log"
        with log.open("wb") as stream:
            gateway = subprocess.Popen(
                self._command("gateway", "--port", str(port)), env=self._environment(), stdout=stream, stderr=stream
            )
            try:
                _wait_for(port, gateway, log)
            finally:
                gateway.terminate()
                gateway.wait(TIMEOUT_S)

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            self._command(*arguments),
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _command(self, *arguments: str) -> list[str]:
        program = CACHE / self.version / "node_modules" / "openclaw" / "openclaw.mjs"
        return [str(CACHE / "node" / "package" / "bin" / "node"), str(program), *arguments]

    def _environment(self) -> dict[str, str]:
        home = self.state / "home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": f"{CACHE / 'node' / 'package' / 'bin'}:/usr/bin:/bin",
            "HOME": str(home),
            "OPENCLAW_STATE_DIR": str(self.state),
            "OPENCLAW_CONFIG_PATH": str(self.state / "openclaw.json"),
            "OPENCLAW_DISABLE_BONJOUR": "1",
            "NO_COLOR": "1",
            "CI": "1",
        }


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_for(port: int, gateway: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while b"[gateway] ready" not in log.read_bytes():
        assert gateway.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
