"""Reading a directory and migrating it, in this process: the one place of the corpus that knows how that is called."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sessionstore.migrate import pipeline
from sessionstore.migrate.patience import Patience
from sessionstore.migrate.report import Report
from sessionstore.migrate.source import SourceSession, open_source
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
    with open_source(root) as source:
        for item in source.sessions():
            assert isinstance(item, SourceSession)
            yield Session(item.key, item.entry.raw, tuple(item.whole()), item.lines.path if item.lines else None)


def inspect(root: Path, max_file_bytes: int) -> Report:
    with open_source(root, max_file_bytes) as source:
        return pipeline.inspect(source, _ignore)


def migrate(root: Path, store: Store, max_file_bytes: int) -> Report:
    with open_source(root, max_file_bytes) as source:
        return asyncio.run(pipeline.migrate(source, store, OPTIONS, _ignore))


def verify(root: Path, store: Store, max_file_bytes: int) -> Report:
    with open_source(root, max_file_bytes) as source:
        return asyncio.run(pipeline.prove(source, store, OPTIONS.patience, _ignore))


def _ignore(seen: Any) -> None:
    """Watch nothing."""
