"""This machine's part of the set-up: Docker engine, kind, kubectl, helm, node image, and where all is kept."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass

from . import command, progress

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent


def cache_directory() -> pathlib.Path:
    """Return what SESSIONSTORE_CACHE names, else ~/.cache/sessionstore."""
    return pathlib.Path(os.environ.get("SESSIONSTORE_CACHE") or pathlib.Path.home() / ".cache" / "sessionstore")


@dataclass(frozen=True, slots=True)
class Machine:
    """What setup.sh left here.

    `source` is `published` (pulled and downloaded) or `built` (made from package registries); `node_image` is the
    reference that kind takes; `bin` holds `kind`, `kubectl` and `helm`.
    """

    source: str
    bin: pathlib.Path
    node_image: str

    def program(self, name: str) -> pathlib.Path:
        return self.bin / name


def prepare() -> Machine:
    """Run setup.sh, which does nothing where all is there, and read what it chose.

    Raises: CommandError; the script has said why.
    """
    with exclusive():
        cache = str(cache_directory())
        command.stream([str(HERE / "setup.sh")], environment={"SESSIONSTORE_CACHE": cache})
        chosen = json.loads((cache_directory() / "kind" / "chosen.json").read_text())
    return Machine(source=chosen["source"], bin=pathlib.Path(chosen["bin"]), node_image=chosen["node_image"])


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """Hold this machine's set-up lock: two runs must neither build one image nor create one cluster at once.

    The lock goes with the process; nothing is left to clean up after a kill.
    """
    directory = cache_directory()
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "set-up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("another run is setting up this machine; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
