"""Reading a directory and migrating it, in this process: the one place of the corpus that knows how that is called."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sessionstore.migrate import pipeline
from sessionstore.migrate.directory import open_directory
from sessionstore.migrate.items import SourceSession
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.report import Report
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions import SessionKey, Store

OPTIONS = pipeline.Options("fuzz", Patience(0))


@dataclass(frozen=True)
class Session:
    """A session as the source has it."""

    key: SessionKey
    raw: bytes
    lines: tuple[bytes, ...]
    transcript: str | None


def sessions_of(root: Path) -> Iterable[Session]:
    """Return the sessions of a valid directory."""
    return asyncio.run(_sessions_of(root))


async def _sessions_of(root: Path) -> list[Session]:
    found = []
    with Scratch() as scratch, open_directory(root, scratch) as source:
        async for item in source.sessions():
            assert isinstance(item, SourceSession)
            lines = [line async for batch in item.lines.batches() for line in batch.lines] if item.lines else []
            found.append(Session(item.key, item.entry.raw, tuple(lines), item.lines.path if item.lines else None))
    return found


def inspect(root: Path, max_file_bytes: int) -> Report:
    with Scratch() as scratch, open_directory(root, scratch, max_file_bytes) as source:
        return asyncio.run(pipeline.inspect(source, scratch, _ignore))


def migrate(root: Path, store: Store, max_file_bytes: int) -> Report:
    with Scratch() as scratch, open_directory(root, scratch, max_file_bytes) as source:
        return asyncio.run(pipeline.migrate(source, store, scratch, OPTIONS, _ignore))


def verify(root: Path, store: Store, max_file_bytes: int) -> Report:
    with Scratch() as scratch, open_directory(root, scratch, max_file_bytes) as source:
        return asyncio.run(pipeline.prove(source, store, scratch, OPTIONS, _ignore))


def _ignore(seen: Any) -> None:
    """Watch nothing."""
