"""State directories of any size, made quickly, and with as little memory as the migration of them may take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

OLD = (1_750_000_000, 1_750_000_000)
"""When the files were last changed: long ago, as those of a gateway that was stopped."""


def sessions(root: Path, count: int, lines: int = 20, line_bytes: int = 250, entry_bytes: int = 600) -> Path:
    """Make one agent with `count` sessions of `lines` lines each, all of them different."""
    folder = _folder(root)
    for number in range(count):
        path = folder / f"{_id(number)}.jsonl"
        path.write_bytes(b"".join(transcript(number, lines, line_bytes)))
        os.utime(path, OLD)
    _write_index(folder, count, entry_bytes)
    return root


def without_transcripts(root: Path, count: int) -> Path:
    """Make an index of `count` sessions, and nothing that it names."""
    _write_index(_folder(root), count, entry_bytes=200)
    return root


def transcript(number: int, lines: int, line_bytes: int) -> Iterator[bytes]:
    """Go through the lines of a session, line feeds included."""
    yield b'{"type":"session","version":3,"id":"%s"}\n' % _id(number).encode()
    for line in range(1, lines):
        start = b'{"type":"message","id":"%d-%d","message":{"role":"user","content":"' % (number, line)
        yield start + b"w" * (line_bytes - len(start) - 4) + b'"}}\n'


def entry(number: int, entry_bytes: int) -> bytes:
    """Return an entry of about that many bytes."""
    start = b'{"sessionId":"%s","updatedAt":%d,"channel":"telegram","origin":{"label":"person %d"},"note":"' % (
        _id(number).encode(), 1_700_000_000_000 + number, number,
    )  # fmt: skip
    return start + b"n" * (entry_bytes - len(start) - 2) + b'"}'


def large_index(root: Path, size: int) -> Path:
    """Make an index of that many bytes, of entries of about 100 KB; only every hundredth has a transcript."""
    folder = _folder(root)
    with (folder / "sessions.json").open("wb") as index:
        for number in range(size // 100_000):
            index.write(b"{" if not number else b",")
            index.write(b'"k%d":' % number + entry(number, 100_000))
            if number % 100 == 0:
                (folder / f"{_id(number)}.jsonl").write_bytes(b"".join(transcript(number, 3, 250)))
        index.write(b"}")
    return root


def large_transcript(root: Path, size: int) -> Path:
    """Make one session with a transcript of about that many bytes, of lines of about 4 KB."""
    folder = _folder(root)
    with (folder / f"{_id(0)}.jsonl").open("wb") as file:
        for start in range(0, size // 4000, 1000):
            file.write(b"".join(transcript(start, 1000, 4000)))
    (folder / "sessions.json").write_bytes(b'{"k":' + entry(0, 600) + b"}")
    return root


def _folder(root: Path) -> Path:
    folder = root / "agents" / "main" / "sessions"
    folder.mkdir(parents=True)
    return folder


def _write_index(folder: Path, count: int, entry_bytes: int) -> None:
    with (folder / "sessions.json").open("wb") as index:
        for number in range(count):
            index.write(b"{\n" if not number else b",\n")
            index.write(b'  "agent:main:telegram:direct:%d": ' % number + entry(number, entry_bytes))
        index.write(b"\n}\n")
    os.utime(folder / "sessions.json", OLD)


def _id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"
