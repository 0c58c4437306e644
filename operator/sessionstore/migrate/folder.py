"""Keeps things as files on request (`--quarantine-dir`): one of bytes, and one beside it that says what they are.

`DIR/<source>/<shelf>/<what it was>.<id>.raw` and `….json`. Only its owner may read them. A file that is there with
other content is never written over.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.kept import Shelf, Thing

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_TITLE = 80
_BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory in which the things of one source are kept."""

    root: Path
    source_name: str

    async def write(self, shelf: Shelf, thing: Thing) -> str:
        """Write a thing, and return the path of its bytes. Raises: MigrationError."""
        try:
            folder = await asyncio.to_thread(self._folder, shelf)
            return str(await self._write(folder / f"{_title(thing.header)}.{thing.id}", thing))
        except OSError as error:
            raise MigrationError(
                "CannotKeep",
                f"{error.filename or self.root}: {error.strerror or error}: what is set aside cannot be kept there; "
                "make room, or name another --quarantine-dir",
            ) from error

    def _folder(self, shelf: Shelf) -> Path:
        folder = self.root / self.source_name / shelf
        # Not the modes of what is there already: a person who made DIR chose who may look into it.
        for made in (self.root, folder.parent, folder):
            with contextlib.suppress(FileExistsError):
                made.mkdir(mode=0o700, parents=made == self.root)
        return folder

    async def _write(self, stem: Path, thing: Thing) -> Path:
        raw = stem.with_name(f".{stem.name}.{secrets.token_hex(4)}.tmp")
        with _temporary(raw) as file:
            async for piece in thing.pieces():
                await asyncio.to_thread(file.write, piece)
            await asyncio.to_thread(_flush, file)
            put = await asyncio.to_thread(_put, raw, stem, ".raw", thing.header["sha256"])
        about = raw.with_suffix(".json")
        with _temporary(about) as file:
            text = json.dumps(thing.header, ensure_ascii=False, indent=2).encode() + b"\n"
            file.write(text)
            await asyncio.to_thread(_flush, file)
            await asyncio.to_thread(_put, about, put.with_suffix(""), ".json", hashlib.sha256(text).hexdigest())
        return put


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[BinaryIO]:
    """Write a file that is gone afterwards, under this name."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
    finally:
        path.unlink(missing_ok=True)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _put(written: Path, stem: Path, suffix: str, sha256: str) -> Path:
    """Give a file its name; beside whatever else has it, under one with a number. Return the one it has."""
    for number in itertools.count():
        path = stem.with_name(f"{stem.name}{f'-{number}' if number else ''}{suffix}")
        try:
            _link(written, path)
        except FileExistsError:
            if not _has(path, sha256):
                continue
        return path
    raise AssertionError("numbers do not end")


def _link(written: Path, path: Path) -> None:
    """Name a file. Raises: FileExistsError, also where the file system knows no links."""
    try:
        os.link(written, path, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        # A file system without links: nobody but us writes under a name that has the content's digest in it.
        if path.is_symlink() or path.exists():
            raise FileExistsError(path) from None
        written.rename(path)


def _has(path: Path, sha256: str) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest() == sha256


def _title(header: Mapping[str, Any]) -> str:
    """Return what a person can tell it by, of letters that no file system minds."""
    named = [header.get("agent"), header.get("key") or header.get("archive") or header.get("path")]
    text = _UNSAFE.sub("-", "-".join(str(part) for part in named if part))
    return text[:_TITLE].strip(".-") or "thing"
