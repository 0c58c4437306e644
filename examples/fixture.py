"""What the archive of real OpenClaw files holds, read with nothing but the standard library.

The demo compares a store with this, so it must not be read by the code whose work is compared.
"""

from __future__ import annotations

import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ARCHIVE = Path(__file__).resolve().parents[1] / "tests" / "fixtures" / "openclaw" / "file-2026.7.1-2.tar.gz"
_SET_ASIDE = re.compile(r"\.jsonl\.(reset|deleted|bak)\.")

Lines = tuple[bytes, ...]


@dataclass(frozen=True)
class Fixture:
    """Sessions and archived transcripts, byte for byte: `key -> lines` and `file name -> lines`."""

    sessions: dict[str, Lines]
    archives: dict[str, Lines]

    @property
    def lines(self) -> int:
        return sum(map(len, self.sessions.values()))


def read(archive: Path = ARCHIVE) -> Fixture:
    files = _files(archive)
    sessions = {
        key: _lines(files[path.parent / PurePosixPath(entry["sessionFile"]).name])
        for path, content in files.items()
        if path.name == "sessions.json"
        for key, entry in json.loads(content).items()
    }
    archives = {path.name: _lines(content) for path, content in files.items() if _SET_ASIDE.search(path.name)}
    return Fixture(sessions, archives)


def _files(archive: Path) -> dict[PurePosixPath, bytes]:
    with tarfile.open(archive) as opened:
        found = ((member, opened.extractfile(member)) for member in opened if member.isfile())
        return {PurePosixPath(member.name): file.read() for member, file in found if file is not None}


def _lines(content: bytes) -> Lines:
    return tuple(content.splitlines())
