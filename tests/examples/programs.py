"""The guide's programs, as processes of their own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parents[2] / "examples" / "library"
DEADLINE_S = 60.0


class Program:
    """A program that runs. What it prints is kept in a file, so that it never waits for a reader."""

    def __init__(self, name: str, *arguments: str, **environ: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SESSION_STORAGE_")}
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed by `end`
        self.process = subprocess.Popen(
            [sys.executable, str(DIRECTORY / name), *arguments],
            env={**inherited, **environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=self._said,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self._said.close()

    def tell(self, *messages: object) -> None:
        """Write JSON lines to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{json.dumps(message)}\n" for message in messages).encode())
        self.process.stdin.flush()

    @property
    def said(self) -> str:
        # The program writes where this file stands: reading must not move that place.
        file = self._said.fileno()
        return os.pread(file, os.fstat(file).st_size, 0).decode()

    def wait(self) -> int:
        return self.process.wait(DEADLINE_S)

    def until(self, happened: Callable[[], object]) -> None:
        """Wait until something happened; a program that ends before is an error."""
        end = time.monotonic() + DEADLINE_S
        while not happened():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"status {self.process.returncode}, and it said:\n{self.said}")
            time.sleep(0.02)


def run(name: str, *arguments: str, **environ: str) -> tuple[int, str]:
    """Run a program to its end; return its exit status and what it said."""
    with Program(name, *arguments, **environ) as program:
        return program.wait(), program.said


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
