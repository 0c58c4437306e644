"""The example gateway as a process of its own, and an HTTP client for it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "gateway" / "gateway.py"
UP_S = 30.0


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Gateway:
    """A gateway that runs."""

    process: subprocess.Popen[bytes]
    port: int

    def call(self, method: str, path: str, body: Any = None, **query: str) -> Answer:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.port}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answer(response.status, json.load(response))
        except urllib.error.HTTPError as error:
            return Answer(error.code, json.load(error))

    def say(self, key: str, text: str, **query: str) -> Answer:
        return self.call("POST", f"{path_of(key)}/turns", {"text": text}, **query)

    def session(self, key: str, **query: str) -> Answer:
        return self.call("GET", path_of(key), **query)

    def stop(self) -> int:
        """Ask it to end, as Kubernetes does, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=UP_S)


def path_of(key: str) -> str:
    return f"/v1/sessions/{urllib.parse.quote(key, safe='')}"


def start(environ: Mapping[str, str], port: int) -> subprocess.Popen[bytes]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SESSION_STORAGE_")}
    return subprocess.Popen(
        [sys.executable, str(PROGRAM)],
        env={**inherited, **environ, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@contextlib.contextmanager
def running(name: str, **environ: str) -> Iterator[Gateway]:
    """Run a gateway as the pod `name`, until the end of the block."""
    port = _free_port()
    process = start({"HOSTNAME": name, **environ}, port)
    try:
        _wait(process, port)
        yield Gateway(process, port)
    finally:
        process.kill()
        process.communicate()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + UP_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                raise RuntimeError(f"the gateway did not come up:\n{process.communicate()[1].decode()}") from None
            time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
