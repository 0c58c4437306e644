"""Looks at every file that this process opens: of a source only what is reached name by name, no link followed."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PROGRAM = (sys.prefix, sys.base_prefix, str(Path(os.__file__).parent), str(Path(__file__).parents[2]))
"""Where modules lie that are imported late."""
_EVENTS = {"open", "os.listdir", "os.scandir", "sqlite3.connect"}


class Watch:
    """Takes part in all that the interpreter does, for good, so there is one; it looks while `below` is set."""

    def __init__(self) -> None:
        self.below: str | None = None
        self.found: list[str] = []
        self._listens = False

    @contextlib.contextmanager
    def only(self, root: Path) -> Iterator[None]:
        """Refuse, at the end of the block, whatever was opened in it elsewhere than in `root`."""
        if not self._listens:
            sys.addaudithook(self._hear)
            self._listens = True
        self.below, self.found = str(root), []
        try:
            yield
        finally:
            self.below = None
        assert not self.found, f"opened: {self.found}"

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.below is None or event not in _EVENTS or isinstance(arguments[0], int):
            return
        path = os.fsdecode(arguments[0])
        flags = arguments[2] if event == "open" else 0
        if not self._may_open(path, flags):
            self.found.append(f"{event} {path!a} {flags:#o}")

    def _may_open(self, path: str, flags: int) -> bool:
        if not path.startswith("/"):
            return "/" not in path and bool(flags & os.O_NOFOLLOW)
        return path == self.below or path.startswith((f"{tempfile.gettempdir()}/sessionstore-", *_PROGRAM))
