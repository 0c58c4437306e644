"""A source that somebody writes to while it is read: what a gateway does to its files, and worse."""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.fuzz.site import Site

Action = Callable[[Path, random.Random], None]


def append(path: Path, chance: random.Random) -> None:
    with path.open("ab") as file:
        file.write(chance.choice((b'{"type":"message"}\n', b'{"half', b"\n")))


def cut(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size + 1))


def replace(path: Path, chance: random.Random) -> None:
    """Put a changed copy in place, as OpenClaw writes its index."""
    raw = path.read_bytes()
    new = path.with_name(f"{path.name}.tmp")
    new.write_bytes(raw.replace(b"17", b"18", 1) if chance.random() < 0.7 else raw[: len(raw) // 2])
    new.replace(path)


def take_away(path: Path, chance: random.Random) -> None:
    path.unlink()


def archive(path: Path, chance: random.Random) -> None:
    path.rename(f"{path}.reset.2026-11-20T10-07-57.{chance.randrange(1000):03}Z")


def link(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to(chance.choice(("/dev/zero", "/proc/self/environ", "../../../../outside/canary.jsonl")))


def pipe(path: Path, chance: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


ACTIONS: tuple[Action, ...] = (append, append, append, cut, replace, replace, take_away, archive, link, pipe)


@contextlib.contextmanager
def writing(site: Site, chance: random.Random) -> Iterator[None]:
    """Write to the source from a thread until the end of the block."""
    done = threading.Event()
    originals = {name: (site.root / name).read_bytes() for name in site.files}

    def write() -> None:
        while not done.wait(chance.random() / 500):
            name = chance.choice(site.files)
            # Something else may stand there by now: then it is as it was again.
            with contextlib.suppress(OSError):
                if (site.root / name).is_symlink() or not (site.root / name).is_file():
                    (site.root / name).unlink(missing_ok=True)
                    (site.root / name).write_bytes(originals[name])
                chance.choice(ACTIONS)(site.root / name, chance)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
