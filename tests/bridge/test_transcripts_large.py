"""Transcripts that do not fit into a bridge's memory: it does not grow with them, whatever has to be done."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sessionstore.sessions import open_store
from tests import redis_server
from tests.bridge.sides import ENTRY, ID, KEY, header, message

MIB = 1024 * 1024
ROOM_KIB = 28 * 1024
"""What the largest transcript may cost beyond a small one: some pieces, and their lines as Python has them."""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with redis_server.running(tmp_path / "redis") as server:
        yield server.url(server.add_user("large"))


def write(file: Path, mib: int, first: int = 0) -> None:
    """Make a talk of so many MiB: lines of 2 KB, and now and then one of 2 MB."""
    file.parent.mkdir(exist_ok=True)
    number, left = first, mib * MIB
    with file.open("ab") as stream:
        if not first:
            stream.write(header(file.parent.name) + b"\n")
        while left > 0:
            text = "x" * (2_000_000 if number % 2000 == 1999 else 2000)
            line = message(f"{number:08}", f"{number - 1:08}", text)
            stream.write(line + b"\n")
            left -= len(line)
            number += 1


def digest(file: Path) -> str:
    """Digest all but the header."""
    found = hashlib.sha256()
    with file.open("rb") as stream:
        stream.readline()
        while block := stream.read(MIB):
            found.update(block)
    return found.hexdigest()


def carry(url: str, directory: Path) -> int:
    """Return the most memory that it took, in KiB."""
    directory.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.bridge.carrying", url, str(directory), "once"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, done.stderr
    carried, peak = done.stdout.split()
    assert carried == "same"
    return int(peak)


async def test_memory_does_not_grow_with_a_transcript(
    tmp_path: Path, url: str, count: Callable[[int, int], int]
) -> None:
    async with open_store(url) as store:
        await store.set(KEY, ENTRY)
    a, b = tmp_path / "a" / f"{ID}.jsonl", tmp_path / "b" / f"{ID}.jsonl"
    mib = count(40, 1024)
    a.parent.mkdir()
    a.write_bytes(header("a") + b"\n")
    small = carry(url, a.parent)
    peaks = {}

    write(a, mib)
    peaks["stored"] = carry(url, a.parent)
    peaks["first copy"] = carry(url, b.parent)
    assert digest(a) == digest(b)

    write(b, mib // 4, 10_000_000)
    peaks["stored from there"] = carry(url, b.parent)
    peaks["added here"] = carry(url, a.parent)
    assert digest(a) == digest(b)

    write(a, 5, 20_000_000)
    write(b, mib // 8, 30_000_000)
    carry(url, a.parent)
    peaks["put in a row"] = carry(url, b.parent)
    carry(url, a.parent)
    assert digest(a) == digest(b)

    _compact(a)
    peaks["rewritten"] = carry(url, a.parent)
    peaks["replaced"] = carry(url, b.parent)
    assert digest(a) == digest(b)
    print(f"{mib} MiB: {small} KiB without lines, {peaks}")
    assert {what: peak for what, peak in peaks.items() if peak > small + ROOM_KIB} == {}, small


def _compact(file: Path) -> None:
    """Put a summary in place of the first tenth."""
    size = file.stat().st_size
    with file.open("rb") as old, file.with_suffix(".new").open("wb") as new:
        new.write(old.readline() + message("summary") + b"\n")
        old.seek(size // 10)
        old.readline()
        while block := old.read(MIB):
            new.write(block)
    file.with_suffix(".new").replace(file)
