"""Opens what a person names as a source."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sessionstore.migrate import stores
from sessionstore.migrate.directory import open_directory
from sessionstore.migrate.dump import open_dump
from sessionstore.migrate.items import Source
from sessionstore.migrate.keeper import check_source_name
from sessionstore.migrate.patience import USUAL, Patience
from sessionstore.migrate.stores import StoreSource
from sessionstore.openclaw import files, openclaw_json
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions.config import SessionStorage, open_store
from sessionstore.sessions.exceptions import ConfigurationError

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")
DEFAULT_NAME = "default"


@dataclass(frozen=True, slots=True)
class Opening:
    """How sources are opened.

    Attributes:
        state_dir: where the gateway sees a state directory.
        patience: how long a store may be away.
    """

    scratch: Scratch
    max_file_bytes: int = files.DEFAULT_MAX_FILE_BYTES
    state_dir: str = openclaw_json.STATE_DIR
    patience: Patience = USUAL


@contextlib.asynccontextmanager
async def open_source(text: str, opening: Opening) -> AsyncIterator[Source]:
    """Open a state directory, a dump, or the store that a URL names.

    Raises: SourceError, ConfigurationError, Unavailable.
    """
    if is_store(text):
        async with open_store(_looking(text)) as store:
            await opening.patience.of(lambda: stores.check_holds(store, text))
            yield StoreSource(store, opening.scratch, opening.patience, where=text)
        return
    if is_dump(text):
        yield open_dump(Path(text), opening.scratch)
        return
    with open_directory(Path(text), opening.scratch, opening.max_file_bytes, opening.state_dir) as source:
        yield source


def is_store(text: str) -> bool:
    """Tell whether a source is a store's URL."""
    return "://" in text


def is_dump(text: str) -> bool:
    """Tell whether a source is a portable dump; `-` is one on standard input."""
    return text == "-" or text.endswith(".jsonl")


def _looking(url: str) -> SessionStorage:
    """Return how to open a store that is only looked at."""
    config = SessionStorage.from_url(url)
    if config.backend == "file":
        raise ConfigurationError(f"{url} is OpenClaw's state directory; name it by its path: {config.directory()}")
    return replace(config, count_uses=False)


def origin_of(text: str, known: str = "") -> str:
    """Return what tells a source from another one that is given the same name, and stays while it is the same.

    Args:
        known: what the caller knows besides: roots of volumes, mounted at one path, may all have one inode.
    """
    try:
        return f"{Path(text).resolve()} {Path(text).stat().st_ino} {known}".rstrip()
    except OSError:
        return text


def names_of(texts: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return a name for each source: those that are given, else made from the sources. Raises: ValueError."""
    if names and len(names) != len(texts):
        raise ValueError(f"{len(names)} names are given for {len(texts)} sources; give --source-name once for each")
    found = [check_source_name(name) for name in names] or _made(texts)
    if len(set(found)) != len(found):
        raise ValueError(f"two sources would be named {_twice(found)}; name each with --source-name")
    return found


def _made(texts: Sequence[str]) -> list[str]:
    if len(texts) == 1:
        return [DEFAULT_NAME]
    return [
        _NOT_IN_A_NAME.sub("-", text.rstrip("/").rpartition("/")[2]).strip("._-")[:63] or DEFAULT_NAME for text in texts
    ]


def _twice(names: Sequence[str]) -> str:
    return next(name for name in names if names.count(name) > 1)
