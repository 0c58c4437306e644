"""Opens what a person names as a source."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sessionstore.migrate.directory import open_directory
from sessionstore.migrate.items import Source
from sessionstore.migrate.keeper import check_source_name
from sessionstore.openclaw import files, openclaw_json
from sessionstore.openclaw.scratch import Scratch

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")
DEFAULT_NAME = "default"


@dataclass(frozen=True, slots=True)
class Opening:
    """How sources are opened.

    Attributes:
        state_dir: where the gateway sees a state directory.
    """

    scratch: Scratch
    max_file_bytes: int = files.DEFAULT_MAX_FILE_BYTES
    state_dir: str = openclaw_json.STATE_DIR


@contextlib.asynccontextmanager
async def open_source(text: str, opening: Opening) -> AsyncIterator[Source]:
    """Open a state directory. Raises: SourceError."""
    with open_directory(Path(text), opening.scratch, opening.max_file_bytes, opening.state_dir) as source:
        yield source


def origin_of(text: str) -> str:
    """Return what tells a source from another one that is given the same name, and stays while it is the same."""
    try:
        return f"{Path(text).resolve()} {Path(text).stat().st_ino}"
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
